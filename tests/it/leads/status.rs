//! Status changes.

use chrono::TimeDelta;
use sira_domain::distribution::DistributionError;
use sira_domain::identity::Role;
use sira_domain::leads::{self, LeadError, StatusChange, StatusChanged};
use sira_domain::nouns::LeadId;
use sira_domain::privacy::Subject;

use super::office::Office;

async fn change(office: &Office, id: LeadId, version: i64, to: &str) -> Result<StatusChanged, LeadError> {
    change_as(office, id, to, (Some(version), Some("spoke_to_them"), Some(Role::Manager))).await
}

async fn change_as(
    office: &Office,
    lead: LeadId,
    to: &str,
    (expected_version, reason, role): (Option<i64>, Option<&str>, Option<Role>),
) -> Result<StatusChanged, LeadError> {
    let mut uow = office.begin().await;
    let change = StatusChange { lead, expected_version, to, reason, role };
    let changed = leads::change_status(&mut uow, &change).await?;
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
    let detail = leads::get_detail(&mut conn, leads::Scope::All, id, office.test.clock.now()).await.unwrap();
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
    let words = change_as(&office, id, "lost", (Some(1), Some("Ayşe said no"), None)).await;
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
    change(&office, id, 4, "new").await.unwrap();
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
    let refused = change(&office, id, 3, "new").await;
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

#[tokio::test]
async fn only_what_the_table_allows_follows_and_the_refusal_lists_it() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    for (to, role) in [("sale", Role::Admin), ("qualified", Role::Manager), ("proposal", Role::Agent)] {
        let refused = change_as(&office, id, to, (None, None, Some(role))).await;
        let Err(LeadError::TransitionNotAllowed { allowed }) = refused else { panic!("{to}: {refused:?}") };
        let expected = ["no_answer", "interested", "not_interested", "wrong_number", "blocked", "lost"];
        assert_eq!(allowed, expected, "{to}");
    }
    for to in ["interested", "qualified", "proposal", "sale"] {
        change_as(&office, id, to, (None, None, Some(Role::Agent))).await.unwrap();
    }
    let agent = change_as(&office, id, "new", (None, None, Some(Role::Agent))).await;
    assert!(matches!(agent, Err(LeadError::TransitionNotAllowed { allowed }) if allowed.is_empty()));
    change_as(&office, id, "new", (None, None, Some(Role::Manager))).await.unwrap();
}

#[tokio::test]
async fn a_lost_lead_says_why() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let refused = change_as(&office, id, "lost", (None, None, None)).await;
    assert!(matches!(refused, Err(LeadError::ReasonRequired)));
    assert_eq!(office.count("lead_status_history").await, 1);
    change_as(&office, id, "lost", (None, Some("price"), None)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_number_takes_the_lead_from_its_owner_until_it_is_corrected() {
    let office = Office::open().await;
    let person = office.person(1);
    let id = office.arrive(&person).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    change_as(&office, id, "wrong_number", (None, None, Some(Role::Agent))).await.unwrap();
    let queued = "leads where queue = 'admin' and owner_id is null and waiting_since is null";
    assert_eq!(office.count(queued).await, 1);
    assert_eq!(office.count("agent_load where open_weight = 0").await, 1);
    assert_eq!(office.count("lead_assignments where end_reason = 'wrong_number'").await, 1);
    let cooling = "cooling_offs where ended_at is null and until = opened_at + interval '90 days'";
    assert_eq!(office.count(cooling).await, 1);
    assert_eq!(office.count("lead_contacts where kind = 'phone' and invalid_since is not null").await, 1);

    let mut uow = office.begin().await;
    let early = leads::redistribute(&mut uow, id, Some(Role::Admin)).await;
    assert!(matches!(early, Err(LeadError::Uncontactable)), "{early:?}");
    drop(uow);
    let agent_may_not = change_as(&office, id, "new", (None, None, Some(Role::Agent))).await;
    assert!(matches!(agent_may_not, Err(LeadError::TransitionNotAllowed { .. })));

    // The number's true owner is another person.
    let other = office.arrive(&person).await.lead();
    assert_ne!(other, id);
    let phone = leads::prepare_phone(
        &office.cipher,
        &office.cipher.key(Subject::Lead(id)).await.unwrap(),
        &person.phones[0],
    );
    let mut uow = office.begin().await;
    let taken = leads::correct_phone(&mut uow, id, &phone).await;
    assert!(matches!(taken, Err(LeadError::PhoneTaken)), "{taken:?}");
    drop(uow);

    let right = office.person(2).phones[0].clone();
    let key = office.cipher.key(Subject::Lead(id)).await.unwrap();
    let phone = leads::prepare_phone(&office.cipher, &key, &right);
    let mut uow = office.begin().await;
    leads::correct_phone(&mut uow, id, &phone).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(
        office.count("leads where queue = 'pool' and status = 'new' and waiting_since is not null").await,
        2
    );
    assert_eq!(
        office.audited(id).await,
        [
            "lead.created",
            "lead.status_changed",
            "cooling_off.opened",
            "lead.taken",
            "lead.queued",
            "contact.corrected",
            "lead.status_changed",
            "lead.unqueued",
            "lead.redistributed",
            "sla.ended",
        ],
    );
}

#[tokio::test]
async fn a_blocked_lead_is_called_by_nobody_and_given_to_another() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    change_as(&office, id, "blocked", (None, None, Some(Role::Agent))).await.unwrap();
    let withdrawn = "consent_ledger where channel = 'call' and decision = 'withdrawn' and source = 'blocked'";
    assert_eq!(office.count(withdrawn).await, 2, "for both purposes");
    assert_eq!(office.count("leads where queue = 'admin'").await, 1);
    let mut uow = office.begin().await;
    assert!(leads::redistribute(&mut uow, id, None).await.unwrap());
    assert!(!leads::redistribute(&mut uow, id, None).await.unwrap(), "once");
    uow.commit().await.unwrap();
    assert_eq!(office.count("leads where queue = 'pool' and waiting_since is not null").await, 1);
}
