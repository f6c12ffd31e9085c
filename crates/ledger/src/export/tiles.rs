//! A ledger as a tlog-tiles directory: `tile/entries/…`, `tile/<level>/…`, and `checkpoint` last.

use crate::{
    tile::{TILE_WIDTH, TileBuilder, TileOf, TileRef, write_entry},
    tree::{Frontier, Hash, leaf_hash},
};

/// Where an export goes: a directory, an object store, memory.
pub trait TileSink {
    /// Why something could not be written.
    type Error;

    /// Keeps these bytes under this name: a [`TileRef`]'s, or `checkpoint`.
    ///
    /// # Errors
    /// When they are not kept.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Writes entries as they come, in memory for one bundle and one tile a level.
#[derive(Debug)]
pub struct TilesExport<S> {
    sink: S,
    tree: Frontier,
    tiles: TileBuilder,
    bundle: Vec<u8>,
}

/// An export that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TilesExportError<E> {
    /// The sink did not keep something.
    #[error("a tile cannot be written")]
    Sink(E),
    /// An entry does not fit a bundle.
    #[error("entry {0} is larger than a bundle can hold")]
    TooLarge(u64),
}

impl<S: TileSink> TilesExport<S> {
    /// Begins an export.
    pub fn new(sink: S) -> Self {
        Self { sink, tree: Frontier::empty(), tiles: TileBuilder::default(), bundle: Vec::new() }
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// [`TilesExportError`]; the export is of no further use then.
    pub fn entry(&mut self, leaf: &[u8]) -> Result<(), TilesExportError<S::Error>> {
        let index = self.tree.size();
        write_entry(&mut self.bundle, leaf).map_err(|_| TilesExportError::TooLarge(index))?;
        let hash = leaf_hash(leaf);
        self.tree.push(hash);
        for (tile, bytes) in self.tiles.push(hash) {
            self.put(&tile.to_string(), &bytes)?;
        }
        let width = u64::from(TILE_WIDTH);
        if (index + 1).is_multiple_of(width) { self.put_bundle(index / width, TILE_WIDTH) } else { Ok(()) }
    }

    /// Writes what is partial, and the checkpoint last: an export that broke off has none. Returns the size and
    /// root that the checkpoint should have.
    ///
    /// # Errors
    /// [`TilesExportError`] when something is not kept.
    pub fn finish(mut self, checkpoint: &str) -> Result<(u64, Hash), TilesExportError<S::Error>> {
        let size = self.tree.size();
        for (tile, bytes) in std::mem::take(&mut self.tiles).finish() {
            self.put(&tile.to_string(), &bytes)?;
        }
        let width = u16::try_from(size % u64::from(TILE_WIDTH)).unwrap_or(0);
        if width > 0 {
            self.put_bundle(size / u64::from(TILE_WIDTH), width)?;
        }
        self.put("checkpoint", checkpoint.as_bytes())?;
        Ok((size, self.tree.root()))
    }

    fn put_bundle(&mut self, index: u64, width: u16) -> Result<(), TilesExportError<S::Error>> {
        let bundle = std::mem::take(&mut self.bundle);
        self.put(&TileRef { of: TileOf::Entries, index, width }.to_string(), &bundle)?;
        self.bundle = bundle;
        self.bundle.clear();
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), TilesExportError<S::Error>> {
        self.sink.put(name, bytes).map_err(TilesExportError::Sink)
    }
}
