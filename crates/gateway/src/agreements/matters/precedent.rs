//! What is published of a dispute: how it ended, without a name in it. Organisations are named by their kind.

use serde_json::{Value, json};
use sharing::{
    PolicySet,
    agreement::{Agreement, comment::Clause, dispute::Dispute},
};

/// The kind of thing that a clause is about: the names of members, without places in lists and without what is in them.
fn about(clause: &Clause) -> String {
    let names = clause.as_str().split('/').filter(|part| !part.is_empty() && part.parse::<u32>().is_err());
    let names: Vec<_> = names.collect();
    if names.is_empty() { "the whole".to_owned() } else { names.join(" ") }
}

/// A precedent: what it was about, how far it went and how it ended. `text` is what the parties wrote of the outcome.
pub fn precedent(
    dispute: &Dispute,
    agreement: &Agreement,
    set: &PolicySet,
    (outcome, reason, text): (&str, Option<&str>, &str),
) -> Value {
    let case = dispute.case();
    let kind =
        |organisation| set.organisation(organisation).map_or("organisation", |known| known.kind.as_str());
    let mut between: Vec<_> = case.between.iter().map(kind).collect();
    between.sort_unstable();
    let mut purposes: Vec<_> = agreement.flows.iter().map(|flow| flow.purpose.as_str()).collect();
    purposes.sort_unstable();
    purposes.dedup();
    json!({
        "between": between,
        "purposes": purposes,
        "about": about(&case.clause),
        "reason": reason,
        "level": case.level.as_str(),
        "mediated": case.mediator.is_some(),
        "outcome": outcome,
        "text": without_names(text, dispute, agreement, set),
    })
}

/// A text in which organisations, people and the agreement are called what they are rather than by name.
fn without_names(text: &str, dispute: &Dispute, agreement: &Agreement, set: &PolicySet) -> String {
    let mut names: Vec<(String, String)> = Vec::new();
    for organisation in set.organisations() {
        let said = format!("[{}]", organisation.kind.as_str());
        names.push((organisation.name.clone(), said.clone()));
        // As people say it: without what is in brackets or behind a comma.
        let short = organisation.name.split([',', '(']).next().unwrap_or_default().trim();
        names.push((short.to_owned(), said.clone()));
        names.push((organisation.id.get_ref().to_string(), said));
    }
    let case = dispute.case();
    let people = case.mediator.iter().chain([&case.opened.by]).map(|person| person.id.clone());
    names.extend(people.map(|person| (person, "[a person]".to_owned())));
    names.push((agreement.title.clone(), "[the agreement]".to_owned()));
    names.push((agreement.id.get_ref().to_string(), "[the agreement]".to_owned()));
    names.push((agreement.owner.clone(), "[a person]".to_owned()));
    // The longest first: a name may begin with another.
    names.sort_unstable_by_key(|(name, _)| std::cmp::Reverse(name.chars().count()));
    names.iter().fold(text.to_owned(), |text, (name, said)| replaced(&text, name, said))
}

/// Every occurrence of a name, however its letters are written.
fn replaced(text: &str, name: &str, said: &str) -> String {
    if name.trim().chars().count() < 2 {
        return text.to_owned();
    }
    let wanted: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = after(rest, &wanted) {
            found.push_str(said);
            rest = behind;
        } else {
            found.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    found
}

/// What is behind a name that a text begins with.
fn after<'a>(text: &'a str, wanted: &[char]) -> Option<&'a str> {
    let mut wanted = wanted.iter();
    for (place, character) in text.char_indices() {
        for lower in character.to_lowercase() {
            match wanted.next() {
                Some(expected) if *expected == lower => {}
                Some(_) => return None,
                None => return text.get(place..),
            }
        }
    }
    if wanted.next().is_none() { Some("") } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_replaced_however_it_is_written() {
        let said = replaced("GMCA and gmca's crew; the Gmca.", "gmca", "[fire]");
        assert_eq!(said, "[fire] and [fire]'s crew; the [fire].");
        assert_eq!(replaced("nothing", "gmca", "[fire]"), "nothing");
        assert_eq!(replaced("ends with gmca", "GMCA", "[fire]"), "ends with [fire]");
        assert_eq!(replaced("Straße", "STRASSE", "x"), "Straße");
    }

    #[test]
    fn a_clause_is_said_without_what_is_in_it() {
        let terms = json!({ "flows": [{ "items": [1] }] });
        assert_eq!(about(&Clause::of("/flows/0/items/0", &terms).unwrap()), "flows items");
        assert_eq!(about(&Clause::of("", &terms).unwrap()), "the whole");
    }
}
