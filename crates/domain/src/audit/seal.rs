//! Sealing: what was committed since the last time becomes leaves, and the new root is signed.
//!
//! **Invariant:** leaves are contiguous, and each checkpoint is of the leaves before it. One sealer works at a time; writers
//! wait for none, and what they commit late joins a later checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_kernel::Actor;
use sqlx::PgConnection;
use uuid::Uuid;

use super::key::{PublicKey, SigningKey};
use super::store;
use super::tiles::{TILE, Tiles};
use super::tree::{Hash, Tree, leaf_hash};
use crate::Db;

/// Events of one checkpoint at most.
pub const BATCH_MAX: i64 = 2000;
/// Roots of complete subtrees that one step adds: more than a full batch makes, so that a log from before they were kept
/// catches up.
const TILES_MAX: u64 = 64;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Its id.
    pub id: Uuid,
    /// When the act was done.
    #[serde(serialize_with = "in_microseconds")]
    pub at: DateTime<Utc>,
    /// `user`, `job`, `workflow`, `provider` or `system`.
    pub actor_kind: String,
    /// Who.
    pub actor: String,
    /// `noun.verb` in the past tense.
    pub action: String,
    /// What kind of thing it happened to.
    pub subject_kind: String,
    /// Which one.
    pub subject: String,
    /// Ids, codes and numbers.
    pub body: Value,
    /// The trace that it belongs to.
    pub trace_parent: Option<String>,
}

impl Recorded {
    /// The bytes that are hashed: JSON in the order of the fields above, the keys of the body in theirs.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with string keys")
    }
}

fn in_microseconds<S: serde::Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

/// A root that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Leaves under the root.
    pub size: u64,
    /// The root, in base64.
    pub root: String,
    /// When it was signed.
    pub at: DateTime<Utc>,
    /// The key's name.
    pub key: String,
    /// Ed25519, in base64.
    pub signature: String,
}

impl Checkpoint {
    fn sign(key: &SigningKey, tree: &Tree, at: DateTime<Utc>) -> Self {
        let (size, root, id) = (tree.size(), STANDARD.encode(tree.root()), key.public().id());
        let signature = STANDARD.encode(key.sign(&text_of(&id, size, &root)));
        Self { size, root, at, key: id, signature }
    }

    /// Whether it is signed by this key.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let text = text_of(&self.key, self.size, &self.root);
        let signature = STANDARD.decode(&self.signature);
        self.key == key.id() && signature.is_ok_and(|signature| key.proves(&text, &signature))
    }

    /// Whether it is of this root.
    pub fn is_of(&self, root: &Hash) -> bool {
        self.root == STANDARD.encode(root)
    }
}

/// What is signed: a checkpoint's text after C2SP, `origin`, size and root on a line each.
fn text_of(key: &str, size: u64, root: &str) -> Vec<u8> {
    format!("sira/{key}\n{size}\n{root}\n").into_bytes()
}

/// What one step sealed.
#[derive(Debug)]
pub struct Sealed {
    /// The new checkpoint.
    pub checkpoint: Checkpoint,
    /// Events that became leaves.
    pub events: usize,
    /// When the oldest of them was written.
    pub oldest: DateTime<Utc>,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The database's checkpoints are signed by another key.
    #[error(
        "the audit log is sealed with the key {theirs}, and this process has {ours}: give it that key's file"
    )]
    OtherKey {
        /// The database's.
        theirs: String,
        /// This process'.
        ours: String,
    },
    /// The last checkpoint cannot be read.
    #[error("the last checkpoint is damaged: run `sira audit verify`")]
    Damaged,
    /// The database refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The database refused the commit.
    #[error(transparent)]
    Commit(#[from] sira_engine::EngineError),
}

/// Seals up to [`BATCH_MAX`] events. `None` when nothing is to be sealed, or somebody else is at it.
///
/// # Errors
/// [`SealError`]; nothing was sealed.
pub async fn seal(db: &Db, key: &SigningKey) -> Result<Option<Sealed>, SealError> {
    let mut uow = db.begin(Actor::System).await?;
    if !store::lock_sealer(uow.conn()).await? {
        return Ok(None);
    }
    let events = store::take_pending(uow.conn(), BATCH_MAX).await?;
    let Some(oldest) = events.iter().map(|event| event.at).min() else { return Ok(None) };
    let ours = key.public();
    let theirs = store::own_key(uow.conn(), &ours).await?;
    if theirs != ours.id() {
        return Err(SealError::OtherKey { theirs, ours: ours.id() });
    }
    let mut tree = match store::last_tree(uow.conn()).await? {
        None => Tree::default(),
        Some((size, peaks)) => Tree::read(size, &peaks).ok_or(SealError::Damaged)?,
    };
    let first = tree.size();
    let records: Vec<Vec<u8>> = events.iter().map(Recorded::bytes).collect();
    let hashes: Vec<Hash> = records.iter().map(|record| leaf_hash(record)).collect();
    for hash in &hashes {
        tree.push(*hash);
    }
    let checkpoint = Checkpoint::sign(key, &tree, uow.now());
    store::insert_leaves(uow.conn(), first, &events, &records, &hashes).await?;
    store::insert_checkpoint(uow.conn(), &checkpoint, &tree).await?;
    keep_tiles(uow.conn(), tree.size()).await?;
    uow.commit().await?;
    Ok(Some(Sealed { checkpoint, events: events.len(), oldest }))
}

/// Adds the roots of what has become complete among so many leaves.
async fn keep_tiles(tx: &mut PgConnection, size: u64) -> Result<(), sqlx::Error> {
    let (mut below, mut left) = (size, TILES_MAX);
    for level in 1.. {
        let complete = below / TILE;
        if complete == 0 || left == 0 {
            break;
        }
        let kept = store::count_tiles(tx, level).await?;
        let to = complete.min(kept + left);
        if kept < to {
            let hashes = store::list_hashes(tx, level - 1, kept * TILE..to * TILE).await?;
            let roots: Vec<Hash> = hashes.chunks_exact(TILE as usize).map(Tiles::root_of_tile).collect();
            store::insert_tiles(tx, level, kept, &roots).await?;
            left -= to - kept;
        }
        below = to.max(kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::Ed25519KeyPair;

    use super::*;

    #[test]
    fn a_checkpoint_is_proven_by_its_key_alone_and_for_its_own_root_and_size() {
        let pkcs8 = || Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let key = |pkcs8: &[u8]| SigningKey::of_pkcs8(pkcs8).unwrap();
        let (key, other) = (key(pkcs8().as_ref()), key(pkcs8().as_ref()));
        let mut tree = Tree::default();
        tree.push(leaf_hash(b"event"));
        let signed = Checkpoint::sign(&key, &tree, DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        assert!(signed.is_signed_by(&key.public()) && signed.is_of(&tree.root()));
        assert!(!signed.is_signed_by(&other.public()));
        let mine = Checkpoint { key: other.public().id(), ..signed.clone() };
        assert!(!mine.is_signed_by(&other.public()));
        let larger = Checkpoint { size: 2, ..signed.clone() };
        let elsewhere = Checkpoint { root: STANDARD.encode([0; 32]), ..signed };
        for forged in [larger, elsewhere] {
            assert!(!forged.is_signed_by(&key.public()), "{forged:?}");
        }
    }

    #[test]
    fn the_bytes_of_an_event_are_a_contract() {
        let event = Recorded {
            id: Uuid::nil(),
            at: DateTime::from_timestamp(1_800_000_000, 5_000).unwrap(),
            actor_kind: "user".to_owned(),
            actor: "ayşe".to_owned(),
            action: "lead.assigned".to_owned(),
            subject_kind: "lead".to_owned(),
            subject: "1".to_owned(),
            body: serde_json::json!({ "b": 1, "a": { "d": null, "c": 2.50 } }),
            trace_parent: None,
        };
        let bytes = r#"{"id":"00000000-0000-0000-0000-000000000000","at":"2027-01-15T08:00:00.000005Z","actorKind":"user","actor":"ayşe","action":"lead.assigned","subjectKind":"lead","subject":"1","body":{"a":{"c":2.5,"d":null},"b":1},"traceParent":null}"#;
        assert_eq!(String::from_utf8(event.bytes()).unwrap(), bytes);
    }
}
