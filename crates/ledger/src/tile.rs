//! Tiles and entry bundles (C2SP tlog-tiles): the tree and its entries as files that never change.
//!
//! A tile holds 256 hashes of one level of a tree of width 256; a bundle holds 256 entries. The last of each
//! level may be partial, and says its width in its name. [`TilesExport`](crate::export::tiles::TilesExport)
//! writes them, [`verify_tiles`](crate::verify::verify_tiles) verifies them, [`TileReader`] makes proofs out of them.
//!
//! Source: <https://c2sp.org/tlog-tiles>.

use std::{fmt, str::FromStr};

use crate::tree::{Hash, NodeRef, TreeError, consistency_plan, fold_right, inclusion_plan, node_hash};

/// How many hashes a whole tile has, and how many entries a whole bundle.
pub const TILE_WIDTH: u16 = 256;

/// Largest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + u16::MAX as usize);

/// A tile or bundle by name, such as `tile/0/x001/x234/067.p/8` or `tile/entries/000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileRef {
    /// What it holds.
    pub of: TileOf,
    /// Its place on its level, from 0.
    pub index: u64,
    /// How many it holds, 1 to 256.
    pub width: u16,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileOf {
    /// Hashes, each over 256 to the power of this level entries.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// A name that is not a tile's, or is not spelled as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a tile")]
pub struct TileNameError;

impl fmt::Display for TileRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            TileOf::Hashes(level) => write!(formatter, "tile/{level}/")?,
            TileOf::Entries => formatter.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            if place > 0 {
                write!(formatter, "x{group:03}/")?;
            } else {
                write!(formatter, "{group:03}")?;
            }
        }
        if self.width < TILE_WIDTH {
            write!(formatter, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for TileRef {
    type Err = TileNameError;

    /// Reads a name; one spelling a tile.
    fn from_str(name: &str) -> Result<Self, TileNameError> {
        let rest = name.strip_prefix("tile/").ok_or(TileNameError)?;
        let (of, rest) = rest.split_once('/').ok_or(TileNameError)?;
        let of = match of {
            "entries" => TileOf::Entries,
            level => TileOf::Hashes(level.parse().map_err(|_| TileNameError)?),
        };
        let (place, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((place, width)) => (place, width.parse().map_err(|_| TileNameError)?),
        };
        let index = place.split('/').try_fold(0_u64, |index, group| {
            let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            index.checked_mul(1_000)?.checked_add(group)
        });
        let tile = Self { of, index: index.ok_or(TileNameError)?, width };
        let possible = !matches!(of, TileOf::Hashes(64..)) && (1..=TILE_WIDTH).contains(&width);
        // Whatever else the text could be, only one spelling of it is the name.
        if possible && tile.to_string() == name { Ok(tile) } else { Err(TileNameError) }
    }
}

/// Every tile of hashes that a tree of this size has, level by level.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TileRef> {
    (0..8_u8)
        .map(move |level| (level, size >> (8 * u32::from(level))))
        .take_while(|(_, hashes)| *hashes > 0)
        .flat_map(|(level, hashes)| row(TileOf::Hashes(level), hashes))
}

/// Every entry bundle that a tree of this size has.
pub fn bundles_of(size: u64) -> impl Iterator<Item = TileRef> {
    row(TileOf::Entries, size)
}

fn row(of: TileOf, count: u64) -> impl Iterator<Item = TileRef> {
    let width = u64::from(TILE_WIDTH);
    (0..count.div_ceil(width)).map(move |index| TileRef { of, index, width: narrow(count - index * width) })
}

/// The width of a tile with so many hashes from its first on.
fn narrow(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
}

/// Makes the tiles of a tree from its leaves' hashes, in memory for one tile a level.
#[derive(Debug, Default)]
pub struct TileBuilder {
    levels: Vec<Growing>,
}

#[derive(Debug, Default)]
struct Growing {
    index: u64,
    hashes: Vec<Hash>,
}

impl TileBuilder {
    /// Appends a leaf and returns the tiles that it fills, the lowest first.
    pub fn push(&mut self, leaf: Hash) -> Vec<(TileRef, Vec<u8>)> {
        let mut filled = Vec::new();
        let mut hash = leaf;
        for level in 0_u8.. {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Growing::default());
            }
            let Some(growing) = self.levels.get_mut(usize::from(level)) else { break };
            growing.hashes.push(hash);
            if growing.hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let tile = TileRef { of: TileOf::Hashes(level), index: growing.index, width: TILE_WIDTH };
            filled.push((tile, growing.hashes.concat()));
            let Some(root) = perfect_root(std::mem::take(&mut growing.hashes)) else { break };
            growing.index += 1;
            hash = root;
        }
        filled
    }

    /// Ends with the partial tiles, the lowest first.
    pub fn finish(self) -> Vec<(TileRef, Vec<u8>)> {
        let partial = (0_u8..).zip(self.levels).filter(|(_, growing)| !growing.hashes.is_empty());
        partial
            .map(|(level, growing)| {
                let width = narrow(growing.hashes.len() as u64);
                (TileRef { of: TileOf::Hashes(level), index: growing.index, width }, growing.hashes.concat())
            })
            .collect()
    }
}

/// The hash over a power of two of hashes.
fn perfect_root(mut hashes: Vec<Hash>) -> Option<Hash> {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .filter_map(|pair| if let [left, right] = pair { Some(node_hash(left, right)) } else { None })
            .collect();
    }
    hashes.first().copied()
}

/// The hashes in a tile; `None` when it has not as many bytes as its name says.
pub fn hashes_in(tile: TileRef, bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(tile.width)).then(|| hashes.to_vec())
}

/// An entry that a bundle cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry is larger than 65,535 bytes")]
pub struct EntryTooLarge;

/// Appends an entry to a bundle: its length in two bytes, the larger first, then itself.
///
/// # Errors
/// [`EntryTooLarge`] when its length does not fit two bytes.
pub fn write_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLarge> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLarge)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries in a bundle; `None` when its bytes are not exactly as many entries as its name says.
pub fn entries_in(tile: TileRef, mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(usize::from(tile.width));
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    (bytes.is_empty() && entries.len() == usize::from(tile.width)).then_some(entries)
}

/// Where tiles, bundles and the checkpoint are read from.
pub trait TileSource {
    /// Why something could not be read.
    type Error;

    /// The bytes under a name, `checkpoint` or a [`TileRef`]'s; `None` when there is nothing.
    ///
    /// # Errors
    /// When it cannot be known.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileProofError<E> {
    /// A tile could not be read.
    #[error("a tile cannot be read")]
    Unreadable(E),
    /// A tile is missing or has not the length that its name says.
    #[error("{0} is missing or is not a tile")]
    Tile(TileRef),
    /// The question is outside the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Makes proofs for a tree of one size out of its tiles. It believes the tiles; who checks the proof need not.
#[derive(Debug)]
pub struct TileReader<'a, S> {
    source: &'a S,
    size: u64,
}

impl<'a, S: TileSource> TileReader<'a, S> {
    /// Over the tiles of a tree of this size.
    pub fn new(source: &'a S, size: u64) -> Self {
        Self { source, size }
    }

    /// That an entry is in the tree.
    ///
    /// # Errors
    /// [`TileProofError`] when a tile cannot be read or there is no such entry.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, TileProofError<S::Error>> {
        self.folded(&inclusion_plan(index, self.size)?)
    }

    /// That the tree extends the one of an older size.
    ///
    /// # Errors
    /// [`TileProofError`] when a tile cannot be read or the older size is 0 or larger.
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, TileProofError<S::Error>> {
        self.folded(&consistency_plan(old, self.size)?)
    }

    /// The hashes of a tile of this tree.
    ///
    /// # Errors
    /// [`TileProofError`] when it cannot be read.
    pub fn hashes(&self, level: u8, index: u64) -> Result<Vec<Hash>, TileProofError<S::Error>> {
        let on_level = self.size >> (8 * u32::from(level));
        let width = narrow(on_level.saturating_sub(index * u64::from(TILE_WIDTH)));
        let tile = TileRef { of: TileOf::Hashes(level), index, width };
        let bytes = self.source.read(&tile.to_string()).map_err(TileProofError::Unreadable)?;
        bytes.and_then(|bytes| hashes_in(tile, &bytes)).ok_or(TileProofError::Tile(tile))
    }

    fn folded(&self, plan: &[Vec<NodeRef>]) -> Result<Vec<Hash>, TileProofError<S::Error>> {
        plan.iter()
            .map(|nodes| {
                let nodes: Result<Vec<_>, _> = nodes.iter().map(|node| self.node(*node)).collect();
                fold_right(&nodes?).ok_or(TreeError::Range.into())
            })
            .collect()
    }

    /// A complete node of the tree: the fold of a run of hashes within one tile.
    fn node(&self, node: NodeRef) -> Result<Hash, TileProofError<S::Error>> {
        let (level, within) = (node.level / 8, node.level % 8);
        let first = node.index << within;
        let index = first / u64::from(TILE_WIDTH);
        let hashes = self.hashes(level, index)?;
        let from = usize::from(narrow(first % u64::from(TILE_WIDTH)));
        let run = hashes.get(from..from + (1 << within)).map(<[Hash]>::to_vec);
        run.and_then(perfect_root).ok_or(TreeError::Range.into())
    }
}

#[cfg(test)]
mod tests;
