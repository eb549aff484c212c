//! Claims about `sira reviews`.

use crate::house::{DRAIN, House};

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_merged_and_parted_at_a_terminal_and_what_does_not_go_is_said() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    let first = house.asks(Some(1), "shared").await.to_string();
    let second = house.asks(Some(2), "shared").await.to_string();
    house.until(2, "select count(*) from leads where owner_id is not null").await;
    let listed = house.sira(&["reviews", "ls", "-o", "json"]).json();
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed[0]["leads"][1]["id"], second.as_str());
    let table = house.sira(&["reviews", "ls"]).out;
    assert!(table.contains("+90*** ** 01") && !table.contains("90555"), "{table}");

    let early = house.sira(&["reviews", "unmerge", id]);
    assert_eq!((early.code, early.err.as_str()), (Some(6), "sira: the leads are not merged\n"));
    let merged = house.sira(&["reviews", "merge", id, "--survivor", &second]);
    assert_eq!(
        (merged.code, merged.out),
        (Some(0), format!("merged: {second} stays, {first} is part of it\n"))
    );
    let again = house.sira(&["reviews", "merge", id]);
    assert_eq!((again.code, again.err.as_str()), (Some(6), "sira: the leads are merged already\n"));
    assert_eq!(house.sira(&["reviews", "keep-apart", id]).code, Some(6));
    let listed = house.sira(&["reviews", "ls", "--state", "merged", "-o", "json"]).json();
    assert_eq!(listed[0]["survivor"], second.as_str());

    let parted = house.sira(&["reviews", "unmerge", id]);
    assert_eq!((parted.code, parted.out), (Some(0), format!("unmerged: {first} is one of its own again\n")));
    house.until(2, "select count(*) from leads where owner_id is not null").await;
    assert_eq!(house.sira(&["reviews", "keep-apart", id]).out, "kept apart\n");
    let unknown = house.sira(&["reviews", "merge", &first]);
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(6), "sira: no such lead\n"));
    running.drain(DRAIN).await;
}
