//! What waits for whoever is signed in.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{
    alerts::{self, Alert},
    referrals::{self, Waits},
};
use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{self, Frame, render},
    person::{Person, Right},
    session::{self, Signed},
};

/// Something to do.
struct Task {
    path: String,
    name: &'static str,
    hint: &'static str,
    waiting: usize,
    overdue: usize,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    organisation: String,
    tasks: Vec<Task>,
}

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    frame: Frame,
    demonstration: bool,
    register: String,
}

#[derive(Deserialize)]
struct Referrals {
    referrals: Vec<Referral>,
}

#[derive(Deserialize)]
struct Referral {
    provider: String,
    state: String,
    overdue: bool,
}

#[derive(Deserialize)]
struct Exports {
    exports: Vec<Export>,
}

#[derive(Deserialize)]
struct Export {
    state: String,
    requested_by: String,
}

#[derive(Deserialize)]
struct Agreements {
    agreements: Vec<Agreement>,
}

#[derive(Deserialize)]
struct Agreement {
    id: String,
    state: String,
    #[serde(default)]
    unresolved_comments: Vec<Comment>,
}

#[derive(Deserialize)]
struct Comment {
    owner: Option<Owner>,
    due_on: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    organisation: String,
    person: Option<String>,
}

impl Comment {
    /// Whether this person, or somebody of their organisation, has to answer it.
    fn waits_for(&self, person: &Person) -> bool {
        self.owner.as_ref().is_some_and(|owner| {
            owner.organisation == person.organisation.as_str()
                && owner.person.as_ref().is_none_or(|named| *named == person.id)
        })
    }
}

/// The home page; for whoever is not signed in, where the service begins.
pub(crate) async fn home(State(console): State<Arc<Console>>, headers: HeaderMap) -> Result<Response, Fault> {
    let Some(signed) = session::find(&console, &headers).await? else {
        let frame = Frame::bare("Check how personal data is shared");
        let demonstration = console.settings.demonstration;
        return Ok(render(&Start { frame, demonstration, register: console.register() }));
    };
    if signed.person.is_citizen() {
        return Ok(Redirect::to("/my-data").into_response());
    }
    let organisation = page::organisation(&console, signed.person.organisation.as_str());
    let tasks = tasks(&console, &signed).await?;
    Ok(render(&Home { frame: Frame::of(&signed, "What needs you", "/"), organisation, tasks }))
}

async fn tasks(console: &Console, signed: &Signed) -> Result<Vec<Task>, Fault> {
    let mut tasks = Vec::new();
    let person = &signed.person;
    if person.may(Right::Review) {
        let alerts = alerts::all(console, signed).await?;
        let (emergencies, others): (Vec<_>, Vec<_>) =
            alerts.iter().filter(|alert| alert.state != "closed").partition(|alert| alert.is_emergency());
        let task = |path: &str, name, hint, of: &[&Alert]| Task {
            path: path.to_owned(),
            name,
            hint,
            waiting: of.len(),
            overdue: of.iter().filter(|alert| alert.is_late).count(),
        };
        tasks.push(task(
            "/alerts",
            "Alerts",
            "A rule noticed something: a look that was perhaps not right, or a record given in an emergency",
            &others,
        ));
        tasks.push(task(
            "/reviews",
            "Emergencies to review",
            "A practitioner of yours declared one; somebody else says whether it was right",
            &emergencies,
        ));
        let all: Referrals = console.ask(signed, Ask::get("/v1/referrals")).await?;
        let waits =
            |one: &&Referral| referrals::waits(console, signed, &one.provider, &one.state) == Waits::Here;
        tasks.push(Task {
            path: "/referrals".to_owned(),
            name: "Requests to decide",
            hint: "A practitioner asks for a one-off disclosure",
            waiting: all.referrals.iter().filter(waits).count(),
            overdue: all.referrals.iter().filter(waits).filter(|one| one.overdue).count(),
        });
    }
    if person.may(Right::Review) {
        let all = super::rights::all(console, signed).await?;
        let waits: Vec<_> = all.iter().filter(|one| one.state != "answered").collect();
        tasks.push(Task {
            path: "/rights-requests".to_owned(),
            name: "Complaints and corrections",
            hint: "A person complains, or wants something wrong corrected",
            waiting: waits.len(),
            overdue: waits.iter().filter(|one| one.overdue).count(),
        });
    }
    let agree = [Right::Draft, Right::Approve, Right::Mediate, Right::Sign];
    if agree.into_iter().any(|right| person.may(right)) {
        tasks.extend(of_agreements(console, signed).await?);
    }
    if person.may(Right::Review) || person.may(Right::Audit) {
        let all: Exports = console.ask(signed, Ask::get("/v1/exports")).await?;
        let others = |one: &&Export| one.state == "requested" && one.requested_by != person.id;
        tasks.push(Task {
            path: "/exports".to_owned(),
            name: "Exports to approve",
            hint: "Taking entries away needs two people",
            waiting: all.exports.iter().filter(others).count(),
            overdue: 0,
        });
    }
    Ok(tasks)
}

async fn of_agreements(console: &Console, signed: &Signed) -> Result<Vec<Task>, Fault> {
    let (mut tasks, person) = (Vec::new(), &signed.person);
    let all: Agreements = console.ask(signed, Ask::get("/v1/agreements")).await?;
    let in_state =
        |states: &[&str]| all.agreements.iter().filter(|one| states.contains(&one.state.as_str())).count();
    let signs = person.may(Right::Sign);
    if signs {
        tasks.push(Task {
            path: "/agreements".to_owned(),
            name: "Agreements to sign",
            hint: "They are open for signatures: each has a page that says who has signed and who has not",
            waiting: in_state(&["awaiting-signature"]),
            overdue: 0,
        });
    }
    if !signs || person.may(Right::Draft) || person.may(Right::Approve) || person.may(Right::Mediate) {
        let negotiated = ["proposed", "counter-proposed", "agreed-in-principle", "quality-assured"];
        tasks.push(Task {
            path: "/agreements".to_owned(),
            name: "Agreements on their way",
            hint: "Proposed, being negotiated, or waiting for others’ signatures",
            waiting: in_state(&negotiated) + if signs { 0 } else { in_state(&["awaiting-signature"]) },
            overdue: 0,
        });
    }
    let comments = all.agreements.iter().flat_map(|one| &one.unresolved_comments);
    let comments: Vec<_> = comments.filter(|comment| comment.waits_for(person)).collect();
    if person.may(Right::Draft) || person.may(Right::Approve) {
        let today = sharing::agreement::london_day(console.gateway.now()).to_string();
        let is_late = |comment: &&&Comment| comment.due_on.as_ref().is_some_and(|due| *due < today);
        let first = all
            .agreements
            .iter()
            .find(|one| one.unresolved_comments.iter().any(|comment| comment.waits_for(person)));
        let first = first.map(|one| format!("/agreements/{}/talks", super::segment(&one.id)));
        tasks.push(Task {
            path: first.unwrap_or_else(|| "/agreements".to_owned()),
            name: "Comments to answer",
            hint: "Another party asked you, or your organisation, something about an agreement’s terms",
            waiting: comments.len(),
            overdue: comments.iter().filter(is_late).count(),
        });
    }
    let files = super::agreements::reviews_due(console);
    tasks.push(Task {
        path: "/agreements".to_owned(),
        name: "Agreements to look at again",
        hint: "Their review is due within three months, or overdue",
        waiting: in_state(&["review-due", "overdue"]) + files.0,
        overdue: in_state(&["overdue"]) + files.1,
    });
    Ok(tasks)
}
