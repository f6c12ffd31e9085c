//! Tiles against the specification's own examples, and the proofs made of them against the tree's verifier.

use std::{collections::BTreeMap, convert::Infallible};

use proptest::prelude::*;

use super::*;
use crate::tree::{Frontier, leaf_hash, verify_consistency, verify_inclusion};

impl TileSource for BTreeMap<String, Vec<u8>> {
    type Error = Infallible;

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(name).cloned())
    }
}

fn named(name: &str) -> TileRef {
    name.parse().unwrap()
}

#[test]
fn names_are_those_of_the_specification() {
    let tile = TileRef { of: TileOf::Hashes(0), index: 1_234_067, width: 256 };
    assert_eq!(tile.to_string(), "tile/0/x001/x234/067");
    assert_eq!(
        named("tile/entries/x001/234.p/112"),
        TileRef { of: TileOf::Entries, index: 1_234, width: 112 }
    );
    for bad in [
        "tile/0/67",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/00/067",
        "tile/64/067",
        "tile/0/067.p/0",
        "tile/0/067.p/256",
        "tile/0/067.p/08",
        "tile/0/+67",
        "tile/data/067",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(bad.parse::<TileRef>(), Err(TileNameError), "{bad}");
    }
}

#[test]
fn a_tree_has_the_tiles_that_the_specification_counts() {
    let counted = |size| {
        let mut tiles = BTreeMap::<_, Vec<u16>>::new();
        tiles_of(size).for_each(|tile| tiles.entry(tile.of).or_default().push(tile.width));
        tiles
    };
    let large = counted(70_000);
    let level = |level| &large[&TileOf::Hashes(level)];
    assert_eq!((level(0).len(), level(0)[273]), (274, 112));
    assert!(level(0)[..273].iter().all(|width| *width == 256));
    assert_eq!((level(1).as_slice(), level(2).as_slice()), ([256, 17].as_slice(), [1].as_slice()));
    assert_eq!(large.len(), 3);
    let names: Vec<_> = tiles_of(256).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!((tiles_of(0).count(), bundles_of(0).count(), bundles_of(70_000).count()), (0, 0, 274));
}

fn built(size: u64) -> (BTreeMap<String, Vec<u8>>, Vec<Hash>) {
    let mut builder = TileBuilder::default();
    let mut tiles = BTreeMap::new();
    let mut frontier = Frontier::empty();
    let mut roots = vec![frontier.root()];
    for entry in 0..size {
        let leaf = leaf_hash(&entry.to_be_bytes());
        tiles.extend(builder.push(leaf).into_iter().map(|(tile, bytes)| (tile.to_string(), bytes)));
        frontier.push(leaf);
        roots.push(frontier.root());
    }
    tiles.extend(builder.finish().into_iter().map(|(tile, bytes)| (tile.to_string(), bytes)));
    (tiles, roots)
}

#[test]
fn a_builder_makes_exactly_the_tiles_of_its_size() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000] {
        let (tiles, _) = built(size);
        let expected: BTreeMap<_, _> =
            tiles_of(size).map(|tile| (tile.to_string(), usize::from(tile.width) * 32)).collect();
        let made: BTreeMap<_, _> = tiles.into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
        assert_eq!(made, expected, "{size}");
    }
}

#[test]
fn proofs_of_a_large_tree_verify() {
    let (tiles, roots) = built(70_000);
    let reader = TileReader::new(&tiles, 70_000);
    for index in [0_u64, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let leaf = leaf_hash(&index.to_be_bytes());
        let proof = reader.inclusion(index).unwrap();
        assert_eq!(verify_inclusion(&leaf, index, 70_000, &proof, &roots[70_000]), Ok(()), "{index}");
    }
    for old in [1, 2, 255, 256, 257, 65_536, 69_999, 70_000] {
        let proof = reader.consistency(old).unwrap();
        let old_root = roots[usize::try_from(old).unwrap()];
        assert_eq!(verify_consistency(old, 70_000, &old_root, &roots[70_000], &proof), Ok(()), "{old}");
    }
    assert_eq!(reader.inclusion(70_000), Err(TileProofError::Tree(TreeError::Range)));
    let nothing = BTreeMap::new();
    let missing = TileReader::new(&nothing, 2).inclusion(0);
    assert_eq!(missing, Err(TileProofError::Tile(named("tile/0/000.p/2"))));
}

#[test]
fn a_bundle_is_read_back_or_refused() {
    let mut bundle = Vec::new();
    let entries: [&[u8]; 3] = [b"one", b"", b"three"];
    entries.iter().for_each(|entry| write_entry(&mut bundle, entry).unwrap());
    assert_eq!(bundle, b"\x00\x03one\x00\x00\x00\x05three");
    let of = |width| TileRef { of: TileOf::Entries, index: 0, width };
    assert_eq!(entries_in(of(3), &bundle).unwrap(), entries);
    assert_eq!(entries_in(of(2), &bundle), None);
    assert_eq!(entries_in(of(3), &bundle[..bundle.len() - 1]), None);
    assert_eq!(entries_in(of(3), &[bundle.as_slice(), b"\x00"].concat()), None);
    assert_eq!(write_entry(&mut bundle, &vec![0; 65_536]), Err(EntryTooLarge));
}

proptest! {
    #[test]
    fn names_read_back(level in 0_u8..64, index in any::<u64>(), width in 1_u16..=256, entries in any::<bool>()) {
        let of = if entries { TileOf::Entries } else { TileOf::Hashes(level) };
        let tile = TileRef { of, index, width };
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn only_names_are_read(text in "(tile/(entries|[0-9]{1,3})/)?[x0-9/.p]{0,20}") {
        if let Ok(tile) = text.parse::<TileRef>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }
}
