//! Searches of the trail that somebody keeps, by name. What names one person or one case is not kept with them: neither a
//! practitioner, nor a reference, nor a case.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use sharing::PurposeClass;
use store::KeptRow;

use super::trail::{self, Filter};
use crate::{
    Console,
    fault::{Correction, Fault},
    form::Form,
    person::Right,
    session::Signed,
};

/// Longest name, in characters.
const NAME_MAX: usize = 60;
/// More digits than this may be somebody's number.
const DIGITS_MAX: usize = 6;

fn owner(signed: &Signed) -> (&str, &str) {
    (signed.person.organisation.as_str(), &signed.person.id)
}

/// The searches that somebody keeps, and where each leads.
pub(super) async fn all(console: &Console, signed: &Signed) -> Result<Vec<(String, String)>, Fault> {
    let rows = console.gateway.store().kept(owner(signed), "search").await;
    let rows = rows.map_err(|error| Fault::broken(&error))?;
    let search = |row: KeptRow| {
        let filter: Filter = serde_json::from_str(&row.content).ok()?;
        Some((row.name, filter.address()))
    };
    Ok(rows.into_iter().filter_map(search).collect())
}

/// What of a form is kept: what comes from lists, and codes that are what they say. A text that is none is refused, not kept.
fn filter_of(form: &Form) -> Result<Filter, &'static str> {
    let text = |name: &str| form.field(name).to_owned();
    let is_code = |text: &str, more: &[u8]| {
        text.len() <= 64
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || more.contains(&byte)
            })
    };
    let filter = Filter {
        kind: text("kind"),
        organisation: text("organisation"),
        provider: text("provider"),
        purpose: text("purpose"),
        agreement: text("agreement"),
        item: text("item"),
        reason: text("reason"),
        ..Filter::default()
    };
    let fits = is_code(&filter.kind, b"_")
        && (filter.organisation.is_empty() || filter.organisation.parse::<sharing::OrganisationId>().is_ok())
        && (filter.provider.is_empty() || filter.provider.parse::<sharing::identifier::ProviderId>().is_ok())
        && (filter.purpose.is_empty() || filter.purpose.parse::<PurposeClass>().is_ok())
        && (filter.agreement.is_empty() || filter.agreement.parse::<sharing::AgreementId>().is_ok())
        && is_code(&filter.item, b"._:")
        && is_code(&filter.reason, b":");
    let all = [&filter.organisation, &filter.provider, &filter.agreement, &filter.item, &filter.reason];
    if !fits || all.into_iter().any(|text| has_number(text)) {
        return Err(
            "name: something of this search is no code that can be kept; correct it, and search again first",
        );
    }
    Ok(filter)
}

fn has_number(text: &str) -> bool {
    text.chars().filter(char::is_ascii_digit).count() > DIGITS_MAX
}

fn name_of(form: &Form) -> Result<String, &'static str> {
    let name = form.field("name");
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err("name: give it a name of 1 to 60 characters");
    }
    if has_number(name) {
        return Err("name: a name with so many digits may be somebody's number; choose another");
    }
    Ok(name.to_owned())
}

fn may(signed: &Signed) -> Result<(), Fault> {
    let may = signed.person.may(Right::Review) || signed.person.may(Right::Audit);
    if may { Ok(()) } else { Err(Fault::forbidden()) }
}

/// Keeps a search.
pub(crate) async fn keep(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let signed = &form.signed;
    may(signed)?;
    let again = |wrong: &str| {
        let said = (form.field("name").to_owned(), Some(Correction::of(wrong)));
        trail::page(&console, signed, filter_of(&form).unwrap_or_default(), None, said)
    };
    let (name, filter) = match (name_of(&form), filter_of(&form)) {
        (Ok(name), Ok(filter)) => (name, filter),
        (Err(wrong), _) | (_, Err(wrong)) => return again(wrong).await,
    };
    let address = filter.address();
    if address == Filter::default().address() {
        return again(
            "name: choose something to look for first, other than a person, a reference, a case or a time",
        )
        .await;
    }
    let (organisation, person) = owner(signed);
    let row = KeptRow {
        organisation: organisation.to_owned(),
        person: person.to_owned(),
        kind: "search".to_owned(),
        name,
        content: serde_json::to_string(&filter).map_err(|error| Fault::broken(&error))?,
        kept_us: console.gateway.now().as_microsecond(),
    };
    let kept = console.gateway.store().keep(&row).await.map_err(|error| Fault::broken(&error))?;
    if !kept {
        return again("name: you keep a hundred searches already; delete one first").await;
    }
    Ok(Redirect::to(&address).into_response())
}

/// Forgets one.
pub(crate) async fn forget(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    may(&form.signed)?;
    let name = ("search", form.field("name"));
    let forgotten = console.gateway.store().forget_kept(owner(&form.signed), name).await;
    forgotten.map_err(|error| Fault::broken(&error))?;
    Ok(Redirect::to("/trail").into_response())
}
