//! One session's tasks: apalis workers over fetchers, the completer, renewal, timers, rescue.
//!
//! **Invariant:** every task is owned by [`Running`] and ends with it.

mod backend;
mod claimed;
mod completer;
mod dispatch;
mod fetch;
mod gates;
mod layers;
mod renew;
mod session;
mod slots;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::WorkerBuilder;
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::limit::ConcurrencyLimitLayer;

use self::backend::{Buffer, QueueBackend};
use self::claimed::Claimed;
use self::dispatch::Dispatcher;
use self::session::{Parts, Session};
use crate::engine::{Engine, Link, hot, single};
use crate::error::EngineError;
use crate::job::Queue;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::store;

/// How long interrupted attempts have to be dropped.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);
/// How long the last outcomes have to be written at a drain.
const FLUSH_GRACE: Duration = Duration::from_secs(5);

/// The workers of one session. Dropped without a drain, it is as if the process had been killed: its jobs run
/// elsewhere once the session has expired.
#[must_use = "dropped, it stops its workers at once"]
pub struct Running {
    session: Arc<Session>,
    workers: JoinSet<()>,
    completer: AbortOnDropHandle<()>,
    finish: CancellationToken,
    upkeep: JoinSet<()>,
    own: PgPool,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every attempt came to its end.
    Finished,
    /// Some were interrupted, or their outcomes could not be written: they run again elsewhere.
    Interrupted,
}

pub(crate) async fn start<C: Clone + Send + Sync + 'static>(
    engine: &Engine,
    registry: Registry<C>,
    queues: &[Queue],
    cx: C,
    settings: Settings,
) -> Result<Running, EngineError> {
    let hot = hot(&engine.options, &settings, engine.link);
    let single = || single(&engine.options, settings.lease_ttl, engine.link);
    let own = single();
    let names: Vec<String> =
        queues.iter().map(|queue| queue.name.to_owned()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut conn = own.acquire().await?;
    slots::declare(&mut conn, &registry.schedules, engine.clock.now()).await?;
    store::gates::declare(&mut conn, &registry.gates()).await?;
    let id =
        store::open_session(&mut conn, &settings.host, &settings.version, &names, settings.lease_ttl).await?;
    drop(conn);
    let dispatch =
        Arc::new(Dispatcher::new(registry, cx, hot.clone(), engine.clock.clone(), settings.clone()));
    let for_upkeep = single();
    let for_listening = (engine.link == Link::Direct).then(single);
    let (session, outcomes) = Session::new(Parts {
        id,
        settings,
        clock: engine.clock.clone(),
        waker: Arc::clone(&engine.waker),
        dispatch,
        hot,
        queues: names,
    });
    let finish = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "aborted with its handle, which Running owns")]
    let completer = tokio::spawn(completer::complete(Arc::clone(&session), outcomes, finish.clone()));
    let mut upkeep = JoinSet::new();
    upkeep.spawn(renew::renew(Arc::clone(&session), own.clone()));
    upkeep.spawn(upkeep::timers(Arc::clone(&session)));
    upkeep.spawn(gates::keep(Arc::clone(&session)));
    upkeep.spawn(upkeep::upkeep(Arc::clone(&session), for_upkeep));
    if let Some(pool) = for_listening {
        upkeep.spawn(upkeep::listen(Arc::clone(&session), pool));
    }
    let mut workers = JoinSet::new();
    for queue in queues {
        let capacity = session.settings.prefetch.max(queue.concurrency);
        let (sender, receiver) = mpsc::channel(capacity);
        let buffer = Buffer::new(receiver);
        let fetcher = fetch::fetch(Arc::clone(&session), *queue, buffer.clone(), sender);
        workers.spawn(fetcher);
        workers.spawn(work(Arc::clone(&session), queue.name.to_owned(), buffer, queue.concurrency));
    }
    let (sender, receiver) = mpsc::channel(1);
    let buffer = Buffer::new(receiver);
    workers.spawn(fetch::fetch_probing(Arc::clone(&session), buffer.clone(), sender));
    workers.spawn(work(Arc::clone(&session), "probing".to_owned(), buffer, 1));
    tracing::info!(session = id, queues = ?session.queues, "workers started");
    Ok(Running { session, workers, completer: AbortOnDropHandle::new(completer), finish, upkeep, own })
}

/// One apalis worker over one buffer, until the session stops.
async fn work(session: Arc<Session>, name: String, buffer: Buffer, concurrency: usize) {
    if let Err(error) = worker(&session, &name, buffer, concurrency).await {
        tracing::error!(worker = name, %error, "a worker ended by itself");
        session.lose("a worker ended by itself");
    }
}

fn worker(
    session: &Arc<Session>,
    name: &str,
    buffer: Buffer,
    concurrency: usize,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    let dispatch = Arc::clone(&session.dispatch);
    let stopping = session.stopping.clone();
    #[expect(clippy::disallowed_methods, reason = "aborted when the worker drops the attempt")]
    let spawn = |attempt| AbortOnDropHandle::new(tokio::spawn(attempt));
    let worker = WorkerBuilder::new(format!("{name}-{}", session.id))
        .backend(QueueBackend::new(buffer, layers::acknowledge(session)))
        .layer(ConcurrencyLimitLayer::new(concurrency))
        .parallelize(spawn)
        .layer(layers::cancellable(session))
        .layer(layers::in_turn(session))
        .layer(layers::traced())
        .layer(layers::catching_panics())
        .layer(layers::timed(session))
        .build(move |job: Arc<Claimed>| {
            let dispatch = Arc::clone(&dispatch);
            async move { Ok::<_, BoxDynError>(dispatch.run(job).await) }
        });
    let stop = async move {
        stopping.cancelled().await;
        Ok::<(), WorkerError>(())
    };
    worker.run_until(stop).boxed()
}

impl Running {
    /// The session's id, as operators see it.
    pub fn session(&self) -> i64 {
        self.session.id
    }

    /// Resolves when the session was lost. Its work has stopped; drop this and start anew, or end the process.
    pub async fn lost(&self) {
        self.session.lost.cancelled().await;
    }

    /// Stops in order: claims nothing more, gives back what is buffered, lets attempts finish for up to
    /// `timeout`, gives back those that did not, writes all outcomes, and closes the session.
    pub async fn drain(mut self, timeout: Duration) -> Drained {
        self.session.stopping.cancel();
        let mut finished = tokio::time::timeout(timeout, join(&mut self.workers)).await.is_ok();
        if !finished {
            self.session.interrupt.cancel();
            // A handler that blocks its thread cannot be dropped; its job waits for the session to expire.
            let _ = tokio::time::timeout(INTERRUPT_GRACE, join(&mut self.workers)).await;
        }
        self.finish.cancel();
        finished &= tokio::time::timeout(FLUSH_GRACE, &mut self.completer).await.is_ok();
        finished &= !self.session.lost.is_cancelled();
        finished &= tokio::time::timeout(FLUSH_GRACE, self.close()).await.is_ok_and(|closed| closed);
        tracing::info!(session = self.session.id, finished, "workers drained");
        self.session.lost.cancel();
        if finished { Drained::Finished } else { Drained::Interrupted }
    }

    async fn close(&mut self) -> bool {
        self.upkeep.shutdown().await;
        let closing = async {
            let mut conn = self.own.acquire().await?;
            upkeep::tell_counts(&self.session, &mut conn).await?;
            store::close_session(&mut conn, self.session.id).await
        };
        closing.await.unwrap_or_else(|error: sqlx::Error| {
            tracing::warn!(%error, "the session was not closed; it will expire");
            false
        })
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
