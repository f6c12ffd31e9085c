//! Requests for a one-off disclosure: taken, asked about, decided with the fields of the ICO's decision form.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sharing::explain;

use super::{
    agreements::{Stop, step::stopped},
    kept,
    sure::{self, Question, Said},
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, items, organisation, record_holder, render, sentence, when},
    session::Signed,
};

/// A request, as the API has it.
#[derive(Deserialize)]
struct Referral {
    decision_id: String,
    recipient: String,
    practitioner: String,
    provider: String,
    purpose: String,
    asked: Vec<String>,
    state: String,
    opened_at: String,
    due: String,
    overdue: bool,
    taken_by: Option<String>,
    #[serde(default)]
    not_in_force: Vec<NotInForce>,
    form: Value,
    outcome: Option<Value>,
    messages: Vec<Message>,
    /// The items that were asked for, in words.
    #[serde(skip)]
    items: String,
}

/// An agreement that would cover it, and is not in force now.
#[derive(Deserialize)]
struct NotInForce {
    agreement: String,
    flow: String,
    stops: Vec<Stop>,
}

#[derive(Deserialize)]
struct Message {
    organisation: String,
    author: String,
    at: String,
    text: String,
}

impl Referral {
    /// With names in place of codes.
    fn named(mut self, console: &Console) -> Self {
        self.recipient = organisation(console, &self.recipient);
        self.items = if self.asked.is_empty() {
            "everything that would be agreed".to_owned()
        } else {
            items(console, &self.provider, &self.asked)
        };
        self.provider = record_holder(console, &self.provider);
        for message in &mut self.messages {
            message.organisation = organisation(console, &message.organisation);
        }
        self
    }

    fn asker(&self) -> String {
        format!("{} of {}", self.practitioner, self.recipient)
    }
}

#[derive(Deserialize)]
struct Referrals {
    referrals: Vec<Referral>,
}

#[derive(Template)]
#[template(path = "referrals.html")]
struct ListPage {
    frame: Frame,
    /// What has to be decided here, what waits for others, and what is over.
    groups: [(&'static str, &'static str, Vec<Referral>); 3],
}

/// What somebody has filled in.
#[derive(Default, Serialize, Deserialize)]
struct Filled {
    reason: String,
    items: Vec<String>,
    article_6: String,
    article_9: String,
    schedule_1: String,
    confidentiality: String,
    minutes: String,
    retain_days: String,
    /// Why a grant is taken back, or what the practitioner is asked.
    text: String,
}

type Options = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "referral.html")]
struct ReferralPage {
    frame: Frame,
    one: Referral,
    not_in_force: Vec<(String, String)>,
    form: Vec<(String, String)>,
    outcome: Vec<(String, String)>,
    is_mine: bool,
    choices: Options,
    article_6: Options,
    article_9: Options,
    confidentiality: Options,
    said: Filled,
}

fn options(of: &[(&str, &str)]) -> Options {
    of.iter().map(|(code, text)| ((*code).to_owned(), (*text).to_owned())).collect()
}

/// An agreement that is not in force, and what is switched off of it.
fn off(console: &Console, one: &NotInForce) -> (String, String) {
    let stops: Vec<_> = one.stops.iter().map(|stop| stopped(console, stop)).collect();
    let why = if stops.is_empty() { "not active".to_owned() } else { stops.join("; ") };
    (one.agreement.clone(), format!("the flow {}. {why}", one.flow))
}

/// The queue.
pub(crate) async fn list(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let all: Referrals = console.ask(&signed, Ask::get("/v1/referrals")).await?;
    let frame = Frame::of(&signed, "Requests", "/referrals");
    let (mut decide, mut elsewhere, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for one in all.referrals {
        let group = match waits(&console, &signed, &one.provider, &one.state) {
            Waits::Here => &mut decide,
            Waits::Elsewhere => &mut elsewhere,
            Waits::No => &mut over,
        };
        group.push(one.named(&console));
    }
    // What nobody here can do anything about is not late here.
    for one in elsewhere.iter_mut().chain(&mut over) {
        one.overdue = false;
    }
    let groups = [
        ("To decide", "Nothing waits for a decision of yours.", decide),
        (
            "Waiting for others",
            "Nothing waits for anybody else: for a practitioner’s form, or for another organisation.",
            elsewhere,
        ),
        ("Decided", "Nothing yet.", over),
    ];
    Ok(render(&ListPage { frame, groups }))
}

/// For whom a request waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// For a decision of the person's organisation.
    Here,
    /// For the practitioner's form, or for another organisation.
    Elsewhere,
    /// It is over.
    No,
}

/// For whom a request of this state waits. The home page counts what the list shows.
pub(super) fn waits(console: &Console, signed: &Signed, provider: &str, state: &str) -> Waits {
    let set = console.gateway.policies();
    let provider = provider.parse().ok().and_then(|id| set.provider(&id));
    let holds = provider.is_some_and(|found| *found.organisation() == signed.person.organisation);
    match state {
        "requested" | "taken" | "question-asked" if holds => Waits::Here,
        "waiting-for-form" | "requested" | "taken" | "question-asked" => Waits::Elsewhere,
        _ => Waits::No,
    }
}

/// One request.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let kept = kept::take(&console, &signed, ("words", &id)).await?;
    let blank = || Filled { minutes: "1440".to_owned(), retain_days: "28".to_owned(), ..Filled::default() };
    page(&console, &signed, &id, (kept.is_some(), kept.unwrap_or_else(blank)), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    id: &str,
    (was_kept, said): (bool, Filled),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let path = format!("/v1/referrals/{}", super::segment(id));
    let one: Referral = console.ask(signed, Ask::get(path)).await?;
    let set = console.gateway.policies();
    let provider = one.provider.parse().ok();
    let provider = provider.and_then(|id| set.provider(&id));
    let mut choices = Vec::new();
    for item in provider.into_iter().flat_map(|provider| &provider.items) {
        let name = item.id.get_ref().to_string();
        if one.asked.is_empty() || one.asked.contains(&name) {
            for form in &item.forms {
                let form = form.to_string();
                let code = format!("{name}:{form}");
                let called = explain::released_item(&set, &one.provider, &code);
                choices.push((code, called));
            }
        }
    }
    let frame = Frame::of(signed, sentence(&one.purpose), "/referrals").back_to("/referrals", "Requests");
    let status = status_of(correction.as_ref());
    let page = ReferralPage {
        frame: frame.correcting(correction).keeping(was_kept),
        not_in_force: one.not_in_force.iter().map(|one| off(console, one)).collect(),
        form: members(console, &one.form),
        outcome: one.outcome.as_ref().map(|outcome| members(console, outcome)).unwrap_or_default(),
        is_mine: one.taken_by.as_deref() == Some(signed.person.id.as_str()),
        one: one.named(console),
        choices,
        article_6: options(&[
            ("", "Choose one"),
            ("6(1)(e)", "6(1)(e) a public task"),
            ("6(1)(c)", "6(1)(c) a legal obligation"),
            ("6(1)(d)", "6(1)(d) vital interests"),
            ("6(1)(a)", "6(1)(a) consent"),
        ]),
        article_9: options(&[
            ("", "Choose one"),
            ("none", "None is needed: no item is of a special category, such as health"),
            ("9(2)(g)", "9(2)(g) substantial public interest"),
            ("9(2)(h)", "9(2)(h) health or social care"),
            ("9(2)(c)", "9(2)(c) vital interests, and they cannot consent"),
            ("9(2)(a)", "9(2)(a) explicit consent"),
            ("9(2)(i)", "9(2)(i) public health"),
        ]),
        confidentiality: options(&[
            ("", "Choose one"),
            ("not-confidential", "Nothing of it is held in confidence"),
            ("public-interest", "An overriding public interest"),
            ("implied-consent", "Implied consent, for individual care"),
            ("explicit-consent", "Explicit consent"),
        ]),
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// What a form says, in words.
fn members(console: &Console, value: &Value) -> Vec<(String, String)> {
    let set = console.gateway.policies();
    let said = |value: &Value| match value {
        Value::String(text) => when(text),
        Value::Array(values) => {
            let named =
                values.iter().filter_map(Value::as_str).map(|item| explain::released_item(&set, "", item));
            named.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let all = value.as_object().into_iter().flatten();
    all.filter(|(name, _)| *name != "salt").map(|(name, value)| (sentence(name), said(value))).collect()
}

async fn act(
    console: &Console,
    form: &Form,
    id: &str,
    (what, body): (&str, Value),
    said: Filled,
) -> Result<Response, Fault> {
    let path = format!("/v1/referrals/{}/{what}", super::segment(id));
    match console.attempt::<Value>(&form.signed, Ask::post(path, &body)).await? {
        Ok(_) => Ok(Redirect::to(&format!("/referrals/{id}")).into_response()),
        Err(correction) => {
            let correction = at_field(console, form, correction);
            page(console, &form.signed, id, (false, said), Some(correction)).await
        }
    }
}

/// The API names `items[0]`, or `lawful_basis, for items[0]`; the page has a field for each, and items by their names.
fn at_field(console: &Console, form: &Form, correction: Correction) -> Correction {
    if !correction.is_at("") {
        return correction;
    }
    let lower = correction.text.to_lowercase();
    if let Some((place, said)) =
        lower.strip_prefix("lawful_basis, for items[").and_then(|rest| rest.split_once("]: "))
    {
        let item = place.parse::<usize>().ok().and_then(|place| form.all("items").get(place));
        let set = console.gateway.policies();
        let item = item.map(|item| explain::released_item(&set, "", item)).unwrap_or_default();
        let field = match said {
            // What is missing is what the field is for.
            said if said.contains("schedule 1 condition") => "schedule_1",
            said if said.contains("article 9") || said.contains("special-category") => "article_9",
            _ => "article_6",
        };
        return Correction { field: field.to_owned(), text: format!("{item}: {said}") };
    }
    let starts = [
        ("items[", "items"),
        ("lawful_basis", "article_6"),
        ("confidentiality", "confidentiality"),
        ("`lawful_basis", "article_6"),
    ];
    let field = starts.into_iter().find(|(start, _)| lower.starts_with(start)).map_or("", |(_, field)| field);
    Correction { field: field.to_owned(), text: correction.text }
}

/// Takes it.
pub(crate) async fn take(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    act(&console, &form, &id, ("take", json!({})), Filled::default()).await
}

/// Asks the practitioner something.
pub(crate) async fn ask(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let said = Filled { text: form.field("text").to_owned(), ..Filled::default() };
    act(&console, &form, &id, ("ask", json!({ "text": said.text })), said).await
}

/// Takes a grant back, so that it cannot be used any more.
pub(crate) async fn revoke(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let said = Filled { text: form.field("text").to_owned(), ..Filled::default() };
    if let Some(response) = proved(&console, &form, &id, &said).await? {
        return Ok(response);
    }
    if said.text.chars().count() >= 3 {
        let becomes =
            "Nothing more is shared under it. It cannot be given again: they would have to ask anew.";
        let words = vec![("Why", said.text.clone())];
        match sure::ask(
            &form,
            &Question { title: "Take the permission back", about: &id, becomes, said: words },
        ) {
            Said::Yes => {}
            Said::No => return page(&console, &form.signed, &id, (false, said), None).await,
            Said::Asked(page) => return Ok(page),
        }
    }
    act(&console, &form, &id, ("revoke", json!({ "text": said.text })), said).await
}

/// Whether they have proved lately who they are. Nothing is kept for somebody who does not see the request.
async fn proved(console: &Console, form: &Form, id: &str, said: &Filled) -> Result<Option<Response>, Fault> {
    if form.signed.is_fresh(console) {
        return Ok(None);
    }
    let path = format!("/referrals/{}", super::segment(id));
    console.ask::<Value>(&form.signed, Ask::get(format!("/v1{path}"))).await?;
    kept::step_up_form(console, &form.signed, &path, (id, said)).await
}

/// Decides it.
pub(crate) async fn decide(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let text = |name: &str| form.field(name).to_owned();
    let said = Filled {
        reason: text("reason"),
        items: form.all("items").to_vec(),
        article_6: text("article_6"),
        article_9: text("article_9"),
        schedule_1: text("schedule_1"),
        confidentiality: text("confidentiality"),
        minutes: text("minutes"),
        retain_days: text("retain_days"),
        text: String::new(),
    };
    if let Some(response) = proved(&console, &form, &id, &said).await? {
        return Ok(response);
    }
    let one: Referral =
        console.ask(&form.signed, Ask::get(format!("/v1/referrals/{}", super::segment(&id)))).await?;
    // What cannot be done, or not so, is refused, and not asked about.
    let is_theirs = one.taken_by.as_deref() == Some(form.signed.person.id.as_str())
        && matches!(one.state.as_str(), "taken" | "question-asked");
    let may_be = is_theirs && said.reason.chars().count() >= 10;
    let asker = one.named(&console).asker();
    let asked_once_more = |title: &str, becomes: &str, more: Vec<(&'static str, String)>| {
        let words =
            [("Asked by", asker.clone()), ("Why", said.reason.clone())].into_iter().chain(more).collect();
        sure::ask(&form, &Question { title, about: &id, becomes, said: words })
    };
    if form.field("outcome") != "grant" {
        let becomes = "The practitioner is told no, and why. It cannot be allowed after that: they would have to ask again.";
        match if may_be { asked_once_more("Refuse the request", becomes, Vec::new()) } else { Said::Yes } {
            Said::Yes => {}
            Said::No => return page(&console, &form.signed, &id, (false, said), None).await,
            Said::Asked(page) => return Ok(page),
        }
        let body = json!({ "outcome": "refuse", "reason": said.reason });
        return act(&console, &form, &id, ("decide", body), said).await;
    }
    let number = |text: &str, field: &str| {
        text.parse::<u32>().map_err(|_| Correction::of(&format!("{field}: a whole number")))
    };
    let numbers = number(&said.minutes, "minutes")
        .and_then(|minutes| Ok((minutes, number(&said.retain_days, "retain_days")?)));
    let (minutes, days) = match numbers {
        Ok(numbers) => numbers,
        Err(correction) => return page(&console, &form.signed, &id, (false, said), Some(correction)).await,
    };
    // Nothing is answered by leaving it as it was.
    let missing = [
        (&said.article_6, "article_6: choose the lawful basis"),
        (&said.article_9, "article_9: choose the condition, or that none is needed"),
        (&said.confidentiality, "confidentiality: choose how the duty of confidentiality is met"),
    ];
    let missing = missing.into_iter().find(|(value, _)| value.is_empty()).map(|(_, missing)| missing);
    if let Some(missing) = missing.map(Correction::of) {
        return page(&console, &form.signed, &id, (false, said), Some(missing)).await;
    }
    let set = console.gateway.policies();
    let named = said.items.iter().map(|item| explain::released_item(&set, "", item)).collect::<Vec<_>>();
    let becomes =
        "The practitioner can have these items from now on. What they have received cannot be taken back.";
    let more = vec![
        ("What may leave", named.join(", ")),
        ("Lawful basis", [&said.article_6, &said.article_9, &said.schedule_1].map(String::as_str).join(", ")),
        ("Duty of confidentiality", sentence(&said.confidentiality)),
        ("It can be used for", format!("{minutes} minutes")),
        ("It is deleted after", format!("{days} days")),
    ];
    let may_be = may_be && !said.items.is_empty();
    match if may_be { asked_once_more("Allow it once", becomes, more) } else { Said::Yes } {
        Said::Yes => {}
        Said::No => return page(&console, &form.signed, &id, (false, said), None).await,
        Said::Asked(page) => return Ok(page),
    }
    let mut basis = Map::new();
    for (name, value) in
        [("article_6", &said.article_6), ("article_9", &said.article_9), ("schedule_1", &said.schedule_1)]
    {
        if !value.is_empty() && value != "none" {
            basis.insert(name.to_owned(), value.clone().into());
        }
    }
    let body = json!({
        "outcome": "grant",
        "items": said.items,
        "lawful_basis": basis,
        "confidentiality": { "basis": said.confidentiality },
        "minutes": minutes,
        "retain_days": days,
        "reason": said.reason,
    });
    act(&console, &form, &id, ("decide", body), said).await
}
