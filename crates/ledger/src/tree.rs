//! The Merkle tree of RFC 6962: hashes, the compact frontier, and proofs.
//!
//! Source: RFC 6962 §2.1 (the same tree as RFC 9162 §2.1 and C2SP tlog-tiles).

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// A tree question that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The number of peaks is not the number of one bits in the size.
    #[error("the tree's nodes do not fit its size")]
    Frontier,
    /// The index or old size is outside the tree.
    #[error("outside the tree")]
    Range,
    /// The proof does not lead to the root.
    #[error("the proof does not lead to the root")]
    Proof,
}

/// The hash of a leaf's bytes.
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// The hash of two nodes.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A node whose subtree is complete, and so never changes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredNode {
    /// Its height; a leaf has 0.
    pub level: u8,
    /// Its place on that level, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The name of a complete node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeRef {
    /// Its height; a leaf has 0.
    pub level: u8,
    /// Its place on that level, from 0.
    pub index: u64,
}

/// The right edge of the tree: all that is needed to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The tree of `size` leaves from its peaks, the largest first.
    ///
    /// # Errors
    /// [`TreeError::Frontier`] when there are not as many peaks as one bits in `size`.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, TreeError> {
        if peaks.len() == size.count_ones() as usize {
            Ok(Self { size, peaks })
        } else {
            Err(TreeError::Frontier)
        }
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root; of the empty tree, the hash of nothing.
    pub fn root(&self) -> Hash {
        fold_right(&self.peaks).unwrap_or_else(|| Sha256::digest(b"").into())
    }

    /// Appends a leaf and returns every node that it completes, the leaf itself first.
    pub fn push(&mut self, leaf: Hash) -> Vec<StoredNode> {
        let mut completed = vec![StoredNode { level: 0, index: self.size, hash: leaf }];
        let mut hash = leaf;
        let mut level = 0_u8;
        while self.size >> level & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            completed.push(StoredNode { level, index: self.size >> level, hash });
        }
        self.peaks.push(hash);
        self.size += 1;
        completed
    }
}

/// Lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const_hex::encode(bytes)
}

/// Folds peaks from the right into one hash.
pub fn fold_right(hashes: &[Hash]) -> Option<Hash> {
    let (last, rest) = hashes.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The complete nodes whose fold is the hash of leaves `[from, until)`, where `from` begins a subtree.
fn cover(mut from: u64, until: u64) -> Vec<NodeRef> {
    let mut nodes = Vec::new();
    while from < until {
        let aligned = if from == 0 { 63 } else { from.trailing_zeros() };
        let fitting = (until - from).ilog2();
        let level = aligned.min(fitting);
        nodes.push(NodeRef { level: u8::try_from(level).unwrap_or(63), index: from >> level });
        from += 1 << level;
    }
    nodes
}

/// The largest power of two smaller than `size`.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// For each hash of the inclusion proof, the complete nodes that fold into it. RFC 6962 §2.1.1.
///
/// # Errors
/// [`TreeError::Range`] when `index` is not below `size`.
pub fn inclusion_plan(index: u64, size: u64) -> Result<Vec<Vec<NodeRef>>, TreeError> {
    if index >= size {
        return Err(TreeError::Range);
    }
    let (mut from, mut until) = (0, size);
    let mut plan = Vec::new();
    while until - from > 1 {
        let middle = from + split(until - from);
        if index < middle {
            plan.push(cover(middle, until));
            until = middle;
        } else {
            plan.push(cover(from, middle));
            from = middle;
        }
    }
    plan.reverse();
    Ok(plan)
}

/// For each hash of the consistency proof, the complete nodes that fold into it. RFC 6962 §2.1.2.
///
/// # Errors
/// [`TreeError::Range`] when `old` is 0 or above `new`.
pub fn consistency_plan(old: u64, new: u64) -> Result<Vec<Vec<NodeRef>>, TreeError> {
    if old == 0 || old > new {
        return Err(TreeError::Range);
    }
    let (mut from, mut until) = (0, new);
    let mut plan = Vec::new();
    let mut whole = true;
    while until != old {
        let middle = from + split(until - from);
        if old <= middle {
            plan.push(cover(middle, until));
            until = middle;
        } else {
            plan.push(cover(from, middle));
            from = middle;
            whole = false;
        }
    }
    if !whole {
        plan.push(cover(from, until));
    }
    plan.reverse();
    Ok(plan)
}

/// Checks that a leaf is in the tree. RFC 9162 §2.1.3.2.
///
/// # Errors
/// [`TreeError`] when it is not shown to be.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    if index >= size {
        return Err(TreeError::Range);
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(TreeError::Proof);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(TreeError::Proof) }
}

/// Checks that one tree is a prefix of another. RFC 9162 §2.1.4.2.
///
/// # Errors
/// [`TreeError`] when it is not shown to be.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), TreeError> {
    if old_size == 0 || old_size > new_size {
        return Err(TreeError::Range);
    }
    if old_size == new_size {
        return if proof.is_empty() && old_root == new_root { Ok(()) } else { Err(TreeError::Proof) };
    }
    let mut hashes = proof.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { hashes.next() };
    let first = first.ok_or(TreeError::Proof)?;
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(TreeError::Proof);
        }
        if place & 1 == 1 || place == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(TreeError::Proof) }
}

#[cfg(test)]
mod tests;
