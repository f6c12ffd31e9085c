//! The forms in which a value leaves, and whether it is in force.

use jiff::civil::Date;

use crate::{
    catalogue::{DataItem, Form},
    json::Json,
};

/// Age in whole years on `today`. Someone born on 29 February has their birthday on 1 March in other years.
pub fn age_years(born: Date, today: Date) -> i16 {
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    today.year() - born.year() - i16::from(!had_birthday)
}

/// Whether this place on the way to the item has no period that the item minds, or one that covers `today`. A
/// period that cannot be read does not.
pub(super) fn in_force(item: &DataItem, place: &Json, today: Date) -> bool {
    let Some(period) = item.period.as_ref().and_then(|member| place.member(member)) else {
        return true;
    };
    let bound = |name: &str| period.member(name).map(|value| value.as_str().and_then(day));
    let begun = bound("start").is_none_or(|start| start.is_some_and(|start| start <= today));
    let not_over = bound("end").is_none_or(|end| end.is_some_and(|end| today <= end));
    begun && not_over
}

/// The day of a FHIR date or dateTime; a bare year or month counts from its first day.
fn day(text: &str) -> Option<Date> {
    let date = text.split('T').next()?;
    let whole = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    whole.parse().ok()
}

/// The value as it leaves, or nothing where the place holds nothing that may.
pub(super) fn leaf(item: &DataItem, form: Form, place: &Json, today: Date) -> Option<Json> {
    match form {
        Form::AsIs if item.fields.is_empty() => plain(place),
        Form::AsIs => object(item, place),
        Form::YesNo => yes_no(place),
        Form::Initial => place.as_str().and_then(initial).map(Json::String),
        Form::Year => place.as_str().and_then(day).map(|date| Json::string(format!("{:04}", date.year()))),
        Form::AgeBand => place
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(|born| Json::string(age_band(age_years(born, today)))),
        Form::PostcodeDistrict => place.as_str().and_then(postcode_district).map(Json::String),
    }
}

/// A scalar, or an array of scalars. An object here was not expected, so it stays.
pub(super) fn plain(place: &Json) -> Option<Json> {
    match place {
        Json::Null | Json::Object(_) => None,
        Json::Array(items) => (!items.is_empty() && items.iter().all(Json::is_scalar)).then(|| place.clone()),
        scalar => Some(scalar.clone()),
    }
}

fn object(item: &DataItem, place: &Json) -> Option<Json> {
    let Json::Object(members) = place else { return None };
    let listed = members.iter().filter(|(key, _)| item.fields.contains(key));
    let kept: Vec<_> = listed.filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect();
    (!kept.is_empty()).then_some(Json::Object(kept))
}

fn yes_no(place: &Json) -> Option<Json> {
    match place {
        Json::Null => None,
        Json::Bool(answer) => Some(Json::Bool(*answer)),
        Json::String(text) => Some(Json::Bool(!text.is_empty())),
        Json::Array(items) => Some(Json::Bool(!items.is_empty())),
        Json::Number(_) | Json::Object(_) => Some(Json::Bool(true)),
    }
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
