//! An agreement that is managed here, and the steps that people take of it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Managed, Options, Step, Stop, Tab, correction, managed, named, options, steps_of, tabs, terms_of,
};
use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, organisation, render, words},
    pages::{
        kept, segment,
        sure::{self, Question, Said},
    },
    person::Right,
    session::Signed,
};

#[derive(Template)]
#[template(path = "managed.html")]
struct ManagedPage {
    frame: Frame,
    tabs: Vec<Tab>,
    one: Managed,
    register: Option<String>,
    steps: Vec<Step>,
    /// Whether this person takes steps of agreements at all.
    may_act: bool,
    possible: Options,
    /// What cannot be done yet, and why.
    not_yet: Options,
    scopes: Options,
    stops: Vec<String>,
    reasons: Options,
    said: Filled,
}

impl ManagedPage {
    /// Whether a step can be taken, or was wanted.
    fn offers(&self, step: &str) -> bool {
        self.possible.iter().any(|(code, _)| code == step)
    }
}

/// What somebody has filled in of a step.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Filled {
    step: String,
    scope: String,
    reason: String,
    next_on: String,
    text: String,
}

/// The name under which a step is kept while somebody proves who they are.
fn kept_step(id: &str) -> String {
    format!("{id}/step")
}

/// Why an agreement is switched off.
const REASONS: [(&str, &str); 7] = [
    ("breach", "A breach, or the fear of one"),
    ("lawful-basis", "The law on which it rests is in doubt"),
    ("data-quality", "What leaves is wrong or stale"),
    ("obligations-not-kept", "The recipient does not do what it took on"),
    ("regulator", "A supervisory authority or a court asks for it"),
    ("security", "A system is not safe to be used"),
    ("other", "Another reason"),
];

/// Steps that need no more than this form. Terms, signatures and advice have pages of their own.
const STEPS: [(&str, &str); 16] = [
    ("review", "We are looking at it"),
    ("accept", "We agree in principle"),
    ("decline", "We leave the negotiation"),
    ("propose", "Put the draft to the parties"),
    ("proceed", "Go on with the parties that have agreed"),
    ("withdraw", "Take the proposal back"),
    ("assure", "It is in order"),
    ("open-signing", "Ask the parties to sign"),
    ("activate", "Ask for it to be put in force"),
    ("confirm", "Confirm what a colleague asked for"),
    ("reject", "Say no to what a colleague asked for, or take our own asking back"),
    ("suspend", "Switch it off, at once"),
    ("resume", "Switch it on again"),
    ("reviewed", "We have reviewed it"),
    ("exit", "Our organisation leaves it, at once"),
    ("terminate", "Ask for it to be ended"),
];

/// Steps that no other step takes back, with what becomes of it.
const FINAL: [(&str, &str); 4] = [
    (
        "decline",
        "Your organisation takes no further part in this negotiation. The others can go on where there are two of them that share something.",
    ),
    ("withdraw", "What is negotiated is no more. Whoever wants it begins again, with a new draft."),
    ("confirm", "What a colleague asked for takes effect at once."),
    (
        "exit",
        "What your organisation gives and gets under it stops at once, everywhere. It comes back only with a new version that all sign.",
    ),
];

/// What waits for a second person, in words.
fn waiting(what: &str) -> String {
    match what {
        "activation" => "It is put in force",
        "termination" => "It is ended, for all",
        "succession" => "Another organisation takes a place in it",
        other => other,
    }
    .to_owned()
}

/// All of an agreement, as a scope of the form.
const ALL: &str = "agreement";

/// What is switched off, in words.
fn scope_said(console: &Console, scope: &Value) -> String {
    let named = |kind: &str| scope.get(kind).and_then(Value::as_str);
    match (named("party"), named("flow")) {
        (Some(party), _) => format!("What {} gives and gets", organisation(console, party)),
        (None, Some(flow)) => format!("The flow {flow}"),
        (None, None) => "All of it".to_owned(),
    }
}

pub(in crate::pages) fn stopped(console: &Console, stop: &Stop) -> String {
    let by = stop.by.as_deref().map_or_else(|| "time alone".to_owned(), |by| organisation(console, by));
    format!("{}, by {by}: {}", scope_said(console, &stop.scope), words(&stop.reason))
}

/// A sentence as it is read on a page: the API's begin with a small letter, and end with none.
fn sentence_of(advice: &str) -> String {
    format!("{}.", Correction::of(advice).text)
}

/// What can be switched off: all of it, a party's flows, or one flow.
async fn scopes(console: &Console, signed: &Signed, one: &Managed) -> Result<Options, Fault> {
    let mut chosen = vec![ALL.to_owned()];
    if let Some(version) = &one.in_force {
        chosen.extend(version.parties.iter().map(|party| format!("party:{}", party.organisation)));
        let terms = terms_of(console, signed, &one.id, version.number).await?;
        let flows = terms.get("flows").and_then(Value::as_array).into_iter().flatten();
        let names = flows.filter_map(|flow| flow.get("id").and_then(Value::as_str));
        chosen.extend(names.map(|name| format!("flow:{name}")));
    }
    let said = |chosen: String| {
        let said = scope_said(console, &scope(&chosen));
        (chosen, said)
    };
    Ok(chosen.into_iter().map(said).collect())
}

/// A scope of the form as the API has it.
fn scope(chosen: &str) -> Value {
    match chosen.split_once(':') {
        Some((kind, name)) => json!({ kind: name }),
        None => json!(ALL),
    }
}

/// The page, with what was kept of a step.
pub(super) async fn show(console: &Console, signed: &Signed, id: &str) -> Result<Response, Fault> {
    let kept = kept::take(console, signed, ("words", &kept_step(id))).await?;
    page(console, signed, id, (kept.is_some(), kept.unwrap_or_default()), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    id: &str,
    (was_kept, said): (bool, Filled),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one = managed(console, signed, id).await?;
    let steps = steps_of(console, signed, id).await?;
    let status = status_of(correction.as_ref());
    let may_act = [Right::Draft, Right::Approve].into_iter().any(|right| signed.person.may(right));
    // What was wanted and cannot be done now stays chosen, beside why.
    let offered = |code: &str| one.possible.iter().any(|step| step == code) || code == said.step;
    let mut possible = options(&STEPS);
    possible.retain(|(code, _)| offered(code));
    if !possible.is_empty() {
        possible.insert(0, (String::new(), "Choose a step".to_owned()));
    }
    let not_yet = one.not_yet.iter().filter_map(|waits| {
        let (_, what) = STEPS.into_iter().find(|(code, _)| *code == waits.step)?;
        Some((what.to_owned(), sentence_of(&waits.advice)))
    });
    let page = ManagedPage {
        frame: Frame::of(signed, format!("{}: {}", one.id, one.title), "/agreements")
            .back_to("/agreements", "Agreements")
            .correcting(correction)
            .keeping(was_kept),
        may_act,
        not_yet: not_yet.collect(),
        possible,
        scopes: if may_act { scopes(console, signed, &one).await? } else { Vec::new() },
        reasons: options(&REASONS),
        stops: one.stops.iter().map(|stop| stopped(console, stop)).collect(),
        tabs: tabs(&one, ""),
        register: one.in_force.is_some().then(|| console.register()),
        steps: named(console, steps),
        one: one.named(console),
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// Takes a step. Whether it is possible, and for whom, the API says.
pub(crate) async fn act(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/agreements/{}", segment(&id));
    let field = |name: &str| form.field(name).to_owned();
    let said = Filled {
        step: field("step"),
        scope: field("scope"),
        reason: field("reason"),
        next_on: field("next_on"),
        text: field("text"),
    };
    if !form.signed.is_fresh(&console) {
        // Nothing is kept for somebody who does not see the agreement.
        managed(&console, &form.signed, &id).await?;
    }
    if let Some(response) = kept::step_up_form(&console, &form.signed, &to, (&kept_step(&id), &said)).await? {
        return Ok(response);
    }
    let Ok(revision) = form.field("revision").parse() else { return Err(Fault::not_found()) };
    let body = match body(&said) {
        Ok(body) => body,
        Err(wrong) => return page(&console, &form.signed, &id, (false, said), Some(wrong)).await,
    };
    if let Some((_, becomes)) = FINAL.into_iter().find(|(code, _)| *code == said.step) {
        let one = managed(&console, &form.signed, &id).await?;
        // What cannot be done is refused, and not asked about.
        if one.revision == revision && one.possible.contains(&said.step) {
            let title = STEPS.into_iter().find(|(code, _)| *code == said.step).map_or("", |(_, what)| what);
            let asked_for = one.waits_for_confirmation.as_deref().filter(|_| said.step == "confirm");
            let asked_for = asked_for.map(|what| ("What was asked for", waiting(what)));
            let words = asked_for.into_iter().chain([("Why", said.text.clone())]).collect();
            let about = format!("{} ({})", one.title, one.id);
            match sure::ask(&form, &Question { title, about: &about, becomes, said: words }) {
                Said::Yes => {}
                Said::No => return page(&console, &form.signed, &id, (false, said), None).await,
                Said::Asked(page) => return Ok(page),
            }
        }
    }
    let asked = Ask::post(format!("/v1{to}/steps"), &body).made_to(revision);
    let wrong = match console.ask::<Value>(&form.signed, asked).await {
        Ok(_) => return Ok(Redirect::to(&to).into_response()),
        Err(Fault::Refused { status: StatusCode::PRECONDITION_FAILED, detail, .. }) => {
            Correction { field: "step".to_owned(), text: Correction::of(&detail).text }
        }
        Err(fault) => correction(fault, &["scope", "reason", "next_on", "text"])?,
    };
    page(&console, &form.signed, &id, (false, said), Some(wrong)).await
}

/// The step as the API has it.
fn body(said: &Filled) -> Result<Value, Correction> {
    let Some((step, _)) = STEPS.into_iter().find(|(code, _)| *code == said.step) else {
        return Err(Correction::of("step: choose a step"));
    };
    let text = &said.text;
    Ok(match step {
        "suspend" => {
            json!({ "step": step, "scope": scope(&said.scope), "reason": said.reason, "text": text })
        }
        "resume" => json!({ "step": step, "scope": scope(&said.scope), "text": text }),
        "reviewed" => match days::read(&said.next_on) {
            Some(next_on) => json!({ "step": step, "next_on": next_on.to_string(), "text": text }),
            None => return Err(Correction::of("next_on: a day, such as 1 April 2028 or 2028-04-01")),
        },
        _ => json!({ "step": step, "text": text }),
    })
}
