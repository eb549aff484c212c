//! Our engine.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sira_engine::{
    BatchJob, Effect, Engine, Job, JobError, Lease, Leased, Link, NewJob, NewWorkflow, Outcome, Queue, Registry,
    Retry, Running, Settings, Spec, Step, Transition, Workflow, WorkflowSpec, apply,
};
use sira_kernel::Clock;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgPool};

use crate::load::{
    BULK, CLIENTS, Figures, Load, Payload, emptied, per_second, percentiles, singly, steadily, vacuum,
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");
const QUEUE: Queue = Queue { name: "bench", concurrency: 1000 };
const RETRY: Retry = Retry::backoff(3, Duration::from_millis(50), Duration::from_millis(50));
/// As the product's units of work begin: a statement with arrays is planned once.
const PLANS: &str = "set plan_cache_mode = force_generic_plan";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Jobs finished before the one that is measured.
const FINISHED: i64 = 1_000_000;

/// Jobs, or workflows, that came to their end here. What is left of them is looked for only then: looking reads through dead rows.
static DONE: AtomicU64 = AtomicU64::new(0);
static WAITED: Mutex<Vec<f64>> = Mutex::new(Vec::new());

const fn spec(name: &'static str) -> Spec {
    Spec { name, queue: QUEUE, retry: RETRY, timeout: TIMEOUT }
}

/// Does nothing, but notes how long it waited.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Nothing(Payload);

impl Job<PgPool> for Nothing {
    const SPEC: Spec = spec("bench.do_nothing");

    async fn run(self, _: &PgPool, _: &Lease) -> Result<Outcome, JobError> {
        WAITED.lock().expect("no handler panics").push(self.0.age_ms());
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Done)
    }
}

/// Every tenth fails once.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Failing(Payload);

impl Job<PgPool> for Failing {
    const SPEC: Spec = spec("bench.fail_once");

    async fn run(self, _: &PgPool, lease: &Lease) -> Result<Outcome, JobError> {
        if self.0.n.is_multiple_of(10) && lease.attempt() == 1 {
            return Err(JobError::retry("bench", "every tenth fails once"));
        }
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Done)
    }
}

/// One row of effect, committed with the job's completion.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Atomic(Payload);

const EFFECTS: &str = "create table effect (job bigint primary key, note text not null)";
/// As many as the floor has clients.
const ATOMIC: Queue = Queue { name: "atomic", concurrency: CLIENTS };

impl Job<PgPool> for Atomic {
    const SPEC: Spec = Spec { queue: ATOMIC, ..spec("bench.write_effect") };

    async fn run(self, db: &PgPool, lease: &Lease) -> Result<Outcome, JobError> {
        let mut tx = db.begin().await?;
        sqlx::query("insert into effect values ($1, 'done')").bind(lease.job().0).execute(&mut *tx).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Committed)
    }
}

/// Five hundred rows of effect, committed with the completion of their jobs.
impl BatchJob<PgPool> for AtomicBatch {
    const BATCH_MAX: usize = 500;

    async fn run_many(batch: Vec<Leased<Self>>, db: &PgPool) -> Result<Vec<Outcome>, JobError> {
        let jobs: Vec<i64> = batch.iter().map(|leased| leased.lease.job().0).collect();
        let mut tx = db.begin().await?;
        sqlx::query("insert into effect select unnest($1::bigint[]), 'done'")
            .bind(&jobs)
            .execute(&mut *tx)
            .await?;
        Lease::complete_all(batch.iter().map(|leased| &leased.lease), &mut tx).await?;
        tx.commit().await?;
        DONE.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        Ok(vec![Outcome::Committed; jobs.len()])
    }
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct AtomicBatch(Payload);

impl Job<PgPool> for AtomicBatch {
    const SPEC: Spec = Spec { queue: ATOMIC, ..spec("bench.write_effects") };

    async fn run(self, db: &PgPool, lease: &Lease) -> Result<Outcome, JobError> {
        Atomic(self.0).run(db, lease).await
    }
}

/// Three steps without effects of their own.
#[derive(Serialize, Deserialize)]
struct Three {
    n: u64,
    step: u8,
}

impl Workflow<PgPool> for Three {
    const SPEC: WorkflowSpec =
        WorkflowSpec { name: "bench.three", version: 1, queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    fn key(&self) -> String {
        self.n.to_string()
    }

    async fn advance(self, _: &PgPool, step: &Step) -> Result<Outcome, JobError> {
        let next = Self { n: self.n, step: self.step + 1 };
        let last = next.step == 3;
        let transition = if last { Transition::Done(next) } else { Transition::Next(next) };
        if last {
            DONE.fetch_add(1, Ordering::Relaxed);
        }
        Ok(step.decide(&transition)?)
    }
}

struct Bench {
    pool: PgPool,
    engine: Engine,
    clock: Clock,
}

pub async fn run(test: &str, load: &Load) -> anyhow::Result<Figures> {
    let pool = Load::pool(12)
        .after_connect(|conn, _| Box::pin(async { sqlx::raw_sql(PLANS).execute(conn).await.map(|_| ()) }));
    let pool = pool.connect(&load.url).await?;
    let clock = Clock::system();
    let bench = Bench { engine: Engine::new(&pool, clock.clone(), Link::Direct), pool, clock };
    if test == "send_steadily" {
        steadily(load, |payload| bench.send(payload)).await?;
        return Ok(Figures::new());
    }
    MIGRATIONS.run(&bench.pool).await?;
    match test {
        "drain" => bench.drain::<Nothing>(load, Nothing).await,
        "drain_failing" => bench.drain::<Failing>(load, Failing).await,
        "drain_behind_million" => {
            bench.finish_million().await?;
            bench.drain::<Nothing>(load, Nothing).await
        }
        "drain_under_snapshot" => {
            // What it might still see cannot be vacuumed: each version of a row, and each entry of an index, stays.
            let mut holder = bench.pool.acquire().await?;
            sqlx::raw_sql("begin isolation level repeatable read; select count(*) from engine.jobs")
                .execute(&mut *holder)
                .await?;
            bench.drain::<Nothing>(load, Nothing).await
        }
        "enqueue" => {
            let sender = || {
                let (pool, engine, clock) = (bench.pool.clone(), bench.engine.clone(), bench.clock.clone());
                move |payload| send(pool.clone(), engine.clone(), clock.clone(), payload)
            };
            singly(load, (0..CLIENTS).map(|_| sender())).await
        }
        "bulk" => {
            let began = Instant::now();
            bench.fill(load.jobs, Nothing).await?;
            Ok(per_second(load.jobs, began.elapsed()))
        }
        "pickup" => {
            let _running = bench.start().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            steadily(load, |payload| bench.send(payload)).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            waited()
        }
        "pickup_across" => {
            let _running = bench.start().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let sender = tokio::process::Command::new(std::env::current_exe()?)
                .args(["subject", "sira", "send_steadily"])
                .stdout(Stdio::null())
                .status()
                .await?;
            anyhow::ensure!(sender.success(), "the sender failed");
            tokio::time::sleep(Duration::from_secs(1)).await;
            waited()
        }
        "workflows" => {
            let _running = bench.start().await?;
            let began = Instant::now();
            let starts: Vec<_> =
                (0..load.jobs).map(|n| Effect::Start(NewWorkflow::of(&Three { n, step: 0 }))).collect();
            for batch in starts.chunks(BULK as usize) {
                bench.apply(batch).await?;
            }
            bench.finished(load.jobs).await?;
            Ok(per_second(load.jobs, began.elapsed()))
        }
        "atomic" => {
            sqlx::raw_sql(EFFECTS).execute(&bench.pool).await?;
            bench.drain::<Atomic>(load, Atomic).await
        }
        "atomic_batch" => {
            sqlx::raw_sql(EFFECTS).execute(&bench.pool).await?;
            bench.drain::<AtomicBatch>(load, AtomicBatch).await
        }
        other => anyhow::bail!("sira has no {other}"),
    }
}

fn waited() -> anyhow::Result<Figures> {
    percentiles(std::mem::take(&mut WAITED.lock().expect("no handler panics")))
}

async fn send(pool: PgPool, engine: Engine, clock: Clock, payload: Payload) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    let applied = apply(&mut tx, &clock, &[Effect::Job(NewJob::of(&Nothing(payload)))]).await?;
    tx.commit().await?;
    engine.wake(&applied);
    Ok(())
}

impl Bench {
    async fn send(&self, payload: Payload) -> anyhow::Result<()> {
        send(self.pool.clone(), self.engine.clone(), self.clock.clone(), payload).await
    }

    async fn apply(&self, effects: &[Effect]) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        let mut tx = conn.begin().await?;
        let applied = apply(&mut tx, &self.clock, effects).await?;
        tx.commit().await?;
        self.engine.wake(&applied);
        Ok(())
    }

    async fn fill<J: Job<PgPool>>(&self, jobs: u64, job: fn(Payload) -> J) -> anyhow::Result<()> {
        for first in (0..jobs).step_by(BULK as usize) {
            let effect = |n| Effect::Job(NewJob::of(&job(Payload::new(n))));
            self.apply(&(first..first + BULK).map(effect).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    async fn drain<J: Job<PgPool>>(&self, load: &Load, job: fn(Payload) -> J) -> anyhow::Result<Figures> {
        self.fill(load.jobs, job).await?;
        vacuum(&self.pool).await?;
        let began = Instant::now();
        let _running = self.start().await?;
        self.finished(load.jobs).await?;
        let figures = per_second(load.jobs, began.elapsed());
        let finished: BTreeMap<String, i64> =
            sqlx::query_as("select outcome, count(*) from engine.finished where id > 0 group by 1")
                .fetch_all(&self.pool)
                .await?
                .into_iter()
                .collect();
        let done = finished.get("done").copied().context("nothing was finished")?;
        anyhow::ensure!(done == load.jobs as i64, "{done} of {} are done", load.jobs);
        Ok(figures)
    }

    async fn finished(&self, jobs: u64) -> anyhow::Result<()> {
        while DONE.load(Ordering::Relaxed) < jobs {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        emptied(&self.pool, "engine.jobs").await
    }

    async fn start(&self) -> anyhow::Result<Running> {
        let registry = Registry::new()
            .job::<Nothing>()
            .job::<Failing>()
            .job::<Atomic>()
            .batch_job::<AtomicBatch>()
            .workflow::<Three>();
        let settings = Settings { prefetch: 4000, ..Settings::new("bench", "bench") };
        Ok(self.engine.start(registry, &[QUEUE, ATOMIC], self.pool.clone(), settings).await?)
    }

    async fn finish_million(&self) -> anyhow::Result<()> {
        sqlx::query(
            "insert into engine.finished (id, kind, queue, outcome, attempt, payload, created_at)
             select -n, 'bench.do_nothing', 'bench', 'done', 1, jsonb_build_object('n', n, 'note', repeat('x', 150)), now()
             from generate_series(1, $1) as n",
        )
        .bind(FINISHED)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
