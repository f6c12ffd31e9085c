//! What is worked out once, when a policy set is loaded, so that a decision need not: where each flow is, and its
//! items as places in the record holder's catalogue.
//!
//! Nothing here is about a person, and nothing is decided here. See `crate::decide` for what is made of it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use super::{OrganisationKind, PolicySet};
use crate::{
    agreement::{Agreement, DataFlow},
    catalogue::{Category, ITEMS_MAX, Provider},
    decide::{AgreementReference, PermittedItem},
    identifier::{AgreementId, ItemId, OrganisationId, ProviderId},
    purpose::PurposeClass,
};

/// Where to find an agreement, a record holder and a flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Each agreement's place in the set.
    pub(super) agreements: Names<AgreementId, usize>,
    pub(super) holders: Names<ProviderId, ReadyHolder>,
    pub(super) organisations: Names<OrganisationId, Registered>,
}

/// What decisions ask about an organisation.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) kind: OrganisationKind,
    pub(crate) purposes: Vec<PurposeClass>,
}

/// A record holder, with what kind of data each of its items is and every flow from it.
#[derive(Debug, Clone)]
pub(crate) struct ReadyHolder {
    /// Its file, so that it is looked up once.
    pub(crate) provider: Provider,
    places: Names<ItemId, usize>,
    flows: Names<OrganisationId, Vec<ReadyFlow>>,
    pub(crate) ordinary: ItemBits,
    pub(crate) special: ItemBits,
    pub(crate) offence: ItemBits,
    pub(crate) confidential: ItemBits,
    pub(crate) locating: ItemBits,
    pub(crate) social_care: ItemBits,
}

/// A flow, with what every permit under it says.
#[derive(Debug, Clone)]
pub(crate) struct ReadyFlow {
    pub(crate) purpose: PurposeClass,
    /// Places of the agreement in the set, and of the flow in the agreement.
    agreement: usize,
    place: usize,
    pub(crate) reference: AgreementReference,
    /// What it lists that the catalogue knows in that form, in its own order.
    pub(crate) items: Vec<ReadyItem>,
    /// The same as bits.
    pub(crate) agreed: ItemBits,
    pub(crate) rectification_contact: Arc<str>,
    pub(crate) breach_contact: Arc<str>,
}

/// An item that a flow lists.
#[derive(Debug, Clone)]
pub(crate) struct ReadyItem {
    /// Its place in the record holder's catalogue.
    pub(crate) place: usize,
    pub(crate) permitted: PermittedItem,
}

impl Index {
    /// Of a set whose organisations, catalogue and agreements are in.
    pub(super) fn of(set: &PolicySet) -> Self {
        let mut index = Self::default();
        for (id, organisation) in &set.organisations {
            let registered = Registered { kind: organisation.kind, purposes: organisation.purposes.clone() };
            index.organisations.insert(id.clone(), registered);
        }
        for (id, provider) in &set.catalogue {
            index.holders.insert(id.clone(), ReadyHolder::of(provider));
        }
        for (position, (agreement, digest)) in set.agreements.iter().enumerate() {
            index.agreements.insert(agreement.id().clone(), position);
            let digest: Arc<str> = digest.as_str().into();
            let breach_contact: Arc<str> = agreement.breach_contact.as_str().into();
            for (place, flow) in agreement.flows.iter().enumerate() {
                let provider = set.catalogue.get(flow.provider.get_ref());
                let holder = index.holders.get_mut(flow.provider.get_ref());
                // A flow from a record holder that is not in the catalogue is a problem that the set is refused for.
                let (Some(provider), Some(holder)) = (provider, holder) else { continue };
                let items = holder.items_of(provider, flow);
                let ready = ReadyFlow {
                    purpose: flow.purpose,
                    agreement: position,
                    place,
                    reference: AgreementReference {
                        agreement: agreement.id().clone(),
                        version: agreement.version,
                        flow: flow.id.get_ref().clone(),
                        digest: Arc::clone(&digest),
                    },
                    agreed: items.iter().map(|item| item.place).collect(),
                    items,
                    rectification_contact: provider.provider.rectification_contact.as_str().into(),
                    breach_contact: Arc::clone(&breach_contact),
                };
                holder.flows.entry(flow.recipient.get_ref().clone()).or_default().push(ready);
            }
        }
        index
    }
}

impl ReadyHolder {
    fn of(provider: &Provider) -> Self {
        let mut places = Names::default();
        for (place, item) in provider.items.iter().enumerate() {
            places.entry(item.id.get_ref().clone()).or_insert(place);
        }
        let bits = |holds: fn(&crate::catalogue::DataItem) -> bool| {
            let those = provider.items.iter().enumerate().filter(|(_, item)| holds(item));
            those.map(|(place, _)| place).collect()
        };
        Self {
            provider: provider.clone(),
            places,
            flows: Names::default(),
            ordinary: bits(|item| item.category == Category::Ordinary),
            special: bits(|item| item.category == Category::Special),
            offence: bits(|item| item.category == Category::Offence),
            confidential: bits(|item| item.confidential),
            locating: bits(|item| item.locating),
            social_care: bits(|item| item.social_care),
        }
    }

    fn items_of(&self, provider: &Provider, flow: &DataFlow) -> Vec<ReadyItem> {
        let known = flow.items.iter().filter_map(|listed| {
            let place = self.place(listed.item.get_ref())?;
            let item = provider.items.get(place)?;
            let permitted = PermittedItem { item: listed.item.get_ref().clone(), form: listed.form };
            item.forms.contains(&listed.form).then_some(ReadyItem { place, permitted })
        });
        known.collect()
    }

    /// The item's place in the catalogue.
    pub(crate) fn place(&self, item: &ItemId) -> Option<usize> {
        self.places.get(item).copied()
    }

    /// The flows to this organisation for this purpose, in the order of the agreements.
    pub(crate) fn flows<'a>(
        &'a self,
        recipient: &OrganisationId,
        purpose: PurposeClass,
    ) -> impl Iterator<Item = &'a ReadyFlow> + use<'a> {
        let to_recipient = self.flows.get(recipient).map_or(&[][..], Vec::as_slice);
        to_recipient.iter().filter(move |flow| flow.purpose == purpose)
    }
}

impl ReadyFlow {
    /// The agreement and the flow as they are written.
    pub(crate) fn written<'a>(&self, policies: &'a PolicySet) -> Option<(&'a Agreement, &'a DataFlow)> {
        let (agreement, _) = policies.agreements.get(self.agreement)?;
        Some((agreement, agreement.flows.get(self.place)?))
    }
}

/// Items of one record holder: a bit for each place in its catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ItemBits([u64; ITEMS_MAX / 64]);

impl ItemBits {
    pub(crate) fn contains(self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Adds this place. One beyond the last that there is room for is left out: what has no bit is never released.
    pub(crate) fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Those in both.
    pub(crate) fn and(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & other)
    }

    /// Those in either.
    pub(crate) fn or(self, other: Self) -> Self {
        self.by_word(other, |one, other| one | other)
    }

    /// Those that are not in `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & !other)
    }

    /// Some item is in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    fn by_word(mut self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = combine(*word, other);
        }
        self
    }
}

impl FromIterator<usize> for ItemBits {
    fn from_iter<T: IntoIterator<Item = usize>>(places: T) -> Self {
        let mut bits = Self::default();
        for place in places {
            bits.insert(place);
        }
        bits
    }
}

/// Things by their names. The names are the operator's own, so that nobody can choose them to collide.
pub(crate) type Names<K, V> = HashMap<K, V, BuildHasherDefault<NameHasher>>;

/// Multiply and rotate, eight bytes at a time.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= bytes.len() as u64;
        for word in bytes.as_chunks::<8>().0 {
            self.write_u64(u64::from_le_bytes(*word));
        }
        // The last eight, some of them for a second time; of a short name, all of them.
        let last = bytes.last_chunk::<8>().copied().unwrap_or_else(|| {
            let mut last = [0; 8];
            last.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            last
        });
        self.write_u64(u64::from_le_bytes(last));
    }

    /// The mark at the end of a text. Its length is in already.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_sets_of_places() {
        let bits = |places: &[usize]| places.iter().copied().collect::<ItemBits>();
        let (one, other) = (bits(&[0, 63, 64, 255]), bits(&[63, 64, 100]));
        assert!(one.contains(255) && one.contains(0) && !one.contains(1) && !one.contains(256));
        assert_eq!(one.and(other), bits(&[63, 64]));
        assert_eq!(one.without(other), bits(&[0, 255]));
        assert_eq!(one.or(other), bits(&[0, 63, 64, 100, 255]));
        assert!(one.meets(other) && !one.meets(bits(&[1, 256])));
        assert!(bits(&[256]).is_empty(), "there is no bit for it");
    }

    #[test]
    fn names_alike_in_front_are_told_apart() {
        let names = (0..1_000).map(|number| (format!("record.item_{number}"), number));
        let names: Names<String, usize> = names.collect();
        assert!((0..1_000).all(|number| names.get(&format!("record.item_{number}")) == Some(&number)));
    }
}
