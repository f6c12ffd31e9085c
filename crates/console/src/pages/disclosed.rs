//! After a breach, within 72 hours (UK GDPR Art 33): about whom did an organisation receive data, and what? Asked and answered in a
//! form, as a page that prints and a file; people are pseudonyms, and in no address.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use askama::Template;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use jiff::{ToSpan as _, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sharing::{
    agreement::{london_day, london_midnight},
    explain,
};

use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, organisation, render},
    person::Right,
    session::Signed,
};

/// Most answers of the API that one form reads: 200 releases each.
const PAGES_MAX: usize = 25;
/// Most releases in the page. The file has all.
const SHOWN_MAX: usize = 100;

#[derive(Deserialize)]
struct Answer {
    releases: Vec<Release>,
    next: Option<String>,
    receipt: super::trail::Receipt,
}

/// A release, as the API has it.
#[derive(Serialize, Deserialize)]
struct Release {
    decision_id: String,
    at: String,
    subjects: Vec<String>,
    items: Vec<String>,
    practitioner: Option<String>,
    purpose: String,
    case_reference: String,
    request_id: Option<String>,
    agreement: Option<String>,
}

#[derive(Default)]
struct Filled {
    recipient: String,
    agreement: String,
    from: String,
    until: String,
    case_reference: String,
}

/// What was found.
struct Found {
    releases: Vec<Release>,
    people: usize,
    /// How many people each item is of: in words, as its code, how many.
    items: Vec<(String, String, usize)>,
    is_cut: bool,
    /// The asker's own organisation received it, and they see what it holds alone.
    is_own: bool,
    entries: Vec<u64>,
    recipient: String,
    asked_at: String,
}

type Options = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "disclosed.html")]
struct DisclosedPage {
    frame: Frame,
    organisations: Options,
    agreements: Options,
    said: Filled,
    found: Option<Found>,
    rest: usize,
    everything: bool,
}

fn may(signed: &Signed) -> Result<(), Fault> {
    let may = signed.person.may(Right::Review) || signed.person.may(Right::Audit);
    if may { Ok(()) } else { Err(Fault::forbidden()) }
}

/// The form.
pub(crate) async fn ask(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    may(&signed)?;
    if let Some(response) = super::step_up(&console, &signed, "/disclosed") {
        return Ok(response);
    }
    Ok(page(&console, &signed, Filled::default(), None, None))
}

fn page(
    console: &Console,
    signed: &Signed,
    said: Filled,
    found: Option<Found>,
    correction: Option<Correction>,
) -> Response {
    let set = console.gateway.policies();
    let first = |text: &str| std::iter::once((String::new(), text.to_owned()));
    let organisations = set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone()));
    let agreements =
        set.agreements().map(|one| (one.id().to_string(), format!("{} ({})", one.title, one.id())));
    let status = status_of(correction.as_ref());
    let mut page = DisclosedPage {
        frame: Frame::of(signed, "Whose data an organisation received", "/trail")
            .back_to("/trail", "Audit trail")
            .correcting(correction),
        organisations: first("Choose one").chain(organisations).collect(),
        agreements: first("Any, and one-off disclosures and emergencies").chain(agreements).collect(),
        said,
        rest: 0,
        everything: signed.person.may(Right::Audit),
        found,
    };
    if let Some(found) = &mut page.found {
        page.rest = found.releases.len().saturating_sub(SHOWN_MAX);
        found.releases.truncate(SHOWN_MAX);
    }
    (status, render(&page)).into_response()
}

/// What was disclosed: as a page, or as a file.
pub(crate) async fn show(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let signed = &form.signed;
    may(signed)?;
    if let Some(response) = super::step_up_form(&console, &form.signed, "/disclosed") {
        return Ok(response);
    }
    let text = |name: &str| form.field(name).to_owned();
    let said = Filled {
        recipient: text("recipient"),
        agreement: text("agreement"),
        from: text("from"),
        until: text("until"),
        case_reference: text("case_reference"),
    };
    let (from, until) = match days_of(&said, london_day(console.gateway.now())) {
        Ok(days) => days,
        Err(wrong) => return Ok(page(&console, signed, said, None, Some(Correction::of(wrong)))),
    };
    let found = match found(&console, signed, &said, (from, until)).await {
        Ok(found) => found,
        Err(fault) => {
            return match fault.correction() {
                Some(wrong) => Ok(page(&console, signed, said, None, Some(wrong))),
                None => Err(fault),
            };
        }
    };
    if form.field("do") == "download" {
        return file(&said, &found);
    }
    Ok(page(&console, signed, said, Some(found), None))
}

fn days_of(said: &Filled, today: Date) -> Result<(Date, Date), &'static str> {
    if said.recipient.is_empty() {
        return Err("recipient: choose who received it");
    }
    if said.case_reference.is_empty() {
        return Err("case_reference: name the piece of work that you look for");
    }
    let from = days::read(&said.from).ok_or("from: a day, such as 1 November 2026 or 2026-11-01")?;
    let until: Date = if said.until.is_empty() {
        today.checked_add(1.day()).unwrap_or(today)
    } else {
        days::read(&said.until)
            .ok_or("until: a day, such as 1 December 2026 or 2026-12-01, or nothing for up to now")?
    };
    if from < until { Ok((from, until)) } else { Err("until: a day after the first") }
}

async fn found(
    console: &Console,
    signed: &Signed,
    said: &Filled,
    (from, until): (Date, Date),
) -> Result<Found, Fault> {
    let (mut releases, mut entries, mut cursor) = (Vec::new(), Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut body = json!({
            "recipient": said.recipient,
            "from": london_midnight(from).to_string(),
            "until": london_midnight(until).to_string(),
        });
        if let Some(members) = body.as_object_mut() {
            if !said.agreement.is_empty() {
                members.insert("agreement".to_owned(), said.agreement.clone().into());
            }
            if let Some(cursor) = &cursor {
                members.insert("cursor".to_owned(), cursor.clone().into());
            }
        }
        let asked = Ask::post("/v1/trail/disclosed", &body).in_case(&said.case_reference);
        let answer: Answer = console.ask(signed, asked).await?;
        releases.extend(answer.releases);
        entries.push(answer.receipt.log_position);
        cursor = answer.next;
        if cursor.is_none() {
            break;
        }
    }
    // Of the pseudonyms of one person, the least stands for them.
    let person = |release: &Release| release.subjects.iter().min().cloned();
    let people: BTreeSet<_> = releases.iter().filter_map(person).collect();
    let mut items = BTreeMap::<String, BTreeSet<String>>::new();
    for release in &releases {
        for item in &release.items {
            items.entry(item.clone()).or_default().extend(person(release));
        }
    }
    let set = console.gateway.policies();
    Ok(Found {
        people: people.len(),
        items: items
            .into_iter()
            .map(|(item, people)| (explain::released_item(&set, "", &item), item, people.len()))
            .collect(),
        is_cut: cursor.is_some(),
        is_own: said.recipient == signed.person.organisation.as_str() && !signed.person.may(Right::Audit),
        entries,
        recipient: organisation(console, &said.recipient),
        asked_at: console.gateway.now().to_string(),
        releases,
    })
}

fn file(said: &Filled, found: &Found) -> Result<Response, Fault> {
    let pack = json!({
        "recipient": said.recipient,
        "agreement": if said.agreement.is_empty() { None } else { Some(&said.agreement) },
        "from": said.from,
        "until": said.until,
        "asked_at": found.asked_at,
        "recorded_at": found.entries,
        "complete": !found.is_cut,
        "people": found.people,
        "people_by_item": found.items.iter().map(|(_, item, people)| (item, people)).collect::<BTreeMap<_, _>>(),
        "releases": found.releases,
        "how_to_read": "`subjects` are the ledger's pseudonyms of a person; whoever holds the record finds the person by `decision_id`. `recorded_at` are the places of this question in the ledger.",
    });
    let text = serde_json::to_string_pretty(&pack).map_err(|error| Fault::broken(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"disclosed.json\""),
    ];
    Ok((headers, text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_said() {
        let today = "2026-11-28".parse().unwrap();
        let said = |from: &str, until: &str| Filled {
            recipient: "gmca".to_owned(),
            case_reference: "INC-1".to_owned(),
            from: from.to_owned(),
            until: until.to_owned(),
            ..Filled::default()
        };
        let read = days_of(&said("2026-11-01", ""), today).unwrap();
        assert_eq!(read, ("2026-11-01".parse().unwrap(), "2026-11-29".parse().unwrap()), "today is in it");
        for (from, until, field) in [
            ("yesterday", "", "from"),
            ("2026-11-01", "soon", "until"),
            ("2026-11-02", "2026-11-02", "until"),
            ("2026-12-02", "", "until"),
        ] {
            let wrong = Correction::of(days_of(&said(from, until), today).unwrap_err());
            assert!(wrong.is_at(field), "{from} {until}: {wrong:?}");
        }
        let nobody = Filled { recipient: String::new(), ..said("2026-11-01", "") };
        assert!(Correction::of(days_of(&nobody, today).unwrap_err()).is_at("recipient"));
    }
}
