//! `POST /v1/disclosures/list`: ask for the records of many people at once.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::disclosures::{Wanted, question};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, parse_body, receive},
    list::{self, Asked, BODY_BYTES_MAX, PEOPLE_MAX, People},
    problem::{Face, Problem},
};

const ROUTE: &str = "/v1/disclosures/list";

/// The first line of a list; each line after it is a `Subject`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// The record holder.
    #[schema(example = "nhs-pds")]
    provider: String,
    /// For what; the same as in the signed context.
    #[schema(example = "fire-prevention-targeting")]
    purpose: String,
    /// The case; the same as in the signed context.
    #[schema(example = "HFSA/2026-LIST-12")]
    case_reference: String,
    /// The items; leave it out to ask for everything agreed.
    items: Option<Vec<String>>,
}

/// Ask for the records of up to 100,000 people, where the flow's `list_people_max` allows a list of so many.
///
/// Body and answer are lines of JSON. The first line of the body says for what, as in a `ListRequest`; each line after it
/// names a person, as a `Subject`. The signed context has no `requested_record` but `requested_list`, the SHA-256 of the body
/// in hexadecimal. Nothing is asked about anybody unless every line is in order.
///
/// The answer has a line for each person, in the order of the list, with `position` (from 0) and `answer`: `released` with
/// `record`, terms and receipt; `no-record-available`; or `not-answered` with a problem. After at most 100 of them comes a
/// line with `chunk` and the checkpoint that covers their receipts. The last line has `end`: `completed`, or `stopped` with
/// the problem. An answer without it broke off.
#[utoipa::path(post, path = "/v1/disclosures/list", tag = "disclosures",
    request_body(content = ListRequest, content_type = "application/x-ndjson", description = "A `ListRequest`, then a `Subject` a line"),
    responses((status = 200, description = "Lines of JSON", content_type = "application/x-ndjson", body = String),
        (status = 400, description = "A line cannot be read; it is named"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "The agreement does not allow it, or not for so many people"), (status = 413, description = "More than 8 MiB"),
        (status = 429, description = "Two lists of this system are being answered"),
        (status = 503, description = "The ledger cannot be written, or too many lists")))]
pub async fn disclose(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = crate::edge::request_id(request.headers());
    let answered = async {
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let asked = match received.lines(BODY_BYTES_MAX).await {
            Ok(body) => read(&app, &received, body),
            Err(problem) => Err(problem),
        };
        match asked {
            Ok(asked) => list::begin(app.clone(), asked).await,
            Err(problem) => Err(received.refuse(&app, problem, ROUTE).await),
        }
    };
    match answered.await {
        Ok(lines) => {
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
        }
        Err(refusal) => refusal.into_response(Face::Problem, id.as_deref()),
    }
}

/// Reads all of it, before anything is asked about anybody.
fn read(app: &App, received: &Received, body: Bytes) -> Result<Asked, Problem> {
    if received.context.requested_record.is_some() {
        return Err(Problem::ContextMismatch("a list has no requested_record: leave it out"));
    }
    if received.context.requested_list.as_deref() != Some(list::digest(&body).as_str()) {
        return Err(Problem::ContextMismatch(
            "requested_list is not the SHA-256 of the body, in hexadecimal: sign the list that you send",
        ));
    }
    let mut lines = Lines::of(&body);
    let Some((first, _)) = lines.next() else { return Err(at_line(1, "it says for what the list is")) };
    let asked: ListRequest = body_line(&body, &first).map_err(|problem| in_line(1, problem))?;
    let mut places = Vec::new();
    let (mut people, mut first_person) = (HashSet::new(), None);
    for (place, number) in lines {
        if places.len() >= PEOPLE_MAX as usize {
            return Err(at_line(number, "a list has at most 100000 people: send the others in another"));
        }
        let line = slice(&body, &place);
        let person = list::person(line).map_err(|problem| in_line(number, problem))?;
        if !people.insert(person.clone()) {
            return Err(at_line(number, "somebody is named who is in the list already"));
        }
        first_person.get_or_insert(person);
        places.push(place);
    }
    let Some(subject) = first_person else { return Err(at_line(2, "it names the first person")) };
    let wanted = Wanted {
        provider: &asked.provider,
        purpose: &asked.purpose,
        case_reference: &asked.case_reference,
        items: asked.items.as_deref(),
    };
    Ok(Asked {
        caller: received.caller.clone(),
        context: received.context.clone(),
        question: question(app, received, &wanted, subject, Action::Read)?,
        request_id: received.request_id.clone(),
        people: People::new(body, places),
    })
}

fn body_line(body: &[u8], place: &std::ops::Range<u32>) -> Result<ListRequest, Problem> {
    const FIRST_BYTES_MAX: usize = 64 * 1024;
    parse_body(slice(body, place), FIRST_BYTES_MAX)
}

fn slice<'a>(body: &'a [u8], place: &std::ops::Range<u32>) -> &'a [u8] {
    body.get(place.start as usize..place.end as usize).unwrap_or_default()
}

fn at_line(number: usize, what: &str) -> Problem {
    Problem::InvalidRequest(format!("line {number}: {what}"))
}

fn in_line(number: usize, problem: Problem) -> Problem {
    match problem {
        Problem::InvalidRequest(what) => at_line(number, &what),
        Problem::BodyTooLarge => at_line(number, "it is too long"),
        other => other,
    }
}

/// The places of a body's lines, each with its number from 1. What follows the last line break is a line unless it is empty.
struct Lines<'a> {
    body: &'a [u8],
    from: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(body: &'a [u8]) -> Self {
        Self { body, from: 0, number: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = (std::ops::Range<u32>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.from..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let from = u32::try_from(self.from).ok()?;
        let until = u32::try_from(self.from + length).ok()?;
        self.from += length + 1;
        self.number += 1;
        Some((from..until, self.number))
    }
}
