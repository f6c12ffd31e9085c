//! Writes a made-up ledger as tiles, to measure verifiers with: `make_ledger COUNT DIRECTORY`.

use std::{fs, io, path::PathBuf};

use ledger::{
    checkpoint::Checkpoint,
    entry::Entry,
    export::tiles::{TileSink, TilesExport},
    tree::{Frontier, leaf_hash},
};
use third_party::{ORIGIN, entries, signer};

struct Directory(PathBuf);

impl TileSink for Directory {
    type Error = io::Error;

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, bytes)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().ok_or("how many entries?")?.parse()?;
    let to = PathBuf::from(arguments.next().ok_or("where to?")?);
    let mut export = TilesExport::new(Directory(to));
    let mut tree = Frontier::empty();
    for (seq, body) in (0..count).zip(entries::bodies(&signer().verifier_key())) {
        let at_us = entries::BEGIN_US + i64::from(seq);
        let leaf = Entry { v: 1, seq: u64::from(seq), at_us, blind: None, body }.encode()?;
        tree.push(leaf_hash(&leaf));
        export.entry(&leaf)?;
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    export.finish(&checkpoint.sign(&signer()))?;
    Ok(())
}
