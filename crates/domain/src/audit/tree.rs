//! The tree over the events: RFC 6962, section 2.1, with SHA-256.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// A hash of the tree.
pub type Hash = [u8; HASH_BYTES];

/// The hash of a leaf of these bytes.
pub fn leaf_hash(record: &[u8]) -> Hash {
    hash_of(&[&[0], record])
}

/// The hash of the node above these two.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash_of(&[&[1], left, right])
}

fn hash_of(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    into_hash(context.finish().as_ref())
}

fn into_hash(bytes: &[u8]) -> Hash {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// A tree to which leaves are added: the roots of its complete subtrees, which is all that its root depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Largest first: one for each bit that is set in the size.
    peaks: Vec<Hash>,
}

impl Tree {
    /// As [`Self::peaks`] told it. `None` where these bytes are no such tree.
    pub fn read(size: u64, peaks: &[u8]) -> Option<Self> {
        let (hashes, rest) = peaks.as_chunks::<HASH_BYTES>();
        let sound = rest.is_empty() && hashes.len() == size.count_ones() as usize;
        sound.then(|| Self { size, peaks: hashes.to_vec() })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, one after the other.
    pub fn peaks(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The hash of the whole.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return into_hash(digest(&SHA256, b"").as_ref()) };
        peaks.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    use super::*;

    #[test]
    fn roots_are_those_of_another_implementation_of_the_rfc() {
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut ours = Tree::default();
        for n in 0..600u32 {
            let record = format!("event {n}").into_bytes();
            ours.push(leaf_hash(&record));
            theirs.push(record);
            assert_eq!(ours.root().as_slice(), theirs.root().as_bytes().as_slice(), "{n}");
            let read = Tree::read(ours.size(), &ours.peaks());
            assert_eq!(read.as_ref(), Some(&ours), "{n}");
        }
    }

    #[test]
    fn the_empty_tree_is_the_hash_of_nothing() {
        let hash = hex::encode(Tree::default().root());
        assert_eq!(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn what_is_no_tree_is_not_read() {
        for (size, bytes) in [(1, 0), (1, 31), (1, 64), (3, 32), (0, 32)] {
            assert_eq!(Tree::read(size, &vec![0; bytes]), None, "{size} {bytes}");
        }
    }
}
