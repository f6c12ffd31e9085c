//! Every place of one record holder's file as an automaton over member names.
//!
//! Places that begin alike share their first states. A state has an edge for each name that some place goes on with,
//! some filter compares, some item lists as its field or some period is read from; every other member is passed over.
//! Filters are compared afterwards, on the little that was noted.

use super::{Place, Plan, bytes::Print, keys::Key};
use crate::{
    catalogue::{DataItem, Mark, Protocol, Provider, Sign},
    identifier::{ItemId, SubjectScheme},
    json::write_string,
    selector::Selector,
};

/// A record holder's places, compiled.
pub(crate) struct Automaton {
    states: Vec<State>,
    names: Vec<Name>,
    /// Each place that identifies the person, with its scheme.
    pub(crate) identifiers: Vec<(SubjectScheme, Path)>,
    pub(crate) restricted: Vec<ReachedMark>,
    pub(crate) deceased: Vec<ReachedSign>,
    pub(crate) birth_date: Option<Path>,
    pub(crate) source_time: Option<Path>,
    pub(crate) surname: Option<Path>,
    pub(crate) uprn: Option<Path>,
    items: Vec<ReachedItem>,
    /// Where the items are.
    pub(crate) plan: Plan,
    /// What FHIR says of a record beside its values.
    pub(crate) fhir: FhirNames,
}

/// Members that say what a FHIR resource is, whether it is in force and whether it may be read at all.
#[derive(Clone, Copy)]
pub(crate) struct FhirNames {
    pub(crate) resource_type: KeyId,
    pub(crate) entry: KeyId,
    pub(crate) resource: KeyId,
    pub(crate) kind: KeyId,
    pub(crate) search: KeyId,
    pub(crate) mode: KeyId,
    pub(crate) request: KeyId,
    pub(crate) response: KeyId,
    pub(crate) active: KeyId,
    pub(crate) link: KeyId,
    pub(crate) implicit_rules: KeyId,
    pub(crate) modifier_extension: KeyId,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Automaton(states: {})", self.states.len())
    }
}

/// Where a place of the record is.
pub(crate) struct Path {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) key: KeyId,
    filters: Vec<(KeyId, Box<str>)>,
}

/// A place that says whether the record is restricted.
pub(crate) struct ReachedMark {
    pub(crate) path: Path,
    /// See [`Mark::unless`].
    pub(crate) unless: Vec<String>,
    pub(crate) required: bool,
}

/// A place whose content is a sign of something.
pub(crate) struct ReachedSign {
    pub(crate) path: Path,
    /// See [`Sign::equals`].
    pub(crate) equals: Vec<String>,
}

/// An item's place, and what of it leaves.
pub(crate) struct ReachedItem {
    pub(crate) id: ItemId,
    /// Its name as it is written before its value, with a colon.
    pub(crate) label: Box<str>,
    pub(crate) path: Path,
    /// See [`DataItem::fields`].
    pub(crate) fields: Vec<KeyId>,
    pub(crate) many: bool,
}

/// The member that says from when until when a value is in force, and the names of its bounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) member: KeyId,
    pub(crate) start: KeyId,
    pub(crate) end: KeyId,
    /// Where FHIR puts an extension of the bounds.
    pub(crate) start_extension: KeyId,
    pub(crate) end_extension: KeyId,
    /// What says that something is old, beside its period; no member where the source does not speak FHIR.
    pub(crate) usage: KeyId,
}

/// A member name that some place minds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(u16);

impl KeyId {
    /// Of no member at all.
    const NONE: Self = Self(u16::MAX);

    pub(crate) fn is_known(self) -> bool {
        self != Self::NONE
    }
}

struct Name {
    text: Box<str>,
    /// The name as it is written before a member, with its colon.
    label: Box<str>,
}

#[derive(Default)]
struct State {
    /// The classes of the names it has edges for.
    classes: u64,
    edges: Vec<Edge>,
}

struct Edge {
    print: Print,
    key: KeyId,
    to: u32,
}

/// Where a value of the document was led to: the automaton's state, and the name it is a member by.
#[derive(Clone, Copy)]
pub(super) struct Goal {
    state: u32,
    pub(super) key: KeyId,
}

impl Goal {
    /// The document itself.
    pub(super) const DOCUMENT: Self = Self { state: 0, key: KeyId::NONE };
    /// No place leads here.
    const NOWHERE: Self = Self { state: u32::MAX, key: KeyId::NONE };

    #[inline]
    pub(super) fn is_sought(self) -> bool {
        self.state != Self::NOWHERE.state
    }

    /// An element of an array is where the array is.
    #[inline]
    pub(super) fn element(self) -> Self {
        Self { key: KeyId::NONE, ..self }
    }
}

impl Automaton {
    /// Compiles every place that a record holder's file names.
    pub(crate) fn of(provider: &Provider) -> Self {
        let mut building = Building { states: vec![State::default()], names: Vec::new() };
        let fhir = FhirNames::of(&mut building);
        let mut roots = vec![0];
        let speaks_fhir = provider.provider.protocol == Protocol::FhirR4Patient;
        if speaks_fhir {
            roots.push(fhir.lead(&mut building));
        }
        let modifier = speaks_fhir.then_some(fhir.modifier_extension);
        let [start, end, start_extension, end_extension] =
            ["start", "end", "_start", "_end"].map(|name| building.name(name));
        let usage = if speaks_fhir { building.name("use") } else { KeyId::NONE };
        let period = Period { member: KeyId::NONE, start, end, start_extension, end_extension, usage };
        let mut compile = Compile { building: &mut building, roots: &roots, period, modifier };
        let places = &provider.subject;
        let identifiers =
            places.identifiers.iter().map(|place| (place.scheme.clone(), compile.place(&place.select)));
        let identifiers = identifiers.collect();
        let restricted = places.restricted.iter().map(|mark| compile.mark(mark)).collect();
        let deceased = places.deceased.iter().map(|sign| compile.sign(sign)).collect();
        let mut one = |place: &Option<Selector>| place.as_ref().map(|place| compile.place(place));
        let (birth_date, source_time) = (one(&places.birth_date), one(&places.source_time));
        let (surname, uprn) = (one(&places.surname), one(&places.uprn));
        let mut plan = Plan::default();
        let items = provider.items.iter().enumerate();
        let items = items.map(|(number, item)| compile.item(number, item, &mut plan)).collect();
        let Building { states, names } = building;
        Self {
            states,
            names,
            identifiers,
            restricted,
            deceased,
            birth_date,
            source_time,
            surname,
            uprn,
            items,
            plan,
            fhir,
        }
    }

    /// The item of this name, and its number.
    pub(crate) fn item(&self, id: &ItemId) -> Option<(usize, &ReachedItem)> {
        self.items.iter().enumerate().find(|(_, item)| item.id == *id)
    }

    /// The name as it is written before a member, with its colon.
    pub(crate) fn label(&self, key: KeyId) -> &str {
        self.name(key).map_or("\"\":", |name| &name.label)
    }

    /// The name itself.
    pub(crate) fn text(&self, key: KeyId) -> &str {
        self.name(key).map_or("", |name| &name.text)
    }

    fn name(&self, key: KeyId) -> Option<&Name> {
        self.names.get(usize::from(key.0))
    }

    /// Where the member of this name leads from here.
    #[inline]
    pub(super) fn onward(&self, from: Goal, key: &Key<'_>, document: &[u8]) -> Goal {
        if !from.is_sought() {
            return Goal::NOWHERE;
        }
        let Some(state) = self.states.get(from.state as usize) else { return Goal::NOWHERE };
        if state.classes & key.print.class() == 0 {
            return Goal::NOWHERE;
        }
        let is_it = |edge: &&Edge| {
            edge.print == key.print
                && (key.print.is_whole() || key.text(document) == self.text(edge.key).as_bytes())
        };
        let edge = state.edges.iter().find(is_it);
        edge.map_or(Goal::NOWHERE, |edge| Goal { state: edge.to, key: edge.key })
    }
}

impl FhirNames {
    fn of(building: &mut Building) -> Self {
        let mut name = |text: &str| building.name(text);
        Self {
            resource_type: name("resourceType"),
            entry: name("entry"),
            resource: name("resource"),
            kind: name("type"),
            search: name("search"),
            mode: name("mode"),
            request: name("request"),
            response: name("response"),
            active: name("active"),
            link: name("link"),
            implicit_rules: name("implicitRules"),
            modifier_extension: name("modifierExtension"),
        }
    }

    /// Leads to all of them. A searchset has Patients as its entries, so each place is reached from there as well: that
    /// root is returned.
    fn lead(self, building: &mut Building) -> u32 {
        let entries = building.edge(0, self.entry);
        let resource = building.edge(entries, self.resource);
        building.edge(0, self.kind);
        for key in [self.request, self.response, self.modifier_extension] {
            building.edge(entries, key);
        }
        let search = building.edge(entries, self.search);
        building.edge(search, self.mode);
        for root in [0, resource] {
            for key in [self.resource_type, self.active, self.implicit_rules, self.modifier_extension] {
                building.edge(root, key);
            }
            let link = building.edge(root, self.link);
            building.edge(link, self.kind);
        }
        resource
    }
}

impl Path {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether some value the path leads to from a record is like this; they are shown in order, until one is. Arrays on
    /// the way, and at the end, are entered.
    pub(crate) fn any<'a>(&self, record: Place<'a>, mut is_it: impl FnMut(Place<'a>) -> bool) -> bool {
        any(&self.steps, record, &mut is_it)
    }

    /// Reads the first text that the path leads to.
    pub(crate) fn first_text<T>(&self, record: Place<'_>, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut first = None;
        self.any(record, |place| {
            first = place.as_text();
            first.is_some()
        });
        first.and_then(|text| read(&text))
    }
}

fn any<'a>(steps: &[Step], from: Place<'a>, is_it: &mut impl FnMut(Place<'a>) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return is_it(from) };
    let mut values = from.elements().filter_map(|element| element.member(step.key));
    values.any(|value| value.elements().any(|place| step.admits(place) && any(rest, place, is_it)))
}

impl Step {
    /// Whether the step's filters let this value through.
    pub(crate) fn admits(&self, place: Place<'_>) -> bool {
        self.filters
            .iter()
            .all(|(key, value)| place.member(*key).is_some_and(|compared| compared.is_text(value)))
    }

    /// Whether the step's filters let this value through; none where one of them has no text to compare.
    pub(crate) fn may_admit(&self, place: Place<'_>) -> Option<bool> {
        let mut is_known = true;
        for (key, value) in &self.filters {
            match place.member(*key).and_then(Place::as_text) {
                Some(text) if text == value.as_ref() => {}
                Some(_) => return Some(false),
                None => is_known = false,
            }
        }
        is_known.then_some(true)
    }

    /// Whether a filter of the step compares this member.
    pub(crate) fn compares(&self, key: KeyId) -> bool {
        self.filters.iter().any(|(compared, _)| *compared == key)
    }
}

/// A name as it is written before a member, with its colon.
fn label(name: &str) -> Box<str> {
    let mut label = String::new();
    write_string(name, &mut label);
    label.push(':');
    label.into()
}

/// The states and names so far.
struct Building {
    states: Vec<State>,
    names: Vec<Name>,
}

impl Building {
    fn name(&mut self, text: &str) -> KeyId {
        let known = self.names.iter().position(|name| *name.text == *text);
        let place = known.unwrap_or_else(|| {
            self.names.push(Name { text: text.into(), label: label(text) });
            self.names.len() - 1
        });
        // A file of more names than there are numbers reaches none of the rest.
        u16::try_from(place).map_or(KeyId::NONE, KeyId)
    }

    /// The state that a name leads to.
    fn edge(&mut self, from: u32, key: KeyId) -> u32 {
        let next = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
        let text = self.names.get(usize::from(key.0)).map_or("", |name| &name.text);
        let print = Print::of_text(text);
        let Some(state) = self.states.get_mut(from as usize) else { return from };
        if let Some(edge) = state.edges.iter().find(|edge| edge.key == key) {
            return edge.to;
        }
        state.classes |= print.class();
        state.edges.push(Edge { print, key, to: next });
        self.states.push(State::default());
        next
    }
}

/// Adds places to the states, from every root.
struct Compile<'a> {
    building: &'a mut Building,
    roots: &'a [u32],
    /// As every period is read, but for its own name.
    period: Period,
    /// What changes the meaning of the element that it is in, where there is such a thing.
    modifier: Option<KeyId>,
}

impl Compile<'_> {
    fn place(&mut self, select: &Selector) -> Path {
        self.path(select, None, &[])
    }

    fn mark(&mut self, mark: &Mark) -> ReachedMark {
        let path = self.place(&mark.select);
        ReachedMark { path, unless: mark.unless.clone(), required: mark.required }
    }

    fn sign(&mut self, sign: &Sign) -> ReachedSign {
        ReachedSign { path: self.place(&sign.select), equals: sign.equals.clone() }
    }

    fn item(&mut self, number: usize, item: &DataItem, plan: &mut Plan) -> ReachedItem {
        let fields: Vec<_> = item.fields.iter().map(|field| self.building.name(field)).collect();
        let period = item.period.as_deref();
        let period = period.map(|member| Period { member: self.building.name(member), ..self.period });
        let path = self.path(&item.select, period, &fields);
        plan.add(number, path.steps(), period);
        let id = item.id.get_ref().clone();
        ReachedItem { label: label(id.as_str()), id, path, fields, many: item.many }
    }

    fn path(&mut self, select: &Selector, period: Option<Period>, fields: &[KeyId]) -> Path {
        let building = &mut *self.building;
        let step = |step: &crate::selector::Step| Step {
            key: building.name(&step.key),
            filters: step
                .filters
                .iter()
                .map(|(name, value)| (building.name(name), value.as_str().into()))
                .collect(),
        };
        let path = Path { steps: select.steps().iter().map(step).collect() };
        for root in self.roots {
            let mut state = *root;
            for step in &path.steps {
                state = self.building.edge(state, step.key);
                for name in step.filters.iter().map(|(name, _)| *name).chain(self.modifier) {
                    self.building.edge(state, name);
                }
                let Some(period) = period else { continue };
                let inside = self.building.edge(state, period.member);
                for bound in [period.start, period.end, period.start_extension, period.end_extension] {
                    self.building.edge(inside, bound);
                }
                if period.usage.is_known() {
                    self.building.edge(state, period.usage);
                }
            }
            for field in fields {
                self.building.edge(state, *field);
            }
        }
        path
    }
}
