//! Seals the audit log, each second, in every process that works; one of them at a time (docs/AUDIT.md). Checkpoints go to a
//! file outside the database as well, and into the log.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use sira_domain::Db;
use sira_domain::audit::{self, BATCH_MAX, Checkpoint, SealError, SigningKey};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::secrets;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Where the key is that signs.
pub fn key_file(config: &Config) -> PathBuf {
    config.data.dir.join("secrets").join("audit_key")
}

/// Where checkpoints are kept outside the database: one on each line, as JSON.
pub fn checkpoints_file(config: &Config) -> PathBuf {
    config.data.dir.join("audit").join("checkpoints.jsonl")
}

/// Seals until the handle is dropped. Makes the key at the first start.
///
/// # Errors
/// When the key can be neither read nor made.
pub fn start(config: &Config, db: &Db) -> anyhow::Result<AbortOnDropHandle<()>> {
    let path = key_file(config);
    let key = SigningKey::of_pkcs8(&secrets::load_or_create_key(&path)?)
        .with_context(|| path.display().to_string())?;
    let sealing = keep_sealing(db.apart(), key, checkpoints_file(config));
    #[expect(
        clippy::disallowed_methods,
        reason = "owned: aborted with its handle; what it does is one transaction"
    )]
    Ok(AbortOnDropHandle::new(tokio::spawn(sealing)))
}

async fn keep_sealing(db: Db, key: SigningKey, file: PathBuf) {
    loop {
        let pause = match audit::seal(&db, &key).await {
            Ok(Some(sealed)) => {
                let Checkpoint { size, root, .. } = &sealed.checkpoint;
                tracing::debug!(size, root, "sealed the audit log");
                metrics::counter!("sira_audit_sealed_total").increment(sealed.events as u64);
                let lag = (sealed.checkpoint.at - sealed.oldest).to_std().unwrap_or_default();
                metrics::histogram!("sira_audit_seal_lag_seconds").record(lag);
                let full = sealed.events as i64 == BATCH_MAX;
                keep_outside(&file, sealed.checkpoint).await;
                if full { Duration::ZERO } else { LOOK_EVERY }
            }
            Ok(None) => LOOK_EVERY,
            Err(error @ (SealError::OtherKey { .. } | SealError::Damaged)) => {
                tracing::error!(%error, "the audit log is not sealed");
                RETRY_EVERY
            }
            Err(error) => {
                tracing::warn!(%error, "the audit log waits to be sealed");
                RETRY_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// After the commit: a checkpoint that is outside and not in the database would look as if the log had been cut.
async fn keep_outside(file: &Path, checkpoint: Checkpoint) {
    let path = file.to_owned();
    let appended = tokio::task::spawn_blocking(move || append(&path, &checkpoint)).await;
    if let Err(error) = appended.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        tracing::error!(%error, file = %file.display(), "a checkpoint is kept in the database alone");
    }
}

fn append(path: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut line = serde_json::to_vec(checkpoint)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(&line)?;
    file.sync_data()
}

/// The checkpoints of a file, in its order.
///
/// # Errors
/// When it cannot be opened. What is wrong with a line is in its place.
pub fn read_checkpoints(path: &Path) -> io::Result<impl Iterator<Item = Result<Checkpoint, String>> + use<>> {
    let shown = path.display().to_string();
    let lines = BufReader::new(File::open(path)?).lines().enumerate();
    Ok(lines.map(move |(n, line)| {
        let read = line.map_err(|error| error.to_string());
        let read = read.and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()));
        read.map_err(|error| format!("{shown}, line {}: {error}", n + 1))
    }))
}
