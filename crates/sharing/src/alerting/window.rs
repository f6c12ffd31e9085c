//! What was seen within a time, by group and member, in bounded memory.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

/// Most sightings that are kept by one rule. Beyond it the oldest are forgotten early: some hundred bytes each.
pub(super) const SIGHTINGS_MAX: usize = 200_000;

/// Sightings of the last `within`, half-open: one exactly that old is gone.
#[derive(Debug)]
pub(super) struct Sliding {
    within: SignedDuration,
    max: usize,
    seen: VecDeque<(Timestamp, Arc<str>, Arc<str>)>,
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    forgotten: u64,
}

impl Sliding {
    pub(super) fn new(within: SignedDuration, max: usize) -> Self {
        Self { within, max, seen: VecDeque::new(), groups: BTreeMap::new(), forgotten: 0 }
    }

    /// Forgets what is too old at this instant.
    pub(super) fn advance(&mut self, at: Timestamp) {
        let within = self.within;
        while self.seen.front().is_some_and(|(seen, ..)| at.duration_since(*seen) >= within) {
            self.forget_oldest();
        }
    }

    pub(super) fn see(&mut self, at: Timestamp, group: &str, member: &str) {
        self.advance(at);
        if self.seen.len() >= self.max {
            self.forget_oldest();
            self.forgotten += 1;
        }
        let known = self.groups.get_key_value(group).map(|(name, _)| name.clone());
        let group: Arc<str> = known.unwrap_or_else(|| group.into());
        let members = self.groups.entry(group.clone()).or_default();
        let known = members.get_key_value(member).map(|(name, _)| name.clone());
        let member: Arc<str> = known.unwrap_or_else(|| member.into());
        *members.entry(member.clone()).or_default() += 1;
        self.seen.push_back((at, group, member));
    }

    fn forget_oldest(&mut self) {
        let Some((_, group, member)) = self.seen.pop_front() else { return };
        let Some(members) = self.groups.get_mut(&group) else { return };
        match members.get_mut(&member) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(members.remove(&member)),
        }
        if members.is_empty() {
            self.groups.remove(&group);
        }
    }

    /// How many sightings of the group there are.
    pub(super) fn total(&self, group: &str) -> u32 {
        self.groups.get(group).map_or(0, |members| members.values().sum())
    }

    /// The group's members, each once.
    pub(super) fn members(&self, group: &str) -> impl Iterator<Item = &str> {
        self.groups.get(group).into_iter().flat_map(|members| members.keys().map(AsRef::as_ref))
    }

    /// The totals of every group whose name begins so.
    pub(super) fn totals<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u32)> {
        let from = self.groups.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let groups = from.take_while(move |(group, _)| group.starts_with(prefix));
        groups.map(|(group, members)| (group.as_ref(), members.values().sum()))
    }

    /// How many sightings were forgotten before their time, for lack of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
