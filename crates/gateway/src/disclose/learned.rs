//! What a record tells about its person that was not held before.

use sharing::{Provider, Pseudonym, SubjectState, minimise::Examined};
use store::{Change, Resolved};

/// What a record tells about its person that was not held before.
#[derive(Default)]
pub(super) struct Learned {
    pub(super) changes: Vec<Change>,
    pub(super) observed: Vec<String>,
    pub(super) linked: Vec<String>,
}

impl Learned {
    pub(super) fn of(
        examined: &Examined,
        state: &SubjectState,
        known: &[Resolved],
        provider: &Provider,
    ) -> Self {
        let facts = examined.facts();
        let mut learned = Self::default();
        learned.changes.extend(known.iter().filter(|one| !one.known).cloned().map(Change::KnowSubject));
        let mut names: Vec<_> = known.iter().map(|resolved| resolved.pseudonym.clone()).collect();
        names.sort();
        names.dedup();
        if names.len() > 1 && !already_linked(&names, state) {
            learned.linked = names.iter().map(ToString::to_string).collect();
            learned.changes.push(Change::Link(names.clone()));
        }
        if let Some(by) = &provider.subject.restriction_check {
            let said = if facts.unconfirmed { "restriction-unconfirmed" } else { "restriction-checked" };
            learned.observed.push(format!("{said}:{}", by.get_ref()));
        } else if facts.unconfirmed {
            learned.observed.push(format!("restriction-unconfirmed:{}", provider.id()));
        }
        let Some(name) = names.into_iter().next() else { return learned };
        if facts.restricted && !state.restricted {
            learned.observed.push(format!("restricted:{}", examined.marked_by().unwrap_or(provider.id())));
            learned.changes.push(Change::Restrict(name.clone()));
        }
        if facts.deceased && !state.deceased {
            learned.observed.push(format!("deceased:{}", provider.id()));
            learned.changes.push(Change::Die(name));
        }
        learned
    }
}

/// Linked names share a group, so asking for the first brings the others.
fn already_linked(names: &[Pseudonym], state: &SubjectState) -> bool {
    state.is_one_person && names.iter().all(|name| state.names.iter().any(|(known, _)| known == name))
}
