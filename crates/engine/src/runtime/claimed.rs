//! A claimed job on its way through the worker, and how its attempt ended.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedRwLockWriteGuard, oneshot};

use crate::job::{Failure, JobError, JobId, Lease, Outcome};
use crate::store::{ClaimRow, Pending};
use crate::workflow::Decided;

/// A job that this session holds.
pub struct Claimed {
    pub lease: Lease,
    pub kind: String,
    pub payload: Box<RawValue>,
    pub crash_count: i16,
    pub deduped: bool,
    pub workflow_id: Option<i64>,
    /// The place in a trace that caused it.
    pub trace_parent: Option<String>,
    /// What it passed: a place in it is free once it is through.
    pub gate: Option<String>,
    /// The queue under whose limit it was claimed: likewise.
    pub limited: Option<Arc<str>>,
    /// What its step stands on, read when it was claimed; a step without it reads for itself.
    pub pending: Option<Pending>,
    /// Held by a job that runs alone in its process.
    pub alone: Option<Alone>,
    /// The others of its kind that run together with it.
    pub companions: Vec<Arc<Claimed>>,
}

/// Keeps every other handler of the process out, and tells the probing lane when the job is through: dropped with
/// the job, after it was acknowledged.
pub struct Alone {
    pub _turn: Arc<OwnedRwLockWriteGuard<()>>,
    pub _through: oneshot::Sender<()>,
}

impl Claimed {
    pub fn new(row: ClaimRow, pending: Option<Pending>, alone: Option<Alone>) -> Self {
        Self {
            lease: Lease {
                job: JobId(row.id),
                fence: row.lease,
                attempt: row.attempt.cast_unsigned(),
                attempts_max: row.attempts_max.cast_unsigned(),
                child: row.child,
            },
            kind: row.kind,
            payload: row.payload.0,
            crash_count: row.crash_count,
            deduped: row.deduped,
            workflow_id: row.workflow_id,
            trace_parent: row.trace_parent,
            gate: row.gate,
            limited: None,
            pending,
            alone,
            companions: Vec::new(),
        }
    }

    /// It and its companions.
    pub fn members(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(&self.companions)
    }
}

/// What a job waits for whose kind or version this process does not know.
pub const VERSION: &str = "version";

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Done,
    /// Completed in the handler's own transaction.
    Committed,
    /// A workflow's step whose transition is still to be written.
    Decided(Box<Decided>),
    Cancelled(String),
    Snoozed {
        until: DateTime<Utc>,
        waits_for: &'static str,
    },
    Failed(Failure, Fault),
    /// How each of those that ran together ended.
    Each(Vec<Verdict>),
    /// Given back because this process stops.
    Released,
    /// Somebody else may run it: nothing is acknowledged.
    LeaseLost,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Error,
    Timeout,
    Panic,
}

impl Verdict {
    /// For metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done | Self::Committed | Self::Decided(_) => "done",
            Self::Cancelled(_) => "cancelled",
            Self::Snoozed { .. } => "snoozed",
            Self::Failed(_, Fault::Error) => "failed",
            Self::Failed(_, Fault::Timeout) => "timed_out",
            Self::Failed(_, Fault::Panic) => "panicked",
            Self::Each(_) => "each",
            Self::Released => "released",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// Whether the job's own code may not have run to an end: a suspect is still one.
    pub fn proves_nothing(&self) -> bool {
        match self {
            Self::Released => true,
            Self::Snoozed { waits_for, .. } => *waits_for == VERSION,
            _ => false,
        }
    }

    pub fn fail(code: &str, message: impl Into<String>) -> Self {
        JobError::fail(code, message).into()
    }

    /// The panic's own text may quote anybody's data, so it stays in the log.
    pub fn panicked() -> Self {
        let failure = Failure {
            code: "panicked".to_owned(),
            message: "the handler panicked; the process's log says where".to_owned(),
            retryable: true,
            details: Value::Null,
        };
        Self::Failed(failure, Fault::Panic)
    }
}

impl From<JobError> for Verdict {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Retry(failure) => Self::Failed(Failure { retryable: true, ..failure }, Fault::Error),
            JobError::Fail(failure) => Self::Failed(Failure { retryable: false, ..failure }, Fault::Error),
            JobError::LeaseLost => Self::LeaseLost,
        }
    }
}

impl From<Result<Outcome, JobError>> for Verdict {
    fn from(result: Result<Outcome, JobError>) -> Self {
        match result {
            Ok(Outcome::Done) => Self::Done,
            Ok(Outcome::Committed) => Self::Committed,
            Ok(Outcome::Decided(decided)) => Self::Decided(decided),
            Ok(Outcome::Snooze { until, waits_for }) => Self::Snoozed { until, waits_for },
            Ok(Outcome::Cancel(reason)) => Self::Cancelled(reason),
            Err(error) => error.into(),
        }
    }
}
