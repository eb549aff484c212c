//! Claims about workflows that wait for jobs which they enqueued.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sira_engine::ops::{cancel_jobs, find_workflow, retry_workflow};
use sira_engine::{
    Effect, Job, JobError, JobId, Join, Lease, NewJob, NewWorkflow, Outcome, Retry, Running, Spec, Step,
    Transition, Wake, Workflow, WorkflowSpec, cancel,
};

use super::world::{Cx, DEAD, DONE, Do, EFFECTS, LIVE, QUEUE, Scripted, World};

const JOINING: &str = "select count(*) from engine.workflows where status = 'joining'";
const FINISHED: &str = "select count(*) from engine.workflows where status = 'done'";
const TOLD: &str = "select state ->> 'told' from engine.workflows";
const CHILDREN: &str = "select count(*) from engine.children";
const HISTORY: &str =
    "select string_agg(woken_by || ':' || decision, ' ' order by seq) from engine.workflow_steps";

/// Enqueues a job of each name, waits for them, and remembers how they ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crew {
    key: String,
    names: Vec<String>,
    until_failure: bool,
    told: Option<String>,
}

impl Workflow<Cx> for Crew {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "test.crew",
        version: 1,
        queue: QUEUE,
        retry: Retry::backoff(2, Duration::from_secs(1), Duration::from_secs(1)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        self.key.clone()
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        if *step.wake() == Wake::Start {
            let job = |name: &String| NewJob::of(&Member { name: name.clone() });
            let jobs = self.names.iter().map(job).collect();
            let join = if self.until_failure { Join::UntilFailure } else { Join::All };
            let deadline = cx.clock.now() + TimeDelta::hours(1);
            return Ok(step.decide(&Transition::Children { state: self, jobs, join, deadline })?);
        }
        if matches!(cx.next(&self.key), Do::Fail) {
            return Err(JobError::fail("scripted", "as told"));
        }
        let told = match step.wake() {
            Wake::Children(ends) => {
                assert!(ends.windows(2).all(|two| two[0].0 < two[1].0), "in their order");
                let told: Vec<_> = ends.iter().map(|(_, outcome)| format!("{outcome:?}")).collect();
                told.join(" ")
            }
            wake => format!("{wake:?}"),
        };
        Ok(step.decide(&Transition::Done(Self { told: Some(told), ..self }))?)
    }
}

/// Does as scripted, and leaves its effect in the transaction of its completion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
}

impl Job<Cx> for Member {
    const SPEC: Spec = Spec { name: "test.member", ..<Scripted as Job<Cx>>::SPEC };

    /// Not for a child: none folds into another.
    fn dedupe_key(&self) -> Option<String> {
        Some(self.name.clone())
    }

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        cx.began.lock().unwrap().push((self.name.clone(), lease.attempt()));
        match cx.next(&self.name) {
            Do::Fail => return Err(JobError::fail("scripted", "as told")),
            Do::Cancel => return Ok(Outcome::Cancel("as told".to_owned())),
            Do::Snooze(s) => {
                let until = cx.clock.now() + TimeDelta::seconds(s);
                return Ok(Outcome::Snooze { until, waits_for: "requested" });
            }
            Do::Block => cx.gate.acquire().await.unwrap().forget(),
            Do::Hang => std::future::pending().await,
            _ => {}
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = cx.pool.begin().await?;
        sqlx::query("insert into effects (name) values ($1)").bind(&self.name).execute(&mut *tx).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }
}

impl Crew {
    pub fn named(key: &str, names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { key: key.to_owned(), names, until_failure: false, told: None }
    }

    pub fn start(key: &str, names: &[&str]) -> Effect {
        crew(key, names, false)
    }
}

fn crew(key: &str, names: &[&str], until_failure: bool) -> Effect {
    Effect::Start(NewWorkflow::of(&Crew { until_failure, ..Crew::named(key, names) }))
}

async fn start(w: &World) -> Running {
    w.start_with(World::registry().workflow::<Crew>().job::<Member>(), World::settings()).await
}

async fn id(w: &World) -> i64 {
    sqlx::query_scalar("select id from engine.workflows").fetch_one(&w.db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_waits_for_all_its_children_and_hears_how_each_ended() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("failed", &[Do::Fail]);
    w.cx.script("cancelled", &[Do::Cancel]);
    w.cx.script("late", &[Do::Snooze(60), Do::Done]);
    w.apply(&[crew("c", &["done", "failed", "done", "late", "cancelled"], false)]).await;
    w.until("select count(*) from engine.children where counted", 4).await;
    w.until(JOINING, 1).await;
    let shown = find_workflow(&mut w.db.pool.acquire().await.unwrap(), id(&w).await).await.unwrap().unwrap();
    let outcomes: Vec<_> = shown.children.iter().map(|child| child.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("done"), Some("failed"), Some("done"), None, Some("cancelled")]);
    w.advance(61);
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(TOLD).await, "Done Failed Done Done Cancelled");
    assert_eq!(w.text(HISTORY).await, "start:children children:done");
    assert_eq!((w.count(CHILDREN).await, w.count(EFFECTS).await), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_a_deadline_or_nobody_to_wait_for_ends_the_wait() {
    let w = World::new().await;
    let running = start(&w).await;
    w.cx.script("failed", &[Do::Fail]);
    w.cx.script("slow", &[Do::Block]);
    w.apply(&[crew("failure", &["slow", "failed"], true)]).await;
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(TOLD).await, "Open Failed");
    w.cx.gate.add_permits(1);
    w.until(EFFECTS, 1).await;
    assert_eq!(w.count("select count(*) from engine.finished where kind = 'test.member'").await, 1);

    w.apply(&[crew("nobody", &[], false)]).await;
    w.until(FINISHED, 2).await;
    w.apply(&[crew("deadline", &["slow"], false)]).await;
    w.until(JOINING, 1).await;
    w.advance(3601);
    w.until(FINISHED, 3).await;
    let told = "select string_agg(state ->> 'told', ', ' order by id) from engine.workflows";
    assert_eq!(w.text(told).await, "Open Failed, , Timer");
    running.drain(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_takes_its_waiting_children_with_it() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("slow", &[Do::Block]);
    w.cx.script("late", &[Do::Snooze(60)]);
    w.apply(&[crew("c", &["slow", "late"], false)]).await;
    w.until_began("slow", 1).await;
    w.until("select count(*) from engine.jobs where state = 'scheduled'", 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    assert!(cancel(&mut conn, "test.crew", "c", "not wanted").await.unwrap());
    assert_eq!(w.count("select count(*) from engine.finished where outcome = 'cancelled'").await, 1);
    w.cx.gate.add_permits(1);
    w.until(LIVE, 0).await;
    assert_eq!((w.count(EFFECTS).await, w.count(CHILDREN).await), (1, 0), "what ran came to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_an_operator_cancels_or_that_is_retried_is_told_as_it_ended() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("failed", &[Do::Fail, Do::Done]);
    w.cx.script("late", &[Do::Snooze(60)]);
    w.apply(&[crew("c", &["failed", "late"], false)]).await;
    w.until(DEAD, 1).await;
    w.until("select count(*) from engine.jobs where state = 'scheduled'", 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let jobs: Vec<i64> = sqlx::query_scalar("select job_id from engine.children order by place")
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    let (_, applied) = sira_engine::ops::retry_jobs(&mut conn, &w.db.clock, &[JobId(jobs[0])]).await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(EFFECTS, 1).await;
    cancel_jobs(&mut conn, &[JobId(jobs[1])], "not wanted").await.unwrap();
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(TOLD).await, "Done Cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_failed_over_its_childrens_ends_hears_of_them_again_when_it_is_retried() {
    let w = World::new().await;
    let _running = start(&w).await;
    w.cx.script("c", &[Do::Fail, Do::Done]);
    w.apply(&[crew("c", &["a", "b"], false)]).await;
    w.until("select count(*) from engine.workflows where status = 'failed'", 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let applied = retry_workflow(&mut conn, id(&w).await, None).await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(FINISHED, 1).await;
    assert_eq!(w.text(TOLD).await, "Done Done");
    assert_eq!((w.count(EFFECTS).await, w.count(CHILDREN).await), (2, 0), "none ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_is_made_once_however_many_processes_race_and_die() {
    let w = World::new().await;
    let names = ["a", "b", "c"];
    w.apply(&(0..100).map(|n| crew(&n.to_string(), &names, n % 2 == 0)).collect::<Vec<_>>()).await;
    let mut running = vec![start(&w).await, start(&w).await, start(&w).await];
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let dying = running.remove(0);
        let session = dying.session();
        drop(dying);
        w.expire(session).await;
        running.push(start(&w).await);
    }
    w.until(FINISHED, 100).await;
    w.until(LIVE, 0).await;
    let once = "select count(*) from (
        select string_agg(woken_by || ':' || decision, ' ' order by seq) as history
        from engine.workflow_steps group by workflow_id) as h where history = 'start:children children:done'";
    assert_eq!(w.count(once).await, 100);
    assert_eq!((w.count(EFFECTS).await, w.count(CHILDREN).await), (300, 0));
    assert_eq!(
        w.count("select count(*) from engine.workflows where state ->> 'told' = 'Done Done Done'").await,
        100
    );
    assert_eq!(w.count(DONE).await, 500, "one job a step, one a child");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_children_than_a_step_may_have_fail_its_workflow_and_enqueue_nothing() {
    let w = World::new().await;
    let _running = start(&w).await;
    let names = vec!["a"; 1001];
    w.apply(&[crew("c", &names, false)]).await;
    w.until("select count(*) from engine.workflows where status = 'failed'", 1).await;
    assert_eq!(w.text("select error ->> 'code' from engine.workflows").await, "too_many_children");
    assert_eq!((w.count(CHILDREN).await, w.cx.began("a")), (0, 0));
}
