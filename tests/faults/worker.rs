//! A worker process: runs jobs until it is killed, and does to itself what it was told to at a failpoint.

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use sira_engine::{
    CatchUp, Engine, External, Job, JobError, Lease, Outcome, Queue, Registry, Retry, Schedule, Settings,
    Spec, Step, Transition, Workflow, WorkflowSpec,
};
use sira_kernel::Clock;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::ledger::Ledger;

const QUEUE: Queue = Queue { name: "faults", concurrency: 4 };
const RETRY: Retry = Retry::backoff(10, Duration::from_millis(50), Duration::from_millis(500));
/// Longest lease that a worker can be given, in milliseconds.
pub const LEASE_MS_MAX: u64 = 30_000;
/// Ten of the longest leases: a zombie wakes after two, and must find its handler still at work.
const TIMEOUT: Duration = Duration::from_millis(10 * LEASE_MS_MAX);
/// Steps of each workflow.
pub const STEPS: u16 = 3;

#[derive(Clone)]
pub struct Cx {
    pool: PgPool,
    engine: Engine,
    ledger: Arc<Ledger>,
}

/// Has its effect in the database, in the transaction that completes it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inside {
    pub n: u32,
}

/// Has its effect outside, under the job's key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outside {
    pub n: u32,
}

/// Has an effect outside that nobody deduplicates.
#[derive(Debug, Serialize, Deserialize)]
pub struct Once {
    pub n: u32,
}

/// Has one effect in the database per step.
#[derive(Debug, Serialize, Deserialize)]
pub struct Steps {
    pub n: u32,
    pub taken: u16,
}

/// Has one effect in the database per slot of its schedule, which fires every second.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tick {
    slot: Option<DateTime<Utc>>,
}

/// The stored kind of [`Tick`].
pub const TICK: &str = "faults.tick";

impl Job<Cx> for Tick {
    const SPEC: Spec = Spec { name: TICK, queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        let slot = self.slot.ok_or_else(|| JobError::fail("slotless", "a tick without its slot"))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = cx.pool.begin().await?;
        effect(&mut tx, &format!("tick {}", slot.timestamp())).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Inside {
    const SPEC: Spec = Spec { name: "faults.inside", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        labour().await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = cx.pool.begin().await?;
        effect(&mut tx, &format!("inside {}", self.n)).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        cx.ledger.write(&format!("committed {}", self.n));
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Outside {
    const SPEC: Spec = Spec { name: "faults.outside", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        labour().await;
        cx.ledger.write(&format!("outside {} {}", self.n, lease.key()));
        Ok(Outcome::Done)
    }
}

impl Job<Cx> for Once {
    const SPEC: Spec = Spec { name: "faults.once", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        labour().await;
        let mut conn = cx.pool.acquire().await?;
        match lease.begin_external(&mut conn).await? {
            External::First => cx.ledger.write(&format!("once {}", self.n)),
            External::Again => cx.ledger.write(&format!("reconciled {}", self.n)),
        }
        Ok(Outcome::Done)
    }
}

impl Workflow<Cx> for Steps {
    const SPEC: WorkflowSpec =
        WorkflowSpec { name: "faults.steps", version: 1, queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    fn key(&self) -> String {
        self.n.to_string()
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        labour().await;
        let taken = self.taken + 1;
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = cx.pool.begin().await?;
        effect(&mut tx, &format!("step {} {taken}", self.n)).await?;
        let next = Self { taken, ..self };
        let transition = if taken == STEPS { Transition::Done(next) } else { Transition::Next(next) };
        let applied = step.record(&mut tx, &transition).await?;
        tx.commit().await?;
        cx.engine.wake(&applied);
        Ok(Outcome::Committed)
    }
}

/// What a handler does besides: long enough for a fault to find it at work. The same under any lease, so that it adds
/// nothing to the time that a job waits for it.
async fn labour() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn effect(conn: &mut sqlx::PgConnection, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into effects (name) values ($1)").bind(name).execute(conn).await?;
    Ok(())
}

/// Arguments: database URL, ledger directory, name, lease in milliseconds, then any number of `failpoint=hit:act`.
pub async fn main(args: &[String]) -> ExitCode {
    let [url, dir, name, lease_ms, faults @ ..] = args else { return ExitCode::from(2) };
    let lease_ttl = Duration::from_millis(lease_ms.parse().expect("the harness hands over a number"));
    for fault in faults {
        arm(fault);
    }
    let options = PgConnectOptions::from_str(url)
        .expect("the harness hands over a URL")
        .options([("idle_in_transaction_session_timeout", lease_ttl.as_millis().to_string())]);
    let pool = PgPool::connect_with(options).await.expect("the scenario's database answers");
    let clock = Clock::system();
    let engine = Engine::new(&pool, clock, sira_engine::Link::Direct);
    let ledger = Arc::new(Ledger::open(Path::new(dir), name));
    let cx = Cx { pool, engine: engine.clone(), ledger };
    let ticks =
        Schedule::of::<Cx, _>("faults.ticks", "* * * * * *", "UTC", CatchUp::All, &Tick { slot: None });
    let registry = Registry::new().job::<Inside>().job::<Outside>().job::<Once>().workflow::<Steps>();
    let registry = registry.job::<Tick>().schedule(ticks);
    let settings = Settings {
        lease_ttl,
        renew_every: lease_ttl * 3 / 20,
        fence_after: lease_ttl * 7 / 10,
        poll_every: Duration::from_millis(100),
        prefetch: 4,
        ..Settings::new(name.as_str(), "faults")
    };
    let running = engine.start(registry, &[QUEUE], cx, settings).await.expect("the session can be opened");
    running.lost().await;
    // What a zombie still has in its hands gets its chance to do harm.
    tokio::time::sleep(lease_ttl / 4).await;
    ExitCode::from(3)
}

/// `engine::after_claim=2:kill`: at the third hit, kill -9. Also `stop` (SIGSTOP), `hang` (from then on) and `on`.
fn arm(fault: &str) {
    let (point, rest) = fault.split_once('=').expect("a fault is point=hit:act");
    let (hit, act) = rest.split_once(':').expect("a fault is point=hit:act");
    if act == "on" {
        fail::cfg(point, "return").expect("the action parses");
        return;
    }
    let hit: u64 = hit.parse().expect("a hit is a number");
    let act = act.to_owned();
    let hits = AtomicU64::new(0);
    let callback = move || {
        let now = hits.fetch_add(1, Ordering::SeqCst);
        match act.as_str() {
            "kill" if now == hit => kill_process(getpid(), Signal::KILL).expect("a process may kill itself"),
            "stop" if now == hit => kill_process(getpid(), Signal::STOP).expect("a process may stop itself"),
            "hang" if now >= hit => std::thread::sleep(Duration::from_hours(1)),
            _ => {}
        }
    };
    fail::cfg_callback(point, callback).expect("the failpoint takes a callback");
}
