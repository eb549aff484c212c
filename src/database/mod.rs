//! The database of this process: the one that `database.url` names, or the private PostgreSQL; and its migrations.

mod store;

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use sira_postgres::Private;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::config::Config;

/// How long a connection is waited for.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to answer when its line is tried.
const PING_MAX: Duration = Duration::from_secs(3);
/// After so long a rest its line is tried before a connection is used.
const REST_MAX: Duration = Duration::from_secs(1);
/// How long connections may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How long a transaction may stand still before PostgreSQL ends it.
const IDLE_IN_TRANSACTION_MAX: &str = "10s";
/// Shown in `pg_stat_activity`.
const APPLICATION: &str = "sira";

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The private one does not run.
    #[error(transparent)]
    Private(#[from] sira_postgres::Error),
    /// It does not answer, or refuses us.
    #[error(
        "the database does not answer: {0}. Check database.url, or leave it empty for the private PostgreSQL"
    )]
    Connect(#[source] sqlx::Error),
}

/// A pool, and the private PostgreSQL under it when it is ours to run.
pub struct Database {
    pool: PgPool,
    private: Option<Private>,
}

/// What of the schema this binary knows and the database lacks, or the other way round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Not applied yet.
    pub pending: Vec<i64>,
    /// Applied, but the file was changed since.
    pub changed: Vec<i64>,
    /// Applied by a newer binary.
    pub unknown: Vec<i64>,
}

impl Database {
    /// For a process that serves or works: the private PostgreSQL is its own.
    ///
    /// # Errors
    /// [`sira_postgres::Error::InUse`] when another process runs the private one.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let Some(settings) = config.private_postgres() else { return Self::external(config).await };
        let private = Private::start(&settings, |note| tracing::info!("{note}")).await?;
        let pool = connect(private.options(), config, false).await?;
        Ok(Self { pool, private: Some(private) })
    }

    /// For a command that looks or changes something and ends: joins the running private PostgreSQL, or runs it
    /// for as long as this value lives.
    pub async fn join(config: &Config) -> Result<Self, OpenError> {
        let running =
            config.private_postgres().map(|settings| sira_postgres::running(&settings)).transpose()?;
        match running.flatten() {
            Some(options) => Ok(Self { pool: connect(options, config, false).await?, private: None }),
            None => match direct(config).await? {
                Some(pool) => Ok(Self { pool, private: None }),
                None => Self::open(config).await,
            },
        }
    }

    async fn external(config: &Config) -> Result<Self, OpenError> {
        let url = config.database.url.expose_secret();
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        Ok(Self { pool: connect(options, config, config.database.pooled).await?, private: None })
    }

    /// Connections.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The private PostgreSQL, when this process runs it.
    pub fn private(&self) -> Option<&Private> {
        self.private.as_ref()
    }

    /// Closes the pool, then stops the private PostgreSQL if it is ours.
    pub async fn close(self) {
        if tokio::time::timeout(CLOSE_MAX, self.pool.close()).await.is_err() {
            tracing::warn!("connections to the database did not close in time; they are left to the server");
        }
        if let Some(private) = self.private {
            private.stop().await;
        }
    }
}

/// Connections past the pooler, where `database.url` goes through one.
pub async fn direct(config: &Config) -> Result<Option<PgPool>, OpenError> {
    let url = config.database.direct_url.expose_secret();
    if url.is_empty() {
        return Ok(None);
    }
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
    Ok(Some(connect(options, config, false).await?))
}

async fn connect(options: PgConnectOptions, config: &Config, pooled: bool) -> Result<PgPool, OpenError> {
    let mut options = options.application_name(APPLICATION).disable_statement_logging();
    if !pooled {
        // A process that freezes inside a transaction must not keep its row locks: its jobs are taken over. Through a pooler
        // the role says so.
        options = options.options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX)]);
    }
    PgPoolOptions::new()
        .max_connections(config.database.connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        // A connection whose line is dead must not keep its place: the driver's own check has no deadline.
        .after_release(|conn, _| Box::pin(ping(conn)))
        // One that answered a moment ago is not asked again.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move { if meta.idle_for < REST_MAX { Ok(true) } else { ping(conn).await } })
        })
        .connect_with(options)
        .await
        .map_err(OpenError::Connect)
}

async fn ping(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let alive = tokio::time::timeout(PING_MAX, conn.ping()).await;
    alive.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
}

/// What this binary knows. A schema that a newer one has moved on is accepted: migrations keep the previous binary
/// working.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, one process at a time; says how many migrations that were.
pub async fn migrate(pool: &PgPool) -> Result<usize, MigrateError> {
    let pending = drift(&mut *pool.acquire().await?).await?.pending.len();
    migrator().run(pool).await?;
    Ok(pending)
}

/// The database's time, to correct the process clock to.
pub async fn now(pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
    store::now(&mut *pool.acquire().await?).await
}

/// The newest migration that was applied; `None` in a database without our schema.
pub async fn newest_applied(conn: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    Ok(store::list_applied(conn).await?.last().map(|(version, _)| *version))
}

/// The newest migration that this binary has.
pub fn newest_known() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Compares the migrations compiled in with those applied. Changes nothing.
pub async fn drift(conn: &mut PgConnection) -> Result<Drift, sqlx::Error> {
    let applied = store::list_applied(conn).await?;
    let known = migrator();
    let mut drift = Drift::default();
    for migration in known.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => drift.pending.push(migration.version),
            Some((version, checksum)) if *checksum != *migration.checksum => drift.changed.push(*version),
            Some(_) => {}
        }
    }
    drift.unknown =
        applied.iter().map(|(version, _)| *version).filter(|v| !known.version_exists(*v)).collect();
    Ok(drift)
}
