//! From a claimed job to its handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sira_kernel::Clock;
use sqlx::PgPool;

use super::claimed::{Claimed, VERSION, Verdict};
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
                Some(id) => match self.load(id).await {
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

    async fn load(&self, workflow_id: i64) -> Result<Option<store::Pending>, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        store::load_step(&mut conn, workflow_id).await
    }
}

impl<C: Clone + Send + Sync + 'static> Dispatch for Dispatcher<C> {
    fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name).map(|registered| &registered.kind)
    }

    fn run(self: Arc<Self>, job: Arc<Claimed>) -> BoxFuture<'static, Verdict> {
        async move { self.attempt(&job).await }.boxed()
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
