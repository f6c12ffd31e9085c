//! Writing terms: a draft again, a counter-proposal, a variation, or terms for a dispute. What is written is shown as differences
//! before it is sent, is kept until it is, and is sent to the revision that it was written to: whoever comes second is told what
//! changed and keeps their text.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Managed, Options, Step, Tab, WHY, correction,
    differences::{Changed, Differences, changed},
    fields::{self, Group},
    frame, managed, options, steps_of, tabs, terms_of,
};
use crate::pages::kept;
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, render},
    person::Right,
    session::Signed,
};

/// What the terms become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Revise,
    Counter,
    Vary,
    Propose,
}

impl Becomes {
    fn title(self) -> &'static str {
        match self {
            Self::Revise => "Write the draft again",
            Self::Counter => "Propose other terms",
            Self::Vary => "Begin a new version",
            Self::Propose => "Put terms on the table",
        }
    }
}

/// What is being written.
#[derive(Clone, Serialize, Deserialize)]
struct Writing {
    /// The version that it was written over.
    base: u32,
    /// The revision that it is sent to: of the dispute, where it is for one.
    revision: i64,
    terms: Value,
    /// As text, where that is how it is written.
    as_text: bool,
    dispute: String,
    reason: String,
    text: String,
    interest: String,
    /// Whether the differences were seen and it was to be sent.
    sent: bool,
}

/// How the page is asked for.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default, rename = "as")]
    how: String,
    #[serde(default)]
    dispute: String,
}

#[derive(Template)]
#[template(path = "terms_editor.html")]
struct EditorPage {
    frame: Frame,
    tabs: Vec<Tab>,
    id: String,
    writing: Writing,
    was_kept: bool,
    groups: Vec<Group>,
    /// The terms as text; empty in fields.
    all: String,
    /// The terms that the fields are of.
    over: String,
    action: &'static str,
}

#[derive(Template)]
#[template(path = "terms_preview.html")]
struct PreviewPage {
    frame: Frame,
    tabs: Vec<Tab>,
    id: String,
    writing: Writing,
    terms: String,
    differences: Vec<Changed>,
    moved: Option<Moved>,
    why: Options,
    has_reason: bool,
    has_words: bool,
    has_interest: bool,
    action: &'static str,
}

/// What somebody else did in the meantime.
struct Moved {
    steps: Vec<Step>,
    from: u32,
    to: u32,
    differences: Vec<Changed>,
}

/// What an agreement's terms can become now, for this person.
fn possible(one: &Managed, signed: &Signed, dispute: &str) -> Result<Becomes, Fault> {
    let person = &signed.person;
    if !dispute.is_empty() {
        let speaks =
            [Right::Draft, Right::Approve, Right::Mediate].into_iter().any(|right| person.may(right));
        return if speaks { Ok(Becomes::Propose) } else { Err(Fault::forbidden()) };
    }
    if !person.may(Right::Draft) {
        return Err(Fault::forbidden());
    }
    match one.negotiated.as_ref().map(|version| version.state.as_str()) {
        Some("draft") => Ok(Becomes::Revise),
        Some("proposed" | "counter-proposed" | "agreed-in-principle") => Ok(Becomes::Counter),
        None => Ok(Becomes::Vary),
        Some(_) => Err(Fault::refused(
            StatusCode::CONFLICT,
            "The terms cannot be changed now",
            "they were found in order, and are being signed; whoever convened it can take the proposal back, and then terms are written again",
        )),
    }
}

/// Whether this person can write terms now, of their own or to put on the table in a dispute.
pub(super) fn may_write(one: &Managed, signed: &Signed, dispute: &str) -> bool {
    possible(one, signed, dispute).is_ok()
}

fn name_of(id: &str, dispute: &str) -> String {
    if dispute.is_empty() { id.to_owned() } else { format!("{id}/{dispute}") }
}

fn address(id: &str, dispute: &str) -> String {
    let path = format!("/agreements/{}/terms", crate::pages::segment(id));
    if dispute.is_empty() { path } else { format!("{path}?dispute={}", crate::pages::segment(dispute)) }
}

#[derive(Deserialize)]
struct Dispute {
    revision: i64,
    version: u32,
}

async fn dispute_of(console: &Console, signed: &Signed, id: &str, dispute: &str) -> Result<Dispute, Fault> {
    let segment = crate::pages::segment;
    let path = format!("/v1/agreements/{}/disputes/{}", segment(id), segment(dispute));
    console.ask(signed, Ask::get(path)).await
}

/// The form: with what was kept, or with the terms as they are.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let one = managed(&console, &signed, &id).await?;
    possible(&one, &signed, &asked.dispute)?;
    let name = name_of(&id, &asked.dispute);
    if let Some(writing) = kept::kept::<Writing>(&console, &signed, ("terms", &name)).await? {
        let place = Place { console: &console, signed: &signed, one };
        if writing.sent {
            return place.preview(writing, None, None).await;
        }
        return place.editor(writing, true, None);
    }
    let (base, revision) = if asked.dispute.is_empty() {
        (one.latest(), one.revision)
    } else {
        let dispute = dispute_of(&console, &signed, &id, &asked.dispute).await?;
        (dispute.version, dispute.revision)
    };
    let terms = terms_of(&console, &signed, &id, base).await?;
    let writing = Writing {
        base,
        revision,
        terms,
        as_text: asked.how == "text",
        dispute: asked.dispute,
        reason: String::new(),
        text: String::new(),
        interest: String::new(),
        sent: false,
    };
    Place { console: &console, signed: &signed, one }.editor(writing, false, None)
}

/// Where it is written: for whom, and of which agreement.
struct Place<'a> {
    console: &'a Console,
    signed: &'a Signed,
    one: Managed,
}

impl Place<'_> {
    fn editor(
        self,
        writing: Writing,
        was_kept: bool,
        correction: Option<Correction>,
    ) -> Result<Response, Fault> {
        let step = possible(&self.one, self.signed, &writing.dispute)?;
        let status = status_of(correction.as_ref());
        let set = self.console.gateway.policies();
        let (groups, all) = match (&writing.terms, writing.as_text) {
            // What is no JSON is shown as it was written.
            (Value::String(text), true) => (Vec::new(), text.clone()),
            (terms, true) => (Vec::new(), serde_json::to_string_pretty(terms).unwrap_or_default()),
            (terms, false) => (fields::groups(terms, &set), String::new()),
        };
        let page = EditorPage {
            frame: frame(self.signed, &self.one, step.title()).correcting(correction),
            tabs: tabs(&self.one, "versions"),
            id: self.one.id,
            over: if writing.as_text { String::new() } else { writing.terms.to_string() },
            writing,
            was_kept,
            groups,
            all,
            action: step.title(),
        };
        Ok((status, render(&page)).into_response())
    }

    /// What would differ, before it is sent.
    async fn preview(
        self,
        writing: Writing,
        moved: Option<Moved>,
        wrong: Option<Correction>,
    ) -> Result<Response, Fault> {
        let step = possible(&self.one, self.signed, &writing.dispute)?;
        let segment = crate::pages::segment;
        let path = format!("/v1/agreements/{}/versions/{}/compare", segment(&self.one.id), writing.base);
        let asked = Ask::post(path, &json!({ "terms": writing.terms }));
        let found = match self.console.ask::<Differences>(self.signed, asked).await {
            Ok(found) => found,
            Err(fault) => {
                let said = correction(fault, &[])?;
                let said =
                    if writing.as_text { Correction { field: "all".to_owned(), ..said } } else { said };
                return self.editor(writing, false, Some(said));
            }
        };
        let status = match (&moved, &wrong) {
            (Some(_), _) => StatusCode::PRECONDITION_FAILED,
            (None, Some(_)) => StatusCode::BAD_REQUEST,
            (None, None) => StatusCode::OK,
        };
        let page = PreviewPage {
            frame: frame(self.signed, &self.one, "What would change").correcting(wrong),
            tabs: tabs(&self.one, "versions"),
            id: self.one.id,
            terms: writing.terms.to_string(),
            writing,
            differences: changed(&self.console.gateway.policies(), found.differences),
            moved,
            why: options(&WHY),
            has_reason: matches!(step, Becomes::Counter | Becomes::Vary),
            has_words: step != Becomes::Revise,
            has_interest: step == Becomes::Counter,
            action: step.title(),
        };
        Ok((status, render(&page)).into_response())
    }

    /// Somebody else was first: what they did, and the same text over what is there now.
    async fn second(self, mut writing: Writing) -> Result<Response, Fault> {
        let (console, signed) = (self.console, self.signed);
        let id = self.one.id;
        let one = managed(console, signed, &id).await?;
        let segment = crate::pages::segment(&id);
        let mut steps = steps_of(console, signed, &id).await?;
        let (from, to) = (writing.base, one.latest());
        let differences = if from == to {
            Vec::new()
        } else {
            let path = format!("/v1/agreements/{segment}/diff?from={from}&to={to}");
            let found: Differences = console.ask(signed, Ask::get(path)).await?;
            changed(&console.gateway.policies(), found.differences)
        };
        let before = writing.revision;
        if writing.dispute.is_empty() {
            steps.retain(|step| step.revision > before);
            writing.revision = one.revision;
            writing.base = to;
        } else {
            // A dispute's own steps are on its page.
            steps.clear();
            writing.revision = dispute_of(console, signed, &id, &writing.dispute).await?.revision;
        }
        writing.sent = false;
        kept::keep(console, signed, ("terms", &name_of(&id, &writing.dispute)), &writing).await?;
        // What they did may be that nobody writes terms any more. What was written is kept all the same.
        possible(&one, signed, &writing.dispute)?;
        let moved = Moved { steps, from, to, differences };
        Place { console, signed, one }.preview(writing, Some(moved), None).await
    }
}

/// What the form says, over the terms that it was made of.
async fn written(console: &Console, form: &Form, id: &str) -> Result<(Writing, Option<Correction>), Fault> {
    let number = |name: &str| form.field(name).parse::<i64>().map_err(|_| Fault::not_found());
    let text = |name: &str| form.field(name).to_owned();
    let base = u32::try_from(number("base")?).map_err(|_| Fault::not_found())?;
    let mut writing = Writing {
        base,
        revision: number("revision")?,
        terms: Value::Null,
        as_text: form.field("as") == "text",
        dispute: text("dispute"),
        reason: text("reason"),
        text: text("text"),
        interest: text("interest"),
        sent: false,
    };
    if !form.field("terms").is_empty() {
        // From the page of differences. Whether they fit, the API says.
        writing.terms = serde_json::from_str(form.field("terms")).map_err(|_| Fault::not_found())?;
        return Ok((writing, None));
    }
    if writing.as_text {
        return Ok(match serde_json::from_str(form.field("all")) {
            Ok(terms @ Value::Object(_)) => (Writing { terms, ..writing }, None),
            Ok(_) => {
                let wrong = "all: the terms are an object: { \"title\": … }";
                (Writing { terms: form.field("all").into(), ..writing }, Some(Correction::of(wrong)))
            }
            Err(error) => {
                let wrong =
                    format!("all: this is no JSON from line {}, column {} on", error.line(), error.column());
                (Writing { terms: form.field("all").into(), ..writing }, Some(Correction::of(&wrong)))
            }
        });
    }
    // The fields are of the terms that the form was made of, which somebody may have changed before.
    let terms = match serde_json::from_str(form.field("over")) {
        Ok(terms @ Value::Object(_)) => terms,
        _ => terms_of(console, &form.signed, id, base).await?,
    };
    let said = |name: &str| form.all(name).first().map(|value| value.trim().to_owned());
    let (terms, wrong) = fields::apply(&terms, &console.gateway.policies(), &said);
    Ok((Writing { terms, ..writing }, wrong))
}

/// Shows what would change, goes back to the form, sends it, or forgets it.
pub(crate) async fn write(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let signed = &form.signed;
    let one = managed(&console, signed, &id).await?;
    let dispute = form.field("dispute");
    let name = name_of(&id, dispute);
    if form.field("do") == "forget" {
        kept::forget(&console, signed, ("terms", &name)).await?;
        return Ok(Redirect::to(&address(&id, dispute)).into_response());
    }
    possible(&one, signed, dispute)?;
    let (mut writing, wrong) = written(&console, &form, &id).await?;
    let place = Place { console: &console, signed, one };
    if wrong.is_some() {
        return place.editor(writing, false, wrong);
    }
    writing.sent = form.field("do") == "send";
    kept::keep(&console, signed, ("terms", &name), &writing).await?;
    match form.field("do") {
        "send" => {
            if !signed.is_fresh(&console) {
                return Ok(crate::pages::prove(signed, &address(&id, dispute), true));
            }
            send(place, writing).await
        }
        "edit" => place.editor(writing, false, None),
        _ => place.preview(writing, None, None).await,
    }
}

async fn send(place: Place<'_>, writing: Writing) -> Result<Response, Fault> {
    let (console, signed) = (place.console, place.signed);
    let id = place.one.id.clone();
    let step = possible(&place.one, signed, &writing.dispute)?;
    let segment = crate::pages::segment;
    let mut path = format!("/v1/agreements/{}/steps", segment(&id));
    let mut to = format!("/agreements/{}", segment(&id));
    let terms = &writing.terms;
    let mut body = match step {
        Becomes::Revise => json!({ "step": "revise", "terms": terms }),
        Becomes::Vary | Becomes::Counter if writing.reason.is_empty() => {
            let wrong = Correction::of("reason: choose why");
            return place.preview(writing, None, Some(wrong)).await;
        }
        Becomes::Vary => {
            json!({ "step": "vary", "terms": terms, "reason": writing.reason, "text": writing.text })
        }
        Becomes::Counter => {
            json!({ "step": "counter", "terms": terms, "reason": writing.reason, "text": writing.text })
        }
        Becomes::Propose => {
            to = format!("{to}/disputes/{}", segment(&writing.dispute));
            path = format!("/v1{to}/steps");
            json!({ "step": "propose-terms", "terms": terms, "text": writing.text })
        }
    };
    if let (Becomes::Counter, false, Some(members)) =
        (step, writing.interest.is_empty(), body.as_object_mut())
    {
        members.insert("interest".to_owned(), writing.interest.clone().into());
    }
    match console.ask::<Value>(signed, Ask::post(path, &body).made_to(writing.revision)).await {
        Ok(_) => {
            kept::forget(console, signed, ("terms", &name_of(&id, &writing.dispute))).await?;
            Ok(Redirect::to(&to).into_response())
        }
        Err(Fault::Refused { status: StatusCode::PRECONDITION_FAILED, .. }) => place.second(writing).await,
        Err(fault) => {
            let wrong = correction(fault, &["reason", "text", "interest"])?;
            place.preview(writing, None, Some(wrong)).await
        }
    }
}
