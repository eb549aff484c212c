//! The handle on the engine of one process.

use std::sync::Arc;
use std::time::Duration;

use sira_kernel::Clock;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::effect::Applied;
use crate::error::EngineError;
use crate::job::Queue;
use crate::registry::Registry;
use crate::runtime::{self, Running};
use crate::settings::Settings;
use crate::store;
use crate::wake::Waker;

/// How long the engine waits for a connection of its own before it tries again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Cheap to clone. Wakes workers in this process and the others; starts workers.
#[derive(Clone)]
pub struct Engine {
    pub(crate) options: Arc<PgConnectOptions>,
    pub(crate) clock: Clock,
    pub(crate) waker: Arc<Waker>,
}

impl Engine {
    /// An engine on the database of this pool, with connections of its own. Starts no worker, but sends wakes to
    /// the other processes. Must be called within a Tokio runtime.
    pub fn new(pool: &PgPool, clock: Clock) -> Self {
        let options = pool.connect_options();
        let waker = Arc::new(Waker::start(single(&options, ACQUIRE_TIMEOUT)));
        Self { options, clock, waker }
    }

    /// Wakes whoever can do what a commit made due. Call it after the commit; a wake that is missed costs no
    /// more than a poll.
    pub fn wake(&self, applied: &Applied) {
        self.waker.wake(applied);
    }

    /// Opens a session and starts workers for these queues.
    ///
    /// The handlers' own pool must set `idle_in_transaction_session_timeout`, to about the lease's time: else a
    /// process that was frozen within a transaction keeps its locks, and what they cover waits for it.
    ///
    /// # Errors
    /// When the database is not there at the start; afterwards the workers wait for it for ever.
    pub async fn start<C: Clone + Send + Sync + 'static>(
        &self,
        registry: Registry<C>,
        queues: &[Queue],
        cx: C,
        settings: Settings,
    ) -> Result<Running, EngineError> {
        runtime::start(self, registry, queues, cx, settings).await
    }
}

/// One connection, made when it is needed and made anew when it is lost.
pub(crate) fn single(options: &PgConnectOptions, idle: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |conn, _| Box::pin(store::bound_transactions(conn, idle)))
        .connect_lazy_with(options.clone())
}

/// Connections for the hot statements: fixed plans, bounded run time.
pub(crate) fn hot(options: &PgConnectOptions, settings: &Settings) -> PgPool {
    let (timeout, idle) = (settings.statement_timeout, settings.lease_ttl);
    PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        // A dead one is found by its statement, which is tried again: no round trip before each.
        .test_before_acquire(false)
        .after_connect(move |conn, _| {
            Box::pin(async move {
                store::fix_plans(conn, timeout).await?;
                store::bound_transactions(conn, idle).await
            })
        })
        .connect_lazy_with(options.clone())
}
