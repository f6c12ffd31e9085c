//! Where the items are, all of them at once.
//!
//! The items' paths are joined into a tree: steps that are alike, with their filters and the period they mind, are taken
//! once for all the items beyond them. Which items are wanted is a set of bits, so that one plan serves every permit.

use super::{
    Kind, Place,
    automaton::{KeyId, Period, Step},
};
use crate::policy::ItemBits;

/// The paths of a record holder's items.
#[derive(Default)]
pub(crate) struct Plan {
    root: Junction,
    items: usize,
}

/// The places at which items were found.
pub(crate) struct Finds {
    found: Vec<Found>,
    /// Of each item, the first of its places in `found` and the last.
    ends: Vec<Option<[usize; 2]>>,
}

struct Found {
    place: u32,
    /// Where the next of the same item is; where this is, if it is the last.
    next: usize,
}

impl Finds {
    /// An item's places, in the order of the document.
    pub(crate) fn of(&self, item: usize) -> impl Iterator<Item = u32> {
        let mut at = self.ends.get(item).copied().flatten().map(|[first, _]| first);
        std::iter::from_fn(move || {
            let (here, found) = at.and_then(|here| Some((here, self.found.get(here)?)))?;
            at = Some(found.next).filter(|next| *next != here);
            Some(found.place)
        })
    }

    fn add(&mut self, item: usize, place: u32) {
        let Some(ends) = self.ends.get_mut(item) else { return };
        let here = self.found.len();
        let first = ends.map_or(here, |[first, last]| {
            if let Some(last) = self.found.get_mut(last) {
                last.next = here;
            }
            first
        });
        *ends = Some([first, here]);
        self.found.push(Found { place, next: here });
    }
}

/// Where some paths have come to.
#[derive(Default)]
struct Junction {
    /// The items whose places these are.
    ending: Vec<usize>,
    ways: Vec<Way>,
}

/// A step that some paths go on by.
struct Way {
    step: Step,
    period: Option<Period>,
    /// Every item beyond it.
    beyond: ItemBits,
    to: Junction,
}

impl Plan {
    /// Adds the path of the item with this number.
    pub(super) fn add(&mut self, item: usize, steps: &[Step], period: Option<Period>) {
        self.items = self.items.max(item + 1);
        let mut at = &mut self.root;
        for step in steps {
            let known = at.ways.iter().position(|way| way.step == *step && way.period == period);
            let place = known.unwrap_or(at.ways.len());
            if known.is_none() {
                let way =
                    Way { step: step.clone(), period, beyond: ItemBits::default(), to: Junction::default() };
                at.ways.push(way);
            }
            let Some(way) = at.ways.get_mut(place) else { return };
            way.beyond.insert(item);
            at = &mut way.to;
        }
        at.ending.push(item);
    }

    /// Every place of the wanted items in a record. Arrays on the way, and at the end, are entered; at every step, only those
    /// values are that its filters admit and that are in force.
    pub(crate) fn find<'a>(
        &self,
        record: Place<'a>,
        wanted: ItemBits,
        is_in_force: impl Fn(Period, Place<'a>) -> bool,
    ) -> Finds {
        let finds = Finds { found: Vec::with_capacity(64), ends: vec![None; self.items] };
        let mut search = Search { wanted, is_in_force, finds };
        search.onward(&self.root, record);
        search.finds
    }
}

struct Search<F> {
    wanted: ItemBits,
    is_in_force: F,
    finds: Finds,
}

impl<'a, F: Fn(Period, Place<'a>) -> bool> Search<F> {
    fn onward(&mut self, junction: &Junction, place: Place<'a>) {
        for item in junction.ending.iter().filter(|item| self.wanted.contains(**item)) {
            self.finds.add(*item, place.index());
        }
        if junction.ways.is_empty() {
            return;
        }
        for object in place.elements().filter(|element| element.kind() == Kind::Object) {
            for member in object.children() {
                self.enter(junction, member);
            }
        }
    }

    fn enter(&mut self, junction: &Junction, member: Place<'a>) {
        for way in junction.ways.iter().filter(|way| is_by(&way.step, member.key())) {
            if !way.beyond.meets(self.wanted) {
                continue;
            }
            // A list in a list was not expected.
            for value in member.elements().filter(|value| value.kind() != Kind::Array) {
                let is_in_force = way.period.is_none_or(|period| (self.is_in_force)(period, value));
                if is_in_force && way.step.admits(value) {
                    self.onward(&way.to, value);
                }
            }
        }
    }
}

fn is_by(step: &Step, key: KeyId) -> bool {
    step.key == key && key.is_known()
}
