//! Verifying: everything is read again, and compared with what was signed, in the database and outside.

use std::collections::BTreeMap;
use std::iter::Peekable;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgConnection;
use uuid::Uuid;

use super::key::PublicKey;
use super::seal::Checkpoint;
use super::store::{self, Leaf};
use super::tree::{HASH_BYTES, Hash, Tree, leaf_hash};

/// Leaves that are read at a time.
const PAGE: i64 = 5000;
/// Findings that are told one by one.
const FINDINGS_MAX: usize = 100;

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The event's row is another one.
    #[error("event {0} was changed after it was sealed")]
    Changed(Uuid),
    /// The event's row is gone.
    #[error("event {0} was deleted after it was sealed")]
    Deleted(Uuid),
    /// It was deleted before it was sealed.
    #[error("event {0} was deleted before it was sealed")]
    Lost(Uuid),
    /// It came by another way than the product's.
    #[error("event {0} is neither sealed nor waits for it: it was not written by sira")]
    Stray(Uuid),
    /// A leaf is missing.
    #[error("leaf {0} is missing")]
    Gap(u64),
    /// A leaf's bytes are not those that were hashed.
    #[error("leaf {0} was changed")]
    Leaf(u64),
    /// The leaves are not those that were signed.
    #[error("the first {size} leaves are not those that were signed {place}")]
    Root {
        /// So many.
        size: u64,
        /// Where the checkpoint is.
        place: Place,
    },
    /// A checkpoint was not signed by the key.
    #[error("the checkpoint of {size} leaves {place} is not signed by the key")]
    Signature {
        /// So many leaves.
        size: u64,
        /// Where it is.
        place: Place,
    },
    /// More was sealed once than is there.
    #[error(
        "{size} leaves were sealed once, and {found} are there: the log was cut, or set back to an old copy"
    )]
    SetBack {
        /// By a checkpoint outside.
        size: u64,
        /// In the database.
        found: u64,
    },
    /// Checkpoints outside do not grow, or cannot be read.
    #[error("the checkpoints outside are damaged: {0}")]
    Outside(String),
}

/// Where a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the database.
    Database,
    /// In a file outside of it.
    Outside,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Database => "in the database",
            Self::Outside => "outside of it",
        })
    }
}

/// What verifying came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Events that are sealed.
    pub leaves: u64,
    /// Events that wait to be sealed.
    pub pending: u64,
    /// Checkpoints in the database.
    pub checkpoints: u64,
    /// Checkpoints outside.
    pub outside: u64,
    /// The root of all leaves, in base64.
    pub root: String,
    /// What is not as it was sealed: up to a hundred.
    pub findings: Vec<Finding>,
    /// So many in all.
    pub found: usize,
}

/// Reads the whole log on this connection, which is best in a transaction that sees one moment, and compares it with the
/// checkpoints of the database and with those from outside, in the order in which they were written.
pub async fn verify(
    conn: &mut PgConnection,
    key: &PublicKey,
    outside: impl Iterator<Item = Result<Checkpoint, String>>,
) -> Result<Report, sqlx::Error> {
    let mut verifier =
        Verifier { key, outside: outside.peekable(), tree: Tree::default(), report: Report::empty() };
    let mut expected = 0;
    loop {
        let page = store::list_leaves(conn, expected, PAGE).await?;
        let Some(last) = page.last() else { break };
        let signed = store::list_checkpoints(conn, expected, last.place + 1).await?;
        let mut signed: BTreeMap<u64, Checkpoint> = signed.into_iter().map(|c| (c.size, c)).collect();
        expected = last.place + 1;
        for leaf in page {
            verifier.leaf(leaf, &mut signed);
        }
        // What is left is of sizes that the leaves do not have.
        for checkpoint in signed.into_values() {
            verifier.misses(&checkpoint);
        }
    }
    for checkpoint in store::list_checkpoints(conn, expected, i64::MAX).await? {
        verifier.misses(&checkpoint);
    }
    let unsealed = store::find_unsealed(conn, FINDINGS_MAX as i64).await?;
    for event in unsealed.strays {
        verifier.report.find(Finding::Stray(event));
    }
    for event in unsealed.lost {
        verifier.report.find(Finding::Lost(event));
    }
    verifier.report.pending = unsealed.pending.cast_unsigned();
    Ok(verifier.end())
}

struct Verifier<'a, I: Iterator> {
    key: &'a PublicKey,
    outside: Peekable<I>,
    tree: Tree,
    report: Report,
}

impl<I: Iterator<Item = Result<Checkpoint, String>>> Verifier<'_, I> {
    fn leaf(&mut self, leaf: Leaf, signed: &mut BTreeMap<u64, Checkpoint>) {
        let place = leaf.place.cast_unsigned();
        if place != self.report.leaves {
            self.report.find(Finding::Gap(self.report.leaves));
            self.report.leaves = place;
        }
        let hash = leaf_hash(&leaf.record);
        if leaf.hash != hash {
            self.report.find(Finding::Leaf(place));
        }
        match leaf.event {
            None => self.report.find(Finding::Deleted(leaf.event_id)),
            Some(event) if event.bytes() != leaf.record => self.report.find(Finding::Changed(leaf.event_id)),
            Some(_) => {}
        }
        self.tree.push(hash);
        self.report.leaves += 1;
        let size = self.tree.size();
        if !signed.contains_key(&size) && !self.outside_is_of(size) {
            return;
        }
        let root = self.tree.root();
        if let Some(checkpoint) = signed.remove(&size) {
            self.report.checkpoints += 1;
            self.compare(&checkpoint, &root, Place::Database);
        }
        while let Some(checkpoint) = self.next_outside(size) {
            self.compare(&checkpoint, &root, Place::Outside);
        }
    }

    fn outside_is_of(&mut self, size: u64) -> bool {
        self.outside.peek().is_some_and(|next| !matches!(next, Ok(next) if next.size > size))
    }

    /// The next checkpoint from outside, if it is of no more leaves than these.
    fn next_outside(&mut self, size: u64) -> Option<Checkpoint> {
        loop {
            match self.outside.next_if(|next| !matches!(next, Ok(next) if next.size > size))? {
                Ok(next) if next.size == size => {
                    self.report.outside += 1;
                    return Some(next);
                }
                Ok(next) => {
                    let what = format!("one of {} leaves comes after one of more", next.size);
                    self.report.find(Finding::Outside(what));
                }
                Err(what) => self.report.find(Finding::Outside(what)),
            }
        }
    }

    fn compare(&mut self, checkpoint: &Checkpoint, root: &Hash, place: Place) {
        let size = checkpoint.size;
        if !checkpoint.is_of(root) {
            self.report.find(Finding::Root { size, place });
        }
        if !checkpoint.is_signed_by(self.key) {
            self.report.find(Finding::Signature { size, place });
        }
    }

    /// A checkpoint of the database whose leaves are not there.
    fn misses(&mut self, checkpoint: &Checkpoint) {
        self.report.checkpoints += 1;
        self.report.find(Finding::Root { size: checkpoint.size, place: Place::Database });
    }

    fn end(mut self) -> Report {
        let found = self.report.leaves;
        let mut most = None;
        for next in self.outside.by_ref() {
            match next {
                Ok(next) => {
                    self.report.outside += 1;
                    most = most.max(Some(next.size));
                }
                Err(what) => self.report.find(Finding::Outside(what)),
            }
        }
        if let Some(size) = most {
            self.report.find(Finding::SetBack { size, found });
        }
        self.report.root = STANDARD.encode(self.tree.root());
        self.report
    }
}

impl Report {
    fn empty() -> Self {
        let root = STANDARD.encode([0; HASH_BYTES]);
        Self { leaves: 0, pending: 0, checkpoints: 0, outside: 0, root, findings: Vec::new(), found: 0 }
    }

    fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}
