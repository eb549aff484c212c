//! From a claimed job to its handler.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sira_kernel::Clock;
use sqlx::PgPool;

use super::claimed::{Claimed, VERSION, Verdict};
use super::layers;
use crate::job::{JobError, Outcome};
use crate::registry::{Handler, Kind, Registered, Registry};
use crate::settings::Settings;
use crate::store;
use crate::workflow::Step;

/// The registry without its context type.
pub trait Dispatch: Send + Sync {
    /// What is fixed about a kind, if this process knows it.
    fn kind(&self, name: &str) -> Option<&Kind>;
    /// Runs one attempt.
    fn run(self: Arc<Self>, job: Arc<Claimed>) -> BoxFuture<'static, Verdict>;
}

/// The handlers with their context.
pub struct Dispatcher<C> {
    kinds: BTreeMap<String, Registered<C>>,
    cx: C,
    pool: PgPool,
    clock: Clock,
    settings: Settings,
}

impl<C: Clone + Send + Sync + 'static> Dispatcher<C> {
    pub fn new(registry: Registry<C>, cx: C, pool: PgPool, clock: Clock, settings: Settings) -> Self {
        Self { kinds: registry.kinds, cx, pool, clock, settings }
    }

    /// Another process may know what this one does not: two versions run side by side during a deployment.
    fn unknown(&self) -> Verdict {
        let until = self.clock.now() + self.settings.unknown_wait;
        Verdict::Snoozed { until, waits_for: VERSION }
    }

    async fn attempt(&self, job: &Claimed) -> Verdict {
        match self.kinds.get(&job.kind).map(|registered| &registered.handler) {
            None => self.unknown(),
            Some(Handler::Job(begin)) => match begin(&job.payload, self.cx.clone(), job.lease.clone()) {
                Ok(attempt) => attempt.await.into(),
                Err(error) => undecodable("payload", &error),
            },
            Some(Handler::Workflow(versions)) => match job.workflow_id {
                None => Verdict::fail("undecodable", "a step without its workflow"),
                Some(id) => match self.pending(job, id).await {
                    Err(error) => JobError::from(error).into(),
                    Ok(None) => Verdict::Cancelled("the workflow has ended".to_owned()),
                    Ok(Some(pending)) => match versions.get(&pending.version) {
                        None => self.unknown(),
                        Some(begin) => {
                            let step = Step {
                                lease: job.lease.clone(),
                                workflow_id: id,
                                seq: pending.seq,
                                wake: pending.wake,
                                signal_id: pending.signal_id,
                                joined: pending.joined,
                            };
                            match begin(&pending.state, self.cx.clone(), step) {
                                Ok(attempt) => of_step(attempt.await),
                                Err(error) => undecodable("state", &error),
                            }
                        }
                    },
                },
            },
        }
    }

    async fn pending(&self, job: &Claimed, workflow: i64) -> Result<Option<store::Pending>, sqlx::Error> {
        if let Some(pending) = &job.pending {
            return Ok(Some(pending.clone()));
        }
        let mut conn = self.pool.acquire().await?;
        Ok(store::load_steps(&mut conn, &[workflow]).await?.remove(&workflow))
    }
}

impl<C: Clone + Send + Sync + 'static> Dispatcher<C> {
    /// All together, or, when that fails in any way, one after the other as if they had been claimed singly.
    async fn run_many(self: Arc<Self>, first: &Arc<Claimed>) -> Vec<Verdict> {
        if let Some(outcomes) = self.attempt_many(first).await {
            return outcomes.into_iter().map(|outcome| Ok(outcome).into()).collect();
        }
        let limit = self.kind(&first.kind).map_or(Duration::ZERO, |kind| kind.timeout);
        let mut verdicts = Vec::with_capacity(first.companions.len() + 1);
        for member in first.members() {
            let (this, member) = (Arc::clone(&self), Arc::clone(member));
            let attempt = async move { this.attempt(&member).await }.boxed();
            verdicts.push(layers::within(limit, layers::caught(attempt)).await);
        }
        verdicts
    }

    async fn attempt_many(&self, first: &Arc<Claimed>) -> Option<Vec<Outcome>> {
        let Registered { kind, many, .. } = self.kinds.get(&first.kind)?;
        let batch: Vec<_> = first.members().map(|member| (&*member.payload, &member.lease)).collect();
        let begun = many.as_ref()?(&batch, self.cx.clone());
        let attempt = AssertUnwindSafe(begun.ok()?).catch_unwind();
        let why = match tokio::time::timeout(kind.timeout, attempt).await {
            Ok(Ok(Ok(outcomes))) if outcomes.len() == batch.len() => return Some(outcomes),
            Ok(Ok(Ok(_))) => "it answered for another number of jobs".to_owned(),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => "it ran too long".to_owned(),
        };
        tracing::warn!(kind = %first.kind, jobs = batch.len(), why, "a batch failed; its jobs run singly");
        None
    }
}

impl<C: Clone + Send + Sync + 'static> Dispatch for Dispatcher<C> {
    fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name).map(|registered| &registered.kind)
    }

    fn run(self: Arc<Self>, job: Arc<Claimed>) -> BoxFuture<'static, Verdict> {
        if job.companions.is_empty() {
            return async move { self.attempt(&job).await }.boxed();
        }
        async move { Verdict::Each(self.run_many(&job).await) }.boxed()
    }
}

/// Says where, and not what: the text of a serde error may quote the value.
fn undecodable(what: &str, error: &serde_json::Error) -> Verdict {
    Verdict::fail("undecodable", format!("the {what} is not of this kind ({:?} error)", error.classify()))
}

/// A step ends by `Step::record`; one that says it is done without having recorded anything would sleep for ever.
fn of_step(result: Result<Outcome, JobError>) -> Verdict {
    match result {
        Ok(Outcome::Done | Outcome::Cancel(_)) => {
            Verdict::fail("unrecorded", "the step ended without having recorded its transition")
        }
        other => other.into(),
    }
}
