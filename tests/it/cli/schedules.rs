//! Claims about `sira schedules`.

use crate::house::House;

const NAME: &str = "operations.trim_history";

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_shown_changed_paused_and_run_at_a_terminal() {
    let house = House::new().await;
    drop(house.work().await);
    let listed = house.sira(&["schedules", "ls", "-o", "json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["cron"]), (&NAME.into(), &"30 3 * * *".into()));
    for format in ["table", "csv"] {
        let out = house.sira(&["schedules", "ls", "-o", format]).out;
        assert!(out.contains(NAME) && out.contains("Europe/Istanbul"), "{out}");
    }

    let edited = house.sira(&["schedules", "edit", NAME, "--cron", "0 5 * * *", "--catch-up", "all"]);
    assert_eq!(edited.code, Some(0), "{edited:?}");
    assert!(edited.out.contains("0 5 * * * in Europe/Istanbul, catch-up all; next at "), "{}", edited.out);
    for (wrong, code, told) in [
        (&["--cron", "0 5 * * 1"][..], 6, "by name, MON to SUN"),
        (&["--time-zone", "Mars/Olympus"], 6, "no such time zone"),
        (&["--catch-up", "some"], 2, "all, latest, skip"),
        (&[], 2, "--cron"),
    ] {
        let refused = house.sira(&[&["schedules", "edit", NAME], wrong].concat());
        assert_eq!(refused.code, Some(code), "{wrong:?}: {refused:?}");
        assert!(refused.err.contains(told), "{wrong:?}: {}", refused.err);
    }
    let unknown = house.sira(&["schedules", "resume", "nobody"]);
    assert_eq!((unknown.code, unknown.err.trim()), (Some(6), "sira: there is no such schedule"));

    assert_eq!(house.sira(&["schedules", "pause", NAME, "--reason", "a test"]).code, Some(0));
    let ran = house.sira(&["schedules", "run", NAME]);
    assert!(ran.out.contains("sira jobs show "), "{ran:?}");
    let shown = house.sira(&["schedules", "show", NAME]).out;
    assert!(shown.contains("paused: a test") && shown.contains("changed by an operator"), "{shown}");
    assert!(shown.contains("ran ") && shown.contains(" ready"), "{shown}");
    assert_eq!(house.sira(&["schedules", "resume", NAME]).code, Some(0));
    let shown = house.sira(&["schedules", "show", NAME, "-o", "json"]).json();
    assert_eq!(shown["next"].as_array().unwrap().len(), 5);
    assert_eq!(house.count("select count(*) from audit_event where subject_kind = 'schedule'").await, 4);
}
