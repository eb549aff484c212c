//! Backups: the database as one moment saw it, and what it takes to trust it again.
//!
//! A backup is a directory, or one tar of it: the dump and a manifest with its checksum, the rows of every table and the
//! fingerprints of the keys that open it. The key file is never in it (docs/KEYS.md).
//!
//! **Invariant:** what has a backup's name is whole: it is written beside its place, flushed to disk, and renamed last.

mod archive;
mod manifest;
mod program;
mod restore;
mod store;
mod take;

use std::io;
use std::path::PathBuf;

use sira_domain::privacy::{Fingerprints, KeyFileError, LocalKeyFile, list_keks_in_use};
use sqlx::PgPool;

pub use archive::is_tar;
pub use manifest::Manifest;
pub use restore::{Examined, Restored};
pub use take::take;

use crate::config::Config;

/// What is going on, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The rows of all tables are counted.
    Counting,
    /// So many bytes of the dump were written or read.
    Bytes(u64),
    /// The checksums are compared.
    Checking,
    /// The planner learns what is there.
    Analyzing,
}

/// Why nothing was done. The place, the database and the key file are as they were.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something is there already.
    #[error("{0} is there already, and a backup overwrites nothing: take another name")]
    Exists(PathBuf),
    /// Another process writes the same backup.
    #[error("another backup is being written to {0}")]
    Busy(PathBuf),
    /// The database has no schema of ours.
    #[error("the database has no schema yet: there is nothing to back up")]
    NothingThere,
    /// What is there is no backup, or not all of one.
    #[error("this is no whole backup: {0}. Take another one")]
    NoBackup(String),
    /// A later binary wrote it in another form.
    #[error(
        "the backup has the form {format}, and this binary reads {}: take the sira that wrote it",
        manifest::FORMAT
    )]
    OtherFormat {
        /// The form's number.
        format: u32,
    },
    /// Its schema is newer than this binary.
    #[error(
        "the backup has the schema {schema} of sira {sira}, which is newer than this binary's {known}: \
         restore it with that version or a later one"
    )]
    NewerSchema {
        /// The backup's newest migration.
        schema: i64,
        /// This binary's newest migration.
        known: i64,
        /// The version that wrote it.
        sira: String,
    },
    /// It is not as it was written.
    #[error("{file} is not as it was written: its {what} differs. The backup is damaged: take another one")]
    Damaged {
        /// Which part.
        file: String,
        /// Size or checksum.
        what: &'static str,
    },
    /// The key file is not there.
    #[error(
        "the key file {path} is missing, and without it nobody reads what this backup holds: put the one with the \
         fingerprint {wanted} there from its own copy (docs/KEYS.md), then restore again"
    )]
    NoKeyFile {
        /// Where it belongs.
        path: PathBuf,
        /// What opens the backup.
        wanted: String,
    },
    /// The key file is another installation's.
    #[error(
        "the key file {path} does not open this backup: it has the fingerprint {found}, and the backup was sealed with \
         {wanted}. Put that one there from its own copy (docs/KEYS.md), then restore again"
    )]
    OtherKeyFile {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What opens the backup.
        wanted: String,
    },
    /// The database holds something.
    #[error(
        "the database is not empty, and a restore overwrites nothing. Take an empty one: a new data.dir for the private \
         PostgreSQL (SIRA__DATA__DIR=..., with the key file put there), or `createdb` and database.url for one of yours"
    )]
    NotEmpty,
}

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// One of PostgreSQL's programs is missing.
    #[error(transparent)]
    Postgres(#[from] sira_postgres::Error),
    /// One of PostgreSQL's programs failed.
    #[error("{name} failed: {said}")]
    Program {
        /// Which.
        name: String,
        /// What it said, without anybody's values.
        said: String,
    },
    /// The restored database is not what the manifest says.
    #[error(
        "the restored database is not what was backed up: {0}. Do not use it: drop it, and tell the makers of sira"
    )]
    Differs(String),
    /// What was restored does not open.
    #[error("what was restored does not open with the key file: {0}. Do not use it")]
    DoesNotOpen(String),
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys cannot be asked for.
    #[error(transparent)]
    Privacy(#[from] sira_domain::privacy::PrivacyError),
    /// The file system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: io::Error,
    },
    /// The database said no.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// What was done could not be noted.
    #[error("it is done, but could not be noted in the audit log: {0}")]
    Unnoted(#[from] sira_engine::EngineError),
}

impl Error {
    /// For `map_err`: what was tried when the file system said no.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Of the keys that open what is in this database: those in use and the index root. `None` when nothing is sealed in it
/// and no key file was made.
async fn keys_of(config: &Config, keystore: &PgPool) -> Result<Option<Fingerprints>, Error> {
    let in_use = list_keks_in_use(keystore).await?;
    let mut fingerprints = match LocalKeyFile::load(&config.data.key_file()) {
        Ok(file) => file.fingerprints(),
        Err(KeyFileError::Missing { .. }) if in_use.is_empty() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    fingerprints.keks.retain(|kek, _| in_use.contains(kek));
    if fingerprints.keks.len() < in_use.len() {
        let missing = in_use.into_iter().find(|kek| !fingerprints.keks.contains_key(kek)).unwrap_or_default();
        return Err(sira_domain::privacy::PrivacyError::WrongKek { kek_id: missing }.into());
    }
    Ok(Some(fingerprints))
}

/// A key file's fingerprint for people.
pub fn in_words(keys: &Fingerprints) -> String {
    let named = keys.keks.iter().map(|(id, fingerprint)| format!("{id}:{fingerprint}"));
    let root = format!("index-root:{}", keys.index_root);
    named.chain([root]).collect::<Vec<_>>().join(" ")
}

/// Notes in the audit log what an operator did.
async fn note(config: &Config, pool: &PgPool, what: impl FnOnce(&mut sira_domain::Uow)) -> Result<(), Error> {
    let mut uow = crate::app::unattended(config, pool.clone()).begin(sira_kernel::Actor::System).await?;
    what(&mut uow);
    uow.commit().await?;
    Ok(())
}
