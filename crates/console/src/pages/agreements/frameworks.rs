//! Frameworks: what agreements are made under, who has joined, and what agreements lack of theirs.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::sees_agreements;
use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, organisation, render},
    session::Signed,
};

/// As the API has it.
#[derive(Deserialize)]
struct Found {
    frameworks: Vec<Framework>,
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct Framework {
    id: String,
    title: String,
    standing: String,
    effective_on: String,
    review_on: String,
    ends_on: Option<String>,
    link: Option<String>,
    members: Vec<Member>,
    agreements: Vec<String>,
}

#[derive(Deserialize)]
struct Member {
    organisation: String,
    joined_on: String,
    left_on: Option<String>,
}

#[derive(Deserialize)]
struct Gap {
    agreement: String,
    framework: String,
    message: String,
}

#[derive(Template)]
#[template(path = "frameworks.html")]
struct FrameworksPage {
    frame: Frame,
    frameworks: Vec<Framework>,
    gaps: Vec<Gap>,
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if !sees_agreements(&signed.person) {
        return Err(Fault::forbidden());
    }
    let mut found: Found = console.ask(&signed, Ask::get("/v1/frameworks")).await?;
    for member in found.frameworks.iter_mut().flat_map(|one| &mut one.members) {
        member.organisation = organisation(&console, &member.organisation);
    }
    let page = FrameworksPage {
        frame: Frame::of(&signed, "Frameworks", "/agreements").back_to("/agreements", "Agreements"),
        frameworks: found.frameworks,
        gaps: found.gaps,
    };
    Ok(render(&page))
}
