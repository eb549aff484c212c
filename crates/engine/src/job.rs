//! What a job is: its payload, its specification, its outcome, and the lease under which it runs.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::error::EngineError;
use crate::gate::Gate;
use crate::workflow::Decided;

/// The id of a job, stable over all its attempts: the idempotency key of its external effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A queue: its stored name, and how many of its jobs one process runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The stored name; never edited.
    pub name: &'static str,
    /// How many jobs one process runs at a time.
    pub concurrency: usize,
}

/// How a failed attempt is repeated: exponential backoff with full jitter, stored in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; after the last failed one the job is dead and waits for an operator.
    pub attempts_max: u16,
    /// Upper bound of the first delay.
    pub base: Duration,
    /// Upper bound of every delay.
    pub cap: Duration,
}

impl Retry {
    /// Up to `attempts_max` attempts; the n-th delay is random below `min(base * 2^(n-1), cap)`.
    pub const fn backoff(attempts_max: u16, base: Duration, cap: Duration) -> Self {
        Self { attempts_max, base, cap }
    }
}

/// What is fixed about a kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// The stored kind, `area.verb_noun`. Never edited: a rename adds an alias.
    pub name: &'static str,
    /// Where it runs.
    pub queue: Queue,
    /// How it is repeated.
    pub retry: Retry,
    /// Longest run of one attempt; then the handler is dropped and the attempt failed.
    pub timeout: Duration,
}

/// A kind of job: the payload is the type itself. Payloads hold ids, never personal data.
pub trait Job<C>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What is fixed about it.
    const SPEC: Spec;

    /// What it shares with other jobs and must not overrun, in all processes: so many at once, so many a second, none while
    /// what it needs is down. It waits without a worker and without spending an attempt.
    const GATE: Option<Gate> = None;

    /// At most one job of a kind and key runs at a time, in all processes; the others wait in the order of their priority and
    /// age. A kind has a gate or such keys: where it has a [`Self::GATE`], the key is not asked for.
    fn concurrency_key(&self) -> Option<String> {
        None
    }

    /// At most one *unclaimed* job per kind and key: a second one only pulls the first one's time forward.
    fn dedupe_key(&self) -> Option<String> {
        None
    }

    /// What an operator finds it by, as in `lead:<id>`. No personal data.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Runs one attempt. May run again after a crash at any point: effects in the database belong into the
    /// transaction that completes `lease`, effects elsewhere carry [`Lease::key`].
    fn run(self, cx: &C, lease: &Lease) -> impl Future<Output = Result<Outcome, JobError>> + Send;
}

/// A job and the right to run it.
#[derive(Debug, Clone)]
pub struct Leased<J> {
    /// The payload.
    pub job: J,
    /// Completes this job, and no other of its batch.
    pub lease: Lease,
}

/// A kind whose waiting jobs may run together.
pub trait BatchJob<C>: Job<C> {
    /// Most jobs of one batch.
    const BATCH_MAX: usize;

    /// Runs one attempt of each, and answers one outcome each, in their order. After an error, a panic, a run longer than
    /// the kind's timeout or a wrong number of answers nothing is taken for done: each runs by itself, by [`Job::run`]. So
    /// effects in the database belong into the one transaction that completes all leases ([`Lease::complete_all`]), and
    /// effects elsewhere carry each job's own [`Lease::key`].
    fn run_many(
        batch: Vec<Leased<Self>>,
        cx: &C,
    ) -> impl Future<Output = Result<Vec<Outcome>, JobError>> + Send;
}

/// How an attempt ended, when it did not fail.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Finished; the engine acknowledges it.
    Done,
    /// Finished, and already completed in the handler's own transaction.
    Committed,
    /// A workflow's step that has no effects of its own: [`crate::Step::decide`] makes it.
    Decided(Box<Decided>),
    /// Not now: run again at this time. Spends no attempt.
    Snooze {
        /// When to run again.
        until: DateTime<Utc>,
        /// Why it waits, for the operator: `provider`, `requested`. [`crate::gate::RATE_LIMIT`] says that the provider named
        /// the time: the other jobs of its gate wait as long.
        waits_for: &'static str,
    },
    /// No longer wanted, with the reason.
    Cancel(String),
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// Try again after the backoff, while attempts are left.
    #[error("{0}")]
    Retry(Failure),
    /// Trying again cannot help: the job is dead at once.
    #[error("{0}")]
    Fail(Failure),
    /// The lease was lost: somebody else runs the job; this attempt changed nothing and is not counted.
    #[error("the lease on this job was lost")]
    LeaseLost,
}

/// A stored failure. Holds no personal data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// Stable, for filters and fingerprints: `rate_limited`, `timeout`, `database`.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Whether trying again could help.
    pub retryable: bool,
    /// More, machine readable; ids and numbers only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl JobError {
    /// A failure that trying again may mend.
    pub fn retry(code: &str, message: impl Into<String>) -> Self {
        Self::Retry(Failure {
            code: code.to_owned(),
            message: message.into(),
            retryable: true,
            details: Value::Null,
        })
    }

    /// A failure that trying again cannot mend.
    pub fn fail(code: &str, message: impl Into<String>) -> Self {
        Self::Fail(Failure {
            code: code.to_owned(),
            message: message.into(),
            retryable: false,
            details: Value::Null,
        })
    }
}

/// Whether an external effect of this job may have happened already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// No attempt had begun it.
    First,
    /// One had: what became of it must be asked, not done again.
    Again,
}

/// SQLSTATE classes that pass by themselves: connection (08), a transaction's state, as read only (25), rollback
/// (40), resources (53), a lock not to be had (55), operator (57), the server's system (58) and inside (XX).
const TRANSIENT_CLASSES: [&str; 8] = ["08", "25", "40", "53", "55", "57", "58", "XX"];

/// Whether an error passes by itself, so that the same statement may work later.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    matches!(JobError::from_ref(error), JobError::Retry(_))
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::from_ref(&error)
    }
}

impl JobError {
    fn from_ref(error: &sqlx::Error) -> Self {
        let (code, constraint) = match error {
            sqlx::Error::Database(db) => {
                (db.code().map(std::borrow::Cow::into_owned), db.constraint().map(str::to_owned))
            }
            _ => (None, None),
        };
        match (error, code) {
            // The server's message may quote a row's values, so only its code and constraint are stored.
            (sqlx::Error::Database(_), Some(state)) if !TRANSIENT_CLASSES.contains(&&state[..2]) => {
                Self::fail(
                    "database",
                    format!("SQLSTATE {state}, constraint {}", constraint.unwrap_or_default()),
                )
            }
            (sqlx::Error::Database(_), state) => {
                Self::retry("database_unavailable", format!("SQLSTATE {}", state.unwrap_or_default()))
            }
            (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_),
                _,
            ) => Self::retry("database_unavailable", "the connection to the database was lost"),
            (other, _) => Self::fail("database", format!("unexpected answer: {}", variant_name(other))),
        }
    }
}

/// The variant alone: decoding errors may quote values.
fn variant_name(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::RowNotFound => "row not found",
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => "a column could not be decoded",
        _ => "driver error",
    }
}

impl From<EngineError> for JobError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::LeaseLost => Self::LeaseLost,
            EngineError::TooManyChildren => Self::fail("too_many_children", error.to_string()),
            EngineError::Encode(_) => Self::fail("encode", "a state or payload could not be written as JSON"),
            EngineError::Database(error) => error.into(),
        }
    }
}

/// The right to run one attempt of one job, fenced by `(id, lease)`.
#[derive(Debug, Clone)]
pub struct Lease {
    pub(crate) job: JobId,
    pub(crate) fence: i64,
    pub(crate) attempt: u16,
    pub(crate) attempts_max: u16,
    /// A workflow waits for it.
    pub(crate) child: bool,
}

impl Lease {
    /// The job's id.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The idempotency key for effects outside the database: the same over all attempts.
    pub fn key(&self) -> String {
        format!("sira-job-{}", self.job)
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Whether a failure now leaves the job dead.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.attempts_max
    }

    /// Completes the job inside the caller's transaction: effect and completion commit together.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] when another process may run the job by now: the caller rolls back.
    pub async fn complete(&self, tx: &mut PgConnection) -> Result<(), EngineError> {
        crate::store::complete_one(tx, self).await
    }

    /// [`Self::complete`] for a batch: all are completed, or none.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] when another process may run one of the jobs by now: the caller rolls back.
    pub async fn complete_all<'a>(
        leases: impl IntoIterator<Item = &'a Self>,
        tx: &mut PgConnection,
    ) -> Result<(), EngineError> {
        let leases: Vec<_> = leases.into_iter().map(|lease| (lease.job, lease.fence)).collect();
        crate::store::complete_all(tx, &leases).await
    }

    /// Notes, before an effect that its provider cannot deduplicate (a call cannot be un-dialled), that it is
    /// about to begin. Commit it before the call. On [`External::Again`] an earlier attempt had come this far:
    /// reconcile, and never send again.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] when another process may run the job by now: the call must not be made.
    pub async fn begin_external(&self, conn: &mut PgConnection) -> Result<External, EngineError> {
        crate::store::begin_external(conn, self.job, self.fence).await
    }
}
