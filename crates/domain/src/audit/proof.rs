//! Proofs after RFC 6962: that a leaf is under a root, and that a tree is the beginning of a larger one.
//!
//! A proof is the roots of some ranges of leaves. Which ones depends on sizes and places alone, so that it is told here
//! without the tree.

use std::ops::Range;

use super::tree::{Hash, node_hash};

/// The ranges whose roots, the nearest to the leaf first, prove that it is among `size` leaves (RFC 6962, 2.1.1).
pub fn inclusion_path(leaf: u64, size: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    let mut around = 0..size;
    while around.end - around.start > 1 {
        let middle = around.start + left_of(around.end - around.start);
        let (inside, beside) = if leaf < middle {
            (around.start..middle, middle..around.end)
        } else {
            (middle..around.end, around.start..middle)
        };
        path.push(beside);
        around = inside;
    }
    path.reverse();
    path
}

/// The ranges whose roots prove that the tree of `old` leaves is the beginning of that of `size` (RFC 6962, 2.1.2).
pub fn consistency_path(old: u64, size: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    if old == 0 {
        return path;
    }
    let mut around = 0..size;
    while around.end != old {
        let middle = around.start + left_of(around.end - around.start);
        let (inside, beside) = if old <= middle {
            (around.start..middle, middle..around.end)
        } else {
            (middle..around.end, around.start..middle)
        };
        path.push(beside);
        around = inside;
    }
    // The old tree as a whole is known to whoever asks.
    if around.start != 0 {
        path.push(around);
    }
    path.reverse();
    path
}

/// Leaves to the left of where a tree of so many is split: the largest power of two below.
fn left_of(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Whether this path leads from the leaf to the root (RFC 9162, 2.1.3.2).
pub fn is_included(leaf: u64, hash: &Hash, size: u64, path: &[Hash], root: &Hash) -> bool {
    if leaf >= size {
        return false;
    }
    let (mut place, mut last) = (leaf, size - 1);
    let mut reached = *hash;
    for beside in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            reached = node_hash(beside, &reached);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            reached = node_hash(&reached, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && reached == *root
}

/// Whether this path leads from the root of `old` leaves to that of `size` (RFC 9162, 2.1.4.2).
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old, old_root), (size, root)) = (old, new);
    if old == 0 || old >= size {
        return old <= size && path.is_empty() && (old == 0 || old_root == root);
    }
    // The old root is left out of the path where the old tree is one of the new tree's nodes.
    let first = if old.is_power_of_two() { Some(old_root) } else { None };
    let mut nodes = first.into_iter().chain(path);
    let (mut place, mut last) = (old - 1, size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let Some(seed) = nodes.next() else { return false };
    let (mut from_old, mut from_new) = (*seed, *seed);
    for node in nodes {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            from_old = node_hash(node, &from_old);
            from_new = node_hash(node, &from_new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, node);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *root
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    use super::super::tiles::{Tiles, tiles_of};
    use super::super::tree::{HASH_BYTES, Tree, leaf_hash};
    use super::*;

    /// Beyond a tile of 256 leaves, and beyond two.
    const SIZES: [u64; 12] = [1, 2, 3, 5, 8, 13, 100, 255, 256, 257, 300, 600];

    fn record(n: u64) -> Vec<u8> {
        format!("event {n}").into_bytes()
    }

    fn root(size: u64) -> Hash {
        let mut tree = Tree::default();
        (0..size).for_each(|n| tree.push(leaf_hash(&record(n))));
        tree.root()
    }

    /// All that a database of so many leaves has.
    fn stored(size: u64) -> Tiles {
        let mut tiles = Tiles::default();
        let mut level: Vec<Hash> = (0..size).map(|n| leaf_hash(&record(n))).collect();
        for height in 0.. {
            tiles.extend(height, (0..).zip(level.iter().copied()));
            level = level.chunks_exact(256).map(Tiles::root_of_tile).collect();
            if level.is_empty() {
                return tiles;
            }
        }
        tiles
    }

    fn hashes(tiles: &Tiles, path: &[Range<u64>]) -> Vec<Hash> {
        path.iter().map(|range| tiles.root_of(range).unwrap()).collect()
    }

    #[test]
    fn paths_are_those_of_another_implementation_of_the_rfc() {
        for size in SIZES {
            let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            (0..size).for_each(|n| theirs.push(record(n)));
            let tiles = stored(size);
            for leaf in 0..size {
                let ours = hashes(&tiles, &inclusion_path(leaf, size)).concat();
                let proof = theirs.prove_inclusion(leaf as usize);
                assert_eq!(ours, proof.as_bytes(), "{leaf} of {size}");
            }
            for old in 1..size {
                let ours = hashes(&tiles, &consistency_path(old, size)).concat();
                let proof = theirs.prove_consistency((size - old) as usize);
                assert_eq!(ours, proof.as_bytes(), "{old} of {size}");
            }
        }
    }

    #[test]
    fn a_path_proves_its_own_leaf_and_root_alone() {
        for size in SIZES {
            let (tiles, root, other) = (stored(size), root(size), root(size + 1));
            for leaf in 0..size {
                let path = hashes(&tiles, &inclusion_path(leaf, size));
                let hash = leaf_hash(&record(leaf));
                assert!(is_included(leaf, &hash, size, &path, &root), "{leaf} of {size}");
                assert!(!is_included(leaf, &leaf_hash(b"other"), size, &path, &root));
                assert!(!is_included(leaf, &hash, size, &path, &other));
                assert!(size == 1 || !is_included((leaf + 1) % size, &hash, size, &path, &root));
                let longer = [path.as_slice(), &[[0; HASH_BYTES]]].concat();
                assert!(!is_included(leaf, &hash, size, &longer, &root));
                assert!(path.is_empty() || !is_included(leaf, &hash, size, &path[1..], &root));
            }
            assert!(!is_included(size, &leaf_hash(b""), size, &[], &root));
        }
    }

    #[test]
    fn a_path_proves_its_own_two_roots_alone() {
        for size in SIZES {
            let (tiles, new) = (stored(size), root(size));
            for old in 1..size {
                let path = hashes(&tiles, &consistency_path(old, size));
                let before = root(old);
                assert!(is_consistent((old, &before), (size, &new), &path), "{old} of {size}");
                assert!(!is_consistent((old, &new), (size, &new), &path), "{old} of {size}");
                assert!(!is_consistent((old, &before), (size, &before), &path), "{old} of {size}");
                assert!(!is_consistent((old, &before), (size, &new), &path[1..]), "{old} of {size}");
                let longer = [path.as_slice(), &[[0; HASH_BYTES]]].concat();
                assert!(!is_consistent((old, &before), (size, &new), &longer), "{old} of {size}");
            }
            assert!(is_consistent((size, &new), (size, &new), &[]));
            assert!(!is_consistent((size, &root(size + 1)), (size, &new), &[]));
            assert!(!is_consistent((size + 1, &new), (size, &new), &[]));
        }
    }

    #[test]
    fn no_more_tiles_are_read_than_the_tree_is_high() {
        let size = 3_000_000_000;
        for leaf in [0, 77, size / 2, size - 1] {
            let tiles = tiles_of(&inclusion_path(leaf, size));
            assert!(tiles.len() <= 10, "{leaf}: {tiles:?}");
        }
    }
}
