//! What cannot be taken back is asked for twice: once more with what becomes of it, in the words that it was written in.

use askama::Template;
use axum::response::Response;

use crate::{
    form::Form,
    page::{Frame, render},
    unsent::Written,
};

/// The field that says so.
const SURE: &str = "sure";

/// What is asked once more.
pub(super) struct Question<'a> {
    /// What is about to be done, as its button said.
    pub(super) title: &'a str,
    /// What it is done to.
    pub(super) about: &'a str,
    /// What becomes of it.
    pub(super) becomes: &'a str,
    /// What was written.
    pub(super) said: &'a [(&'a str, &'a str)],
}

#[derive(Template)]
#[template(path = "sure.html")]
struct SurePage<'a> {
    frame: Frame,
    question: &'a Question<'a>,
    written: &'a Written,
}

/// What somebody says to it.
pub(super) enum Said {
    /// They are sure.
    Yes,
    /// They go back to what they wrote.
    No,
    /// Nothing yet: this page asks.
    Asked(Response),
}

/// Asks once more, unless they have answered.
pub(super) fn ask(form: &Form, question: &Question<'_>) -> Said {
    match form.field(SURE) {
        "yes" => Said::Yes,
        "no" => Said::No,
        _ => {
            let frame = Frame::of(&form.signed, question.title, "");
            Said::Asked(render(&SurePage { frame, question, written: &form.written }))
        }
    }
}
