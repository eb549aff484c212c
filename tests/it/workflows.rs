//! Claims about the product's workflows.

mod killed;
mod killer;

use chrono::TimeDelta;

use crate::house::House;

const WATCHES: &str = "select count(*) from engine.workflows where kind = 'distribution.assignment_watch'";
const SLEEPING_WATCHES: &str = "select count(*) from engine.workflows where kind = 'distribution.assignment_watch' and status = 'sleeping' and not due";
const ENDED_WATCHES: &str = "select count(*) from engine.workflows where kind = 'distribution.assignment_watch' and status = 'superseded'";
const ALARMS: &str = "select count(*) from audit_event where action = 'lead.waits_too_long'";
const OWNED: &str = "select count(*) from leads where owner_id is not null";

#[tokio::test]
async fn a_watch_ends_when_its_lead_is_assigned() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead(), house.lead()]).await;
    house.until(2, ENDED_WATCHES).await;
    house.quiet().await;
    assert_eq!(house.count(WATCHES).await, 2);
    assert_eq!(house.count(OWNED).await, 2);
    assert_eq!(house.count(ALARMS).await, 0);
    running.drain(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lead_that_waits_too_long_is_reported_until_somebody_takes_it() {
    let house = House::new().await;
    let running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, SLEEPING_WATCHES).await;
    house.advance(TimeDelta::seconds(61));
    house.until(1, ALARMS).await;
    // The next pause is twice as long: a minute more is not enough.
    house.until(1, SLEEPING_WATCHES).await;
    house.advance(TimeDelta::seconds(61));
    house.quiet().await;
    assert_eq!(house.count(ALARMS).await, 1);
    house.advance(TimeDelta::seconds(61));
    house.until(2, ALARMS).await;
    // Capacity appears: the waiting lead is assigned at once, and the watch ends.
    house.agent("agent", 10).await;
    house.until(1, ENDED_WATCHES).await;
    assert_eq!(house.count(OWNED).await, 1);
    running.drain(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_watch_killed_after_every_step_reports_no_alarm_twice() {
    let house = House::new().await;
    let mut running = house.work().await;
    house.announce(&[house.lead()]).await;
    house.until(1, SLEEPING_WATCHES).await;
    for (step, pause) in [61, 121, 241].into_iter().enumerate() {
        // Dropped without a drain, as if the process had been killed.
        drop(running);
        house.advance(TimeDelta::seconds(pause));
        running = house.work().await;
        house.until(i64::try_from(step).unwrap() + 1, ALARMS).await;
        house.until(1, SLEEPING_WATCHES).await;
    }
    drop(running);
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.until(1, ENDED_WATCHES).await;
    house.quiet().await;
    assert_eq!(house.count(ALARMS).await, 3);
    let steps = "select count(*) from engine.workflow_steps step join engine.workflows watch on watch.id = step.workflow_id
                 where watch.kind = 'distribution.assignment_watch'";
    assert_eq!(house.count(steps).await, 4, "three alarms, the end");
    running.drain(std::time::Duration::from_secs(5)).await;
}
