//! What follows from an event: jobs, workflow starts, signals. Written in the transaction of their cause.

use chrono::{DateTime, Utc};
use kernel::Clock;
use serde_json::Value;
use sira_kernel as kernel;
use sqlx::PgConnection;

use crate::error::EngineError;
use crate::job::{Job, Spec};
use crate::workflow::{Workflow, WorkflowSpec};

/// One consequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Enqueue a job.
    Job(NewJob),
    /// Start a workflow, unless one of its kind and key lives.
    Start(NewWorkflow),
    /// Wake the live workflow of this kind and key, if there is one.
    Signal {
        /// The workflow's stored kind.
        kind: &'static str,
        /// Its business key.
        key: String,
        /// The signal's name.
        name: &'static str,
        /// Ids, never personal data.
        payload: Value,
    },
    /// End the live workflow of this kind and key, if there is one: its purpose is gone.
    Supersede {
        /// The workflow's stored kind.
        kind: &'static str,
        /// Its business key.
        key: String,
        /// For the history.
        reason: String,
    },
}

/// A job to enqueue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub(crate) spec: Spec,
    pub(crate) gate: Option<String>,
    pub(crate) payload: Value,
    pub(crate) dedupe_key: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) priority: i16,
}

impl NewJob {
    /// A job of this payload, due at once.
    pub fn of<C, J: Job<C>>(job: &J) -> Self {
        Self {
            spec: J::SPEC,
            gate: gate_of::<C, J>(job),
            payload: serde_json::to_value(job).expect("payloads are plain data with string keys"),
            dedupe_key: job.dedupe_key(),
            tags: job.tags(),
            run_at: None,
            priority: 0,
        }
    }

    /// Due at this time instead of at once.
    #[must_use]
    pub fn at(mut self, run_at: DateTime<Utc>) -> Self {
        self.run_at = Some(run_at);
        self
    }

    /// The stored kind.
    pub fn kind(&self) -> &'static str {
        self.spec.name
    }

    /// When it is due; `None` is at once.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.run_at
    }
}

/// The gate of its kind, or its own concurrency key. Names of gates hold no colon.
fn gate_of<C, J: Job<C>>(job: &J) -> Option<String> {
    let keyed = || Some(format!("{}:{}", J::SPEC.name, job.concurrency_key()?));
    J::GATE.map(|gate| gate.name.to_owned()).or_else(keyed)
}

/// A workflow to start.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWorkflow {
    pub(crate) spec: WorkflowSpec,
    pub(crate) key: String,
    pub(crate) state: Value,
    /// Until when it sleeps, and for which signal; `None` takes its first step at once.
    pub(crate) asleep: Option<(DateTime<Utc>, Option<&'static str>)>,
}

impl NewWorkflow {
    /// A workflow that takes its first step from this state, at once.
    pub fn of<C, W: Workflow<C>>(state: &W) -> Self {
        Self {
            spec: W::SPEC,
            key: state.key(),
            state: serde_json::to_value(state).expect("states are plain data with string keys"),
            asleep: None,
        }
    }

    /// Begins asleep: its first step is woken by the timer at this time. A workflow that first waits is begun so, and costs
    /// no step until there is something to do.
    #[must_use]
    pub fn asleep_until(mut self, at: DateTime<Utc>) -> Self {
        self.asleep = Some((at, None));
        self
    }

    /// Begins asleep: its first step is woken by this signal, or by the timer at the deadline.
    #[must_use]
    pub fn waiting_for(mut self, signal: &'static str, deadline: DateTime<Utc>) -> Self {
        self.asleep = Some((deadline, Some(signal)));
        self
    }

    /// When it takes its first step; `None` is at once.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.asleep.map(|(at, _)| at)
    }

    /// The stored kind.
    pub fn kind(&self) -> &'static str {
        self.spec.name
    }

    /// The business key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// What to wake once the transaction has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "wake the engine with it after the commit, or the jobs wait for the next poll"]
pub struct Applied {
    /// Queues that got work which is due now.
    pub queues: Vec<String>,
    /// Whether something was scheduled for later, so that timers must be set anew.
    pub scheduled: bool,
}

impl Applied {
    /// Takes in what another write made due.
    pub fn merge(&mut self, other: Self) {
        self.queues.extend(other.queues);
        self.scheduled |= other.scheduled;
    }
}

/// Writes effects into the caller's transaction, set-based and in an order that cannot deadlock: workflows are
/// superseded, started and signalled in this order, then all jobs are enqueued. They exist if and only if that
/// transaction commits.
pub async fn apply(tx: &mut PgConnection, clock: &Clock, effects: &[Effect]) -> Result<Applied, EngineError> {
    crate::store::apply(tx, clock, effects).await
}
