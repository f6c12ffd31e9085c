//! What was seen within a time, by group and member, in bounded memory: names are kept as hashes of 64 bits under a key of
//! this process. That two of a million names are taken for one has a chance of one in forty million.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use jiff::{SignedDuration, Timestamp};

/// Most sightings that are kept by one rule, of 60 to 90 bytes each. Beyond it the oldest are forgotten early.
pub(super) const SIGHTINGS_MAX: usize = 2_000_000;

/// Room for so many is kept, whether it is used or not.
const SHRUNK_FROM: usize = 4_096;

/// A name, hashed.
type Name = u64;

/// Sightings of the last `within`, half-open: one exactly that old is gone.
#[derive(Debug)]
pub(super) struct Sliding {
    within: SignedDuration,
    max: usize,
    names: RandomState,
    /// When, in microseconds; group and member.
    seen: VecDeque<(i64, Name, Name)>,
    counts: BTreeMap<(Name, Name), u32>,
    forgotten: u64,
}

impl Sliding {
    pub(super) fn new(within: SignedDuration, max: usize) -> Self {
        Self {
            within,
            max,
            names: RandomState::new(),
            seen: VecDeque::new(),
            counts: BTreeMap::new(),
            forgotten: 0,
        }
    }

    /// Forgets what is too old at this instant.
    pub(super) fn advance(&mut self, at: Timestamp) {
        let within = i64::try_from(self.within.as_micros()).unwrap_or(i64::MAX);
        let oldest = at.as_microsecond().saturating_sub(within);
        while self.seen.front().is_some_and(|(seen, ..)| *seen <= oldest) {
            self.forget_oldest();
        }
        // A busy day's room is given back.
        if self.seen.capacity() > SHRUNK_FROM && self.seen.len() < self.seen.capacity() / 4 {
            self.seen.shrink_to(2 * self.seen.len());
        }
    }

    pub(super) fn see(&mut self, at: Timestamp, group: &str, member: &str) {
        self.advance(at);
        if self.seen.len() >= self.max {
            self.forget_oldest();
            self.forgotten += 1;
        }
        let (group, member) = (self.name(group), self.name(member));
        *self.counts.entry((group, member)).or_default() += 1;
        self.seen.push_back((at.as_microsecond(), group, member));
    }

    fn name(&self, of: &str) -> Name {
        self.names.hash_one(of)
    }

    fn forget_oldest(&mut self) {
        let Some((_, group, member)) = self.seen.pop_front() else { return };
        match self.counts.get_mut(&(group, member)) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&(group, member))),
        }
    }

    /// How many sightings of this member of the group there are.
    pub(super) fn total(&self, group: &str, member: &str) -> u32 {
        self.counts.get(&(self.name(group), self.name(member))).copied().unwrap_or(0)
    }

    /// How many different members of the group there are.
    pub(super) fn members(&self, group: &str) -> usize {
        self.of(group).count()
    }

    /// Whether there is a member of the group other than this one.
    pub(super) fn has_other(&self, group: &str, than: &str) -> bool {
        let than = self.name(than);
        self.of(group).any(|(member, _)| member != than)
    }

    /// The totals of every member of the group but this one.
    pub(super) fn totals_beside(&self, group: &str, member: &str) -> impl Iterator<Item = u32> + use<'_> {
        let own = self.name(member);
        self.of(group).filter(move |(member, _)| *member != own).map(|(_, total)| total)
    }

    fn of(&self, group: &str) -> impl Iterator<Item = (Name, u32)> + use<'_> {
        let group = self.name(group);
        let members = self.counts.range((group, Name::MIN)..=(group, Name::MAX));
        members.map(|((_, member), total)| (*member, *total))
    }

    /// How many sightings were forgotten before their time, for lack of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_busy_day_is_given_back() {
        let mut seen = Sliding::new(SignedDuration::from_hours(24), SIGHTINGS_MAX);
        let at = |s| Timestamp::from_second(s).unwrap();
        for second in 0..20_000 {
            seen.see(at(second), "group", "member");
        }
        assert!(seen.seen.capacity() >= 20_000 && seen.total("group", "member") == 20_000);
        seen.see(at(3 * 86_400), "group", "member");
        assert!(seen.seen.capacity() <= SHRUNK_FROM, "{}", seen.seen.capacity());
        assert_eq!(seen.total("group", "member"), 1);
    }
}
