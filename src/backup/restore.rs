//! Restoring a backup: first everything that can be known without touching anything, then all of it in one transaction,
//! then the proof that it is what it was and that it can be read.

use std::path::Path;
use std::process::Stdio;

use sira_domain::audit::{self, PublicKey};
use sira_domain::leads;
use sira_domain::operations;
use sira_domain::privacy::{Cipher, Fingerprints, KeyFileError, LocalKeyFile};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;

use super::archive::Found;
use super::manifest::Manifest;
use super::program::{Program, heard};
use super::{Error, Refused, Step, in_words, note, store};
use crate::config::Config;
use crate::database;

/// Bytes that are passed on at once.
const PASS_BYTES: usize = 256 * 1024;
/// Tables that are named when they differ.
const DIFFERENCES_MAX: usize = 5;

/// A whole backup that this binary can restore and this key file opens.
pub struct Examined {
    found: Found,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Migrations that this binary has and the restored database lacks.
    pub pending: usize,
    /// Whether something sealed was opened; not when nothing sealed is in it.
    pub opened: bool,
    /// The key that its audit log is sealed with.
    pub sealed_by: Option<PublicKey>,
}

impl Examined {
    /// Looks at a backup and at the key file; touches no database.
    ///
    /// # Errors
    /// [`Refused`], with what to do.
    pub async fn of(config: &Config, from: &Path, tell: &(dyn Fn(Step) + Sync)) -> Result<Self, Error> {
        let found = Found::open(from)?;
        let known = database::newest_known();
        let manifest = &found.manifest;
        if manifest.schema > known {
            let (schema, sira) = (manifest.schema, manifest.sira.clone());
            return Err(Refused::NewerSchema { schema, known, sira }.into());
        }
        if let Some(wanted) = &manifest.keys {
            check_keys(&config.data.key_file(), wanted)?;
        }
        tell(Step::Checking);
        let checking = tokio::task::spawn_blocking(move || found.check().map(|()| found));
        let found = checking.await.expect("checking does not panic")?;
        Ok(Self { found })
    }

    /// What the backup says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.found.manifest
    }

    /// Restores it into an empty database, all of it or nothing, and proves it.
    ///
    /// # Errors
    /// [`Refused::NotEmpty`]; [`Error::Differs`] and [`Error::DoesNotOpen`] of a database that must not be used.
    pub async fn restore(
        &self,
        config: &Config,
        pool: &PgPool,
        tell: &(dyn Fn(Step) + Sync),
    ) -> Result<Restored, Error> {
        let mut conn = pool.acquire().await?;
        if store::holds_anything(&mut conn).await? {
            return Err(Refused::NotEmpty.into());
        }
        self.load(config, pool, tell).await?;
        tell(Step::Counting);
        let differences = self.manifest().differences(&store::count_rows(&mut conn).await?);
        if !differences.is_empty() {
            return Err(Error::Differs(in_short(&differences)));
        }
        let opened = self.manifest().keys.is_some() && open_one(config, pool).await?;
        tell(Step::Analyzing);
        store::analyze(&mut conn).await?;
        let pending = database::drift(&mut conn).await?.pending.len();
        // A backup may be from before the log was sealed.
        let is_sealed = store::has_table(&mut conn, "public.audit_key").await?;
        let sealed_by = if is_sealed { audit::find_key(&mut conn).await? } else { None };
        drop(conn);
        note(config, pool, |uow| operations::note_restore(uow, self.manifest().taken_at)).await?;
        Ok(Restored { pending, opened, sealed_by })
    }

    async fn load(&self, config: &Config, pool: &PgPool, tell: &(dyn Fn(Step) + Sync)) -> Result<(), Error> {
        let major = store::get_server_major(&mut *pool.acquire().await?).await?.unsigned_abs();
        let (options, bin_dir) = (pool.connect_options(), config.postgres_bin_dir());
        let program = Program::find("pg_restore", bin_dir.as_deref(), major, &options)?;
        let mut command = program.command();
        command.args(["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]);
        // Without a name it would write a script; the rest of the address is in its environment.
        command.arg("--dbname").arg(options.get_database().unwrap_or(options.get_username()));
        let mut child = program.spawn(command.stdin(Stdio::piped()))?;
        let (stdin, stderr) = (child.stdin.take().expect("piped"), child.stderr.take());
        let (passed, said) = tokio::join!(self.pass(stdin, tell), heard(stderr));
        // A program that failed has stopped reading: what it said is the cause.
        program.ended(child, said).await?;
        passed.map_err(Error::io("read the dump"))
    }

    async fn pass(&self, mut stdin: ChildStdin, tell: &(dyn Fn(Step) + Sync)) -> std::io::Result<()> {
        let taken = self.found.reader()?;
        let left = taken.limit();
        let mut reader = tokio::fs::File::from_std(taken.into_inner()).take(left);
        let (mut buffer, mut bytes) = (vec![0; PASS_BYTES], 0);
        loop {
            let read = reader.read(&mut buffer).await?;
            if read == 0 {
                return stdin.shutdown().await;
            }
            stdin.write_all(&buffer[..read]).await?;
            bytes += read as u64;
            tell(Step::Bytes(bytes));
        }
    }
}

/// Whether the key file holds every key that the backup was sealed with; it may hold others.
fn check_keys(path: &Path, wanted: &Fingerprints) -> Result<(), Error> {
    let file = match LocalKeyFile::load(path) {
        Err(KeyFileError::Missing { .. }) => {
            return Err(Refused::NoKeyFile { path: path.to_owned(), wanted: in_words(wanted) }.into());
        }
        loaded => loaded?,
    };
    let found = file.fingerprints();
    let holds = wanted.keks.iter().all(|(id, fingerprint)| found.keks.get(id) == Some(fingerprint));
    if holds && found.index_root == wanted.index_root {
        return Ok(());
    }
    let (found, wanted) = (in_words(&found), in_words(wanted));
    Err(Refused::OtherKeyFile { path: path.to_owned(), found, wanted }.into())
}

/// Unwraps a data key of each key in use, and opens somebody's contact.
async fn open_one(config: &Config, pool: &PgPool) -> Result<bool, Error> {
    let cipher = Cipher::with_key_file(pool.clone(), &config.data.key_file()).await;
    let cipher = cipher.map_err(|error| Error::DoesNotOpen(error.to_string()))?;
    let opened = leads::prove_readable(&mut *pool.acquire().await?, &cipher).await;
    opened.map_err(|error| Error::DoesNotOpen(error.to_string()))
}

fn in_short(differences: &[(String, i64, i64)]) -> String {
    let shown = differences.iter().take(DIFFERENCES_MAX);
    let shown =
        shown.map(|(table, expected, found)| format!("{table} has {found} rows instead of {expected}"));
    shown.collect::<Vec<_>>().join(", ")
}
