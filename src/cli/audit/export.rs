//! Exports of the audit log: events with their proofs in one file, which is verified without the database.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sira_domain::audit::{self, Checkpoint, Proven, PublicKey, Search};
use sqlx::PgConnection;

/// Of the lines below.
const VERSION: u32 = 1;
/// Leaves that are looked through at a time.
const PAGE: u64 = 2000;
/// Longest line that is read; an event has some hundred bytes, one of a batch some ten thousand.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    sira_audit_export: u32,
    /// What everything in it is proven to be under.
    checkpoint: Checkpoint,
    /// In base64.
    public_key: String,
    search: Search,
}

/// The last line: a file without it was cut.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    events: u64,
}

/// What is in an export.
#[derive(Debug)]
pub struct Exported {
    pub events: u64,
    pub checkpoint: Checkpoint,
    pub key: PublicKey,
    pub search: Search,
    /// Whether it holds every event that is sealed under its checkpoint.
    pub whole: bool,
}

/// Writes what is looked for, as far as it is sealed, to a new file, which is taken away again when that fails. Answers as well
/// how many events were not sealed in time to be in it. `tell` hears how far it has come.
pub async fn write(
    conn: &mut PgConnection,
    search: &Search,
    path: &Path,
    tell: impl Fn(u64, u64),
) -> anyhow::Result<(Exported, u64)> {
    let (checkpoint, key) = audit::head(conn).await?;
    let pending = audit::count_pending(conn).await?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let mut exported = Exported { events: 0, checkpoint, key, search: search.clone(), whole: false };
    if let Err(error) = fill(conn, file, &mut exported, tell).await {
        std::fs::remove_file(path)?;
        return Err(error);
    }
    exported.whole = exported.events == exported.checkpoint.size;
    Ok((exported, pending))
}

async fn fill(
    conn: &mut PgConnection,
    file: File,
    exported: &mut Exported,
    tell: impl Fn(u64, u64),
) -> anyhow::Result<()> {
    let Exported { events, checkpoint, key, search, .. } = exported;
    let mut file = BufWriter::new(file);
    let head = Head {
        sira_audit_export: VERSION,
        checkpoint: checkpoint.clone(),
        public_key: STANDARD.encode(key.as_bytes()),
        search: search.clone(),
    };
    write_line(&mut file, &head)?;
    for first in (0..checkpoint.size).step_by(PAGE as usize) {
        tell(first, checkpoint.size);
        let leaves = first..(first + PAGE).min(checkpoint.size);
        for proven in audit::prove_page(conn, search, &leaves, checkpoint.size).await? {
            ensure!(
                proven.is_under(checkpoint),
                "leaf {} is not as it was sealed: run `sira audit verify`",
                proven.leaf
            );
            write_line(&mut file, &proven)?;
            *events += 1;
        }
    }
    write_line(&mut file, &End { events: *events })?;
    Ok(file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?)
}

fn write_line(file: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    Ok(file.write_all(b"\n")?)
}

/// Verifies a file by itself: the signature, and each event's proof. The key is the file's own: its name is for the caller to
/// compare.
pub fn verify(path: &Path) -> anyhow::Result<Exported> {
    let mut file = BufReader::new(File::open(path)?);
    let head: Head = read_line(&mut file)?.context("the file is empty")?;
    ensure!(
        head.sira_audit_export == VERSION,
        "it is of another version of sira: {}",
        head.sira_audit_export
    );
    let key = PublicKey::of_bytes(STANDARD.decode(&head.public_key)?);
    let checkpoint = head.checkpoint;
    ensure!(checkpoint.is_signed_by(&key), "its checkpoint is not signed by its key");
    let (mut events, mut last) = (0, None);
    loop {
        let line: serde_json::Value =
            read_line(&mut file)?.context("the file was cut: its last line is missing")?;
        if let Ok(end) = End::deserialize(&line) {
            ensure!(end.events == events, "{} events were written, and {events} are there", end.events);
            break;
        }
        let proven: Proven =
            serde_json::from_value(line).with_context(|| format!("after {events} events"))?;
        ensure!(last < Some(proven.leaf), "leaf {} is out of its order", proven.leaf);
        ensure!(
            proven.is_under(&checkpoint),
            "leaf {} is not proven: it, or its path, was changed",
            proven.leaf
        );
        last = Some(proven.leaf);
        events += 1;
    }
    if read_line::<serde_json::Value>(&mut file)?.is_some() {
        bail!("something comes after its last line");
    }
    let whole = events == checkpoint.size;
    Ok(Exported { events, checkpoint, key, search: head.search, whole })
}

fn read_line<T: for<'de> Deserialize<'de>>(file: &mut BufReader<File>) -> anyhow::Result<Option<T>> {
    let mut line = Vec::new();
    file.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
}
