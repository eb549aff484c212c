//! Taking a backup, also beside a running system: what is dumped and what is counted is one snapshot.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use aws_lc_rs::digest::{Context, SHA256};
use sira_domain::operations;
use sqlx::PgConnection;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdout;

use super::archive::Work;
use super::manifest::{DUMP, FORMAT, MANIFEST, Manifest, Part};
use super::program::{Program, heard};
use super::{Error, Refused, Step, keys_of, note, store};
use crate::config::Config;
use crate::database;

/// How long the dump waits for a lock that a migration holds.
const LOCK_WAIT_MAX_MS: u32 = 60_000;
/// Bytes that are passed on at once.
const PASS_BYTES: usize = 256 * 1024;

/// Backs up this database to a place where nothing is yet, and notes it in the audit log.
///
/// # Errors
/// Nothing is left behind under the backup's name.
pub async fn take(
    config: &Config,
    pool: &PgPool,
    target: &Path,
    tell: &(dyn Fn(Step) + Sync),
) -> Result<Manifest, Error> {
    let work = Work::begin(target)?;
    let written = write(config, pool, &work, tell).await;
    let manifest = match written {
        Ok(manifest) => manifest,
        Err(error) => {
            work.abandon();
            return Err(error);
        }
    };
    work.finish()?;
    let bytes = manifest.dump()?.bytes;
    note(config, pool, |uow| operations::note_backup(uow, manifest.taken_at, bytes)).await?;
    Ok(manifest)
}

async fn write(
    config: &Config,
    pool: &PgPool,
    work: &Work,
    tell: &(dyn Fn(Step) + Sync),
) -> Result<Manifest, Error> {
    let mut conn = pool.acquire().await?;
    if database::newest_applied(&mut conn).await?.is_none() {
        return Err(Refused::NothingThere.into());
    }
    let keys = keys_of(config, pool).await?;
    let postgres = store::get_server_major(&mut conn).await?.unsigned_abs();
    let bin_dir = config.postgres_bin_dir();
    let program = Program::find("pg_dump", bin_dir.as_deref(), postgres, &pool.connect_options())?;
    let mut tx = store::begin_snapshot(&mut conn).await?;
    let taken_at = store::get_snapshot_time(&mut tx).await?;
    tell(Step::Counting);
    let rows = store::count_rows(&mut tx).await?;
    let schema = database::newest_applied(&mut tx).await?.unwrap_or_default();
    let dump = dump(&program, &mut tx, work.create(DUMP)?, tell).await?;
    tx.rollback().await?;
    let sira = env!("CARGO_PKG_VERSION").to_owned();
    let manifest =
        Manifest { format: FORMAT, sira, schema, postgres, taken_at, parts: vec![dump], rows, keys };
    let mut file = tokio::fs::File::from_std(work.create(MANIFEST)?);
    let text = manifest.write()?;
    let wrote = async {
        file.write_all(&text).await?;
        file.sync_all().await
    };
    wrote.await.map_err(Error::io("write the manifest"))?;
    Ok(manifest)
}

/// Dumps what the snapshot sees into this file.
async fn dump(
    program: &Program,
    snapshot: &mut PgConnection,
    file: File,
    tell: &(dyn Fn(Step) + Sync),
) -> Result<Part, Error> {
    let snapshot = store::export_snapshot(snapshot).await?;
    let mut command = program.command();
    command.args(["--format=custom", "--no-owner", "--no-privileges"]);
    command.args([format!("--snapshot={snapshot}"), format!("--lock-wait-timeout={LOCK_WAIT_MAX_MS}")]);
    let mut child = program.spawn(command.stdout(Stdio::piped()))?;
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take());
    let (passed, said) = tokio::join!(pass(stdout, file, tell), heard(stderr));
    let part = passed.map_err(Error::io("write the dump"))?;
    program.ended(child, said).await?;
    Ok(part)
}

/// Writes what comes to the file and to disk, and takes its checksum on the way.
async fn pass(mut stdout: ChildStdout, file: File, tell: &(dyn Fn(Step) + Sync)) -> std::io::Result<Part> {
    let mut file = tokio::fs::File::from_std(file);
    let mut context = Context::new(&SHA256);
    let (mut buffer, mut bytes) = (vec![0; PASS_BYTES], 0);
    loop {
        let read = stdout.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        file.write_all(&buffer[..read]).await?;
        bytes += read as u64;
        tell(Step::Bytes(bytes));
    }
    file.sync_all().await?;
    Ok(Part { file: DUMP.to_owned(), bytes, sha256: hex::encode(context.finish()) })
}
