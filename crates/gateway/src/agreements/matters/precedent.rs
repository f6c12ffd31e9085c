//! What is published of a dispute: how it ended, without a name in it. Organisations are named by their kind.
//!
//! Names that are registered are known. Of others a program knows only what looks like one: numbers, addresses, postcodes, names
//! behind a title. So a mediator of no party reads the text before anything is published, and what is known is taken out of
//! what they confirm, too.

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
    (set, people): (&PolicySet, &[String]),
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
        "text": without_details(&without_names(text, dispute, agreement, (set, people))),
    })
}

/// A text in which organisations, people and the agreement are called what they are rather than by name.
fn without_names(
    text: &str,
    dispute: &Dispute,
    agreement: &Agreement,
    (set, officers): (&PolicySet, &[String]),
) -> String {
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
    let people = people.chain(officers.iter().cloned());
    names.extend(people.map(|person| (person, "[a person]".to_owned())));
    names.push((agreement.title.clone(), "[the agreement]".to_owned()));
    names.push((agreement.id.get_ref().to_string(), "[the agreement]".to_owned()));
    names.push((agreement.owner.clone(), "[a person]".to_owned()));
    // The longest first: a name may begin with another.
    names.sort_unstable_by_key(|(name, _)| std::cmp::Reverse(name.chars().count()));
    names.iter().fold(text.to_owned(), |text, (name, said)| replaced(&text, name, said))
}

/// What looks as if it led to somebody: numbers of three digits and more, addresses, postcodes, names behind a title.
fn without_details(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut said = Vec::with_capacity(words.len());
    let mut place = 0;
    while let Some(word) = words.get(place).copied() {
        let next = words.get(place + 1).copied().unwrap_or_default();
        let (taken, what) = detail(word, next, words.get(place + 1..).unwrap_or_default());
        match what {
            Some(what) => {
                let last = words.get(place + taken - 1).copied().unwrap_or_default();
                said.push(format!("{what}{}", behind(last)));
            }
            None => said.push(word.to_owned()),
        }
        place += taken.max(1);
    }
    said.join(" ")
}

/// How many words from here on are a detail, and what is said in their place.
fn detail(word: &str, next: &str, rest: &[&str]) -> (usize, Option<&'static str>) {
    const TITLES: [&str; 11] =
        ["Mr", "Mrs", "Ms", "Miss", "Mx", "Dr", "Prof", "Professor", "Cllr", "Councillor", "Nurse"];
    let plain = bare(word);
    if word.contains('@') {
        return (1, Some("[an address]"));
    }
    if word.contains("://") || plain.starts_with("www.") {
        return (1, Some("[a link]"));
    }
    if TITLES.contains(&plain.as_str()) {
        let names = rest.iter().take(3).take_while(|word| is_name(word)).count();
        return if names == 0 { (1, None) } else { (names + 1, Some("[a person]")) };
    }
    let is_house = plain.chars().next().is_some_and(|first| first.is_ascii_digit());
    if is_house && let Some(words) = address(rest) {
        return (words + 1, Some("[an address]"));
    }
    if let Some(words) = postcode(&plain, &bare(next)) {
        return (words, Some("[a postcode]"));
    }
    let digits = |word: &str| word.chars().filter(char::is_ascii_digit).count();
    if digits(word) >= 3 {
        // A number is often written in groups; what begins an address or a postcode is none of them.
        let mut groups = 0;
        while let Some((group, behind)) = rest.get(groups..).and_then(<[_]>::split_first) {
            let follows = bare(behind.first().copied().unwrap_or_default());
            if digits(group) < 2 || address(behind).is_some() || postcode(&bare(group), &follows).is_some() {
                break;
            }
            groups += 1;
        }
        return (groups + 1, Some("[a number]"));
    }
    (1, None)
}

/// A word without the punctuation around it.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

fn is_name(word: &str) -> bool {
    bare(word).chars().next().is_some_and(char::is_uppercase)
}

/// How many words behind the number of a house are its street.
fn address(rest: &[&str]) -> Option<usize> {
    const STREETS: [&str; 16] = [
        "Street", "St", "Road", "Rd", "Avenue", "Ave", "Lane", "Close", "Drive", "Court", "Way", "Crescent",
        "Place", "Terrace", "Gardens", "Grove",
    ];
    let street = rest.iter().take(4).position(|word| STREETS.contains(&bare(word).as_str()))?;
    rest.iter().take(street).all(|word| is_name(word)).then_some(street + 1)
}

/// How many of these two words are a postcode.
fn postcode(plain: &str, next: &str) -> Option<usize> {
    if is_outward(plain) && is_inward(next) {
        return Some(2);
    }
    if !plain.is_ascii() || !(5..=7).contains(&plain.len()) {
        return None;
    }
    let (outward, inward) = plain.split_at(plain.len() - 3);
    (is_outward(outward) && is_inward(inward)).then_some(1)
}

/// The first half of a postcode, as `M33` or `SW1A`.
fn is_outward(word: &str) -> bool {
    let letters = word.chars().take_while(char::is_ascii_uppercase).count();
    let mut rest = word.chars().skip(letters);
    (1..=2).contains(&letters)
        && (letters + 1..=letters + 2).contains(&word.chars().count())
        && rest.next().is_some_and(|digit| digit.is_ascii_digit())
        && rest.all(|last| last.is_ascii_digit() || last.is_ascii_uppercase())
}

/// The second half, as `7AB`.
fn is_inward(word: &str) -> bool {
    let parts: Vec<char> = word.chars().collect();
    matches!(parts.as_slice(), [digit, one, two]
        if digit.is_ascii_digit() && one.is_ascii_uppercase() && two.is_ascii_uppercase())
}

/// The punctuation behind a word.
fn behind(word: &str) -> &str {
    let end = word.trim_end_matches(|c: char| !c.is_alphanumeric()).len();
    word.get(end..).unwrap_or_default()
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
    fn what_looks_as_if_it_led_to_somebody_is_taken_out() {
        for (text, said) in [
            ("Mrs Joan Tomika of Sale rang.", "[a person] of Sale rang."),
            ("Dr. Ali agreed,", "[a person] agreed,"),
            (
                "She lives at 12 Acacia Avenue, Sale, M33 7AB.",
                "She lives at [an address], Sale, [a postcode].",
            ),
            ("at M337AB", "at [a postcode]"),
            ("07700900123, M41 5AB", "[a number], [a postcode]"),
            ("Ring 07700 900123 M415AB.", "Ring [a number] [a postcode]."),
            ("NHS 999 000 0204 12 Acacia Avenue", "NHS [a number] [an address]"),
            ("Ring 0161 496 0123 or 999 000 0204.", "Ring [a number] or [a number]."),
            (
                "Write to joan@example.org, or see https://example.org/x",
                "Write to [an address], or see [a link]",
            ),
            ("Case SWR-2041; kept for 14 days, in 2 parts", "Case [a number]; kept for 14 days, in 2 parts"),
            ("The Mr role is not a name", "The Mr role is not a name"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(without_details(text), said, "{text}");
        }
    }

    #[test]
    fn a_clause_is_said_without_what_is_in_it() {
        let terms = json!({ "flows": [{ "items": [1] }] });
        assert_eq!(about(&Clause::of("/flows/0/items/0", &terms).unwrap()), "flows items");
        assert_eq!(about(&Clause::of("", &terms).unwrap()), "the whole");
    }
}
