//! What cannot be taken back is asked for twice: once more with what becomes of it, and with everything that was chosen. It is asked only
//! where it can be done: whoever may not, or wants what cannot be now, is told so at once.

use askama::Template;
use axum::response::Response;

use super::SURE;
use crate::{
    form::Form,
    page::{Frame, render},
};

/// What is asked once more.
pub(super) struct Question<'a> {
    /// What is about to be done, as its button said.
    pub(super) title: &'a str,
    /// What it is done to.
    pub(super) about: &'a str,
    /// What becomes of it.
    pub(super) becomes: &'a str,
    /// What was chosen and written, and what is known of it.
    pub(super) said: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "sure.html")]
struct SurePage<'a> {
    frame: Frame,
    question: &'a Question<'a>,
    action: &'a str,
    /// As they were sent, in their order: what is sent again is what was asked about.
    sent: &'a [(String, String)],
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
            let (action, sent) = (form.written.action.as_str(), form.sent.as_slice());
            Said::Asked(render(&SurePage { frame, question, action, sent }))
        }
    }
}
