//! For a resident: whether something about them may be shared that moves only if they agree. They are shown what, to whom, what for
//! and for how long before they answer; no is as easy as yes, and taking it back is one button under "My choices".

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde_json::{Value, json};
use sharing::{
    PolicySet, PurposeClass,
    agreement::FlowItem,
    consenting::{self, ConsentQuestion},
    explain,
    subject::{ConsentType, Shown},
};

use super::{
    citizen::{Consent, Held, held, own},
    said::options,
    segment,
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, in_london_day, organisation, render, sentence},
    session::Signed,
};

/// A question in the list.
pub(super) struct Asked {
    pub(super) address: String,
    pub(super) recipient: String,
    pub(super) purpose: String,
    /// What has become of it: `agreed`; `more`, where there is more in it now than they agreed to; `part`, where one of the consents that it
    /// needs was taken back; nothing where no yes holds.
    pub(super) state: &'static str,
}

#[derive(Template)]
#[template(path = "my_consent.html")]
struct ConsentPage {
    frame: Frame,
    holder: String,
    recipient: String,
    purpose: String,
    agreement: String,
    version: u32,
    /// What is told only after a yes, and why it is needed.
    items: Vec<(String, String)>,
    /// What may be told without one.
    anyway: Vec<(String, String)>,
    /// An objection stops that.
    may_object: bool,
    /// Since when a yes of theirs to this flow holds, in whatever version they were shown.
    agreed_since: Option<String>,
    /// One of the consents that it needs was taken back, and another holds.
    is_in_part: bool,
    /// What there is now that they were not shown then.
    changed: Vec<String>,
    /// What that yes still covers.
    still: Vec<String>,
    /// What they see, as a digest: the answer is to that.
    shown: String,
    age_from_years: Option<i16>,
    kept_days: u16,
    passed_on: &'static str,
    until: String,
    /// Where the parties tell people about it.
    notices: Vec<(String, String)>,
    answers: Vec<(String, String)>,
    answer: String,
    is_own: bool,
    address: String,
}

const ANSWERS: [(&str, &str); 2] = [("given", "Yes, I agree"), ("refused", "No, I do not agree")];

fn questions<'a>(
    console: &Console,
    signed: &Signed,
    set: &'a PolicySet,
) -> Result<Vec<ConsentQuestion<'a>>, Fault> {
    let own = own(signed)?;
    Ok(consenting::questions(set, own.scheme(), &signed.person.organisation, console.gateway.now()))
}

fn address(question: &ConsentQuestion<'_>) -> String {
    let (agreement, flow) = (question.agreement.id().as_str(), question.flow.id.get_ref().as_str());
    format!("/my-choices/consent/{}/{}", segment(agreement), segment(flow))
}

/// A yes to a flow that holds.
#[derive(Default)]
struct Agreed<'a> {
    /// What the person was shown when they said it, for each consent that the flow needs.
    then: Vec<Vec<&'a Shown>>,
    /// When they said it; nothing where none holds.
    since: Option<String>,
}

impl<'a> Agreed<'a> {
    /// What there is of it.
    fn of(question: &ConsentQuestion<'_>, held: &'a Held) -> Self {
        let (agreement, flow) = (question.agreement.id(), question.flow.id.get_ref());
        let of_flow = |shown: &Shown| shown.agreement == *agreement && shown.flow == *flow;
        let consents = || held.consents.iter().filter(|one| one.shown.as_ref().is_some_and(of_flow));
        let latest = consents().max_by_key(|one| one.shown.as_ref().map(|shown| shown.version));
        let of_type = |wanted: &ConsentType| {
            let is_of_it = |one: &&Consent| one.of_type == wanted.as_str();
            consents().filter(is_of_it).filter_map(|one| one.shown.as_ref()).collect()
        };
        Self {
            then: question.types.iter().map(of_type).collect(),
            since: latest.map(|one| one.given.clone()),
        }
    }

    /// One of the consents that the flow needs is there, and another is not.
    fn is_in_part(&self) -> bool {
        self.since.is_some() && self.then.iter().any(Vec::is_empty)
    }

    /// Everything that they were shown, for whichever consent.
    fn shown(&self) -> Vec<&'a Shown> {
        self.then.iter().flatten().copied().collect()
    }

    /// What is asked that not every consent which it needs covers.
    fn beyond<'b>(&self, question: &'b ConsentQuestion<'_>) -> Vec<&'b FlowItem> {
        let each: Vec<_> = self.then.iter().map(|then| question.beyond(then)).collect();
        let is_beyond = |item: &&FlowItem| each.iter().flatten().any(|other| std::ptr::eq(*other, *item));
        question.asked.iter().copied().filter(is_beyond).collect()
    }
}

/// What somebody can be asked.
pub(super) fn all(console: &Console, signed: &Signed, held: &Held) -> Result<Vec<Asked>, Fault> {
    let set = console.gateway.policies();
    let asked = |question: &ConsentQuestion<'_>| Asked {
        address: address(question),
        recipient: organisation(console, question.flow.recipient.get_ref().as_str()),
        purpose: question.flow.purpose.title().to_owned(),
        state: match Agreed::of(question, held) {
            agreed if agreed.since.is_none() => "",
            agreed if agreed.is_in_part() => "part",
            agreed if agreed.beyond(question).is_empty() => "agreed",
            _ => "more",
        },
    };
    Ok(questions(console, signed, &set)?.iter().map(asked).collect())
}

/// The question, and the form.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(of): Path<(String, String)>,
) -> Result<Response, Fault> {
    page(&console, &signed, &of, ("", false), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    (agreement, flow): &(String, String),
    (answer, is_own): (&str, bool),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let held = held(console, signed).await?;
    let set = console.gateway.policies();
    let questions = questions(console, signed, &set)?;
    let is_it = |one: &&ConsentQuestion<'_>| {
        one.agreement.id().as_str() == agreement && one.flow.id.get_ref().as_str() == flow
    };
    let one = questions.iter().find(is_it).ok_or_else(Fault::not_found)?;
    let provider = one.flow.provider.get_ref().as_str();
    let recipient = organisation(console, one.flow.recipient.get_ref().as_str());
    let called = |item: &FlowItem| explain::released_item(&set, provider, &item.with_form());
    let item = |item: &&FlowItem| (called(item), item.justification.clone());
    let agreed = Agreed::of(one, &held);
    let (then, beyond, is_in_part) = (agreed.shown(), agreed.beyond(one), agreed.is_in_part());
    let agreed_since = agreed.since;
    let is_beyond = |item: &&&FlowItem| beyond.iter().any(|other| std::ptr::eq(*other, **item));
    let changed =
        if agreed_since.is_some() && !is_in_part { changed(one, &then, &beyond, called) } else { Vec::new() };
    let notice = |party: &sharing::agreement::Party| {
        let notice = party.privacy_notice.clone().filter(|notice| notice.starts_with("https://"))?;
        Some((organisation(console, party.organisation.get_ref().as_str()), notice))
    };
    let status = status_of(correction.as_ref());
    let page = ConsentPage {
        frame: Frame::of(signed, format!("May {recipient} be told about you?"), "/my-choices")
            .back_to("/my-choices", "My choices")
            .correcting(correction),
        holder: organisation(console, one.provider.organisation().as_str()),
        recipient,
        purpose: sentence(one.flow.purpose.title()),
        agreement: one.agreement.title.clone(),
        version: one.agreement.version,
        items: one.asked.iter().map(item).collect(),
        anyway: one.anyway.iter().map(item).collect(),
        may_object: one.flow.purpose.rules().objection_blocks,
        agreed_since,
        is_in_part,
        changed,
        still: one.asked.iter().filter(|item| !is_beyond(item)).map(|item| called(item)).collect(),
        shown: one.shown().sha256(),
        age_from_years: one.flow.cohort.age_from_years,
        kept_days: one.flow.obligations.retain_days,
        passed_on: if one.flow.obligations.onward_sharing { "They may pass it on" } else { "No" },
        until: in_london_day(one.expires_at(console.gateway.now())),
        notices: one.agreement.parties.iter().filter_map(notice).collect(),
        answers: options(&ANSWERS),
        answer: answer.to_owned(),
        is_own,
        address: address(one),
    };
    Ok((status, render(&page)).into_response())
}

/// What there is now that was not shown then, each in its own words.
fn changed(
    now: &ConsentQuestion<'_>,
    then: &[&Shown],
    beyond: &[&FlowItem],
    called: impl Fn(&FlowItem) -> String,
) -> Vec<String> {
    let bound = &now.flow.obligations;
    let provider = now.flow.provider.get_ref();
    let was_shown = |item: &&&FlowItem| {
        item.with_form()
            .parse()
            .is_ok_and(|item| then.iter().any(|shown| shown.provider == *provider && shown.includes(&item)))
    };
    let (known, new): (Vec<&&FlowItem>, Vec<_>) = beyond.iter().partition(was_shown);
    let mut changed = Vec::new();
    // What they were shown before is beyond it for what is done with it.
    if !known.is_empty() {
        let kept = then.iter().map(|shown| shown.retain_days).filter(|days| *days < bound.retain_days);
        changed.extend(
            kept.max().map(|days| format!("it is kept for {} days, and not for {days}", bound.retain_days)),
        );
        if bound.onward_sharing && then.iter().any(|shown| !shown.onward_sharing) {
            changed.push("it may be passed on".to_owned());
        }
    }
    changed.extend(new.into_iter().map(|item| called(item)));
    changed
}

/// The answer.
pub(crate) async fn answer(
    State(console): State<Arc<Console>>,
    Path(of): Path<(String, String)>,
    form: Form,
) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let (said, is_own) = (form.field("answer"), form.field("own") == "1");
    let to = format!("/my-choices/consent/{}/{}", segment(&of.0), segment(&of.1));
    // Saying yes lets something be shared: somebody who finds the page open does not do it for them. Saying no does not wait.
    if said == "given"
        && let Some(response) = super::step_up_form(&console, &form.signed, &to)
    {
        return Ok(response);
    }
    let missing = if !ANSWERS.iter().any(|(code, _)| *code == said) {
        Some("answer: choose yes or no")
    } else if said == "given" && !is_own {
        Some("own: agree only for yourself, and if you are 16 or over")
    } else {
        None
    };
    let correction = if let Some(missing) = missing {
        Correction::of(missing)
    } else {
        let Ok(version) = form.field("version").parse::<u32>() else { return Err(Fault::not_found()) };
        let body = json!({
            "subject": { "scheme": "nhs-number", "value": own.as_str() },
            "agreement": of.0,
            "version": version,
            "flow": of.1,
            "shown": form.field("shown"),
            "answer": said,
        });
        let ask = Ask::post("/v1/own-consents", &body).about(own, PurposeClass::SubjectAccess, "own-request");
        match console.attempt::<Value>(&form.signed, ask).await? {
            Ok(_) => return Ok(Redirect::to("/my-choices").into_response()),
            Err(correction) => correction,
        }
    };
    page(&console, &form.signed, &of, (said, is_own), Some(correction)).await
}
