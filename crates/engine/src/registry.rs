//! Which kinds of jobs and workflows a process can run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::gate::Gate;
use crate::job::{BatchJob, Job, JobError, Lease, Leased, Outcome, Queue, Retry, Spec};
use crate::schedule::{Cron, Schedule};
use crate::workflow::{Step, Workflow, WorkflowSpec, step_kind};

/// The future of one attempt.
pub(crate) type Attempt = BoxFuture<'static, Result<Outcome, JobError>>;
/// The future of an attempt of many.
pub(crate) type Attempts = BoxFuture<'static, Result<Vec<Outcome>, JobError>>;
/// Decodes a payload and begins an attempt; `Err` when it cannot be decoded.
type RunJob<C> = Arc<dyn Fn(&RawValue, C, Lease) -> Result<Attempt, serde_json::Error> + Send + Sync>;
/// Decodes payloads and begins an attempt of all; `Err` when one of them cannot be decoded.
type RunMany<C> = Arc<dyn Fn(&[(&RawValue, &Lease)], C) -> Result<Attempts, serde_json::Error> + Send + Sync>;
/// Decodes a state and begins a step; `Err` when it cannot be decoded.
type RunStep<C> = Arc<dyn Fn(&Value, C, Step) -> Result<Attempt, serde_json::Error> + Send + Sync>;

/// How attempts of a kind are begun.
pub(crate) enum Handler<C> {
    Job(RunJob<C>),
    /// One per version of the stored state.
    Workflow(BTreeMap<i16, RunStep<C>>),
}

/// A registered kind: what is fixed about it, and its handler.
pub(crate) struct Registered<C> {
    pub kind: Kind,
    pub handler: Handler<C>,
    /// Of a kind whose jobs may run together.
    pub many: Option<RunMany<C>>,
}

/// What is fixed about a registered kind, for generated documents and for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// The stored kind of its jobs: for a workflow, of its steps.
    pub name: String,
    /// The queue it runs on.
    pub queue: &'static str,
    /// Attempts in all.
    pub attempts_max: u16,
    /// Upper bound of the first delay after a failure.
    pub backoff_base: Duration,
    /// Upper bound of every delay after a failure.
    pub backoff_cap: Duration,
    /// Longest run of one attempt.
    pub timeout: Duration,
    /// Most of its jobs that run together.
    pub batch_max: usize,
    /// Whether it is a workflow's step.
    pub workflow: bool,
    /// What its jobs pass before they are ready.
    pub gate: Option<Gate>,
}

impl Kind {
    fn new(name: String, queue: Queue, retry: Retry, timeout: Duration, workflow: bool) -> Self {
        Self {
            name,
            queue: queue.name,
            attempts_max: retry.attempts_max,
            backoff_base: retry.base,
            backoff_cap: retry.cap,
            timeout,
            batch_max: 1,
            workflow,
            gate: None,
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::backoff(self.attempts_max, self.backoff_base, self.backoff_cap)
    }
}

/// The kinds that a process can run, over the context `C` that all of them share.
pub struct Registry<C> {
    pub(crate) kinds: BTreeMap<String, Registered<C>>,
    pub(crate) schedules: Vec<Schedule>,
    context: PhantomData<fn(C)>,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new(), schedules: Vec::new(), context: PhantomData }
    }
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// No kinds yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of job.
    ///
    /// # Panics
    /// When its name is taken, or its gate is declared otherwise by another kind: mistakes in the program and not in its
    /// input.
    #[must_use]
    pub fn job<J: Job<C>>(mut self) -> Self {
        let Spec { name, queue, retry, timeout } = J::SPEC;
        let run: RunJob<C> = Arc::new(|payload, cx, lease| {
            let job: J = serde_json::from_str(payload.get())?;
            Ok(async move { job.run(&cx, &lease).await }.boxed())
        });
        let mut kind = Kind::new(name.to_owned(), queue, retry, timeout, false);
        kind.gate = J::GATE;
        if let Some(gate) = kind.gate {
            let mut others = self.kinds().filter_map(|kind| kind.gate);
            assert!(
                others.all(|other| other.name != gate.name || other == gate),
                "two gates are named {}",
                gate.name
            );
            assert!(gate.is_passable(), "{}: each limit is above zero", gate.name);
            assert!(!gate.name.contains(':'), "{}: a colon is what concurrency keys have", gate.name);
        }
        let taken =
            self.kinds.insert(name.to_owned(), Registered { kind, handler: Handler::Job(run), many: None });
        assert!(taken.is_none(), "two kinds are named {name}");
        self
    }

    /// Adds a kind of job whose waiting jobs run together.
    ///
    /// # Panics
    /// When its name is taken, or a batch could hold nothing: mistakes in the program and not in its input.
    #[must_use]
    pub fn batch_job<J: BatchJob<C>>(self) -> Self {
        let name = J::SPEC.name;
        assert!(J::BATCH_MAX > 0, "a batch of {name} holds nothing");
        let mut registry = self.job::<J>();
        if let Some(registered) = registry.kinds.get_mut(name) {
            registered.kind.batch_max = J::BATCH_MAX;
            registered.many = Some(Arc::new(|batch, cx| {
                let leased = |(payload, lease): &(&RawValue, &Lease)| {
                    Ok(Leased { job: serde_json::from_str(payload.get())?, lease: (*lease).clone() })
                };
                let batch = batch.iter().map(leased).collect::<Result<Vec<_>, serde_json::Error>>()?;
                Ok(async move { J::run_many(batch, &cx).await }.boxed())
            }));
        }
        registry
    }

    /// Adds a kind of workflow, or another version of one: old versions run on after a deployment.
    ///
    /// # Panics
    /// When its name and version are taken, which is a mistake in the program and not in its input.
    #[must_use]
    pub fn workflow<W: Workflow<C>>(mut self) -> Self {
        let WorkflowSpec { name, version, queue, retry, timeout } = W::SPEC;
        let run: RunStep<C> = Arc::new(|state, cx, step| {
            let workflow = W::deserialize(state)?;
            Ok(async move { workflow.advance(&cx, &step).await }.boxed())
        });
        let version = version.cast_signed();
        let kind = Kind::new(step_kind(name), queue, retry, timeout, true);
        match self.kinds.entry(kind.name.clone()) {
            Entry::Vacant(place) => {
                let handler = Handler::Workflow(BTreeMap::from([(version, run)]));
                place.insert(Registered { kind, handler, many: None });
            }
            Entry::Occupied(mut place) => {
                let Handler::Workflow(versions) = &mut place.get_mut().handler else {
                    panic!("two kinds are named {name}")
                };
                assert!(
                    versions.insert(version, run).is_none(),
                    "two workflows are {name} version {version}"
                );
            }
        }
        self
    }

    /// Adds a schedule, which is stored when workers start.
    ///
    /// # Panics
    /// When its name is taken, its expression or zone is not valid, or its kind is not registered before it: mistakes in the
    /// program and not in its input.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        let Schedule { name, cron, time_zone, ref job, .. } = schedule;
        assert!(self.schedules.iter().all(|other| other.name != name), "two schedules are named {name}");
        assert!(self.kinds.contains_key(job.kind()), "{name} fires {}, which is not registered", job.kind());
        assert!(
            job.gate.is_none(),
            "{name} fires {}, which waits for a gate: let a job of it enqueue that",
            job.kind()
        );
        if let Err(invalid) = Cron::parse(cron, time_zone) {
            panic!("{name}: {invalid}");
        }
        self.schedules.push(schedule);
        self
    }

    /// The gates of all kinds, each once.
    pub(crate) fn gates(&self) -> Vec<Gate> {
        let gates: BTreeMap<&str, Gate> =
            self.kinds().filter_map(|kind| kind.gate).map(|gate| (gate.name, gate)).collect();
        gates.into_values().collect()
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values().map(|registered| &registered.kind)
    }
}
