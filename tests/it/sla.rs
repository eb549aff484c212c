//! Promises about time, kept by real workers over a clock that is moved.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Europe::Istanbul;
use sira_domain::calendars::{self, Block};
use sira_domain::identity::Role;
use sira_domain::leads::{self, Scope, StatusChange};
use sira_domain::nouns::{LeadId, UserId};
use sira_domain::sla::{self, Policy, Target};
use sira_domain::{follow_ups, notifications};
use sira_engine::{Effect, NewJob};
use sira_jobs::sla::{RescheduleCalendar, RescheduleTimers};
use sira_kernel::Actor;
use uuid::Uuid;

use crate::house::House;

const OWNED: &str = "select count(*) from leads where owner_id is not null";
pub const WAITING: &str =
    "select count(*) from engine.workflows where kind = 'sla.timer' and status = 'waiting' and not due";
const LIVE: &str = "select count(*) from sla_timers where ended_at is null";
pub const REMINDED: &str = "select count(*) from notifications where code = 'sla.reminder'";
pub const BREACHED: &str = "select count(*) from notifications where code = 'sla.breached'";
pub const ESCALATED: &str = "select count(*) from notifications where code = 'sla.escalated'";
const DRAIN: Duration = Duration::from_secs(5);

/// Monday to Friday, nine to six, without holidays: any Friday of the test's own time will do.
pub async fn office_hours(house: &House) {
    let blocks = (1..=5).map(|weekday| Block { weekday, starts_minute: 540, ends_minute: 1080 }).collect();
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let calendar = calendars::find_default(uow.conn()).await.unwrap().unwrap();
    calendars::replace_calendar(&mut uow, calendar, "Europe/Istanbul", blocks, Vec::new()).await.unwrap();
    uow.commit().await.unwrap();
}

/// Moves the time to the next such moment on the clock of Istanbul.
pub fn go_to(house: &House, weekday: Weekday, hour: u32, minute: u32) {
    let now = house.parts.cx.clock.now().with_timezone(&Istanbul);
    let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
    let ahead = (0..=7).map(|days| (now + TimeDelta::days(days)).date_naive());
    let at: DateTime<Utc> = ahead
        .filter(|date| date.weekday() == weekday)
        .map(|date| Istanbul.from_local_datetime(&date.and_time(time)).single().unwrap().to_utc())
        .find(|at| *at > now)
        .unwrap();
    house.advance(at - now.to_utc());
}

/// The only one.
pub async fn lead(house: &House) -> LeadId {
    let id: Uuid = sqlx::query_scalar("select id from leads").fetch_one(&house.db.pool).await.unwrap();
    id.into()
}

async fn change(house: &House, to: &str) {
    let lead = lead(house).await;
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let change = StatusChange { lead, expected_version: None, to, reason: None, role: Some(Role::Agent) };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
}

/// A lead that an agent of a team with a manager got on a Friday at ten to six.
async fn friday_lead(house: &House) -> (UserId, UserId, UserId) {
    office_hours(house).await;
    let team = house.team("Ankara").await;
    let admin = house.person("admin", Role::Admin, None).await;
    let manager = house.person("manager", Role::Manager, Some(team)).await;
    let agent = house.agent_of("agent", 10, Some(team)).await;
    go_to(house, Weekday::Fri, 17, 50);
    house.announce(&[house.lead()]).await;
    (admin, manager, agent)
}

async fn told(house: &House, user: UserId) -> Vec<String> {
    let mut conn = house.parts.cx.db.read().await.unwrap();
    let rows = notifications::list(&mut conn, user, false, None, 50).await.unwrap();
    rows.into_iter().rev().map(|row| row.code).collect()
}

#[tokio::test]
async fn a_lead_of_friday_evening_is_reminded_on_monday_morning_once() {
    let house = House::new().await;
    let running = house.work().await;
    let (_, _, agent) = friday_lead(&house).await;
    house.until(1, WAITING).await;
    let due: DateTime<Utc> =
        sqlx::query_scalar("select due_at from sla_timers").fetch_one(&house.db.pool).await.unwrap();
    let due = due.with_timezone(&Istanbul);
    // Ten minutes of the half hour were used up on Friday.
    assert_eq!((due.weekday(), due.format("%H:%M").to_string().as_str()), (Weekday::Mon, "09:20"));
    for (weekday, hour, minute) in [(Weekday::Fri, 23, 0), (Weekday::Sun, 12, 0), (Weekday::Mon, 9, 3)] {
        go_to(&house, weekday, hour, minute);
        house.quiet().await;
        assert_eq!(house.count(REMINDED).await, 0, "{weekday} {hour}:{minute}");
    }
    go_to(&house, Weekday::Mon, 9, 6);
    house.until(1, REMINDED).await;
    go_to(&house, Weekday::Mon, 9, 18);
    house.quiet().await;
    assert_eq!(told(&house, agent).await, ["sla.reminder"]);
    assert_eq!(house.count("select count(*) from timeline_entries where code = 'sla.reminded'").await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_promise_that_is_not_kept_goes_up_step_by_step_to_the_admin_queue() {
    let house = House::new().await;
    let running = house.work().await;
    let (admin, manager, agent) = friday_lead(&house).await;
    house.until(1, WAITING).await;
    go_to(&house, Weekday::Mon, 9, 21);
    house.until(1, BREACHED).await;
    house.until(1, ESCALATED).await;
    house.quiet().await;
    // Both were late: the reminder of a promise that is broken already is not sent.
    assert_eq!(told(&house, agent).await, ["sla.breached"]);
    assert_eq!(told(&house, manager).await, ["sla.escalated"], "nobody leads the team: its manager does");
    assert_eq!(house.count("select count(*) from sla_timers where breached_at is not null").await, 1);

    let mut conn = house.parts.cx.db.read().await.unwrap();
    let now = house.parts.cx.clock.now();
    let overdue = |scope| (scope, (None, None));
    for (scope, expected) in [(Scope::All, 1), (Scope::Own(agent), 1), (Scope::Own(manager), 0)] {
        let (scope, whose) = overdue(scope);
        let rows = sla::list_overdue(&mut conn, scope, whose, now, None, 10).await.unwrap();
        assert_eq!(rows.len(), expected, "{scope:?}");
    }
    let counts = sla::count_overdue(&mut conn, Scope::All, now).await.unwrap();
    assert_eq!((counts[0].owner_id, counts[0].overdue), (Some(agent.uuid()), 1));
    drop(conn);

    go_to(&house, Weekday::Mon, 9, 51);
    house.until(2, ESCALATED).await;
    go_to(&house, Weekday::Mon, 11, 21);
    house.until(1, "select count(*) from leads where queue = 'admin' and owner_id is null").await;
    house.quiet().await;
    assert_eq!(told(&house, admin).await, ["sla.escalated"]);
    assert_eq!(house.count(LIVE).await, 0);
    assert_eq!(house.count("select open_weight from agent_load").await, 0);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_change_of_status_keeps_the_promise_in_its_own_transaction() {
    let house = House::new().await;
    let running = house.work().await;
    friday_lead(&house).await;
    house.until(1, WAITING).await;
    change(&house, "interested").await;
    let superseded =
        "select count(*) from engine.workflows where kind = 'sla.timer' and status = 'superseded'";
    assert_eq!(house.count(superseded).await, 1, "with the change, not later");
    let kept = "select count(*) from sla_timers where state = 'satisfied' and end_reason = 'status' \
                and breached_at is null";
    assert_eq!(house.count(kept).await, 1);
    house
        .until(1, "select count(*) from sla_timers where policy = 'keep_interested' and state = 'running'")
        .await;
    go_to(&house, Weekday::Mon, 12, 0);
    house.quiet().await;
    assert_eq!(house.count(REMINDED).await + house.count(BREACHED).await, 0);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_timer_killed_after_every_step_tells_nobody_twice() {
    let house = House::new().await;
    let mut running = house.work().await;
    let (_, manager, agent) = friday_lead(&house).await;
    house.until(1, WAITING).await;
    let steps = [
        (Weekday::Mon, 9, 6, REMINDED, 1),
        (Weekday::Mon, 9, 21, BREACHED, 1),
        (Weekday::Mon, 9, 51, ESCALATED, 2),
    ];
    for (weekday, hour, minute, what, expected) in steps {
        // Dropped without a drain, as if the process had been killed.
        drop(running);
        go_to(&house, weekday, hour, minute);
        running = house.work().await;
        house.until(expected, what).await;
        house.until(1, WAITING).await;
    }
    drop(running);
    go_to(&house, Weekday::Mon, 11, 30);
    let running = house.work().await;
    house.until(1, "select count(*) from leads where queue = 'admin'").await;
    house.quiet().await;
    assert_eq!(told(&house, agent).await, ["sla.reminder", "sla.breached"]);
    assert_eq!(told(&house, manager).await, ["sla.escalated", "sla.escalated"]);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_time_agreed_with_the_person_pauses_the_promise_and_reminds_once() {
    let house = House::new().await;
    let mut running = house.work().await;
    let (_, _, agent) = friday_lead(&house).await;
    house.until(1, WAITING).await;
    let lead = lead(&house).await;
    let at = house.parts.cx.clock.now() + TimeDelta::days(4); // Tuesday, 17:50.
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    follow_ups::plan(&mut uow, lead, agent, at).await.unwrap();
    uow.commit().await.unwrap();
    house.until(1, "select count(*) from sla_timers where state = 'paused' and due_at is null").await;
    house.until(1, WAITING).await;
    drop(running);
    go_to(&house, Weekday::Tue, 12, 0);
    running = house.work().await;
    house.quiet().await;
    assert_eq!(told(&house, agent).await, Vec::<String>::new(), "it waits until then");
    go_to(&house, Weekday::Tue, 17, 51);
    let due = "select count(*) from notifications where code = 'follow_up.due'";
    house.until(1, due).await;
    house.until(1, "select count(*) from sla_timers where state = 'running'").await;
    house.quiet().await;
    // Nothing was used up before the pause: half an hour from Tuesday 17:50 is Wednesday 9:20.
    let due_at: DateTime<Utc> =
        sqlx::query_scalar("select due_at from sla_timers").fetch_one(&house.db.pool).await.unwrap();
    let due_at = due_at.with_timezone(&Istanbul);
    assert_eq!((due_at.weekday(), due_at.format("%H:%M").to_string().as_str()), (Weekday::Wed, "09:20"));
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    assert!(follow_ups::close(&mut uow, lead, "done").await.unwrap());
    assert!(!follow_ups::close(&mut uow, lead, "done").await.unwrap());
    uow.commit().await.unwrap();
    assert_eq!(house.count(due).await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_changed_policy_moves_the_promises_under_way() {
    let house = House::new().await;
    let running = house.work().await;
    let (_, _, agent) = friday_lead(&house).await;
    house.until(1, WAITING).await;
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let policies = sla::list_policies(uow.conn()).await.unwrap();
    let policy = policies.into_iter().find(|policy| policy.code == "first_response").unwrap();
    let longer = Policy { due_s: 7200, remind_at_s: vec![5400], ..policy };
    sla::set_policy(&mut uow, &longer).await.unwrap();
    uow.commit().await.unwrap();
    let moved = "select count(*) from sla_timers where due_at > running_since + interval '60 hours' \
                 and (due_at at time zone 'Europe/Istanbul')::time between '10:49' and '10:51'";
    house.until(1, moved).await;
    house.quiet().await;
    go_to(&house, Weekday::Mon, 9, 30);
    house.quiet().await;
    assert_eq!(told(&house, agent).await, Vec::<String>::new(), "the old times are none");
    go_to(&house, Weekday::Mon, 10, 21);
    house.until(1, REMINDED).await;
    // Running the jobs again changes nothing.
    let mut conn = house.parts.cx.db.read().await.unwrap();
    let calendar = calendars::find_default(&mut conn).await.unwrap().unwrap();
    drop(conn);
    let again = RescheduleTimers { policy: "first_response".to_owned(), after: None };
    house
        .apply(&[Effect::Job(NewJob::of(&again)), Effect::Job(NewJob::of(&RescheduleCalendar { calendar }))])
        .await;
    house.until(1, "select count(*) from engine.finished where kind = 'sla.reschedule_calendar'").await;
    house.quiet().await;
    assert_eq!(house.count(moved).await, 1);
    assert_eq!(told(&house, agent).await, ["sla.reminder"]);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn the_one_who_leads_the_team_is_told_first() {
    let house = House::new().await;
    let running = house.work().await;
    let (_, manager, agent) = friday_lead(&house).await;
    let leader = house.person("leader", Role::Agent, None).await;
    sqlx::query("update teams set lead_id = $1").bind(leader.uuid()).execute(&house.db.pool).await.unwrap();
    house.until(1, OWNED).await;
    house.until(1, WAITING).await;
    go_to(&house, Weekday::Mon, 9, 21);
    house.until(1, ESCALATED).await;
    house.quiet().await;
    assert_eq!(told(&house, leader).await, ["sla.escalated"]);
    assert_eq!(told(&house, manager).await, Vec::<String>::new());
    assert_eq!(told(&house, agent).await, ["sla.breached"]);
    let to = serde_json::to_value(Target::TeamLead).unwrap();
    let entry: serde_json::Value =
        sqlx::query_scalar("select body->'to' from timeline_entries where code = 'sla.escalated'")
            .fetch_one(&house.db.pool)
            .await
            .unwrap();
    assert_eq!(entry, to);
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_late_start_does_not_delay_and_a_test_lead_has_no_promise() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead(), house.lead()]).await;
    house.until(2, OWNED).await;
    house.until(2, LIVE).await;
    house.quiet().await;
    let unstarted = "select count(*) from sla_timers timer where not exists (
        select from engine.workflows where kind = 'sla.timer' and key = timer.lead_id || ':' || timer.policy)";
    assert_eq!(house.count(unstarted).await, 0, "a timer and its workflow are one commit");
    let started = "select count(*) from sla_timers timer join lead_assignments assignment using (lead_id)
                   where timer.started_at = assignment.assigned_at";
    assert_eq!(house.count(started).await, 2, "it counts from the assignment");
    running.drain(DRAIN).await;
}
