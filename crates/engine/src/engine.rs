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

/// What stands between the engine and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A connection is one session for as long as it stands.
    Direct,
    /// A pooler lends a session to each transaction. Nothing is set for a session's life, nothing is listened to and nobody is
    /// notified: other processes' work is found by polling. What ends a lost statement and a frozen transaction is then the
    /// role's own `statement_timeout`, at most three times the engine's, and `idle_in_transaction_session_timeout`.
    Pooled,
}

/// Cheap to clone. Wakes workers in this process and the others; starts workers.
#[derive(Clone)]
pub struct Engine {
    pub(crate) options: Arc<PgConnectOptions>,
    pub(crate) clock: Clock,
    pub(crate) waker: Arc<Waker>,
    pub(crate) link: Link,
}

impl Engine {
    /// An engine on the database of this pool, with connections of its own. Starts no worker, but sends wakes to
    /// the other processes, unless the link is pooled. Must be called within a Tokio runtime.
    pub fn new(pool: &PgPool, clock: Clock, link: Link) -> Self {
        let options = pool.connect_options();
        let notifying = (link == Link::Direct).then(|| single(&options, ACQUIRE_TIMEOUT, link));
        let waker = Arc::new(Waker::start(notifying));
        Self { options, clock, waker, link }
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
pub(crate) fn single(options: &PgConnectOptions, idle: Duration, link: Link) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None);
    let pool = match link {
        Link::Direct => pool.after_connect(move |conn, _| Box::pin(store::bound_transactions(conn, idle))),
        Link::Pooled => pool,
    };
    pool.connect_lazy_with(options.clone())
}

/// Connections for the hot statements: fixed plans, bounded run time, where sessions are our own.
pub(crate) fn hot(options: &PgConnectOptions, settings: &Settings, link: Link) -> PgPool {
    let (timeout, idle) = (settings.statement_timeout, settings.lease_ttl);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        // A dead one is found by its statement, which is tried again: no round trip before each.
        .test_before_acquire(false);
    let pool = match link {
        Link::Direct => pool.after_connect(move |conn, _| {
            Box::pin(async move {
                store::fix_plans(conn, timeout).await?;
                store::bound_transactions(conn, idle).await
            })
        }),
        Link::Pooled => pool,
    };
    pool.connect_lazy_with(options.clone())
}
