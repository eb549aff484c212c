//! Roots of complete subtrees that are kept, so that a proof need not read the whole log: those of 256 leaves, of 256 times 256,
//! and so on, after C2SP's tiles. Every other node is a few hashes away from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::tree::{Hash, node_hash};

/// Levels of the tree between one kept level and the next.
const TILE_LEVELS: u32 = 8;
/// Hashes of a tile.
pub const TILE: u64 = 1 << TILE_LEVELS;

/// A tile: its level, 0 for the leaves' own hashes, and its place among those of its level.
pub type Tile = (u32, u64);

/// Hashes that were read: each is the root of `256^level` leaves, or a leaf's own.
#[derive(Debug, Default)]
pub struct Tiles(BTreeMap<(u32, u64), Hash>);

impl Tiles {
    /// Adds hashes of a level with their places.
    pub fn extend(&mut self, level: u32, hashes: impl IntoIterator<Item = (u64, Hash)>) {
        self.0.extend(hashes.into_iter().map(|(place, hash)| ((level, place), hash)));
    }

    /// The root of the leaves of this range, as it stands in a tree. `None` when a hash of [`tiles_of`] is missing.
    pub fn root_of(&self, range: &Range<u64>) -> Option<Hash> {
        let mut roots = subtrees(range).into_iter().rev();
        let (height, place) = roots.next()?;
        roots.try_fold(self.subtree(height, place)?, |right, (height, place)| {
            Some(node_hash(&self.subtree(height, place)?, &right))
        })
    }

    fn subtree(&self, height: u32, place: u64) -> Option<Hash> {
        let (level, above) = (height / TILE_LEVELS, height % TILE_LEVELS);
        let first = place << above;
        let hashes: Option<Vec<Hash>> =
            (first..first + (1 << above)).map(|place| self.0.get(&(level, place)).copied()).collect();
        Some(root_of_complete(hashes?))
    }

    /// The root of a full tile's hashes.
    pub fn root_of_tile(hashes: &[Hash]) -> Hash {
        debug_assert_eq!(hashes.len() as u64, TILE, "a full tile");
        root_of_complete(hashes.to_vec())
    }
}

/// Of as many hashes as a power of two.
fn root_of_complete(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes[0]
}

/// The tiles whose hashes make the roots of these ranges.
pub fn tiles_of(ranges: &[Range<u64>]) -> BTreeSet<Tile> {
    let subtrees = ranges.iter().flat_map(subtrees);
    subtrees
        .map(|(height, place)| (height / TILE_LEVELS, (place << (height % TILE_LEVELS)) >> TILE_LEVELS))
        .collect()
}

/// The complete subtrees of which a range is made, left to right: the height of each, and its place among those of its height.
fn subtrees(range: &Range<u64>) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    let mut from = range.start;
    while from < range.end {
        let height = (range.end - from).ilog2().min(from.trailing_zeros());
        found.push((height, from >> height));
        from += 1 << height;
    }
    found
}
