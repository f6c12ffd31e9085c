//! The forms in which a value leaves, and whether it is in force.

use jiff::civil::Date;

use crate::{
    catalogue::Form,
    json::write_string,
    reach::{Automaton, Kind, Leaving, Period, Place, ReachedItem},
};

/// Age in whole years on `today`. Someone born on 29 February has their birthday on 1 March in other years.
pub fn age_years(born: Date, today: Date) -> i16 {
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    today.year() - born.year() - i16::from(!had_birthday)
}

/// Longest text that leaves whole, in characters.
const TEXT_CHARS_MAX: usize = 4_000;
/// Most digits of a number that leaves: more are read differently by different readers.
const NUMBER_DIGITS_MAX: usize = 17;
/// Greatest number that leaves, by its size.
const NUMBER_MAX: f64 = 1e15;

/// What ends a text that is longer.
const CUT: &str = " […]";

/// Whether and how a scalar leaves as it is, so that every reader reads it alike and people see all of it. See [`Form::AsIs`].
pub(super) fn leaves(place: Place<'_>) -> Option<Leaving> {
    if let Some(number) = place.number() {
        if is_short(number) {
            return Some(Leaving::AsWritten);
        }
        let mantissa = number.split(['e', 'E']).next().unwrap_or("").bytes().filter(u8::is_ascii_digit);
        let digits = mantissa.skip_while(|digit| *digit == b'0').count();
        let is_alike =
            digits <= NUMBER_DIGITS_MAX && number.parse::<f64>().is_ok_and(|size| size.abs() <= NUMBER_MAX);
        return is_alike.then_some(Leaving::AsWritten);
    }
    // What its escapes stand for is seen, and there is less of it than of them.
    let is_seen = match place.kind() {
        Kind::Clear => true,
        Kind::Plain | Kind::Escaped => hides_nothing(place.inside().as_bytes()),
        _ => false,
    };
    if is_seen && place.inside().len() <= TEXT_CHARS_MAX {
        return Some(Leaving::AsWritten);
    }
    let Some(text) = place.as_text() else { return Some(Leaving::AsWritten) };
    Some(seen(&text).map_or(Leaving::AsWritten, Leaving::As))
}

/// A number of at most fifteen digits, without an exponent: it is below [`NUMBER_MAX`].
fn is_short(number: &str) -> bool {
    number.len() <= 15 && number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// Whether there is no byte with which anything begins that could hide: controls of ASCII, and the first bytes of the other controls
/// (U+0080 to U+009F) and of what turns text round. All are looked at, without a branch for each.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "several bytes are looked at together where nothing branches"
)]
fn hides_nothing(text: &[u8]) -> bool {
    let could_hide = |byte: u8| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xe2);
    !text.iter().fold(false, |any, byte| any | could_hide(*byte))
}

/// A text that has something in it that people would not see, or is too long, as they see it: old systems have such in names and
/// addresses, and nobody is to go without them.
fn seen(text: &str) -> Option<String> {
    let hides = |char: char| {
        (char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_long = text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX;
    if !is_long && !text.contains(hides) {
        return None;
    }
    let shown = |char: char| if hides(char) { char::REPLACEMENT_CHARACTER } else { char };
    let mut seen: String = text.chars().take(TEXT_CHARS_MAX).map(shown).collect();
    if is_long {
        seen.push_str(CUT);
    }
    Some(seen)
}

/// Whether this place on the way to an item that minds periods has none, or one that covers `today`. A period that
/// cannot be read does not. What FHIR calls old is none either, whatever its period.
///
/// Source: FHIR R4, <https://hl7.org/fhir/R4/datatypes.html#Period>, `use` of `Identifier`, `ContactPoint`, `Address` and
/// `HumanName`.
pub(super) fn in_force(named: Period, place: Place<'_>, today: Date) -> bool {
    if place.member(named.usage).is_some_and(|usage| usage.is_text("old")) {
        return false;
    }
    let Some(period) = place.said(named.member) else { return true };
    // A bound with an extension in its place is there, and nobody knows when.
    let bound = |key, extension| match period.member(key) {
        Some(value) => Some(value.as_text().and_then(|text| day(&text))),
        None => period.said(extension).map(|_| None),
    };
    let begun = bound(named.start, named.start_extension);
    let over = bound(named.end, named.end_extension);
    period.kind() == Kind::Object
        && begun.is_none_or(|start| start.is_some_and(|start| start <= today))
        && over.is_none_or(|end| end.is_some_and(|end| today <= end))
}

/// The day of a FHIR date or dateTime; a bare year or month counts from its first day.
fn day(text: &str) -> Option<Date> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let is_time = |byte| matches!(byte, b'0'..=b'9' | b':' | b'.' | b'+' | b'-' | b'Z');
    if !date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') || !time.bytes().all(is_time) {
        return None;
    }
    let whole = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    whole.parse().ok()
}

/// Writes the value as it leaves; where the place holds nothing that may, nothing is written.
pub(super) fn write(
    item: &ReachedItem,
    form: Form,
    place: Place<'_>,
    names: &Automaton,
    today: Date,
    out: &mut String,
) -> bool {
    if form == Form::AsIs {
        return if item.fields.is_empty() {
            place.write_plain(leaves, out)
        } else {
            object(item, place, names, out)
        };
    }
    if form == Form::YesNo {
        let answer = yes_no(place);
        out.push_str(answer.map_or("", |answer| if answer { "true" } else { "false" }));
        return answer.is_some();
    }
    let Some(text) = place.as_text() else { return false };
    let coarser = match form {
        Form::AsIs | Form::YesNo => None,
        Form::Initial => initial(&text),
        Form::Year => day(&text).map(|date| format!("{:04}", date.year())),
        Form::AgeBand => text.parse().ok().map(|born| age_band(age_years(born, today)).to_owned()),
        Form::PostcodeDistrict => postcode_district(&text),
    };
    coarser.is_some_and(|coarser| {
        write_string(&coarser, out);
        true
    })
}

/// The members of an object that belong to the item.
fn object(item: &ReachedItem, place: Place<'_>, names: &Automaton, out: &mut String) -> bool {
    if place.kind() != Kind::Object {
        return false;
    }
    let start = out.len();
    for member in place.children().filter(|member| item.fields.contains(&member.key())) {
        let before = out.len();
        out.push(if before == start { '{' } else { ',' });
        out.push_str(names.label(member.key()));
        if !member.write_plain(leaves, out) {
            out.truncate(before);
        }
    }
    let is_empty = out.len() == start;
    if !is_empty {
        out.push('}');
    }
    !is_empty
}

pub(super) fn yes_no(place: Place<'_>) -> Option<bool> {
    match place.kind() {
        Kind::Null => None,
        Kind::False => Some(false),
        Kind::Clear | Kind::Plain | Kind::Escaped | Kind::OddlyEscaped => {
            says_that_there_is(&place.as_text()?)
        }
        Kind::Number => {
            let mut digits = place.number()?.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
            Some(digits.any(|byte| matches!(byte, b'1'..=b'9')))
        }
        Kind::Array => {
            let mut told = place.children().map(yes_no).peekable();
            if told.peek().is_none() {
                return Some(false);
            }
            told.any(|answer| answer == Some(true)).then_some(true)
        }
        Kind::True | Kind::Object => Some(true),
    }
}

/// Words by which systems that have no yes and no say no, or that they do not know.
const NO_WORDS: [&str; 17] = [
    "0",
    "f",
    "false",
    "n",
    "n/a",
    "na",
    "nil",
    "nil known",
    "no",
    "none",
    "none known",
    "not applicable",
    "not known",
    "not recorded",
    "null",
    "undefined",
    "unknown",
];

/// Whether a text says that there is something. A word that may say that there is not, or a text of signs alone, is no answer: nobody is
/// told yes by it, nor no.
fn says_that_there_is(text: &str) -> Option<bool> {
    let word = text.trim_matches(|char: char| !char.is_alphanumeric()).to_lowercase();
    (!word.is_empty() && !NO_WORDS.contains(&word.as_str())).then_some(true)
}

fn initial(text: &str) -> Option<String> {
    text.chars().find(|character| character.is_alphabetic()).map(|first| first.to_uppercase().collect())
}

fn age_band(age: i16) -> &'static str {
    match age {
        80.. => "80+",
        75..=79 => "75-79",
        65..=74 => "65-74",
        _ => "under 65",
    }
}

/// The outward part: everything before the last three characters, which are a digit and two letters.
fn postcode_district(text: &str) -> Option<String> {
    let compact: String =
        text.chars().filter(|character| !character.is_whitespace()).collect::<String>().to_uppercase();
    if !compact.is_ascii() || !(5..=7).contains(&compact.len()) {
        return None;
    }
    let (outward, inward) = compact.split_at(compact.len() - 3);
    let inward_fits = inward.starts_with(|first: char| first.is_ascii_digit());
    let outward_fits = outward.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (inward_fits && outward_fits).then(|| outward.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::Limits, reach::Reached};

    /// A text as the document's own, and what leaves in its place.
    fn left(written: &str) -> Option<String> {
        static SET: std::sync::LazyLock<crate::PolicySet> =
            std::sync::LazyLock::new(crate::decide::tests::policies);
        let places = SET.provider(&"nhs-pds".parse().unwrap()).unwrap().places();
        let document = format!("\"{written}\"");
        let reached = Reached::read(places, document.as_bytes(), &Limits::default()).unwrap();
        match leaves(reached.place(0).unwrap()).unwrap() {
            Leaving::AsWritten => None,
            Leaving::As(text) => Some(text),
        }
    }

    #[test]
    fn what_is_looked_at_quickly_is_seen_as_it_is_slowly() {
        let hides = |char: char| {
            (char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
                || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        // What may not stand for itself is escaped. Near the end of a document, and further from it than a look is wide.
        for (before, after) in [("", ""), ("a", "b"), ("it is \\\"here\\\": ", " and goes on for longer")] {
            let around = |char: &str| format!("{before}{char}{after}");
            for char in
                ['\0'..='\u{a0}', '\u{2000}'..='\u{2100}', '\u{fff0}'..='\u{10010}'].into_iter().flatten()
            {
                let written = match char {
                    '"' | '\\' => format!("\\{char}"),
                    '\0'..=' ' => format!("\\u{:04x}", u32::from(char)),
                    char => char.to_string(),
                };
                let seen = around("\u{fffd}").replace("\\\"", "\"");
                assert_eq!(left(&around(&written)), hides(char).then_some(seen), "{:?}", u32::from(char));
            }
        }
        let long = "a".repeat(TEXT_CHARS_MAX);
        assert_eq!(left(&long), None);
        assert_eq!(left(&format!("{long}b")), Some(format!("{long}{CUT}")));
        let (long, escaped) = ("é\n".repeat(TEXT_CHARS_MAX / 2), "é\\n".repeat(TEXT_CHARS_MAX / 2));
        assert_eq!(left(&escaped), None);
        assert_eq!(left(&format!("{escaped}b")), Some(format!("{long}{CUT}")));
    }

    #[test]
    fn every_character_is_seen_or_shown() {
        for char in '\0'..=char::MAX {
            let hides = (char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
                || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let text = format!("a{char}b");
            assert_eq!(seen(&text), hides.then(|| "a\u{fffd}b".to_owned()), "{:?}", u32::from(char));
            assert!(!hides || !hides_nothing(text.as_bytes()), "{:?}", u32::from(char));
        }
    }

    #[test]
    fn a_short_number_is_within_bounds() {
        assert!(is_short("-12345678901234") && is_short("999999999999999"));
        assert!(is_short("-1.5") && is_short("0.0000000000001"));
        assert!(!is_short("1000000000000000") && !is_short("1e5") && !is_short("1.23456789012345"));
        assert!("999999999999999".parse::<f64>().unwrap() <= NUMBER_MAX);
    }

    #[test]
    fn a_word_that_may_say_no_is_told_as_neither() {
        for word in [
            "no",
            " No ",
            "No.",
            "NONE",
            "false",
            "0",
            "",
            " ",
            "--",
            "?",
            "unknown",
            "n",
            "N/A",
            "(none known)",
        ] {
            assert_eq!(says_that_there_is(word), None, "{word:?}");
        }
        for word in ["yes", "2024-03-01", "2 l/min", "Oxygen at home", "nocturnal"] {
            assert_eq!(says_that_there_is(word), Some(true), "{word:?}");
        }
    }

    #[test]
    fn ages_and_bands() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        assert_eq!(age_years(day("1961-11-23"), day("2026-11-23")), 65);
        assert_eq!(age_years(day("1961-11-24"), day("2026-11-23")), 64);
        assert_eq!(age_years(day("1960-02-29"), day("2025-02-28")), 64);
        assert_eq!(
            [64, 65, 74, 75, 79, 80].map(age_band),
            ["under 65", "65-74", "65-74", "75-79", "75-79", "80+"]
        );
    }

    #[test]
    fn postcodes_lose_their_inward_part() {
        assert_eq!(postcode_district("DN17 4BL").as_deref(), Some("DN17"));
        assert_eq!(postcode_district("m1 1ae").as_deref(), Some("M1"));
        for odd in ["", "DN17", "12 The Street", "DN174BLX", "ＤＮ１７４ＢＬ"] {
            assert_eq!(postcode_district(odd), None, "{odd}");
        }
    }
}
