//! Claims about durable workflows.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sira_engine::ops::{
    WorkflowError, WorkflowFilter, cancel_workflow, find_workflow, list_workflows, retry_workflow,
};
use sira_engine::{
    Effect, JobError, NewWorkflow, Outcome, Queue, Registry, Retry, Running, Step, Transition, Wake,
    Workflow, WorkflowSpec, cancel,
};

use super::world::{Cx, DEAD, DONE, Do, EFFECTS, LIVE, QUEUE, World};

/// Two steps, a sleep, a wait for `go`, and an end; each step leaves one effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Trip {
    Pack { key: String },
    Walk { key: String },
    Rest { key: String },
    Wait { key: String },
    Home { key: String, by: String },
}

impl Trip {
    fn start(key: &str) -> Effect {
        Effect::Start(NewWorkflow::of(&Self::Pack { key: key.to_owned() }))
    }

    fn signal(key: &str, name: &'static str) -> Effect {
        Effect::Signal { kind: "test.trip", key: key.to_owned(), name, payload: json!({ "id": 7 }) }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pack { .. } => "pack",
            Self::Walk { .. } => "walk",
            Self::Rest { .. } => "rest",
            Self::Wait { .. } => "wait",
            Self::Home { .. } => "home",
        }
    }
}

impl Workflow<Cx> for Trip {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "test.trip",
        version: 1,
        queue: QUEUE,
        retry: Retry::backoff(2, Duration::from_secs(100), Duration::from_secs(100)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        match self {
            Self::Pack { key }
            | Self::Walk { key }
            | Self::Rest { key }
            | Self::Wait { key }
            | Self::Home { key, .. } => key.clone(),
        }
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        let name = self.name();
        cx.began.lock().unwrap().push((name.to_owned(), step.lease().attempt()));
        match cx.next(name) {
            Do::Retry => return Err(JobError::retry("scripted", "as told")),
            Do::Block => cx.gate.acquire().await.unwrap().forget(),
            _ => {}
        }
        let now = cx.clock.now();
        let transition = match (self, step.wake()) {
            (Self::Pack { key }, _) => Transition::Next(Self::Walk { key }),
            (Self::Walk { key }, _) => Transition::WaitUntil(Self::Rest { key }, now + TimeDelta::hours(1)),
            (Self::Rest { key }, Wake::Timer) => Transition::WaitFor {
                state: Self::Wait { key },
                signal: "go",
                deadline: now + TimeDelta::hours(2),
            },
            (Self::Wait { key }, Wake::Signal { name, payload }) => {
                Transition::Next(Self::Home { key, by: format!("{name} {}", payload["id"]) })
            }
            (Self::Wait { key }, Wake::Timer) => {
                Transition::Next(Self::Home { key, by: "nobody".to_owned() })
            }
            (Self::Home { key, by }, Wake::Start) => Transition::Done(Self::Home { key, by }),
            (state, wake) => panic!("{} was woken by {wake:?}", state.name()),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = cx.pool.begin().await?;
        sqlx::query("insert into effects (name) values ($1)").bind(name).execute(&mut *tx).await?;
        let applied = step.record(&mut tx, &transition).await?;
        hang_at(cx, format!("{name}:commit")).await;
        tx.commit().await?;
        cx.engine.wake(&applied);
        hang_at(cx, format!("{name}:committed")).await;
        Ok(Outcome::Committed)
    }
}

/// Stays at this point for ever, if the script says so; the record tells that it is there.
async fn hang_at(cx: &Cx, point: String) {
    if matches!(cx.next(&point), Do::Hang) {
        cx.began.lock().unwrap().push((point, 0));
        std::future::pending::<()>().await;
    }
}

fn registry() -> Registry<Cx> {
    World::registry().workflow::<Trip>()
}

async fn start(w: &World) -> Running {
    w.start_with(registry(), World::settings()).await
}

const SLEEPING: &str = "select count(*) from engine.workflows where status = 'sleeping'";
const WAITING_FOR: &str = "select count(*) from engine.workflows where status = 'waiting'";
const FAILED: &str = "select count(*) from engine.workflows where status = 'failed'";
const FINISHED: &str = "select count(*) from engine.workflows where status = 'done'";
const BY: &str = "select state #>> '{Home,by}' from engine.workflows";
const HISTORY: &str =
    "select string_agg(woken_by || ':' || decision, ' ' order by seq) from engine.workflow_steps";

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_begins_asleep_takes_no_step_before_its_time_or_its_signal() {
    let w = World::new().await;
    let _running = start(&w).await;
    let in_an_hour = w.cx.clock.now() + TimeDelta::hours(1);
    let rest = |key: &str| NewWorkflow::of(&Trip::Rest { key: key.to_owned() }).asleep_until(in_an_hour);
    let wait = |key: &str| NewWorkflow::of(&Trip::Wait { key: key.to_owned() }).waiting_for("go", in_an_hour);
    // One that is signalled in the transaction of its start is woken there.
    let told = [Effect::Start(wait("told")), Trip::signal("told", "go")];
    w.apply(&[Effect::Start(rest("timer")), Effect::Start(wait("late")), Effect::Start(wait("never"))]).await;
    w.apply(&told).await;
    w.until(FINISHED, 1).await;
    assert_eq!((w.cx.began("rest"), w.cx.began("wait")), (0, 1));
    assert_eq!(w.count(LIVE).await, 0, "who sleeps has no job");
    w.apply(&[Trip::signal("late", "go")]).await;
    w.until(FINISHED, 2).await;
    w.advance(3601);
    w.until(FINISHED, 3).await;
    w.until(WAITING_FOR, 1).await;
    assert_eq!((w.cx.began("rest"), w.cx.began("wait")), (1, 3));
    let by = "select string_agg(state #>> '{Home,by}', ', ' order by state #>> '{Home,key}') from engine.workflows";
    assert_eq!(w.text(by).await, "go 7, nobody, go 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_sleeps_waits_and_ends_with_its_history() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.apply(&[Trip::start("t"), Trip::start("t")]).await;
    w.apply(&[Trip::start("t")]).await;
    w.until(SLEEPING, 1).await;
    assert_eq!(w.count("select count(*) from engine.workflows").await, 1, "a start is idempotent");
    assert_eq!(w.count(LIVE).await, 0, "who sleeps has no job");
    w.advance(3601);
    w.until(WAITING_FOR, 1).await;
    w.apply(&[Trip::signal("t", "go"), Trip::signal("nobody", "go")]).await;
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(BY).await, "go 7");
    assert_eq!(w.text(HISTORY).await, "start:next start:wait_until timer:wait_for signal:next start:done");
    assert_eq!(w.count(EFFECTS).await, 5);
    assert_eq!(w.count("select count(*) from engine.signals").await, 0);
    // Its key is free again.
    w.apply(&[Trip::start("t")]).await;
    w.until(SLEEPING, 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let filter = WorkflowFilter { key: Some("t".to_owned()), limit: 10, ..WorkflowFilter::default() };
    let listed = list_workflows(&mut conn, &filter).await.unwrap();
    assert_eq!(listed.iter().map(|w| w.status.as_str()).collect::<Vec<_>>(), ["sleeping", "done"]);
    assert_eq!(find_workflow(&mut conn, listed[1].id).await.unwrap().unwrap().steps.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_at_its_deadline() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.apply(&[Trip::start("t")]).await;
    w.until(SLEEPING, 1).await;
    w.advance(3601);
    w.until(WAITING_FOR, 1).await;
    w.apply(&[Trip::signal("t", "other")]).await;
    w.advance(7201);
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(BY).await, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_came_before_the_wait_is_kept() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("pack", &[Do::Block]);
    w.apply(&[Trip::start("t")]).await;
    w.until_began("pack", 1).await;
    // Sent while a step is under way.
    w.apply(&[Trip::signal("t", "go")]).await;
    w.cx.gate.add_permits(1);
    w.until(SLEEPING, 1).await;
    w.advance(3601);
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(BY).await, "go 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_the_step_that_begins_to_wait_for_it_cannot_miss_each_other() {
    let w = World::new().await;
    let _running = start(&w).await;
    let keys: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    w.apply(&keys.iter().map(|key| Trip::start(key)).collect::<Vec<_>>()).await;
    w.until(SLEEPING, 40).await;
    // The sleepers wake and begin to wait while the signals are sent.
    w.advance(3601);
    for key in &keys {
        w.apply(&[Trip::signal(key, "go")]).await;
    }
    w.until(FINISHED, 40).await;
    assert_eq!(w.count(EFFECTS).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_or_superseded_workflow_takes_no_further_step() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("walk", &[Do::Block]);
    w.apply(&[Trip::start("a"), Trip::start("b")]).await;
    w.until_began("walk", 2).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    assert!(cancel(&mut conn, "test.trip", "a", "the operator said so").await.unwrap());
    assert!(!cancel(&mut conn, "test.trip", "a", "twice").await.unwrap());
    let superseded =
        Effect::Supersede { kind: "test.trip", key: "b".to_owned(), reason: "purpose gone".to_owned() };
    w.apply(&[superseded, Trip::start("b")]).await;
    w.until_began("walk", 3).await;
    w.cx.gate.add_permits(3);
    w.until(SLEEPING, 1).await;
    w.until(LIVE, 0).await;
    let statuses = "select string_agg(key || ':' || status, ' ' order by id) from engine.workflows";
    assert_eq!(w.text(statuses).await, "a:cancelled b:superseded b:sleeping");
    // The steps that were under way rolled back: three packed, one walked.
    assert_eq!(w.count(EFFECTS).await, 4);
    let reasons =
        "select string_agg(details ->> 'reason', ', ' order by workflow_id) from engine.workflow_steps
        where woken_by = 'request'";
    assert_eq!(w.text(reasons).await, "the operator said so, purpose gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_for_good_fails_its_workflow() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("walk", &[Do::Retry]);
    w.apply(&[Trip::start("t")]).await;
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 1).await;
    assert_eq!(w.count("select count(*) from engine.workflows where finished_at is null").await, 1);
    w.advance(101);
    w.until(DEAD, 1).await;
    w.until("select count(*) from engine.workflows where status = 'failed'", 1).await;
    assert_eq!(w.text(HISTORY).await, "start:next request:failed");
    assert_eq!(w.text("select error ->> 'code' from engine.workflows").await, "scripted");
    assert_eq!(w.count(EFFECTS).await, 1);
}

impl World {
    async fn retry_workflow(&self, id: i64, from: Option<i32>) -> Result<(), WorkflowError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = self.db.pool.begin().await.unwrap();
        let applied = retry_workflow(&mut tx, id, from).await?;
        tx.commit().await.unwrap();
        self.cx.engine.wake(&applied);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_workflow_goes_on_from_its_last_step_or_an_earlier_one() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("walk", &[Do::Retry, Do::Retry, Do::Done]);
    w.apply(&[Trip::start("t")]).await;
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 1).await;
    w.advance(101);
    w.until(FAILED, 1).await;
    w.until(DEAD, 1).await;
    let id: i64 = sqlx::query_scalar("select id from engine.workflows").fetch_one(&w.db.pool).await.unwrap();
    assert!(matches!(w.retry_workflow(id, Some(9)).await, Err(WorkflowError::NoSuchStep)));
    assert!(matches!(w.retry_workflow(id + 1, None).await, Err(WorkflowError::Unknown)));
    w.retry_workflow(id, None).await.unwrap();
    w.until(SLEEPING, 1).await;
    assert_eq!(w.count(DEAD).await, 0, "the failed step's job is put away");
    assert!(matches!(w.retry_workflow(id, None).await, Err(WorkflowError::NotRetriable)), "it lives");
    let mut history = "start:next request:failed request:retried start:wait_until".to_owned();
    assert_eq!(w.text(HISTORY).await, history);

    // Fails where a signal woke it: the signal is kept for the retry.
    w.advance(3601);
    w.until(WAITING_FOR, 1).await;
    w.cx.script("wait", &[Do::Retry, Do::Retry, Do::Done]);
    w.apply(&[Trip::signal("t", "go")]).await;
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 3).await;
    w.advance(101);
    w.until(FAILED, 1).await;
    w.retry_workflow(id, None).await.unwrap();
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(BY).await, "go 7");
    history += " timer:wait_for request:failed request:retried signal:next start:done";
    assert_eq!(w.text(HISTORY).await, history);
    assert_eq!(w.count(EFFECTS).await, 5, "what a step that failed wrote was rolled back");
    assert!(matches!(w.retry_workflow(id, None).await, Err(WorkflowError::NotRetriable)), "its own end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_goes_on_from_an_earlier_step_unless_its_key_is_taken() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.apply(&[Trip::start("t")]).await;
    w.until(SLEEPING, 1).await;
    let id: i64 = sqlx::query_scalar("select id from engine.workflows").fetch_one(&w.db.pool).await.unwrap();
    let mut conn = w.db.pool.acquire().await.unwrap();
    cancel_workflow(&mut conn, id, "not wanted").await.unwrap();
    assert!(matches!(cancel_workflow(&mut conn, id, "twice").await, Err(WorkflowError::Ended)));
    assert!(matches!(cancel_workflow(&mut conn, id + 1, "x").await, Err(WorkflowError::Unknown)));
    w.apply(&[Trip::start("t")]).await;
    w.until(SLEEPING, 1).await;
    assert!(matches!(w.retry_workflow(id, Some(1)).await, Err(WorkflowError::KeyTaken)));
    sqlx::query(
        "with gone as (delete from engine.workflows where id <> $1 returning id)
        delete from engine.workflow_steps where workflow_id in (select id from gone)",
    )
    .bind(id)
    .execute(&w.db.pool)
    .await
    .unwrap();
    // From the first step's outcome: it walks again, and sleeps.
    w.retry_workflow(id, Some(1)).await.unwrap();
    w.until(SLEEPING, 1).await;
    let history = "start:next start:wait_until request:cancelled request:retried start:wait_until";
    assert_eq!(w.text(HISTORY).await, history);
    // From where it slept: woken as by its timer, at once.
    cancel_workflow(&mut conn, id, "not wanted").await.unwrap();
    w.retry_workflow(id, None).await.unwrap();
    w.until(WAITING_FOR, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_killed_around_every_commit_continues_with_no_effect_doubled() {
    let w = World::new().await;
    w.apply(&[Trip::start("t")]).await;
    let steps = ["pack", "walk", "rest", "wait", "home"];
    let points = steps.map(|step| ["commit", "committed"].map(|point| (step, format!("{step}:{point}"))));
    // Everywhere from the beginning: the next step may begin before the process of this one is killed.
    for (_, point) in points.iter().flatten() {
        w.cx.script(point, &[Do::Hang]);
    }
    for (step, point) in points.iter().flatten() {
        // The process is killed just before, then just after the step's commit.
        let arrived = w.cx.began(point);
        let running = start(&w).await;
        match (*step, point.as_str()) {
            ("rest", "rest:commit") => {
                w.until(SLEEPING, 1).await;
                w.advance(3601);
            }
            ("wait", "wait:commit") => w.apply(&[Trip::signal("t", "go")]).await,
            _ => {}
        }
        w.until_began(point, arrived + 1).await;
        let session = running.session();
        drop(running);
        w.cx.script(point, &[Do::Done]);
        w.expire(session).await;
    }
    let _running = start(&w).await;
    w.until(FINISHED, 1).await;
    assert_eq!(w.count(EFFECTS).await, 5);
    assert_eq!(w.count("select count(distinct name) from effects").await, 5);
    assert_eq!(w.text(HISTORY).await, "start:next start:wait_until timer:wait_for signal:next start:done");
    w.until(LIVE, 0).await;
}

/// The next version of the trip's state.
#[derive(Debug, Serialize, Deserialize)]
struct TripV2 {
    key: String,
}

impl Workflow<Cx> for TripV2 {
    const SPEC: WorkflowSpec =
        WorkflowSpec { version: 2, queue: Queue { ..QUEUE }, ..<Trip as Workflow<Cx>>::SPEC };

    fn key(&self) -> String {
        self.key.clone()
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        let mut conn = cx.pool.acquire().await?;
        let applied = step.record(&mut conn, &Transition::Done(self)).await?;
        cx.engine.wake(&applied);
        Ok(Outcome::Committed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_run_side_by_side_and_an_unknown_one_waits() {
    let w = World::new().await;
    let old = start(&w).await;
    let v2 = NewWorkflow::of(&TripV2 { key: "new".to_owned() });
    w.apply(&[Trip::start("old"), Effect::Start(v2)]).await;
    w.until("select count(*) from engine.attempts where waits_for = 'version'", 1).await;
    w.until(SLEEPING, 1).await;
    old.drain(Duration::from_secs(5)).await;
    let _both = w.start_with(registry().workflow::<TripV2>(), World::settings()).await;
    w.advance(11);
    w.until(FINISHED, 1).await;
    let finished =
        "select string_agg(key || ' ' || version, ',') from engine.workflows where finished_at is not null";
    assert_eq!(w.text(finished).await, "new 2");
    w.advance(3601);
    w.until(WAITING_FOR, 1).await;
    let waiting =
        "select string_agg(key || ' ' || version, ',') from engine.workflows where status = 'waiting'";
    assert_eq!(w.text(waiting).await, "old 1");
}

/// Counts to three in steps without effects of their own, then waits for `go`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Count {
    key: String,
    n: u8,
}

impl Workflow<Cx> for Count {
    const SPEC: WorkflowSpec = WorkflowSpec { name: "test.count", ..<Trip as Workflow<Cx>>::SPEC };

    fn key(&self) -> String {
        self.key.clone()
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        let point = format!("{} {}", self.key, self.n);
        cx.began.lock().unwrap().push((point.clone(), step.lease().attempt()));
        if matches!(cx.next(&point), Do::Block) {
            cx.gate.acquire().await.unwrap().forget();
        }
        let next = Self { n: self.n + 1, ..self };
        let transition = match (next.n, step.wake()) {
            (1..=3, Wake::Start) => Transition::Next(next),
            (4, _) => Transition::WaitFor {
                state: next,
                signal: "go",
                deadline: cx.clock.now() + TimeDelta::hours(2),
            },
            (5, Wake::Signal { .. }) => Transition::Done(next),
            (n, wake) => panic!("{n} was woken by {wake:?}"),
        };
        Ok(step.decide(&transition)?)
    }
}

impl Count {
    fn start(key: impl Into<String>) -> Effect {
        Effect::Start(NewWorkflow::of(&Self { key: key.into(), n: 0 }))
    }

    fn go(key: impl Into<String>) -> Effect {
        Effect::Signal { kind: "test.count", key: key.into(), name: "go", payload: json!({}) }
    }
}

async fn start_counting(w: &World) -> Running {
    let settings = sira_engine::Settings { prefetch: 64, ..World::settings() };
    w.start_with(Registry::new().workflow::<Count>(), settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_without_effects_are_written_many_at_a_time_each_once_and_in_its_order() {
    let w = World::new().await;
    w.apply(&(0..200).map(|n| Count::start(n.to_string())).collect::<Vec<_>>()).await;
    // Every second signal is there before it is waited for.
    w.apply(&(0..100).map(|n| Count::go((n * 2).to_string())).collect::<Vec<_>>()).await;
    let _running = start_counting(&w).await;
    w.until(FINISHED, 100).await;
    w.until(WAITING_FOR, 100).await;
    w.apply(&(0..100).map(|n| Count::go((n * 2 + 1).to_string())).collect::<Vec<_>>()).await;
    w.until(FINISHED, 200).await;
    let histories = "select count(*) from (
        select string_agg(seq || woken_by || ':' || decision, ' ' order by seq) as history
        from engine.workflow_steps group by workflow_id) as h
        where history = '1start:next 2start:next 3start:next 4start:wait_for 5signal:done'";
    assert_eq!(w.count(histories).await, 200);
    assert_eq!(w.count("select count(*) from engine.signals").await, 0);
    w.until(LIVE, 0).await;
    assert_eq!(w.count(DONE).await, 1000, "one job a step");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_step_whose_workflow_has_ended_meanwhile_is_not_written() {
    let w = World::new().await;
    let _running = start_counting(&w).await;
    w.cx.script("a 1", &[Do::Block]);
    w.apply(&[Count::start("a")]).await;
    w.until_began("a 1", 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    assert!(cancel(&mut conn, "test.count", "a", "the operator said so").await.unwrap());
    w.cx.gate.add_permits(1);
    w.until(LIVE, 0).await;
    assert_eq!(w.text(HISTORY).await, "start:next request:cancelled");
    assert_eq!(w.count("select count(*) from engine.finished where outcome = 'cancelled'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_step_waits_for_the_signal_that_holds_its_workflow_and_misses_it_not() {
    let w = World::new().await;
    let _running = start_counting(&w).await;
    w.cx.script("a 3", &[Do::Block]);
    w.apply(&[Count::start("a"), Count::start("b")]).await;
    w.until_began("a 3", 1).await;
    w.until(WAITING_FOR, 1).await;
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = w.db.pool.begin().await.unwrap();
    let applied = sira_engine::apply(&mut tx, &w.db.clock, &[Count::go("a")]).await.unwrap();
    w.cx.gate.add_permits(1);
    // Others are not held up by the one that is locked.
    w.apply(&[Count::go("b")]).await;
    w.until(FINISHED, 1).await;
    tx.commit().await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(FINISHED, 2).await;
    assert_eq!(w.count("select count(*) from engine.signals").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_of_decided_steps_killed_at_every_step_takes_each_once() {
    let w = World::new().await;
    w.apply(&[Count::start("a")]).await;
    for n in 0..5 {
        let point = format!("a {n}");
        w.cx.script(&point, &[Do::Block]);
        let running = start_counting(&w).await;
        if n == 4 {
            w.until(WAITING_FOR, 1).await;
            w.apply(&[Count::go("a")]).await;
        }
        w.until_began(&point, 1).await;
        let session = running.session();
        drop(running);
        w.cx.script(&point, &[Do::Done]);
        w.expire(session).await;
    }
    let _running = start_counting(&w).await;
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(HISTORY).await, "start:next start:next start:next start:wait_for signal:done");
}
