//! What stands around every attempt, as layers of the worker's tower stack.
//!
//! Each layer is a function from an attempt to an attempt; [`Around`] makes a tower layer of it. From the outside
//! in: acknowledgement, concurrency, one task per attempt, cancellation, turn (alone or beside others), span,
//! panics, timeout, handler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sira_kernel::TraceParent;
use tower::{Layer, Service};

use super::claimed::{Claimed, Fault, Verdict};
use super::session::Session;
use crate::job::Failure;

/// One attempt under way.
pub type Attempt = BoxFuture<'static, Verdict>;
type Wrap = Arc<dyn Fn(Arc<Claimed>, Attempt) -> Attempt + Send + Sync>;

/// A layer made of a function.
#[derive(Clone)]
pub struct Around(Wrap);

impl Around {
    /// Puts `wrap` around every attempt.
    pub fn new(wrap: impl Fn(Arc<Claimed>, Attempt) -> Attempt + Send + Sync + 'static) -> Self {
        Self(Arc::new(wrap))
    }
}

impl<S> Layer<S> for Around {
    type Service = Wrapped<S>;

    fn layer(&self, inner: S) -> Wrapped<S> {
        Wrapped { inner, wrap: Arc::clone(&self.0) }
    }
}

/// The service inside could take no job. None of ours ever says so.
#[derive(Debug, thiserror::Error)]
#[error("the worker's service failed: {0}")]
pub struct Broken(String);

/// A service with one function around it.
pub struct Wrapped<S> {
    inner: S,
    wrap: Wrap,
}

impl<S> Service<Task<Arc<Claimed>>> for Wrapped<S>
where
    S: Service<Task<Arc<Claimed>>, Response = Verdict>,
    S::Error: Into<BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = Verdict;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Verdict, Broken>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.inner.poll_ready(cx).map_err(|error| Broken(error.into().to_string()))
    }

    fn call(&mut self, task: Task<Arc<Claimed>>) -> Self::Future {
        let job = Arc::clone(&task.args);
        let inner = self.inner.call(task);
        // The one error there can be is that of the attempt's own task: a panic outside the handler.
        let attempt = inner.map(|result| result.unwrap_or_else(|_| Verdict::panicked())).boxed();
        (self.wrap)(job, attempt).map(Ok).boxed()
    }
}

/// Outermost: whatever happened inside, its outcome is acknowledged here, once for each that ran.
pub fn acknowledge(session: &Arc<Session>) -> Around {
    let session = Arc::clone(session);
    Around::new(move |job, attempt| {
        let session = Arc::clone(&session);
        async move {
            let known = session.dispatch.kind(&job.kind).is_some();
            let kind = if known { job.kind.clone() } else { "unknown".to_owned() };
            let started_at = session.clock.now();
            let started = tokio::time::Instant::now();
            let members = job.members().count();
            metrics::counter!("sira_jobs_started_total", "kind" => kind.clone()).increment(members as u64);
            let verdict = attempt.await;
            fail::fail_point!("engine::after_handler");
            let each = match &verdict {
                Verdict::Each(each) => each.clone(),
                of_all => vec![of_all.clone(); members],
            };
            for (member, verdict) in job.members().zip(each) {
                let label = verdict.label();
                metrics::counter!("sira_jobs_finished_total", "kind" => kind.clone(), "outcome" => label)
                    .increment(1);
                metrics::histogram!("sira_job_duration_seconds", "kind" => kind.clone())
                    .record(started.elapsed());
                session.counts.add(&kind, label, started.elapsed());
                session.acknowledge(Arc::clone(member), verdict, Some(started_at));
            }
            verdict
        }
        .boxed()
    })
}

/// Stops the attempt when the session is lost, or when a drain has run out of time.
pub fn cancellable(session: &Arc<Session>) -> Around {
    let (lost, interrupt) = (session.lost.clone(), session.interrupt.clone());
    Around::new(move |_, attempt| {
        let (lost, interrupt) = (lost.clone(), interrupt.clone());
        async move {
            tokio::select! {
                biased;
                () = lost.cancelled() => Verdict::LeaseLost,
                () = interrupt.cancelled() => Verdict::Released,
                verdict = attempt => verdict,
            }
        }
        .boxed()
    })
}

/// Lets attempts run beside each other, except one that must be alone: that one brings its turn with it.
pub fn in_turn(session: &Arc<Session>) -> Around {
    let turns = Arc::clone(&session.turns);
    Around::new(move |job, attempt| {
        let turns = Arc::clone(&turns);
        async move {
            let _turn = if job.alone.is_some() { None } else { Some(turns.read_owned().await) };
            fail::fail_point!("engine::before_handler");
            attempt.await
        }
        .boxed()
    })
}

/// Everything that a handler logs carries its job, and what it causes belongs to the job's trace: that of what caused it.
pub fn traced() -> Around {
    Around::new(|job, attempt| trace(&job, attempt))
}

fn trace(job: &Claimed, attempt: Attempt) -> Attempt {
    let parent = job.trace_parent.as_deref().and_then(TraceParent::parse).unwrap_or_else(TraceParent::begin);
    let span = tracing::info_span!(
        "job", job.name = %job.kind, job.id = %job.lease.job, attempt = job.lease.attempt,
        trace.id = %parent.trace_id(),
    );
    let attempt = async move {
        let verdict = attempt.await;
        match &verdict {
            Verdict::Failed(failure, fault) => {
                tracing::warn!(fault = ?fault, code = %failure.code, error = %failure.message, "attempt failed");
            }
            Verdict::LeaseLost => tracing::warn!("the lease was lost; nothing is acknowledged"),
            other => tracing::debug!(outcome = other.label(), "attempt ended"),
        }
        verdict
    };
    parent.instrument(span, attempt).boxed()
}

/// A panic is a failure of its job, not of the process.
pub fn catching_panics() -> Around {
    Around::new(|_, attempt| caught(attempt))
}

/// The attempt, or its panic as a failure.
pub fn caught(attempt: Attempt) -> Attempt {
    let caught = AssertUnwindSafe(attempt).catch_unwind();
    caught.map(|result| result.unwrap_or_else(|_| Verdict::panicked())).boxed()
}

/// Drops an attempt that runs longer than its kind may. Jobs that run together are bounded where they are run.
pub fn timed(session: &Arc<Session>) -> Around {
    let dispatch = Arc::clone(&session.dispatch);
    Around::new(move |job, attempt| match dispatch.kind(&job.kind) {
        Some(kind) if job.companions.is_empty() => within(kind.timeout, attempt),
        _ => attempt,
    })
}

/// The attempt, or a failure when it runs longer.
pub fn within(limit: Duration, attempt: Attempt) -> Attempt {
    async move {
        tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
            let failure = Failure {
                code: "timeout".to_owned(),
                message: format!("the attempt ran longer than {} ms", limit.as_millis()),
                retryable: true,
                details: serde_json::Value::Null,
            };
            Verdict::Failed(failure, Fault::Timeout)
        })
    }
    .boxed()
}
