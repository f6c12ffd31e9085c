//! Where a name is, among so many places of the ledger that follow each other.

/// How many places a block has.
const PLACES: u16 = 1_024;

const WORDS: usize = PLACES as usize / 64;
const BYTES: usize = PLACES as usize / 8;

/// From so many places on, a bit for each that could be takes no more than two bytes for each that is.
const FEW: u64 = PLACES as u64 / 16;

/// The places of one block, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Block([u64; WORDS]);

impl Block {
    /// The number of the block that a place is in.
    pub(super) fn of(place: i64) -> i64 {
        place.div_euclid(PLACES.into())
    }

    /// The first place of a block.
    pub(super) fn begin(number: i64) -> i64 {
        number.saturating_mul(PLACES.into())
    }

    /// Puts in a place that is in this block.
    pub(super) fn insert(&mut self, place: i64) {
        let offset = place.rem_euclid(PLACES.into());
        self.set(u16::try_from(offset).unwrap_or_default());
    }

    fn set(&mut self, offset: u16) {
        if let Some(word) = self.0.get_mut(usize::from(offset / 64)) {
            *word |= 1 << (offset % 64);
        }
    }

    /// How many places are in it.
    pub(super) fn entries(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Puts in all that are in another.
    pub(super) fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = *self;
        for (word, other) in both.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        both
    }

    /// Takes out what is before one place, and what is not before another, where it is the block of this number.
    pub(super) fn keep_between(&mut self, number: i64, from: i64, until: i64) {
        let begin = Self::begin(number);
        if from <= begin && until >= Self::begin(number.saturating_add(1)) {
            return;
        }
        let mut kept = Self::default();
        for place in self.newest_first(number).filter(|place| *place >= from && *place < until) {
            kept.insert(place);
        }
        *self = kept;
    }

    /// The places in it, where it is the block of this number.
    pub(super) fn newest_first(self, number: i64) -> impl Iterator<Item = i64> {
        let begin = Self::begin(number);
        let mut left = self.0;
        let mut word = WORDS;
        std::iter::from_fn(move || {
            while word > 0 {
                let bits = left.get_mut(word - 1)?;
                if *bits != 0 {
                    let highest = bits.ilog2();
                    *bits ^= 1 << highest;
                    let offset = i64::try_from(word - 1).ok()? * 64 + i64::from(highest);
                    return Some(begin.saturating_add(offset));
                }
                word -= 1;
            }
            None
        })
    }

    /// As it is in the file: where few places are in it, each of them as two bytes, or else a bit for each that could be.
    pub(super) fn encode(&self) -> Vec<u8> {
        if self.entries() < FEW {
            let offset = |place| u16::try_from(place).unwrap_or_default();
            self.newest_first(0).flat_map(|place| offset(place).to_le_bytes()).collect()
        } else {
            self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
        }
    }

    /// What [`Self::encode`] made; `None` where it made nothing like this.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut block = Self::default();
        if bytes.len() == BYTES {
            for (word, bytes) in block.0.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            return Some(block);
        }
        let (offsets, rest) = bytes.as_chunks();
        for offset in offsets {
            let offset = u16::from_le_bytes(*offset);
            if offset >= PLACES {
                return None;
            }
            block.set(offset);
        }
        (rest.is_empty() && bytes.len() < BYTES).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_is_read_as_it_was_written(places in proptest::collection::btree_set(0..i64::from(PLACES), 0..usize::from(PLACES)), number in 0..1_000_000_i64) {
            let mut block = Block::default();
            let begin = Block::begin(number);
            for place in &places {
                block.insert(begin + place);
                prop_assert_eq!(Block::of(begin + place), number);
            }
            prop_assert_eq!(block.entries(), places.len() as u64);
            let written = block.encode();
            prop_assert!(written.len() <= BYTES);
            prop_assert_eq!(Block::decode(&written), Some(block));
            let newest: Vec<_> = places.iter().rev().map(|place| begin + place).collect();
            prop_assert_eq!(block.newest_first(number).collect::<Vec<_>>(), newest);
        }

        #[test]
        fn what_is_kept_is_between(places in proptest::collection::btree_set(0..i64::from(PLACES), 0..50), number in 0..9_i64, from in 0..10_000_i64, until in 0..10_000_i64) {
            let (begin, mut block) = (Block::begin(number), Block::default());
            places.iter().for_each(|place| block.insert(begin + place));
            block.keep_between(number, from, until);
            let kept: Vec<_> = places.iter().map(|place| begin + place).filter(|place| (from..until).contains(place)).rev().collect();
            prop_assert_eq!(block.newest_first(number).collect::<Vec<_>>(), kept);
        }

        #[test]
        fn whatever_is_in_a_file_is_a_block_or_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(block) = Block::decode(&bytes) {
                prop_assert_eq!(Block::decode(&block.encode()), Some(block));
            }
        }
    }

    #[test]
    fn what_is_no_block_is_none() {
        assert_eq!(Block::decode(&[]), Some(Block::default()));
        assert_eq!(Block::decode(&[1]), None, "half a place");
        assert_eq!(Block::decode(&[0, 4]), None, "a place of the next block");
        assert_eq!(Block::decode(&[0; BYTES + 2]), None, "more than there can be");
    }
}
