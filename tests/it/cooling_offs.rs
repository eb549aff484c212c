//! Cooling-off binds routing, and its end assigns what waits only for it.

use chrono::TimeDelta;
use sira_domain::distribution::{self, routing::Exclusion};
use sira_domain::identity::Role;
use sira_domain::leads::{self, StatusChange};
use sira_domain::nouns::{CoolingOffId, LeadId, UserId};
use sira_engine::{Effect, NewJob};
use sira_jobs::distribution::ExpireCoolingOff;
use sira_kernel::Actor;
use uuid::Uuid;

use crate::house::House;

const OWNED: &str = "select count(*) from leads where owner_id is not null";
const QUEUED: &str = "select count(*) from leads where queue = 'admin'";
const WAITING: &str = "select count(*) from leads where waiting_since is not null";
const LIVE: &str = "select count(*) from cooling_offs where ended_at is null";

async fn change(house: &House, to: &str) {
    let lead: Uuid = sqlx::query_scalar("select id from leads").fetch_one(&house.db.pool).await.unwrap();
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let change = StatusChange {
        lead: LeadId::from_uuid(lead),
        expected_version: None,
        to,
        reason: None,
        role: Some(Role::Admin),
    };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
}

async fn owner(house: &House) -> UserId {
    let owner: Uuid =
        sqlx::query_scalar("select owner_id from leads").fetch_one(&house.db.pool).await.unwrap();
    owner.into()
}

#[tokio::test]
async fn a_blocked_lead_goes_back_after_a_day_and_never_to_the_same_agent() {
    let house = House::new().await;
    let (one, two) = (house.agent("one", 10).await, house.agent("two", 10).await);
    let mut running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, OWNED).await;
    let first = owner(&house).await;
    change(&house, "blocked").await;
    house.until(1, QUEUED).await;
    house.until(1, "select count(*) from engine.workflows where kind = 'distribution.admin_queue' and status = 'sleeping'").await;
    // Dropped without a drain, as if the process had been killed.
    drop(running);
    house.advance(TimeDelta::hours(23));
    running = house.work().await;
    house.quiet().await;
    assert_eq!(house.count(QUEUED).await, 1, "not before its time");
    drop(running);
    house.advance(TimeDelta::hours(2));
    running = house.work().await;
    house.until(1, OWNED).await;
    let second = owner(&house).await;
    assert_ne!(first, second);
    assert!([one, two].contains(&second));
    let mut conn = house.parts.cx.db.read().await.unwrap();
    let lead: Uuid = sqlx::query_scalar("select id from leads").fetch_one(&house.db.pool).await.unwrap();
    let trace = distribution::explain(&mut conn, lead.into()).await.unwrap().unwrap();
    let excluded = trace.candidates.iter().find(|candidate| candidate.user.id == first).unwrap();
    assert_eq!(excluded.excluded, Some(Exclusion::CoolingOff));
    assert_eq!(trace.reproduced, Some(true), "what it saw is stored");
    running.drain(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lead_that_waits_only_for_a_cooling_off_is_assigned_at_its_end() {
    let house = House::new().await;
    let only = house.agent("only", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, OWNED).await;
    change(&house, "blocked").await;
    house.until(1, "select count(*) from engine.workflows where kind = 'distribution.admin_queue' and status = 'sleeping'").await;
    house.advance(TimeDelta::hours(25));
    house.until(1, WAITING).await;
    house.quiet().await;
    assert_eq!(house.count(LIVE).await, 1);
    let why = "select count(*) from routing_decisions where reason = 'nobody_eligible'";
    assert_eq!(house.count(why).await, 1);
    house.advance(TimeDelta::days(180));
    house.until(1, OWNED).await;
    assert_eq!(owner(&house).await, only);
    assert_eq!(house.count(LIVE).await, 0);
    running.drain(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn ending_a_cooling_off_twice_or_too_early_changes_nothing() {
    let house = House::new().await;
    house.agent("only", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, OWNED).await;
    change(&house, "wrong_number").await;
    let id: Uuid = sqlx::query_scalar("select id from cooling_offs").fetch_one(&house.db.pool).await.unwrap();
    let again = || Effect::Job(NewJob::of(&ExpireCoolingOff { cooling_off: CoolingOffId::from_uuid(id) }));
    let runs = "select count(*) from engine.finished where kind = 'distribution.expire_cooling_off'";
    house.apply(&[again()]).await;
    house.until(1, runs).await;
    assert_eq!(house.count(LIVE).await, 1, "its time has not come");
    house.advance(TimeDelta::days(91));
    house.until(2, runs).await;
    house.apply(&[again()]).await;
    house.until(3, runs).await;
    assert_eq!(house.count("select count(*) from audit_event where action = 'cooling_off.ended'").await, 1);
    running.drain(std::time::Duration::from_secs(5)).await;
}
