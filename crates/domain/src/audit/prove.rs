//! Evidence for others: that an event is under a signed root, and that one signed root goes on from another.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::key::PublicKey;
use super::proof::{consistency_path, inclusion_path, is_consistent, is_included};
use super::seal::Checkpoint;
use super::store;
use super::store::search::{Search, list_sealed};
use super::tiles::{Tiles, tiles_of};
use super::tree::{HASH_BYTES, Hash, leaf_hash};

/// A sealed event, and the path from it to the root of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// Its place among the leaves.
    pub leaf: u64,
    /// The bytes that were hashed: the event as JSON.
    pub record: String,
    /// Hashes in base64, the nearest to the leaf first.
    pub path: Vec<String>,
}

impl Proven {
    /// Whether it was among what this checkpoint signed. Says nothing about the checkpoint's own signature.
    pub fn is_under(&self, checkpoint: &Checkpoint) -> bool {
        let (Some(path), Some(root)) = (hashes_of(&self.path), hash_of(&checkpoint.root)) else {
            return false;
        };
        is_included(self.leaf, &leaf_hash(self.record.as_bytes()), checkpoint.size, &path, &root)
    }
}

/// The path from one checkpoint to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// The earlier one.
    pub from: Checkpoint,
    /// The later one.
    pub to: Checkpoint,
    /// Hashes in base64.
    pub path: Vec<String>,
}

impl Growth {
    /// Whether all leaves of the first are the beginning of the second's. Says nothing about their signatures.
    pub fn is_consistent(&self) -> bool {
        let hashes = (hash_of(&self.from.root), hash_of(&self.to.root), hashes_of(&self.path));
        let (Some(from), Some(to), Some(path)) = hashes else { return false };
        is_consistent((self.from.size, &from), (self.to.size, &to), &path)
    }
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// No such event, or no checkpoint of so many leaves.
    #[error("there is no such event or checkpoint")]
    Unknown,
    /// It will be sealed in a moment.
    #[error("the event is not sealed yet")]
    NotSealed,
    /// The log is not as it was sealed, or its oldest part is still being made ready.
    #[error("hashes of the log are missing: run `sira audit verify`")]
    Incomplete,
    /// The database refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The last checkpoint.
///
/// # Errors
/// [`ProofError::NotSealed`] when nothing was sealed yet.
async fn last_checkpoint(conn: &mut PgConnection) -> Result<Checkpoint, ProofError> {
    list_checkpoints(conn, None, 1).await?.pop().ok_or(ProofError::NotSealed)
}

/// The last checkpoint, and the key that signs.
///
/// # Errors
/// [`ProofError::NotSealed`] when nothing was sealed yet.
pub async fn head(conn: &mut PgConnection) -> Result<(Checkpoint, PublicKey), ProofError> {
    let key = store::find_key(conn).await?.ok_or(ProofError::NotSealed)?;
    Ok((last_checkpoint(conn).await?, key))
}

/// Checkpoints of fewer leaves than `before`, the last first.
///
/// # Errors
/// When the database refuses.
pub async fn list_checkpoints(
    conn: &mut PgConnection,
    before: Option<u64>,
    limit: u16,
) -> Result<Vec<Checkpoint>, sqlx::Error> {
    store::list_last_checkpoints(conn, before.map_or(i64::MAX, u64::cast_signed), i64::from(limit)).await
}

/// Proves an event to be under the last checkpoint.
///
/// # Errors
/// [`ProofError`].
pub async fn prove_event(conn: &mut PgConnection, event: Uuid) -> Result<(Proven, Checkpoint), ProofError> {
    let checkpoint = last_checkpoint(conn).await?;
    let Some(leaf) = store::find_leaf(conn, event).await? else {
        let known = store::exists(conn, event).await?;
        return Err(if known { ProofError::NotSealed } else { ProofError::Unknown });
    };
    let proven = prove_leaves(conn, vec![leaf], checkpoint.size).await?;
    Ok((proven.into_iter().next().ok_or(ProofError::NotSealed)?, checkpoint))
}

/// Proves those leaves of a range whose events are looked for to be under the root of `size` leaves, in their order.
///
/// # Errors
/// [`ProofError`].
pub async fn prove_page(
    conn: &mut PgConnection,
    search: &Search,
    leaves: &Range<u64>,
    size: u64,
) -> Result<Vec<Proven>, ProofError> {
    let found = list_sealed(conn, search, leaves).await?;
    let found = found.into_iter().map(|(leaf, record)| (leaf.cast_unsigned(), record));
    prove_leaves(conn, found.collect(), size).await
}

async fn prove_leaves(
    conn: &mut PgConnection,
    leaves: Vec<(u64, Vec<u8>)>,
    size: u64,
) -> Result<Vec<Proven>, ProofError> {
    let under = leaves.into_iter().filter(|(leaf, _)| *leaf < size);
    let paths: Vec<_> = under.map(|(leaf, record)| (leaf, record, inclusion_path(leaf, size))).collect();
    let ranges: Vec<Range<u64>> = paths.iter().flat_map(|(_, _, path)| path.iter().cloned()).collect();
    let tiles = store::read_tiles(conn, &tiles_of(&ranges)).await?;
    let prove = |(leaf, record, path): (u64, Vec<u8>, Vec<Range<u64>>)| {
        let path = encoded(&tiles, &path)?;
        let record = String::from_utf8(record).map_err(|_| ProofError::Incomplete)?;
        Ok(Proven { leaf, record, path })
    };
    paths.into_iter().map(prove).collect()
}

/// Proves that the checkpoint of `to` leaves, or the last one, goes on from that of `from`.
///
/// # Errors
/// [`ProofError`]; unknown as well when the second is the smaller one.
pub async fn prove_growth(conn: &mut PgConnection, from: u64, to: Option<u64>) -> Result<Growth, ProofError> {
    let to = match to {
        Some(size) => store::find_checkpoint(conn, size).await?.ok_or(ProofError::Unknown)?,
        None => last_checkpoint(conn).await?,
    };
    let from = store::find_checkpoint(conn, from).await?.ok_or(ProofError::Unknown)?;
    if from.size > to.size {
        return Err(ProofError::Unknown);
    }
    let path = consistency_path(from.size, to.size);
    let tiles = store::read_tiles(conn, &tiles_of(&path)).await?;
    let path = encoded(&tiles, &path)?;
    Ok(Growth { from, to, path })
}

fn encoded(tiles: &Tiles, path: &[Range<u64>]) -> Result<Vec<String>, ProofError> {
    let root = |range| tiles.root_of(range).map(|root| STANDARD.encode(root));
    path.iter().map(root).collect::<Option<_>>().ok_or(ProofError::Incomplete)
}

fn hashes_of(path: &[String]) -> Option<Vec<Hash>> {
    path.iter().map(|hash| hash_of(hash)).collect()
}

fn hash_of(text: &str) -> Option<Hash> {
    let bytes: [u8; HASH_BYTES] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(bytes)
}
