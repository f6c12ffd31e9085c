//! Disputes: begun by a party, mediated, taken further, ended by the parties. Which step is whose, the API says.

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
    Managed, Options, Tab, frame, managed, options, tabs,
    talks::{self, Filled, Said, at, may_speak},
    terms_of,
};
use crate::pages::{
    kept,
    sure::{self, Question},
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, organisation, render, sentence},
    person::Right,
    session::Signed,
};

/// A dispute, as the API has it.
#[derive(Deserialize)]
struct Dispute {
    id: String,
    revision: i64,
    version: u32,
    clause: String,
    state: String,
    level: String,
    settled_by: Vec<String>,
    due_at: Option<String>,
    between: Vec<String>,
    mediator: Option<String>,
    outcome: Option<String>,
    agreed: Vec<String>,
    precedent: Option<Value>,
    thread: Vec<Said>,
}

impl Dispute {
    /// Who settles it at its level, for each organisation.
    fn settles(&self) -> &'static str {
        match (self.level.as_str(), self.settled_by.is_empty()) {
            (_, true) => "An approver",
            ("governance-leads", _) => {
                "The registered governance lead, or an approver who did not begin it where there is none"
            }
            ("dpo-and-caldicott", _) => {
                "The Caldicott Guardian or the SIRO; the data protection officer can put an outcome on the table"
            }
            ("boards", _) => "Whoever is registered for the board, or the SIRO where nobody is",
            _ => "The SIRO",
        }
    }

    /// With organisations' names in place of their codes.
    fn named(mut self, console: &Console) -> Self {
        let ids = self.between.iter_mut().chain(&mut self.agreed).chain(&mut self.mediator);
        ids.for_each(|id| *id = organisation(console, id));
        self.thread = self.thread.into_iter().map(|said| said.named(console)).collect();
        self
    }

    fn is_over(&self) -> bool {
        self.state == "resolved"
    }
}

/// A step: its code, what it says, and whether it is said in words.
type Step = (&'static str, &'static str, bool);

const BY_PARTIES: [Step; 6] = [
    ("accept-mediator", "Agree to the mediator who offers", false),
    ("release-mediator", "Go on without the mediator", true),
    ("accept-outcome", "Agree to the outcome on the table", false),
    ("settle", "Put an outcome on the table", true),
    ("escalate", "Take it to the next level", true),
    ("withdraw", "Take it back", true),
];
const BY_MEDIATORS: [Step; 3] = [
    ("mediate", "Offer to mediate", false),
    ("settle", "Put an outcome on the table", true),
    ("release-mediator", "Step down as the mediator", true),
];
/// Steps that no other step takes back: what is asked once more, and what becomes of it.
const FINAL: [(&str, &str, &str); 3] = [
    (
        "accept-outcome",
        "Agree to the outcome",
        "Once every party agrees, the dispute is over, with this outcome.",
    ),
    (
        "withdraw",
        "Take the dispute back",
        "The dispute is over. Whoever has it at heart has to begin another.",
    ),
    ("publish", "Agree to publish it", "Once every party agrees, anybody can read it, and it stays public."),
];
const OUTCOMES: [(&str, &str); 4] = [
    ("terms-stand", "The terms stay as they are"),
    ("terms-change", "Other terms are proposed"),
    ("practice-changes", "It is done otherwise, within the terms"),
    ("part-ways", "A party leaves, or the agreement ends"),
];

/// An outcome in words.
fn outcome(code: &str) -> String {
    OUTCOMES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or_else(|| sentence(code), |(_, said)| (*said).to_owned())
}

/// Whether somebody takes steps of disputes at all.
fn person_acts(form: &Form) -> bool {
    [Right::Approve, Right::Sign, Right::Mediate].into_iter().any(|right| form.signed.person.may(right))
}

#[derive(Template)]
#[template(path = "dispute.html")]
struct DisputePage {
    frame: Frame,
    tabs: Vec<Tab>,
    agreement: Managed,
    one: Dispute,
    /// What it is about, in words.
    clause: String,
    between: String,
    precedent: Vec<(String, String)>,
    steps: Vec<Step>,
    outcomes: Options,
    may_speak: bool,
    may_write: bool,
    said: Acted,
}

/// What somebody wrote in a form that was not taken.
#[derive(Default, Serialize, Deserialize)]
struct Acted {
    step: String,
    outcome: String,
    text: String,
    position: String,
    interest: String,
}

impl Acted {
    /// What a field of a form says, if this is the form that was not taken.
    fn of(&self, form: &str, field: &str) -> &str {
        match (form, field) {
            _ if (form == "comment") != (self.step == "comment") => "",
            (_, "text") => &self.text,
            (_, "position") => &self.position,
            (_, "interest") => &self.interest,
            _ => "",
        }
    }
}

fn path(id: &str, dispute: &str) -> String {
    format!("/agreements/{}/disputes/{}", crate::pages::segment(id), crate::pages::segment(dispute))
}

/// Begins one.
pub(crate) async fn open(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let filled = Filled::read(&form, "dispute");
    let Ok(version) = form.field("version").parse::<u32>() else { return Err(Fault::not_found()) };
    let mut body = json!({
        "version": version,
        "clause": form.field("clause"),
        "with": form.all("with"),
        "text": form.field("text"),
        "reason": form.field("reason"),
    });
    for name in ["position", "interest"] {
        if let (false, Some(members)) = (form.field(name).is_empty(), body.as_object_mut()) {
            members.insert(name.to_owned(), form.field(name).into());
        }
    }
    let missing = [
        (form.all("with").is_empty(), "dispute-with", "Choose whom it is with"),
        (form.field("reason").is_empty(), "dispute-reason", "Choose why"),
    ];
    let missing = missing.into_iter().find(|(is_missing, ..)| *is_missing);
    let wrong = if let Some((_, field, text)) = missing {
        Correction { field: field.to_owned(), text: text.to_owned() }
    } else {
        let path = format!("/v1/agreements/{}/disputes", crate::pages::segment(&id));
        match console.ask::<Dispute>(&form.signed, Ask::post(path, &body)).await {
            Ok(made) => return Ok(Redirect::to(&self::path(&id, &made.id)).into_response()),
            Err(fault) => at("dispute", fault, &["clause", "text", "position", "interest", "reason"])?,
        }
    };
    talks::page(&console, &form.signed, &id, (filled, Some(wrong))).await
}

/// The page.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path((id, dispute)): Path<(String, String)>,
) -> Result<Response, Fault> {
    // What they wrote before they proved again who they are.
    let name = format!("{id}/{dispute}");
    let kept = kept::take::<Acted>(&console, &signed, ("words", &name)).await?;
    page(&console, &signed, (&id, &dispute), (kept.is_some(), kept.unwrap_or_default()), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    (id, dispute): (&str, &str),
    (was_kept, said): (bool, Acted),
    correction: Option<(StatusCode, Correction)>,
) -> Result<Response, Fault> {
    let agreement = managed(console, signed, id).await?;
    let one: Dispute = console.ask(signed, Ask::get(format!("/v1{}", path(id, dispute)))).await?;
    let one = one.named(console);
    let terms = terms_of(console, signed, id, one.version).await?;
    let clause = talks::clauses_of(console, &terms).into_iter().find(|(pointer, _)| *pointer == one.clause);
    let clause = clause.map_or_else(|| one.clause.clone(), |(_, said)| said);
    let between = one.between.join(", ");
    let precedent = one.precedent.iter().filter_map(Value::as_object).flatten().map(|(name, value)| {
        let said = match value {
            Value::String(text) if name == "text" => text.clone(),
            Value::String(code) => sentence(code),
            Value::Array(all) => {
                sentence(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
            }
            Value::Bool(yes) => if *yes { "Yes" } else { "No" }.to_owned(),
            _ => "None".to_owned(),
        };
        (sentence(name), said)
    });
    let person = &signed.person;
    let mut steps = Vec::new();
    if one.is_over() {
        if person.may(Right::Approve) {
            steps.push(("publish", "Agree to publish it as a precedent, without names", false));
        }
    } else {
        if person.may(Right::Mediate) {
            steps.extend(BY_MEDIATORS);
        }
        if person.may(Right::Approve) {
            steps.extend(BY_PARTIES.into_iter().filter(|step| !steps.contains(step)).collect::<Vec<_>>());
        } else if person.may(Right::Sign) {
            // Offices settle: whether this is one of the level's, the API says.
            let theirs =
                |step: &Step| ["accept-outcome", "settle"].contains(&step.0) && !steps.contains(step);
            steps.extend(BY_PARTIES.into_iter().filter(theirs).collect::<Vec<_>>());
        }
    }
    let (status, correction) =
        correction.map_or((StatusCode::OK, None), |(status, wrong)| (status, Some(wrong)));
    let page = DisputePage {
        frame: frame(signed, &agreement, "Dispute").correcting(correction).keeping(was_kept),
        tabs: tabs(&agreement, "talks"),
        precedent: precedent.collect(),
        may_speak: !one.is_over() && may_speak(person),
        may_write: !one.is_over() && super::terms::may_write(&agreement, signed, dispute),
        clause,
        between,
        steps,
        outcomes: options(&OUTCOMES),
        agreement,
        one,
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// Says something, or takes a step.
pub(crate) async fn act(
    State(console): State<Arc<Console>>,
    Path((id, dispute)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Fault> {
    let text = |name: &str| form.field(name).to_owned();
    let said = Acted {
        step: text("step"),
        outcome: text("outcome"),
        text: text("text"),
        position: text("position"),
        interest: text("interest"),
    };
    let Ok(revision) = form.field("revision").parse() else { return Err(Fault::not_found()) };
    let known = BY_PARTIES.iter().chain(&BY_MEDIATORS).find(|(code, ..)| *code == said.step);
    let mut body = json!({ "step": said.step });
    let Some(members) = body.as_object_mut() else { return Err(Fault::not_found()) };
    match (said.step.as_str(), known) {
        ("comment", _) => {
            members.insert("text".to_owned(), said.text.clone().into());
            for (name, value) in [("position", &said.position), ("interest", &said.interest)] {
                if !value.is_empty() {
                    members.insert(name.to_owned(), value.clone().into());
                }
            }
        }
        ("publish", _) | (_, Some((.., false))) => {}
        (step, Some((.., true))) => {
            members.insert("text".to_owned(), said.text.clone().into());
            if step == "settle" {
                members.insert("outcome".to_owned(), said.outcome.clone().into());
            }
        }
        (_, None) => {
            let wrong = Correction { field: "step".to_owned(), text: "Choose a step".to_owned() };
            let wrong = Some((StatusCode::BAD_REQUEST, wrong));
            return page(&console, &form.signed, (&id, &dispute), (false, said), wrong).await;
        }
    }
    // Words are free; the rest is a step of somebody who has just said who they are.
    let place = path(&id, &dispute);
    if said.step != "comment" && !form.signed.is_fresh(&console) {
        managed(&console, &form.signed, &id).await?;
        let name = format!("{id}/{dispute}");
        if let Some(response) = kept::step_up_form(&console, &form.signed, &place, (&name, &said)).await? {
            return Ok(response);
        }
    }
    if let Some((_, title, becomes)) = FINAL.into_iter().find(|(code, ..)| *code == said.step) {
        let one: Dispute = console.ask(&form.signed, Ask::get(format!("/v1{place}"))).await?;
        let can_be = match said.step.as_str() {
            "accept-outcome" => one.outcome.is_some() && !one.is_over(),
            "publish" => one.is_over(),
            _ => !one.is_over(),
        };
        if can_be && one.revision == revision && person_acts(&form) {
            let outcome = one.outcome.as_deref().map(|code| ("The outcome", outcome(code)));
            let words = outcome.into_iter().chain([("In words", said.text.clone())]).collect();
            let about = format!("A dispute of the agreement {id}");
            match sure::ask(&form, &Question { title, about: &about, becomes, said: words }) {
                sure::Said::Yes => {}
                sure::Said::No => {
                    return page(&console, &form.signed, (&id, &dispute), (false, said), None).await;
                }
                sure::Said::Asked(page) => return Ok(page),
            }
        }
    }
    let form_name = if said.step == "comment" { "comment" } else { "act" };
    let asked = Ask::post(format!("/v1{place}/steps"), &body).made_to(revision);
    let wrong = match console.ask::<Value>(&form.signed, asked).await {
        Ok(_) => return Ok(Redirect::to(&place).into_response()),
        Err(Fault::Refused { status: StatusCode::PRECONDITION_FAILED, .. }) => {
            let text = "Somebody else was first: read what they did below, and take the step again if it is still right";
            (StatusCode::PRECONDITION_FAILED, Correction { field: String::new(), text: text.to_owned() })
        }
        Err(fault) => {
            let fields = ["text", "position", "interest", "outcome"];
            (StatusCode::BAD_REQUEST, at(form_name, fault, &fields)?)
        }
    };
    page(&console, &form.signed, (&id, &dispute), (false, said), Some(wrong)).await
}
