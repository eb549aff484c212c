//! Claims about kinds whose jobs run together.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_engine::{
    BatchJob, Effect, Job, JobError, Lease, Leased, NewJob, Outcome, Registry, Retry, Running, Settings, Spec,
};

use super::world::{Cx, DEAD, DONE, Do, EFFECTS, LIVE, QUEUE, World};

const TOGETHER: &str = "together";
const BATCH_MAX: usize = 10;

/// A batch does what `together` is scripted to do, one by itself what its name is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sheep {
    name: String,
}

impl Job<Cx> for Sheep {
    const SPEC: Spec = Spec {
        name: "test.sheep",
        queue: QUEUE,
        retry: Retry::backoff(3, Duration::from_secs(100), Duration::from_secs(100)),
        timeout: Duration::from_millis(500),
    };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        cx.began.lock().unwrap().push((self.name.clone(), lease.attempt()));
        match cx.next(&self.name) {
            Do::Fail => Err(JobError::fail("scripted", "as told")),
            _ => commit(&[Leased { job: self, lease: lease.clone() }], cx).await.map(|()| Outcome::Committed),
        }
    }
}

impl BatchJob<Cx> for Sheep {
    const BATCH_MAX: usize = BATCH_MAX;

    async fn run_many(batch: Vec<Leased<Self>>, cx: &Cx) -> Result<Vec<Outcome>, JobError> {
        cx.began.lock().unwrap().push((TOGETHER.to_owned(), batch.len() as u16));
        match cx.next(TOGETHER) {
            Do::Retry => return Err(JobError::retry("scripted", "as told")),
            Do::Panic => panic!("as told"),
            Do::Block => cx.gate.acquire().await.unwrap().forget(),
            Do::Hang => std::future::pending().await,
            Do::Cancel => return Ok(vec![Outcome::Done]),
            _ => {}
        }
        commit(&batch, cx).await?;
        Ok(vec![Outcome::Committed; batch.len()])
    }
}

async fn commit(batch: &[Leased<Sheep>], cx: &Cx) -> Result<(), JobError> {
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = cx.pool.begin().await?;
    for leased in batch {
        sqlx::query("insert into effects (name) values ($1)")
            .bind(&leased.job.name)
            .execute(&mut *tx)
            .await?;
    }
    Lease::complete_all(batch.iter().map(|leased| &leased.lease), &mut tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn start(w: &World) -> Running {
    let settings = Settings { prefetch: 100, ..World::settings() };
    w.start_with(Registry::new().batch_job::<Sheep>(), settings).await
}

async fn enqueue(w: &World, names: impl IntoIterator<Item = String>) {
    let effects: Vec<_> = names.into_iter().map(|name| Effect::Job(NewJob::of(&Sheep { name }))).collect();
    w.apply(&effects).await;
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("sheep {n}"))
}

const ONCE_EACH: &str = "select count(distinct name) from effects";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_batch_kind_run_together_and_are_completed_together() {
    let w = World::new().await;
    enqueue(&w, numbered(45)).await;
    let _running = start(&w).await;
    w.until(DONE, 45).await;
    assert_eq!((w.count(EFFECTS).await, w.count(ONCE_EACH).await), (45, 45));
    let batches = w.cx.attempts(TOGETHER);
    assert!(batches.iter().all(|members| usize::from(*members) <= BATCH_MAX), "{batches:?}");
    assert_eq!((batches.len(), batches.iter().sum::<u16>()), (5, 45), "as few as there can be");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_a_panic_a_timeout_or_a_wrong_answer_each_runs_by_itself_and_nobody_is_blamed() {
    for failure in [Do::Retry, Do::Panic, Do::Hang, Do::Cancel] {
        let w = World::new().await;
        w.cx.script(TOGETHER, std::slice::from_ref(&failure));
        w.cx.script("sheep 2", &[Do::Fail]);
        enqueue(&w, numbered(5)).await;
        let _running = start(&w).await;
        w.until(DONE, 4).await;
        w.until(DEAD, 1).await;
        assert_eq!(w.count(ONCE_EACH).await, 4, "{failure:?}");
        assert_eq!(w.cx.attempts(TOGETHER), [5], "{failure:?}");
        assert_eq!(w.cx.attempts("sheep 0"), [1], "{failure:?}: the batch was its first attempt");
        assert_eq!(w.count("select sum(crash_count)::bigint from engine.jobs").await, 0, "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_lost_one_lease_changes_nothing_and_the_others_run_by_themselves() {
    let w = World::new().await;
    w.cx.script(TOGETHER, &[Do::Block]);
    enqueue(&w, numbered(4)).await;
    let _running = start(&w).await;
    w.until_began(TOGETHER, 1).await;
    sqlx::query("update engine.jobs set lease = lease + 1 where payload ->> 'name' = 'sheep 1'")
        .execute(&w.db.pool)
        .await
        .unwrap();
    w.cx.gate.add_permits(1);
    w.until(DONE, 3).await;
    assert_eq!((w.count(EFFECTS).await, w.count(ONCE_EACH).await), (3, 3));
    assert_eq!(w.count("select count(*) from effects where name = 'sheep 1'").await, 0);
    assert_eq!(w.count(LIVE).await, 1, "whoever holds the lease will end it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_killed_in_its_midst_runs_again_with_no_effect_doubled() {
    let w = World::new().await;
    w.cx.script(TOGETHER, &[Do::Block]);
    enqueue(&w, numbered(6)).await;
    let running = start(&w).await;
    w.until_began(TOGETHER, 1).await;
    let session = running.session();
    drop(running);
    w.cx.script(TOGETHER, &[Do::Done]);
    w.expire(session).await;
    let _running = start(&w).await;
    w.until(DONE, 6).await;
    assert_eq!((w.count(EFFECTS).await, w.count(ONCE_EACH).await), (6, 6));
}
