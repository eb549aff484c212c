//! Claims about the product's jobs, run by real workers: the happy path, run twice, each class of failure.

use std::time::Duration;

use chrono::TimeDelta;
use sira_engine::{Effect, NewJob};
use sira_jobs::distribution::AssignLeads;
use sira_jobs::ingestion::FetchMetaLead;
use sira_sandbox::Failure;

use crate::house::House;

const LEADS: &str = "select count(*) from leads";
const OWNED: &str = "select count(*) from leads where owner_id is not null";
const ENQUIRIES: &str = "select count(*) from lead_enquiries";
const SETTLED: &str = "select count(*) from inbound_events where state = 'settled'";
const QUARANTINED: &str = "select count(*) from inbound_events where state = 'quarantined'";
const SCHEDULED: &str = "select count(*) from engine.jobs where state = 'scheduled'";
const DRAIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_announced_lead_gets_an_owner_with_the_reason_stored() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, OWNED).await;
    house.quiet().await;
    assert_eq!(house.count(SETTLED).await, 1);
    assert_eq!(house.count("select count(*) from routing_decisions where chosen is not null").await, 1);
    assert_eq!(house.count("select count(*) from lead_assignments where ended_at is null").await, 1);
    assert!(house.count("select count(*) from consent_ledger").await > 0);
    let audited = "select count(distinct action) from audit_event \
                   where action in ('inbound.accepted', 'lead.created', 'leads.assigned')";
    assert_eq!(house.count(audited).await, 3);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn fetching_and_assigning_twice_changes_nothing() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    let inbound = house.announce(&[house.lead()]).await;
    house.until(1, OWNED).await;
    house.quiet().await;
    house.apply(&[Effect::Job(NewJob::of(&FetchMetaLead { inbound: inbound[0] }))]).await;
    house.apply(&[Effect::Job(NewJob::of(&AssignLeads { pool: house.pool }))]).await;
    house.until(2, "select count(*) from engine.finished where kind = 'ingestion.fetch_meta_lead'").await;
    house.quiet().await;
    assert_eq!(house.count(LEADS).await, 1);
    assert_eq!(house.count(ENQUIRIES).await, 1);
    assert_eq!(house.count("select count(*) from lead_assignments").await, 1);
    assert_eq!(house.count("select sum(open_weight) from agent_load").await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn redelivery_causes_no_second_fetch() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    let lead = [house.lead()];
    assert_eq!(house.announce(&lead).await.len(), 1);
    house.until(1, OWNED).await;
    for _ in 0..3 {
        assert!(house.announce(&lead).await.is_empty());
    }
    house.quiet().await;
    let fetches =
        house.sandbox.ledger().iter().filter(|entry| entry.kind == sira_sandbox::LedgerKind::Fetch).count();
    assert_eq!(fetches, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_without_spending_attempts() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let lead = house.lead();
    house.sandbox.fail_lead(&lead.id, Failure::RateLimited, 12);
    let running = house.work().await;
    house.announce(&[lead]).await;
    // More often than the job has attempts.
    for snoozed in 1..=12 {
        house.until(snoozed, "select count(*) from engine.attempts where outcome = 'snoozed'").await;
        house.until(1, SCHEDULED).await;
        house.advance(TimeDelta::hours(25));
    }
    house.until(1, OWNED).await;
    assert_eq!(house.count("select max(attempt) from engine.finished where kind like 'ingestion%'").await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_again_and_nothing_is_lost() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let lead = house.lead();
    house.sandbox.fail_lead(&lead.id, Failure::ServerError, 2);
    let running = house.work().await;
    house.announce(&[lead]).await;
    for failed in 1..=2 {
        house.until(failed, "select count(*) from engine.attempts where outcome = 'failed'").await;
        house.advance(TimeDelta::minutes(11));
    }
    house.until(1, OWNED).await;
    assert_eq!((house.count(LEADS).await, house.count(QUARANTINED).await), (1, 0));
    assert_eq!(house.count("select max(attempt) from engine.finished where kind like 'ingestion%'").await, 3);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_fetch_that_fails_for_good_ends_in_quarantine() {
    let house = House::new().await;
    let lead = house.lead();
    house.sandbox.fail_lead(&lead.id, Failure::NotFound, 100);
    let running = house.work().await;
    house.announce(&[lead]).await;
    // A lead just announced may be missing for some minutes.
    house.until(1, "select count(*) from engine.attempts where outcome = 'failed'").await;
    assert_eq!(house.count(QUARANTINED).await, 0);
    house.advance(TimeDelta::minutes(11));
    house.until(1, QUARANTINED).await;
    house.quiet().await;
    assert_eq!(house.count(LEADS).await, 0);
    assert_eq!(house.count("select count(*) from audit_event where action = 'inbound.quarantined'").await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_burst_is_assigned_by_few_jobs() {
    let house = House::new().await;
    house.agent("one", 300).await;
    house.agent("two", 300).await;
    let leads: Vec<_> = (0..200).map(|_| house.lead()).collect();
    house.announce(&leads).await;
    let running = house.work().await;
    house.until(200, OWNED).await;
    house.quiet().await;
    let jobs =
        house.count("select count(*) from engine.finished where kind = 'distribution.assign_leads'").await;
    assert!(jobs < 200, "{jobs} jobs for 200 leads");
    let spread = "select max(open_weight) - min(open_weight) from agent_load";
    assert!(house.count(spread).await <= 1, "equal weights share equally");
    running.drain(DRAIN).await;
}
