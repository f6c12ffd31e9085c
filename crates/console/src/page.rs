//! What every page has around it, the headers that every answer has, and words that templates use.

use askama::Template;
use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use jiff::{Timestamp, tz::TimeZone};
use sharing::explain;

use crate::{
    days,
    fault::Fault,
    person::{Person, Right},
    session::Signed,
};

/// Nothing but our own files; no script or style in the page itself; nobody frames it; forms go here, or to the provider
/// when somebody signs in.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers of every answer.
pub(crate) const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// What is around a page.
pub(crate) struct Frame {
    /// The title, and the one heading of the first level.
    pub(crate) title: String,
    /// Who is signed in, in words.
    pub(crate) who: String,
    /// Where they can go.
    pub(crate) places: Vec<Place>,
    /// What forms carry.
    pub(crate) csrf: String,
    /// What is to be corrected.
    pub(crate) correction: Option<crate::fault::Correction>,
    /// Whether its form has what somebody wrote before they signed in again.
    pub(crate) was_kept: bool,
    /// After how many seconds without use they are signed out; 0 for nobody.
    pub(crate) idle_s: u32,
    /// Where the back link leads.
    pub(crate) back: Option<(String, &'static str)>,
}

/// An entry of the navigation.
pub(crate) struct Place {
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
    pub(crate) is_here: bool,
}

impl Frame {
    /// For somebody who is signed in; `here` is the path of the navigation's entry.
    pub(crate) fn of(signed: &Signed, title: impl Into<String>, here: &str) -> Self {
        let person = &signed.person;
        let places = places(person)
            .into_iter()
            .map(|(path, text)| Place { path, text, is_here: path == here })
            .collect();
        Self {
            title: title.into(),
            who: format!("{}, {}", person.name, person.role().title()),
            places,
            csrf: signed.csrf.clone(),
            correction: None,
            was_kept: false,
            idle_s: signed.idle_s,
            back: None,
        }
    }

    /// For nobody.
    pub(crate) fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            who: String::new(),
            places: Vec::new(),
            csrf: String::new(),
            correction: None,
            was_kept: false,
            idle_s: 0,
            back: None,
        }
    }

    /// How long a session lasts without use, in words.
    pub(crate) fn idle(&self) -> String {
        match self.idle_s {
            seconds if seconds < 120 => format!("{seconds} seconds"),
            seconds => format!("{} minutes", seconds / 60),
        }
    }

    /// With a link back.
    pub(crate) fn back_to(mut self, path: impl Into<String>, text: &'static str) -> Self {
        self.back = Some((path.into(), text));
        self
    }

    /// With what is to be corrected.
    pub(crate) fn correcting(mut self, correction: Option<crate::fault::Correction>) -> Self {
        self.correction = correction;
        self
    }

    /// With what was kept in its form, or not.
    pub(crate) fn keeping(mut self, was_kept: bool) -> Self {
        self.was_kept = was_kept;
        self
    }

    /// What is to be corrected at a field.
    pub(crate) fn wrong(&self, field: &str) -> Option<&str> {
        self.correction.as_ref().filter(|one| one.is_at(field)).map(|one| one.text.as_str())
    }

    /// As [`Self::wrong`], on a page of several forms, whose names go before their fields.
    pub(crate) fn wrong_in(&self, form: &str, field: &str) -> Option<&str> {
        self.wrong(&format!("{form}-{field}"))
    }

    /// Whether a field of a form is to be corrected.
    pub(crate) fn is_wrong(&self, form: &str, field: &str) -> bool {
        self.wrong_in(form, field).is_some()
    }
}

fn places(person: &Person) -> Vec<(&'static str, &'static str)> {
    if person.is_citizen() {
        return vec![
            ("/my-data", "Who asked about me"),
            ("/my-choices", "My choices"),
            ("/my-requests", "My complaints and corrections"),
        ];
    }
    let (review, audit) = (person.may(Right::Review), person.may(Right::Audit));
    let agree = [Right::Draft, Right::Approve, Right::Mediate, Right::Sign];
    let agree = agree.into_iter().any(|right| person.may(right));
    let all = [
        ("/", "Home", true),
        ("/alerts", "Alerts", review),
        ("/referrals", "Requests", review),
        ("/rights-requests", "Complaints", review),
        ("/trail", "Audit trail", review || audit),
        ("/person", "A person", review || audit),
        ("/agreements", "Agreements", agree || audit || review),
        ("/exports", "Exports", review || audit),
        ("/flows", "Pictures", review || audit),
        ("/ledger", "Ledger", true),
    ];
    all.into_iter().filter(|(_, _, shown)| *shown).map(|(path, text, _)| (path, text)).collect()
}

/// A page of paragraphs: errors, signed out.
#[derive(Template)]
#[template(path = "plain.html")]
pub(crate) struct Plain {
    pub(crate) frame: Frame,
    pub(crate) paragraphs: Vec<String>,
    pub(crate) link: Option<(&'static str, &'static str)>,
}

/// The page as an answer.
pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => Fault::broken(&error).into_response(),
    }
}

/// A time as people write it, in London, from an RFC 3339 time.
pub(crate) fn when(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), in_london)
}

/// A time as people write it, in London.
pub(crate) fn in_london(at: Timestamp) -> String {
    let zone = TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%-d %B %Y at %-I:%M%P").to_string()
}

/// A day as people write it, in London.
pub(crate) fn in_london_day(at: Timestamp) -> String {
    days::in_words(sharing::agreement::london_day(at))
}

/// A day as people write it, from how it is kept.
pub(crate) fn day(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let day = text.parse::<jiff::civil::Date>();
    day.map_or_else(|_| text.to_owned(), days::in_words)
}

/// A code in words: `fire-prevention-targeting` as `fire prevention targeting`.
pub(crate) fn words(code: impl AsRef<str>) -> String {
    code.as_ref().replace(['-', '_'], " ")
}

/// As [`words`], beginning with a capital letter.
pub(crate) fn sentence(code: impl AsRef<str>) -> String {
    crate::fault::Correction::of(&words(code)).text
}

/// An organisation's name.
pub(crate) fn organisation(console: &crate::Console, id: &str) -> String {
    explain::organisation(&console.gateway.policies(), id)
}

/// A record holder's name.
pub(crate) fn record_holder(console: &crate::Console, id: &str) -> String {
    explain::record_holder(&console.gateway.policies(), id)
}

/// Items that were asked for, by their titles.
pub(crate) fn items(console: &crate::Console, provider: &str, items: &[String]) -> String {
    let set = console.gateway.policies();
    items.iter().map(|item| explain::item(&set, provider, item)).collect::<Vec<_>>().join(", ")
}

/// The colour of a state's tag. The text says it too.
pub(crate) fn tag(state: impl AsRef<str>) -> &'static str {
    match state.as_ref() {
        "ended" | "open" | "requested" | "waiting-for-form" | "escalated" | "overdue" | "refused"
        | "suspended" | "not-justified" | "failed" | "fail" => "govuk-tag--red",
        "acknowledged" | "triaged" | "taken" | "question-asked" | "review-due" | "approved"
        | "needs-review" | "awaiting-signature" | "review-overdue" => "govuk-tag--yellow",
        "in-force" | "answered" | "closed" | "granted" | "ready" | "active" | "permitted" | "pass"
        | "justified" | "visible" | "given" => "govuk-tag--green",
        "referred" | "proposed" | "counter-proposed" | "agreed-in-principle" | "quality-assured" => {
            "govuk-tag--purple"
        }
        _ => "govuk-tag--grey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_codes_are_words() {
        assert_eq!(when("2026-07-01T12:05:00Z"), "1 July 2026 at 1:05pm");
        assert_eq!(when("soon"), "soon");
        assert_eq!(sentence("fire-prevention-targeting"), "Fire prevention targeting");
    }
}
