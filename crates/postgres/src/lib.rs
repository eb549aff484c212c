//! The private PostgreSQL: made, started, watched and stopped by us, so that `sira up` needs no database to be set
//! up first, and never touches the system's own cluster.
//!
//! It listens on a socket in a directory of its own only, with fsync and data checksums on, under an unprivileged
//! user when we are root. Its postmaster stands in a process group of its own: Ctrl-C reaches us, not it, so the
//! workers drain before the database goes. When we die without a word, the kernel tells it to stop.
//!
//! A crate, not a module of the binary: the tests' throw-away cluster and the check of the SQL against a live
//! database need it before the binary can be built.
//!
//! **Invariant:** one supervisor per data directory, held by a file lock; whoever holds it may stop an orphan.

mod account;
mod binaries;
mod cluster;
mod error;
mod places;
mod postmaster;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use account::Account;
use binaries::Binaries;
pub use binaries::client_program;
pub use error::Error;
use places::Places;
use postmaster::Postmaster;

/// Oldest major version that the schema works with.
pub const MAJOR_MIN: u32 = 14;
/// The database inside the cluster that is ours.
pub const DATABASE: &str = "sira";
/// The cluster's superuser.
pub const SUPERUSER: &str = "sira";

/// How long a start may take, crash recovery included.
const START_MAX: Duration = Duration::from_mins(2);
/// Postmasters that may die before the first one answers.
const FIRST_STARTS_MAX: u32 = 5;
const READY_POLL: Duration = Duration::from_millis(50);

/// Where the private PostgreSQL lives and what it is run with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `postgres` and `initdb` are; empty looks for the highest version installed.
    pub bin_dir: Option<PathBuf>,
    /// The directory that holds `pg/`. Another place is taken when we are root and the unprivileged user cannot
    /// enter it: see [`Private::state_dir`].
    pub data_dir: PathBuf,
}

/// A running private PostgreSQL. Dropping it stops it: a fast shutdown, waited for and reaped.
pub struct Private {
    postmaster: Postmaster,
    places: Places,
    options: PgConnectOptions,
    // Held as long as the postmaster may run; dropped last.
    _lock: File,
}

impl Private {
    /// Makes the cluster when there is none, starts it and waits until it answers. `tell` hears what takes time.
    ///
    /// A postmaster that dies later is started again, with backoff, for as long as this value lives.
    ///
    /// # Errors
    /// Each with the way out: no PostgreSQL installed, the directory in use by another process of ours, made by
    /// another major version, or a postmaster that does not come up.
    pub async fn start(settings: &Settings, tell: impl Fn(&str) + Send + 'static) -> Result<Self, Error> {
        let settings = settings.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(&settings, &tell));
        let (account, binaries, places, lock) = prepared.await.expect("preparing does not panic")?;
        let options = places.options()?;
        let postmaster = Postmaster::supervise(account, &binaries, &places)?;
        await_ready(&postmaster, &places, &options).await?;
        Ok(Self { options: options.database(DATABASE), postmaster, places, _lock: lock })
    }

    /// How to connect, as superuser, to [`DATABASE`].
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same for another process, in the form that libpq's programs read too. It holds the password.
    ///
    /// # Errors
    /// When the password file is not readable.
    pub fn url(&self) -> Result<String, Error> {
        self.places.url()
    }

    /// What holds the cluster, its password and its log; removing it wipes everything.
    pub fn state_dir(&self) -> &Path {
        &self.places.state
    }

    /// The postmaster's process id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.pid()
    }

    /// Stops it: sessions are ended, everything is on disk, the process is reaped.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || drop(self));
        stopping.await.expect("stopping does not panic");
    }
}

/// How to connect to the private PostgreSQL that another process of ours runs; `None` when none does.
pub fn running(settings: &Settings) -> Result<Option<PgConnectOptions>, Error> {
    let places = Places::of(&settings.data_dir, &Account::detect()?)?;
    if !places.is_held()? {
        return Ok(None);
    }
    Ok(Some(places.options()?.database(DATABASE)))
}

/// Everything up to the first start of the postmaster; blocks.
fn prepare(settings: &Settings, tell: &dyn Fn(&str)) -> Result<(Account, Binaries, Places, File), Error> {
    let account = Account::detect()?;
    let binaries = Binaries::find(settings.bin_dir.as_deref())?;
    let places = Places::of(&settings.data_dir, &account)?;
    places.make(&account)?;
    let lock = places.hold()?;
    if places.has_cluster() {
        cluster::refuse_foreign_major(&places, &binaries)?;
    } else {
        tell(&format!("making a PostgreSQL {} cluster in {}", binaries.major, places.cluster.display()));
        cluster::create(&places, &binaries, &account)?;
    }
    cluster::stop_orphans(&places, tell)?;
    Ok((account, binaries, places, lock))
}

async fn await_ready(
    postmaster: &Postmaster,
    places: &Places,
    options: &PgConnectOptions,
) -> Result<(), Error> {
    let deadline = Instant::now() + START_MAX;
    let maintenance = options.clone().database("postgres");
    loop {
        match PgConnection::connect_with(&maintenance).await {
            Ok(mut conn) => return ensure_database(&mut conn).await,
            // 28: the password file and the cluster do not belong together; waiting does not help.
            Err(error) if sqlstate(&error).is_some_and(|code| code.starts_with("28")) => {
                return Err(Error::Sql(error));
            }
            Err(_) if Instant::now() > deadline || postmaster.deaths() >= FIRST_STARTS_MAX => {
                return Err(Error::Start { log: places.log.clone(), tail: places.log_tail() });
            }
            Err(_) => tokio::time::sleep(READY_POLL).await,
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

async fn ensure_database(conn: &mut PgConnection) -> Result<(), Error> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        sqlx::raw_sql("create database sira").execute(&mut *conn).await?;
    }
    Ok(())
}
