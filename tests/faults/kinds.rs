//! What the workers run.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_engine::{
    Engine, External, Job, JobError, Lease, Outcome, Queue, Retry, Spec, Step, Transition, Workflow,
    WorkflowSpec,
};
use sqlx::{PgPool, Postgres, Transaction};

use crate::ledger::Ledger;

pub const QUEUE: Queue = Queue { name: "faults", concurrency: 4 };
const RETRY: Retry = Retry::backoff(10, Duration::from_millis(50), Duration::from_millis(500));
/// A queue beside it.
pub const SIDE: Queue = Queue { name: "side", concurrency: 2 };
/// Longest lease that a worker can be given, in milliseconds.
pub const LEASE_MS_MAX: u64 = 30_000;
/// Address space of a worker that is short of it, in bytes.
pub const MEMORY_MAX: usize = 2 << 30;
/// Ten of the longest leases: a zombie wakes after two, and must find its handler still at work.
const TIMEOUT: Duration = Duration::from_millis(10 * LEASE_MS_MAX);
/// Steps of each workflow.
pub const STEPS: u16 = 3;

#[derive(Clone)]
pub struct Cx {
    pub pool: PgPool,
    pub engine: Engine,
    pub ledger: Arc<Ledger>,
    pub lease_ttl: Duration,
    pub bug: Option<Bug>,
}

/// A mistake in a handler, made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The effect is committed before its completion.
    Apart,
    /// Each process has keys of its own.
    NewKey,
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
    pub slot: Option<DateTime<Utc>>,
}

/// Has no effect.
#[derive(Debug, Serialize, Deserialize)]
pub struct Herd {}

/// As [`Inside`], on the queue beside it, and of a kind that an older version does not know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Side {
    pub n: u32,
}

/// Holds a connection for longer than a lease before it has its effect.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hold {
    pub n: u32,
}

/// Brings its process down, or never does what it should.
#[derive(Debug, Serialize, Deserialize)]
pub enum Poison {
    Panic,
    Abort,
    Memory,
}

/// What [`Poison`] cannot be read from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unreadable {
    pub nothing: String,
}

/// The stored kind of [`Poison`].
pub const POISON: &str = "faults.poison";

/// The stored kind of [`Tick`].
pub const TICK: &str = "faults.tick";

impl Job<Cx> for Tick {
    const SPEC: Spec = Spec { name: TICK, queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        let slot = self.slot.ok_or_else(|| JobError::fail("slotless", "a tick without its slot"))?;
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("tick {}", slot.timestamp())).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Inside {
    const SPEC: Spec = Spec { name: "faults.inside", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    fn dedupe_key(&self) -> Option<String> {
        Some(self.n.to_string())
    }

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        labour().await;
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("inside {}", self.n)).await?;
        if cx.bug == Some(Bug::Apart) {
            tx.commit().await?;
            fail::fail_point!("faults::apart");
            tx = begin(cx).await?;
        }
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
        let process = || std::process::id().to_string();
        let key = if cx.bug == Some(Bug::NewKey) { process() } else { lease.key() };
        cx.ledger.write(&format!("outside {} {key}", self.n));
        fail::fail_point!("faults::outside");
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

/// The next version of [`Steps`], with a state of its own.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewSteps {
    pub n: u32,
    pub left: u16,
}

impl Workflow<Cx> for NewSteps {
    const SPEC: WorkflowSpec = WorkflowSpec { version: 2, ..Steps::SPEC };

    fn key(&self) -> String {
        format!("new {}", self.n)
    }

    async fn advance(self, cx: &Cx, step: &Step) -> Result<Outcome, JobError> {
        labour().await;
        let left = self.left - 1;
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("new step {} {}", self.n, STEPS - left)).await?;
        let next = Self { left, ..self };
        let transition = if left == 0 { Transition::Done(next) } else { Transition::Next(next) };
        let applied = step.record(&mut tx, &transition).await?;
        tx.commit().await?;
        cx.engine.wake(&applied);
        Ok(Outcome::Committed)
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
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("step {} {taken}", self.n)).await?;
        let next = Self { taken, ..self };
        let transition = if taken == STEPS { Transition::Done(next) } else { Transition::Next(next) };
        let applied = step.record(&mut tx, &transition).await?;
        tx.commit().await?;
        cx.engine.wake(&applied);
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Herd {
    const SPEC: Spec = Spec { name: "faults.herd", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, _: &Cx, _: &Lease) -> Result<Outcome, JobError> {
        Ok(Outcome::Done)
    }
}

impl Job<Cx> for Side {
    const SPEC: Spec = Spec { name: "faults.side", queue: SIDE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("side {}", self.n)).await?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Hold {
    const SPEC: Spec = Spec { name: "faults.hold", queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        let mut tx = begin(cx).await?;
        effect(&mut tx, &format!("hold {}", self.n)).await?;
        let until = tokio::time::Instant::now() + cx.lease_ttl * 3 / 2;
        while tokio::time::Instant::now() < until {
            sqlx::query("select").execute(&mut *tx).await?;
            labour().await;
        }
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }
}

impl Job<Cx> for Poison {
    const SPEC: Spec = Spec { name: POISON, queue: QUEUE, retry: RETRY, timeout: TIMEOUT };

    async fn run(self, _: &Cx, _: &Lease) -> Result<Outcome, JobError> {
        labour().await;
        match self {
            Self::Panic => panic!("on purpose"),
            Self::Abort => std::process::abort(),
            Self::Memory => {
                let hoard = vec![1u8; 2 * MEMORY_MAX];
                Err(JobError::fail("memory", format!("there was room for {} bytes", hoard.len())))
            }
        }
    }
}

impl Job<Cx> for Unreadable {
    const SPEC: Spec = Poison::SPEC;

    async fn run(self, _: &Cx, _: &Lease) -> Result<Outcome, JobError> {
        Err(JobError::fail("read", "it was read as another kind"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
async fn begin(cx: &Cx) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    cx.pool.begin().await
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
