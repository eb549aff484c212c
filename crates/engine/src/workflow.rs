//! Durable workflows: a persisted state that is advanced one committed step at a time and sleeps in between.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::effect::{Applied, NewJob};
use crate::error::EngineError;
use crate::job::{JobError, JobId, Lease, Outcome, Queue, Retry};

/// What is fixed about a kind of workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkflowSpec {
    /// The stored kind. Never edited.
    pub name: &'static str,
    /// The version of the stored state.
    pub version: u16,
    /// Where its steps run.
    pub queue: Queue,
    /// How a failed step is repeated.
    pub retry: Retry,
    /// Longest run of one step.
    pub timeout: Duration,
}

/// Most jobs that one step enqueues as children.
pub const CHILDREN_MAX: usize = 1000;

/// Until when a workflow waits for its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Until all have ended, however they did.
    All,
    /// Until all have ended, or one was cancelled or has failed for good. The others go on.
    UntilFailure,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildOutcome {
    /// It has not.
    Open,
    /// It is done.
    Done,
    /// Its last attempt failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl ChildOutcome {
    pub(crate) fn parse(stored: Option<&str>) -> Self {
        match stored {
            None => Self::Open,
            Some("done") => Self::Done,
            Some("cancelled") => Self::Cancelled,
            Some(_) => Self::Failed,
        }
    }
}

/// What woke a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Wake {
    /// The first step, or the step after [`Transition::Next`].
    Start,
    /// The time of `WaitUntil`, or the deadline of `WaitFor`, has come.
    Timer,
    /// The signal that `WaitFor` named.
    Signal {
        /// Its name.
        name: String,
        /// What it carried: ids, never personal data.
        payload: Value,
    },
    /// The children have ended as `Children` said. In the order in which they were given.
    Children(Vec<(JobId, ChildOutcome)>),
}

/// What a step decided. `S` is the workflow's state, which is the workflow type itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition<S> {
    /// Go on at once from this state.
    Next(S),
    /// Sleep until this time.
    WaitUntil(S, DateTime<Utc>),
    /// Sleep until the signal arrives, or until the deadline.
    WaitFor {
        /// The state to go on from.
        state: S,
        /// The signal waited for. One that came before the wait began is kept and wakes at once.
        signal: &'static str,
        /// When to give up waiting.
        deadline: DateTime<Utc>,
    },
    /// Enqueue these jobs, at most [`CHILDREN_MAX`], and sleep until they have ended, or until the deadline; those that have
    /// not ended by then go on unattended. When the workflow is cancelled or superseded meanwhile, those that nobody has
    /// begun are cancelled with it. None folds into an equal job that waits.
    Children {
        /// The state to go on from.
        state: S,
        /// What is done beside each other.
        jobs: Vec<NewJob>,
        /// Which ends are waited for.
        join: Join,
        /// When to give up waiting.
        deadline: DateTime<Utc>,
    },
    /// Finished.
    Done(S),
}

/// A kind of workflow: the state is the type itself, a serde enum or struct.
pub trait Workflow<C>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What is fixed about it.
    const SPEC: WorkflowSpec;

    /// The business key: at most one live workflow per kind and key; the address of signals.
    fn key(&self) -> String;

    /// Takes one step: reads the world, decides, writes. Calls no provider: outside work is a job whose end
    /// signals. Ends with [`Step::record`] in the transaction of its effects, as
    /// `uow.commit_and_advance(step, transition)` does, or with [`Step::decide`] when it has none; a step may run again
    /// until that commit.
    fn advance(self, cx: &C, step: &Step) -> impl Future<Output = Result<Outcome, JobError>> + Send;
}

/// The right to take one step of one workflow, fenced by the step's job.
#[derive(Debug, Clone)]
pub struct Step {
    pub(crate) lease: Lease,
    pub(crate) workflow_id: i64,
    pub(crate) seq: i32,
    pub(crate) wake: Wake,
    pub(crate) signal_id: Option<i64>,
    /// It waited for children.
    pub(crate) joined: bool,
}

/// A transition on its way to the database, made by [`Step::decide`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub(crate) workflow_id: i64,
    /// The step's place in the history: the workflow's sequence number once it is written.
    pub(crate) seq: i32,
    pub(crate) woken_by: &'static str,
    /// The signal that woke it.
    pub(crate) details: Option<Value>,
    pub(crate) signal_id: Option<i64>,
    pub(crate) decision: &'static str,
    pub(crate) status: &'static str,
    pub(crate) state: Value,
    pub(crate) wake_at: Option<DateTime<Utc>>,
    pub(crate) waiting_for: Option<&'static str>,
    /// It waited for children, of whom nothing more need be known.
    pub(crate) joined: bool,
    pub(crate) children: Vec<NewJob>,
    pub(crate) join_on: Option<&'static str>,
}

impl Decided {
    fn of<S: Serialize>(step: &Step, transition: &Transition<S>) -> Result<Self, EngineError> {
        let mut children = Vec::new();
        let mut join_on = None;
        let (decision, status, state, wake_at, waiting_for) = match transition {
            Transition::Next(state) => ("next", "running", state, None, None),
            Transition::WaitUntil(state, at) => ("wait_until", "sleeping", state, Some(*at), None),
            Transition::WaitFor { state, signal, deadline } => {
                ("wait_for", "waiting", state, Some(*deadline), Some(*signal))
            }
            Transition::Children { state, jobs, join, deadline } => {
                if jobs.len() > CHILDREN_MAX {
                    return Err(EngineError::TooManyChildren);
                }
                children.clone_from(jobs);
                join_on = Some(match join {
                    Join::All => "all",
                    Join::UntilFailure => "failure",
                });
                ("children", "joining", state, Some(*deadline), None)
            }
            Transition::Done(state) => ("done", "done", state, None, None),
        };
        let (woken_by, details) = match &step.wake {
            Wake::Start => ("start", None),
            Wake::Timer => ("timer", None),
            Wake::Signal { name, payload } => ("signal", Some(json!({ "signal": name, "payload": payload }))),
            Wake::Children(ends) => {
                let count = |of| ends.iter().filter(|(_, outcome)| *outcome == of).count();
                let (done, failed) = (count(ChildOutcome::Done), count(ChildOutcome::Failed));
                ("children", Some(json!({ "children": ends.len(), "done": done, "failed": failed })))
            }
        };
        let state = serde_json::to_value(state)?;
        let (workflow_id, seq, signal_id) = (step.workflow_id, step.seq + 1, step.signal_id);
        Ok(Self {
            workflow_id,
            seq,
            woken_by,
            details,
            signal_id,
            decision,
            status,
            state,
            wake_at,
            waiting_for,
            joined: step.joined,
            children,
            join_on,
        })
    }
}

/// The kind of the jobs that take a workflow kind's steps.
pub(crate) fn step_kind(workflow_kind: &str) -> String {
    format!("step:{workflow_kind}")
}

impl Step {
    /// What woke it.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// The lease of the step's job.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Writes the transition, its history row and the completion of the step's job into the caller's
    /// transaction.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] when the step was taken elsewhere or the workflow ended meanwhile;
    /// [`EngineError::TooManyChildren`].
    pub async fn record<S: Serialize>(
        &self,
        tx: &mut PgConnection,
        transition: &Transition<S>,
    ) -> Result<Applied, EngineError> {
        crate::store::record_step(tx, &self.lease, &Decided::of(self, transition)?).await
    }

    /// Ends a step that has no effects of its own: the engine writes its transition, its history row and the completion
    /// of its job in one transaction with those of other steps.
    ///
    /// # Errors
    /// [`EngineError::Encode`] when the state cannot be written as JSON; [`EngineError::TooManyChildren`].
    pub fn decide<S: Serialize>(&self, transition: &Transition<S>) -> Result<Outcome, EngineError> {
        Ok(Outcome::Decided(Box::new(Decided::of(self, transition)?)))
    }
}

/// Cancels the live workflow of this kind and key in the caller's transaction. A step that is under way rolls
/// back; a waiting one never runs. Returns whether there was one to cancel.
pub async fn cancel(tx: &mut PgConnection, kind: &str, key: &str, reason: &str) -> Result<bool, EngineError> {
    Ok(crate::store::cancel(tx, kind, key, reason).await?)
}
