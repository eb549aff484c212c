//! Every workflow of the product, killed at every step, comes to the same end as one that nobody disturbed.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Weekday};
use sira_domain::identity::Role;
use sira_domain::leads::{self, StatusChange};
use sira_domain::nouns::UserId;
use sira_domain::{distribution, follow_ups};
use sira_kernel::Actor;
use sira_sandbox::{CallAnswer, CallScript};

use super::killer::Killer;
use super::{ALARMS, OWNED, SLEEPING_WATCHES};
use crate::calls::office::CallOffice;
use crate::house::{DRAIN, House};
use crate::sla::{BREACHED, ESCALATED, REMINDED, WAITING, go_to, lead, office_hours};

/// Steps that the story has at least, by how often its promises, calls and reminders wake.
const STEPS_MIN: i64 = 12;
const QUEUED: &str = "select count(*) from leads where queue = 'admin'";
const PAUSED: &str = "select count(*) from sla_timers where state = 'paused'";
const BREACHED_AUDITED: &str = "select count(*) from audit_event where action = 'sla.breached'";
const DUE: &str = "select count(*) from notifications where code = 'follow_up.due'";
const REMINDER_ASLEEP: &str = "select count(*) from engine.workflows
    where kind = 'leads.follow_up_reminder' and status = 'sleeping' and not due";
const SESSION_ASLEEP: &str = "select count(*) from engine.workflows
    where kind = 'calls.call_session' and (not due or finished_at is not null)";
const RELEASE_ASLEEP: &str = "select count(*) from engine.workflows
    where kind = 'distribution.admin_queue' and status = 'sleeping' and not due";
const KINDS: &str = "select distinct 'step:' || kind from engine.workflows w
    where exists (select from engine.workflow_steps where workflow_id = w.id and decision <> 'superseded')";

/// What anybody could notice afterwards, one line each: how workflows ended, who was told what, what is in the audit log and
/// in leads' timelines, and how leads, promises and calls stand.
const OUTCOME: &str = "
    select 'workflow ' || kind || ' ' || status from engine.workflows
    union all select 'audited ' || action || ' by ' || actor_kind from audit_event
    union all select 'told ' || code from timeline_entries
    union all select 'notified ' || username || ' ' || code from notifications join users on users.id = user_id
    union all select 'lead ' || status || ' of ' || coalesce(username, 'nobody')
        from leads left join users on users.id = owner_id
    union all select 'promise ' || policy || ' ' || state || coalesce(' ' || end_reason, '')
        || case when breached_at is null then '' else ' late' end from sla_timers
    union all select 'call ' || status from calls
    union all select 'job ' || kind || ' is dead' from engine.jobs where state = 'dead'
    order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn every_workflow_killed_at_every_step_ends_as_one_that_nobody_disturbed() {
    let calm = CallOffice::open().await;
    let running = calm.house.work().await;
    two_leads(&calm).await;
    running.drain(DRAIN).await;
    let registry = sira_workflows::registry();
    let registered: BTreeSet<String> =
        registry.kinds().filter(|kind| kind.workflow).map(|kind| kind.name.clone()).collect();
    let taken: Vec<String> = sqlx::query_scalar(KINDS).fetch_all(&calm.house.db.pool).await.unwrap();
    assert_eq!(BTreeSet::from_iter(taken), registered, "the story has a step of every workflow");

    let office = CallOffice::open().await;
    let mut killer = Killer::new(&office.house).await;
    tokio::select! {
        () = killer.kill_at_every_step() => {}
        () = two_leads(&office) => {}
    }
    assert_eq!(outcome(&office.house).await, outcome(&calm.house).await);
    assert!(killer.steps >= STEPS_MIN, "{} steps", killer.steps);
}

/// A lead that nobody takes for a minute, who then is called in vain and forgotten; and one who wanted to be called the next
/// day, and then says stop.
async fn two_leads(office: &CallOffice) {
    let house = &office.house;
    let agent = office.agent();
    office_hours(house).await;
    set_limit(house, agent, 0).await;
    go_to(house, Weekday::Fri, 17, 40);
    house.announce(&[house.lead()]).await;
    house.until(1, SLEEPING_WATCHES).await;
    house.advance(TimeDelta::seconds(61));
    house.until(1, ALARMS).await;
    house.until(1, SLEEPING_WATCHES).await;
    set_limit(house, agent, 10).await;
    house.until(1, OWNED).await;
    house.until(1, WAITING).await;

    let answer = CallAnswer::ServerError;
    house.sandbox.script_next_call(CallScript { answer, ..CallScript::default() });
    let (status, call) = office.call(&lead(house).await.to_string(), "one").await;
    assert!(status == 201 || status == 202, "{call}");
    // A call whose order was not answered is asked for, at the latest when it can no longer be ringing.
    house.until(1, SESSION_ASLEEP).await;
    house.advance(TimeDelta::seconds(46));
    office.until(&call, "unknown").await;
    house.quiet().await;

    for (hour, minute, what, expected) in
        [(9, 6, REMINDED, 1), (9, 21, BREACHED, 1), (9, 51, ESCALATED, 2), (11, 21, QUEUED, 1)]
    {
        go_to(house, Weekday::Mon, hour, minute);
        house.until(expected, what).await;
        house.quiet().await;
    }

    let second = office.lead().await.parse().unwrap();
    house.until(1, WAITING).await;
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let tomorrow = uow.now() + TimeDelta::days(1);
    follow_ups::plan(&mut uow, second, agent, tomorrow).await.unwrap();
    uow.commit().await.unwrap();
    house.until(1, PAUSED).await;
    house.until(1, REMINDER_ASLEEP).await;
    house.quiet().await;
    go_to(house, Weekday::Tue, 11, 30);
    house.until(1, DUE).await;
    house.quiet().await;

    let other = house.agent("other", 10).await;
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let blocked = StatusChange {
        lead: second,
        expected_version: None,
        to: "blocked",
        reason: None,
        role: Some(Role::Agent),
    };
    leads::change_status(&mut uow, &blocked).await.unwrap();
    uow.commit().await.unwrap();
    house.until(1, RELEASE_ASLEEP).await;
    house.quiet().await;
    // Nobody decided about it in time, and an hour later it goes back by itself.
    go_to(house, Weekday::Wed, 10, 40);
    house.until(2, BREACHED_AUDITED).await;
    house.quiet().await;
    go_to(house, Weekday::Wed, 12, 0);
    house.until(1, OWNED).await;
    house.quiet().await;
    let owner: uuid::Uuid = sqlx::query_scalar("select owner_id from leads where owner_id is not null")
        .fetch_one(&house.db.pool)
        .await
        .unwrap();
    assert_eq!(UserId::from(owner), other);
}

async fn set_limit(house: &House, agent: UserId, leads: i32) {
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    distribution::set_load_limits(&mut uow, agent, leads, leads).await.unwrap();
    uow.commit().await.unwrap();
}

async fn outcome(house: &House) -> Vec<String> {
    sqlx::query_scalar(OUTCOME).fetch_all(&house.db.pool).await.unwrap()
}
