//! Claims about `sira leads mend` and `sira quarantine`: what was bad becomes a lead, once, and what stays bad says why.

use std::io::Write as _;
use std::process::{Command, Stdio};

use sira_domain::identity::Role;
use sira_domain::leads::{self, StatusChange};
use sira_kernel::Actor;
use sira_sandbox::LeadWish;

use crate::house::{DRAIN, House};

const FILE: &str = "Ad Soyad;Telefon;E-Posta\n\
    Bir Demo;0530 000 00 01;\n\
    İki Demo;call me;none\n\
    Üç Demo;;\n";
const ENQUIRIES: &str = "select count(*) from lead_enquiries";
const AUDITED: &str = "select count(*) from audit_event where action = 'import.row_mended'";

/// Writes a file of the house, and names it.
fn file(house: &House, name: &str, text: &str) -> String {
    let path = house.config.data.dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a command with something on stdin.
fn sira_with(house: &House, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sira"))
        .args(arguments)
        .env("SIRA__DATA__DIR", &house.config.data.dir)
        .env("SIRA__DATABASE__URL", house.db.url())
        .env("SIRA__LOG__FILTER", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_mended_once_counted_and_taken_back_with_the_others() {
    let house = House::new().await;
    let imported = house.sira(&["leads", "import", &file(&house, "leads.csv", FILE)]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let import = &house.sira(&["leads", "imports", "-o", "json"]).json()[0];
    let id = import["id"].as_str().unwrap();
    assert_eq!((import["created"].as_i64(), import["bad"].as_i64()), (Some(1), Some(2)));

    let still_bad = file(&house, "bad.csv", "line,Telefon\n3,later\n");
    let ran = house.sira(&["leads", "mend", id, &still_bad]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.err.contains("line 3: neither a phone number nor an e-mail address"), "{}", ran.err);
    let unknown = house.sira(&["leads", "mend", id, &file(&house, "unknown.csv", "line,Faks\n3,1\n")]);
    assert!(unknown.err.contains("the file has Ad Soyad, Telefon, E-Posta"), "{}", unknown.err);

    // One becomes a lead, one joins the first row's lead, and one was never bad.
    let right = "line,column,code,advice,Telefon,Ad Soyad\n3,2,x,\"y\",0530 000 00 03,\n4,2,x,\"y\",0530 000 00 01,\n99,,,,0530,\n";
    let right = file(&house, "right.csv", right);
    let first = house.sira(&["leads", "mend", id, &right]);
    assert_eq!(first.code, Some(6), "{first:?}");
    assert!(first.out.contains("line 3: created ") && first.out.contains("line 4: joined "), "{}", first.out);
    assert!(first.err.contains("line 99: there is no bad row at this line"), "{}", first.err);
    assert_eq!((house.count(ENQUIRIES).await, house.count(AUDITED).await), (3, 2));
    let again = house.sira(&["leads", "mend", id, &right]);
    assert_eq!((again.code, again.out), (Some(6), first.out));
    assert_eq!((house.count(ENQUIRIES).await, house.count(AUDITED).await), (3, 2), "nothing twice");
    let import = &house.sira(&["leads", "imports", "-o", "json"]).json()[0];
    let counted = ["created", "joined", "bad"].map(|count| import[count].as_i64().unwrap());
    assert_eq!(counted, [2, 1, 0]);
    let named = "select count(*) from leads where name_masked = 'İ*** D***'";
    assert_eq!(house.count(named).await, 1, "what was left empty stays as in the file");
    let kept = "select count(*) from import_rows where sealed <> ''";
    assert_eq!(house.count(kept).await, 0, "what they said stands with their leads");

    let undone = house.sira(&["leads", "undo", id]);
    assert_eq!((undone.code, undone.out.as_str()), (Some(0), "removed 2  kept 0\n"), "{}", undone.err);
    let late = house.sira(&["leads", "mend", id, &right]);
    assert_eq!((late.code, late.out.as_str()), (Some(6), ""), "{late:?}");
    assert!(late.err.contains("the import is undone"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_of_somebody_whose_lead_is_closed_opens_it_again() {
    let house = House::new().await;
    let imported = house.sira(&["leads", "import", &file(&house, "leads.csv", FILE)]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let lead: uuid::Uuid =
        sqlx::query_scalar("select id from leads").fetch_one(&house.db.pool).await.unwrap();
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let (lead, reason) = (lead.into(), Some("price"));
    let lost = StatusChange { lead, expected_version: None, to: "lost", reason, role: Some(Role::Admin) };
    leads::change_status(&mut uow, &lost).await.unwrap();
    uow.commit().await.unwrap();

    let id = house.sira(&["leads", "imports", "-o", "json"]).json()[0]["id"].as_str().unwrap().to_owned();
    let right = file(&house, "right.csv", "line,Telefon\n3,0530 000 00 01\n");
    for _ in 0..2 {
        let mended = house.sira(&["leads", "mend", &id, &right]);
        assert_eq!(
            (mended.code, mended.out),
            (Some(0), format!("line 3: reopened {lead}\n")),
            "{}",
            mended.err
        );
    }
    let import = &house.sira(&["leads", "imports", "-o", "json"]).json()[0];
    assert_eq!(["created", "reopened", "bad"].map(|count| import[count].as_i64().unwrap()), [1, 1, 1]);
    assert_eq!(house.count("select count(*) from leads where status = 'new'").await, 1);
    assert_eq!(house.count("select count(*) from leads").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_quarantine_is_corrected_by_an_address() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    let wish =
        LeadWish { phone: Some(String::new()), email: Some("at home".to_owned()), ..LeadWish::default() };
    let event = house.announce(&[house.sandbox.new_lead(wish)]).await[0].to_string();
    house.until(1, "select count(*) from inbound_events where state = 'quarantined'").await;
    let (code, _, err) = sira_with(&house, &["quarantine", "correct", &event], "email: at home\n");
    assert_eq!(code, Some(1), "{err}");
    assert!(!err.contains("at home"), "{err}");
    let corrected = "email: right@example.com\n";
    let (code, out, err) = sira_with(&house, &["quarantine", "correct", &event], corrected);
    assert_eq!((code, out), (Some(0), format!("event {event}: tried again\n")), "{err}");
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    let addressed = "select count(*) from lead_contacts where kind = 'email' and masked like 'r%'";
    assert_eq!(house.count(addressed).await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_quarantine_is_tried_again_and_corrected() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    let wish =
        LeadWish { phone: Some("call me".to_owned()), email: Some(String::new()), ..LeadWish::default() };
    let event = house.announce(&[house.sandbox.new_lead(wish)]).await[0].to_string();
    let quarantined = "select count(*) from inbound_events where state = 'quarantined'";
    house.until(1, quarantined).await;
    let listed = house.sira(&["quarantine", "ls", "-o", "json"]).json();
    assert_eq!(
        (listed[0]["id"].as_str(), listed[0]["code"].as_str()),
        (Some(event.as_str()), Some("no_usable_contact"))
    );

    // As it is it comes to the same end.
    let retried = house.sira(&["quarantine", "retry", &event]);
    assert_eq!((retried.code, retried.out), (Some(0), format!("event {event}: tried again\n")));
    house.until(2, "select count(*) from audit_event where action = 'inbound.quarantined'").await;
    house.until(1, quarantined).await;

    let (code, _, err) = sira_with(&house, &["quarantine", "correct", &event], "phone: nobody\n");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("the phone number cannot be read") && !err.contains("nobody"), "{err}");
    let (code, out, err) = sira_with(&house, &["quarantine", "correct", &event], "phone: 0530 000 00 17\n");
    assert_eq!((code, out), (Some(0), format!("event {event}: tried again\n")), "{err}");
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    let masked = "select count(*) from lead_contacts where masked = '+90*** ** 17'";
    assert_eq!(house.count(masked).await, 1);
    let settled = house.sira(&["quarantine", "retry", &event]);
    assert_eq!(settled.code, Some(6));
    assert!(settled.err.contains("it is settled"), "{}", settled.err);
    let nobody = uuid::Uuid::nil().to_string();
    let (code, _, err) = sira_with(&house, &["quarantine", "correct", &nobody], "email: a@example.com\n");
    assert_eq!((code, err.as_str()), (Some(6), format!("event {nobody}: no such event\n").as_str()));
    house.quiet().await;
    running.drain(DRAIN).await;
}
