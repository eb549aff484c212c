//! graphile_worker, the peer in Rust: a large local queue and batched completion, the fastest of the tunings that were tried
//! (50 to 1000 at a time, completions without delay, after 1 ms and after 5 ms).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use sqlx::PgPool;

use crate::load::{
    BULK, CLIENTS, Figures, Load, Payload, emptied, per_second, percentiles, singly, steadily, vacuum,
};

const LOCAL_QUEUE: usize = 5000;
const COMPLETE_BATCHED: Duration = Duration::from_millis(5);
static DONE: AtomicU64 = AtomicU64::new(0);
static WAITED: Mutex<Vec<f64>> = Mutex::new(Vec::new());

impl TaskHandler for Payload {
    const IDENTIFIER: &'static str = "bench";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        WAITED.lock().expect("no handler panics").push(self.age_ms());
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok::<(), String>(())
    }
}

pub async fn run(test: &str, load: &Load) -> anyhow::Result<Figures> {
    let pool = load.connect(20).await?;
    match test {
        "enqueue" => {
            let worker = worker(&pool, false).await?;
            let sender = || {
                let utils = worker.create_utils();
                move |payload| send(utils.clone(), payload)
            };
            singly(load, (0..CLIENTS).map(|_| sender())).await
        }
        "bulk" => {
            let worker = worker(&pool, false).await?;
            let began = Instant::now();
            fill(&worker, load.jobs).await?;
            Ok(per_second(load.jobs, began.elapsed()))
        }
        "drain" => {
            let worker = worker(&pool, true).await?;
            fill(&worker, load.jobs).await?;
            vacuum(&pool).await?;
            let began = Instant::now();
            tokio::spawn(async move { worker.run().await });
            while DONE.load(Ordering::Relaxed) < load.jobs {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            emptied(&pool, "graphile_worker._private_jobs").await?;
            Ok(per_second(load.jobs, began.elapsed()))
        }
        "pickup" => {
            let worker = worker(&pool, false).await?;
            let utils = worker.create_utils();
            tokio::spawn(async move { worker.run().await });
            tokio::time::sleep(Duration::from_secs(1)).await;
            steadily(load, |payload| send(utils.clone(), payload)).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            percentiles(std::mem::take(&mut WAITED.lock().expect("no handler panics")))
        }
        other => anyhow::bail!("graphile_worker has no {other}"),
    }
}

async fn worker(pool: &PgPool, throughput: bool) -> anyhow::Result<Worker> {
    let mut options = WorkerOptions::default()
        .concurrency(50)
        .schema("graphile_worker")
        .poll_interval(Duration::from_secs(1))
        .pg_pool(pool.clone())
        .define_job::<Payload>()
        .listen_os_shutdown_signals(false);
    if throughput {
        options = options
            .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE))
            .complete_job_batch_delay(COMPLETE_BATCHED);
    }
    Ok(options.init().await?)
}

async fn send(utils: WorkerUtils, payload: Payload) -> anyhow::Result<()> {
    utils.add_job(payload, JobSpec::default()).await?;
    Ok(())
}

async fn fill(worker: &Worker, jobs: u64) -> anyhow::Result<()> {
    let utils = worker.create_utils();
    for first in (0..jobs).step_by(BULK as usize) {
        let batch: Vec<RawJobSpec> = (first..first + BULK)
            .map(|n| {
                let payload = serde_json::to_value(Payload::new(n))?;
                anyhow::Ok(RawJobSpec { identifier: "bench".into(), payload, spec: JobSpec::default() })
            })
            .collect::<anyhow::Result<_>>()?;
        utils.add_raw_jobs(&batch).await?;
    }
    Ok(())
}
