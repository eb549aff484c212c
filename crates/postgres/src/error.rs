//! Why the private PostgreSQL does not run; every message says what to do.

use std::io;
use std::path::PathBuf;

/// What kept the private PostgreSQL from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable `postgres` was found.
    #[error(
        "no PostgreSQL {} or later found ({looked}); install it: apt-get install postgresql, \
             or set postgres.bin_dir",
        crate::MAJOR_MIN
    )]
    NoBinaries {
        /// Where it was looked for.
        looked: String,
    },
    /// No program that talks to this server was found.
    #[error(
        "no {name} of PostgreSQL {server_major} or later was found; install it: \
             apt-get install postgresql-client-{server_major}, or set postgres.bin_dir"
    )]
    NoClient {
        /// The program.
        name: String,
        /// The server's major version.
        server_major: u32,
    },
    /// We are root, PostgreSQL refuses to be, and there is no user to run it as.
    #[error(
        "PostgreSQL does not run as root and there is no user `postgres` to run it as: \
             useradd --system --shell /usr/sbin/nologin postgres"
    )]
    NoAccount,
    /// Another process of ours runs on this data directory.
    #[error("another sira runs on {}: stop it first, or take another data.dir", .state.display())]
    InUse {
        /// What it holds.
        state: PathBuf,
    },
    /// The cluster was made by another major version.
    #[error("{} was made by PostgreSQL {made_by}, and {} is version {found}. Either install the old version beside \
             it (apt-get install postgresql-{made_by}) and set postgres.bin_dir = \
             \"/usr/lib/postgresql/{made_by}/bin\", or move the data over with pg_upgrade, or, if it may be lost: rm -r {}",
        .cluster.display(), .bin_dir.display(), .cluster.display())]
    ForeignMajor {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The major version that made it.
        made_by: String,
        /// What is installed.
        found: u32,
        /// Where that is.
        bin_dir: PathBuf,
    },
    /// There is a cluster, but the password to it is gone.
    #[error("{} is missing and without it the cluster cannot be opened: restore it from a backup, or, if the data \
             may be lost: rm -r {}", .password.display(), .cluster.display())]
    NoPassword {
        /// The file that is missing.
        password: PathBuf,
        /// The cluster that it opens.
        cluster: PathBuf,
    },
    /// A directory is in the way.
    #[error("{} is not ours alone ({why}): remove it or take another data.dir", .dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// Processes of an earlier run do not end.
    #[error("PostgreSQL processes of an earlier run still use {} and do not end ({pids:?}): kill them",
        .cluster.display())]
    Orphans {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Who.
        pids: Vec<i32>,
    },
    /// The postmaster does not come up.
    #[error("PostgreSQL does not start; the end of {}:\n{tail}", .log.display())]
    Start {
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The file system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What came of it.
        source: io::Error,
    },
    /// The running cluster said no.
    #[error("the private PostgreSQL refused: {0}")]
    Sql(#[from] sqlx::Error),
}

impl Error {
    /// For `map_err`: what was tried when the file system said no.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
