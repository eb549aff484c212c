//! How fast the engine drains no-op jobs: `cargo bench -p sira-engine --bench engine_drain [-- JOBS]`.
//!
//! Enqueues the jobs in batches of 1,000 in a database of its own, then starts workers and measures until the last
//! job is in the history. Needs SIRA_TEST_DATABASE_URL. Prints enqueued and drained jobs per second.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sira_engine::{
    Effect, Engine, Job, JobError, Lease, NewJob, Outcome, Queue, Registry, Retry, Settings, Spec, apply,
};
use sira_testkit::TestDb;
use sqlx::Connection;

const QUEUE: Queue = Queue { name: "bench", concurrency: 1000 };
const JOBS_DEFAULT: u64 = 100_000;
const BATCH: u64 = 1000;
const ROUNDS: usize = 3;

#[derive(Serialize, Deserialize)]
struct Nothing {
    n: u64,
    note: String,
}

impl Job<()> for Nothing {
    const SPEC: Spec = Spec {
        name: "bench.nothing",
        queue: QUEUE,
        retry: Retry::backoff(3, Duration::from_secs(1), Duration::from_secs(10)),
        timeout: Duration::from_secs(10),
    };

    async fn run(self, (): &(), _: &Lease) -> Result<Outcome, JobError> {
        Ok(Outcome::Done)
    }
}

#[tokio::main]
async fn main() {
    let jobs = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(JOBS_DEFAULT);
    for round in 1..=ROUNDS {
        let (enqueued, drained) = drain(jobs).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, "round {round}: {jobs} jobs, enqueued {enqueued:.0}/s, drained {drained:.0}/s")
            .expect("standard output takes a line");
    }
}

async fn drain(jobs: u64) -> (f64, f64) {
    let db = TestDb::new().await;
    let mut conn = db.pool.acquire().await.expect("the database answers");
    let began = Instant::now();
    for first in (0..jobs).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..(first + BATCH).min(jobs)).map(effect).collect();
        let mut tx = conn.begin().await.expect("the database answers");
        let _ = apply(&mut tx, &db.clock, &batch).await.expect("the jobs are accepted");
        tx.commit().await.expect("the jobs are accepted");
    }
    let enqueued = jobs as f64 / began.elapsed().as_secs_f64();
    sqlx::query("vacuum analyze engine.jobs").execute(&mut *conn).await.expect("the table can be vacuumed");
    let engine = Engine::new(&db.pool, db.clock.clone());
    let settings = Settings { prefetch: 4000, ..Settings::new("bench", "bench") };
    let began = Instant::now();
    let running = engine
        .start(Registry::new().job::<Nothing>(), &[QUEUE], (), settings)
        .await
        .expect("the session can be opened");
    loop {
        let left: bool = sqlx::query_scalar("select exists (select from engine.jobs)")
            .fetch_one(&mut *conn)
            .await
            .expect("the database answers");
        if !left {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drained = jobs as f64 / began.elapsed().as_secs_f64();
    running.drain(Duration::from_secs(5)).await;
    (enqueued, drained)
}

fn effect(n: u64) -> Effect {
    Effect::Job(NewJob::of(&Nothing { n, note: "x".repeat(150) }))
}
