//! Who has to sign, who has, and handing a signature in. Signatures are made where the keys are, by programs; what is handed in
//! here is checked by the API against the office that the person holds. A data protection officer's advice is here too.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Managed, Step, Tab, Version, frame, managed, steps_of, tabs, talks::at};
use crate::pages::kept;
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, in_london, organisation, render, sentence},
    person::{Person, Right, Role},
    session::Signed,
};

/// An office.
#[derive(Deserialize)]
struct Officer {
    organisation: String,
    person: String,
    name: String,
    role: String,
    key_id: Option<String>,
    state: String,
}

#[derive(Deserialize)]
struct Officers {
    officers: Vec<Officer>,
}

#[derive(Deserialize)]
struct Bundle {
    signatures: Vec<Bundled>,
}

#[derive(Deserialize)]
struct Bundled {
    signature: String,
}

/// What a signature says of itself. The API has checked it.
#[derive(Deserialize)]
struct Statement {
    organisation: String,
    signatory: String,
    role: String,
    signed_at: i64,
    kid: String,
}

/// A role in which somebody has to sign.
struct Needed {
    party: String,
    role: String,
    signed: Option<String>,
    key: String,
    registered: String,
}

/// A party's advice.
struct Advised {
    party: String,
    said: String,
    words: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Filled {
    what: String,
    signature: String,
    favourable: String,
    followed: String,
    text: String,
}

impl Filled {
    fn of(&self, form: &str, field: &str) -> &str {
        match (form, field) {
            _ if self.what != form => "",
            (_, "signature") => &self.signature,
            (_, "favourable") => &self.favourable,
            (_, "followed") => &self.followed,
            (_, "text") => &self.text,
            _ => "",
        }
    }
}

#[derive(Template)]
#[template(path = "signatures.html")]
struct SignaturesPage {
    frame: Frame,
    tabs: Vec<Tab>,
    one: Managed,
    version: Option<Version>,
    is_open: bool,
    needed: Vec<Needed>,
    advice: Vec<Advised>,
    /// The command, in each office of the person that is signed in.
    commands: Vec<String>,
    /// Which forms are theirs: `sign`, `advise`, `answer-advice`.
    forms: Vec<&'static str>,
    filled: Filled,
}

impl SignaturesPage {
    fn has(&self, form: &str) -> bool {
        self.forms.contains(&form)
    }
}

/// The forms of somebody's roles. An office without a key signs nothing.
fn forms(person: &Person) -> Vec<&'static str> {
    let signs = |role: &Role| *role != Role::DataProtectionOfficer && role.rights().contains(&Right::Sign);
    let all = [
        ("sign", person.roles.iter().any(signs)),
        ("advise", person.roles.contains(&Role::DataProtectionOfficer)),
        ("answer-advice", person.may(Right::Approve)),
    ];
    all.into_iter().filter(|(_, may)| *may).map(|(form, _)| form).collect()
}

/// The page.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let kept = kept::take::<Filled>(&console, &signed, ("words", &id)).await?;
    page(&console, &signed, &id, (kept.is_some(), kept.unwrap_or_default()), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    id: &str,
    (was_kept, filled): (bool, Filled),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one = managed(console, signed, id).await?;
    let path = format!("/v1/agreements/{}", crate::pages::segment(id));
    let offered = one.negotiated.as_ref().filter(|version| version.state != "draft");
    let version = offered.or(one.in_force.as_ref()).cloned();
    let person = &signed.person;
    let (mut needed, mut advice, mut commands) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(version) = &version {
        let officers: Officers = console.ask(signed, Ask::get("/v1/agreement-officers")).await?;
        let bundle = format!("{path}/versions/{}/bundle", version.number);
        let bundle: Bundle = console.ask(signed, Ask::get(bundle)).await?;
        let statements: Vec<Statement> =
            bundle.signatures.iter().filter_map(|one| statement(&one.signature)).collect();
        let steps = steps_of(console, signed, id).await?;
        for party in &version.parties {
            for role in &party.needs {
                let need = need((&party.organisation, role), &statements, &officers.officers);
                needed.push(Needed { party: organisation(console, &need.party), ..need });
            }
            advice.push(Advised {
                party: organisation(console, &party.organisation),
                said: party.advice.as_deref().map_or_else(|| "None yet".to_owned(), sentence),
                words: words_of(&steps, version, &party.organisation),
            });
        }
        let own = officers.officers.iter().filter(|officer| {
            officer.person == person.id
                && officer.organisation == person.organisation.as_str()
                && officer.state == "registered"
                && officer.key_id.is_some()
        });
        commands.extend(own.map(|officer| command(id, version, officer)));
    }
    let status = status_of(correction.as_ref());
    let page = SignaturesPage {
        frame: frame(signed, &one, "Signatures").correcting(correction).keeping(was_kept),
        tabs: tabs(&one, "signatures"),
        is_open: version.as_ref().is_some_and(|version| {
            ["awaiting-signature", "active", "review-due", "overdue"].contains(&version.state.as_str())
        }),
        needed,
        advice,
        commands,
        forms: forms(person),
        one,
        version,
        filled,
    };
    Ok((status, render(&page)).into_response())
}

fn statement(detached: &str) -> Option<Statement> {
    let (header, _) = detached.split_once('.')?;
    serde_json::from_slice(&BASE64.decode(header).ok()?).ok()
}

fn need((party, role): (&str, &str), statements: &[Statement], officers: &[Officer]) -> Needed {
    let made = statements.iter().find(|one| one.organisation == party && one.role == role);
    let in_office = officers
        .iter()
        .filter(|one| one.organisation == party && one.role == role && one.state == "registered");
    let registered: Vec<_> = in_office.map(|one| format!("{} ({})", one.name, one.person)).collect();
    Needed {
        party: party.to_owned(),
        role: office(role),
        signed: made.map(|one| {
            let at = Timestamp::from_second(one.signed_at).map(in_london).unwrap_or_default();
            // Whoever signed may have left since; offices that are over keep their names.
            let of_it = |officer: &&Officer| {
                officer.organisation == party && officer.person == one.signatory && officer.role == role
            };
            match officers.iter().find(of_it) {
                Some(officer) => format!("{} ({}), {at}", officer.name, one.signatory),
                None => format!("{}, {at}", one.signatory),
            }
        }),
        key: made.map(|one| one.kid.clone()).unwrap_or_default(),
        registered: registered.join(", "),
    }
}

/// An office as people name it.
pub(super) fn office(role: &str) -> String {
    match role {
        "siro" => "Senior information risk owner (SIRO)".to_owned(),
        "iao" => "Information asset owner (IAO)".to_owned(),
        "caldicott-guardian" => "Caldicott Guardian".to_owned(),
        "dpo" => "Data protection officer".to_owned(),
        other => sentence(other),
    }
}

/// What a party's data protection officer wrote last of a version.
fn words_of(steps: &[Step], version: &Version, party: &str) -> Option<String> {
    let advised = steps.iter().rev().find(|step| {
        step.action == "advised"
            && step.version == i64::from(version.number)
            && step.organisation.as_deref() == Some(party)
    });
    advised.and_then(|step| step.text.clone())
}

fn command(id: &str, version: &Version, officer: &Officer) -> String {
    format!(
        "concordat agreement sign-file {id}-{}.json --sha256 {} --organisation {} --person {} --role {} --key your-key.pem",
        version.number, version.terms_sha256, officer.organisation, officer.person, officer.role
    )
}

/// Hands a signature in, advises, or says whether advice is followed.
pub(crate) async fn act(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let text = |name: &str| form.field(name).to_owned();
    let filled = Filled {
        what: text("do"),
        signature: form.field("signature").split_whitespace().collect(),
        favourable: text("favourable"),
        followed: text("followed"),
        text: text("text"),
    };
    let place = format!("/agreements/{}/signatures", crate::pages::segment(&id));
    if !form.signed.is_fresh(&console) {
        // Nothing is kept for somebody who does not see the agreement.
        managed(&console, &form.signed, &id).await?;
    }
    if let Some(response) = kept::step_up_form(&console, &form.signed, &place, (&id, &filled)).await? {
        return Ok(response);
    }
    let choice = |said: &str| match said {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let (body, missing) = match filled.what.as_str() {
        "sign" => (
            Some(json!({ "step": "sign", "signature": filled.signature })),
            ("sign-signature", "Paste the signature that the program printed"),
        ),
        "advise" => (
            choice(&filled.favourable)
                .map(|yes| json!({ "step": "advise", "favourable": yes, "text": filled.text })),
            ("advise-favourable", "Say whether to go on"),
        ),
        "answer-advice" => (
            choice(&filled.followed)
                .map(|yes| json!({ "step": "answer-advice", "followed": yes, "text": filled.text })),
            ("answer-advice-followed", "Say whether it is followed"),
        ),
        _ => return Err(Fault::not_found()),
    };
    let body = body.filter(|_| filled.what != "sign" || !filled.signature.is_empty());
    let Some(body) = body else {
        let wrong = Correction { field: missing.0.to_owned(), text: missing.1.to_owned() };
        return page(&console, &form.signed, &id, (false, filled), Some(wrong)).await;
    };
    let path = format!("/v1/agreements/{}/steps", crate::pages::segment(&id));
    let mut asked = Ask::post(path, &body);
    // An answer is to the advice that was read.
    if filled.what == "answer-advice" {
        let Ok(revision) = form.field("revision").parse() else { return Err(Fault::not_found()) };
        asked = asked.made_to(revision);
    }
    match console.ask::<Value>(&form.signed, asked).await {
        Ok(_) => Ok(Redirect::to(&place).into_response()),
        Err(Fault::Refused { status: StatusCode::PRECONDITION_FAILED, .. }) => {
            let text =
                "Somebody took a step meanwhile: read the advice again, and answer it if that is still right";
            let wrong = Correction { field: String::new(), text: text.to_owned() };
            page(&console, &form.signed, &id, (false, filled), Some(wrong)).await
        }
        Err(fault) => {
            let wrong = at(&filled.what, fault, &["signature", "text"])?;
            page(&console, &form.signed, &id, (false, filled), Some(wrong)).await
        }
    }
}
