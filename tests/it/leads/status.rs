//! Status changes.

use chrono::TimeDelta;
use sira_domain::distribution::DistributionError;
use sira_domain::leads::{self, LeadError, StatusChanged};
use sira_domain::nouns::LeadId;

use super::office::Office;

async fn change(office: &Office, id: LeadId, version: i64, to: &str) -> Result<StatusChanged, LeadError> {
    let mut uow = office.begin().await;
    let changed = leads::change_status(&mut uow, id, version, to, Some("spoke_to_them")).await?;
    uow.commit().await.unwrap();
    Ok(changed)
}

#[tokio::test]
async fn a_change_is_made_at_the_version_read_and_leaves_its_history() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    office.test.clock.advance(TimeDelta::hours(2));
    let changed = change(&office, id, 1, "interested").await.unwrap();
    assert_eq!((changed.version, changed.from.as_str()), (2, "new"));
    let stale = change(&office, id, 1, "qualified").await;
    assert!(matches!(stale, Err(LeadError::VersionConflict { current: 2 })));
    let mut conn = office.db.read().await.unwrap();
    let detail = leads::get_detail(&mut conn, leads::Scope::All, id).await.unwrap();
    assert_eq!(detail.row.status, "interested");
    assert_eq!(detail.history.len(), 2);
    assert!((7200..7260).contains(&detail.history[0].spent_seconds.unwrap()));
    assert_eq!(detail.history[0].reason.as_deref(), Some("spoke_to_them"));
    assert_eq!(office.audited(id).await, ["lead.created", "lead.status_changed"]);
}

#[tokio::test]
async fn the_same_status_changes_nothing() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    assert_eq!(change(&office, id, 1, "new").await.unwrap().version, 1);
    assert_eq!(office.count("lead_status_history").await, 1);
}

#[tokio::test]
async fn refusals_say_what_is_allowed() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let unknown = change(&office, id, 1, "sold").await.unwrap_err();
    assert!(unknown.to_string().contains("no_answer, interested"), "{unknown}");
    assert!(matches!(change(&office, LeadId::new(), 1, "lost").await, Err(LeadError::NotFound)));
    let mut uow = office.begin().await;
    let words = leads::change_status(&mut uow, id, 1, "lost", Some("Ayşe said no")).await;
    assert!(matches!(words, Err(LeadError::ReasonNotACode)));
}

#[tokio::test]
async fn closing_frees_the_owner_who_stays_and_opening_loads_them_again() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    office.arrive(&office.person(2)).await; // It waits for capacity.
    assert_eq!(change(&office, id, 2, "interested").await.unwrap().version, 3);
    assert_eq!(office.count("agent_load where open_weight = 1").await, 1);
    assert_eq!(office.count("audit_event where action = 'capacity.freed'").await, 0);
    change(&office, id, 3, "lost").await.unwrap();
    assert_eq!(office.count("agent_load where open_weight = 0").await, 1);
    assert_eq!(office.count("leads where status = 'lost' and owner_id is not null").await, 1);
    assert_eq!(office.count("lead_assignments where ended_at is null").await, 1);
    assert_eq!(office.count("audit_event where action = 'capacity.freed'").await, 1);
    change(&office, id, 4, "interested").await.unwrap();
    assert_eq!(office.count("agent_load where open_weight = 1").await, 1);
}

#[tokio::test]
async fn an_owner_at_capacity_cannot_open_a_closed_lead_again() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    change(&office, id, 2, "lost").await.unwrap();
    for number in [2, 3] {
        let other = office.arrive(&office.person(number)).await.lead();
        office.give(other, agent).await;
    }
    let refused = change(&office, id, 3, "interested").await;
    assert!(matches!(refused, Err(LeadError::Distribution(DistributionError::AtCapacity))));
    assert_eq!(office.count("leads where status = 'lost'").await, 1);
}

#[tokio::test]
async fn a_waiting_lead_leaves_the_queue_when_closed_and_enters_it_when_opened() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    change(&office, id, 1, "no_answer").await.unwrap();
    assert_eq!(office.count("leads where waiting_since = created_at").await, 1, "it keeps its place");
    change(&office, id, 2, "lost").await.unwrap();
    assert_eq!(office.count("leads where waiting_since is null").await, 1);
    change(&office, id, 3, "new").await.unwrap();
    assert_eq!(office.count("leads where waiting_since > created_at").await, 1);
    assert_eq!(office.audited(id).await.last().map(String::as_str), Some("lead.reopened"));
}
