//! Verifying: everything is read again, and compared with what was signed, in the database and outside.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgConnection;
use uuid::Uuid;

use super::key::PublicKey;
use super::seal::Checkpoint;
use super::store::{self, Leaf};
use super::tiles::{TILE, Tiles};
use super::tree::{HASH_BYTES, Hash, Tree, leaf_hash};

/// Leaves that are read at a time.
const PAGE: i64 = 5000;
/// Lines by which a checkpoint outside may be too late: of two processes that share a file, the one that sealed first may
/// write last.
const DISORDER_MAX: usize = 1000;
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
    /// The root of a complete subtree is not that of its leaves: proofs that are made with it prove nothing.
    #[error("the hash of subtree {place} at level {level} was changed")]
    Tile {
        /// It has 256 to the power of this leaves.
        level: u32,
        /// Its place among those.
        place: u64,
    },
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
    let outside = Outside { lines: outside, read: BTreeMap::new(), count: 0, damaged: Vec::new() };
    let mut verifier = Verifier {
        key,
        outside,
        tree: Tree::default(),
        rising: vec![(0, Vec::new())],
        report: Report::empty(),
    };
    let mut expected = 0;
    loop {
        let page = store::list_leaves(conn, expected, PAGE).await?;
        let Some(last) = page.last() else { break };
        let signed = store::list_checkpoints(conn, (expected, last.place + 1), PAGE).await?;
        let mut signed: BTreeMap<u64, Checkpoint> = signed.into_iter().map(|c| (c.size, c)).collect();
        expected = last.place + 1;
        for leaf in page {
            verifier.leaf(leaf, &mut signed);
        }
        verifier.tiles(conn).await?;
        // What is left is of sizes that the leaves do not have.
        for checkpoint in signed.into_values() {
            verifier.misses(&checkpoint);
        }
    }
    loop {
        let beyond = store::list_checkpoints(conn, (expected, i64::MAX), PAGE).await?;
        let Some(last) = beyond.last() else { break };
        expected = last.size.cast_signed();
        for checkpoint in beyond {
            verifier.misses(&checkpoint);
        }
    }
    let unsealed = store::find_unsealed(conn, FINDINGS_MAX as i64).await?;
    for event in unsealed.strays {
        verifier.report.find(Finding::Stray(event));
    }
    for event in unsealed.lost {
        verifier.report.find(Finding::Lost(event));
    }
    verifier.report.pending = unsealed.pending;
    Ok(verifier.end())
}

struct Verifier<'a, I: Iterator> {
    key: &'a PublicKey,
    outside: Outside<I>,
    tree: Tree,
    /// For each level that subtrees are kept of, the hashes below it that were not compared yet, and the place of the first.
    rising: Vec<(u64, Vec<Hash>)>,
    report: Report,
}

impl<I: Iterator<Item = Result<Checkpoint, String>>> Verifier<'_, I> {
    /// Compares the roots of the subtrees that have become complete.
    async fn tiles(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut below = 0;
        while let Some((first, hashes)) = self.rising.get_mut(below) {
            let full = hashes.len() / TILE as usize * TILE as usize;
            let roots: Vec<Hash> = hashes
                .drain(..full)
                .as_slice()
                .chunks_exact(TILE as usize)
                .map(Tiles::root_of_tile)
                .collect();
            let place = *first / TILE;
            *first += full as u64;
            below += 1;
            if roots.is_empty() {
                break;
            }
            let level = below as u32;
            let kept = store::list_hashes(conn, level, place..place + roots.len() as u64).await?;
            for (place, (root, kept)) in (place..).zip(roots.iter().zip(&kept)) {
                if root != kept {
                    self.report.find(Finding::Tile { level, place });
                }
            }
            if self.rising.len() == below {
                self.rising.push((0, Vec::new()));
            }
            self.rising[below].1.extend(roots);
        }
        Ok(())
    }

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
        self.rising[0].1.push(hash);
        self.report.leaves += 1;
        let size = self.tree.size();
        if let Some(checkpoint) = signed.remove(&size) {
            self.report.checkpoints += 1;
            self.compare(&checkpoint, Place::Database);
        }
        while let Some(checkpoint) = self.outside.next_up_to(size) {
            self.report.outside += 1;
            if checkpoint.size == size {
                self.compare(&checkpoint, Place::Outside);
            } else {
                let what = format!("one of {} leaves comes after one of more", checkpoint.size);
                self.report.find(Finding::Outside(what));
            }
        }
    }

    fn compare(&mut self, checkpoint: &Checkpoint, place: Place) {
        let size = checkpoint.size;
        if !checkpoint.is_of(&self.tree.root()) {
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
        while let Some(next) = self.outside.next_up_to(u64::MAX) {
            self.report.outside += 1;
            most = most.max(Some(next.size));
        }
        for what in std::mem::take(&mut self.outside.damaged) {
            self.report.find(Finding::Outside(what));
        }
        if let Some(size) = most {
            self.report.find(Finding::SetBack { size, found });
        }
        self.report.root = STANDARD.encode(self.tree.root());
        self.report
    }
}

/// Checkpoints from outside, smallest first.
struct Outside<I> {
    lines: I,
    /// By size, and by the order in which they were read.
    read: BTreeMap<(u64, u64), Checkpoint>,
    count: u64,
    /// What is wrong with lines that are none, up to a hundred.
    damaged: Vec<String>,
}

impl<I: Iterator<Item = Result<Checkpoint, String>>> Outside<I> {
    /// The next one, if it is of no more leaves than these.
    fn next_up_to(&mut self, size: u64) -> Option<Checkpoint> {
        while self.read.len() < DISORDER_MAX {
            match self.lines.next() {
                Some(Ok(checkpoint)) => {
                    self.count += 1;
                    self.read.insert((checkpoint.size, self.count), checkpoint);
                }
                Some(Err(what)) if self.damaged.len() < FINDINGS_MAX => self.damaged.push(what),
                Some(Err(_)) => {}
                None => break,
            }
        }
        let next = self.read.first_entry().filter(|next| next.key().0 <= size)?;
        Some(next.remove())
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
