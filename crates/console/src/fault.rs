//! What stands in the way of a page, as a page.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
};

use crate::{
    Console,
    page::{Frame, Plain, render},
    session::{self, Signed},
    sign_in,
    unsent::Written,
};

const SIGNED_OUT: &str = "console-signed-out";
const NOT_TAKEN: &str = "console-not-taken";

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The API refused: its status, its code and what it says to do next.
    Refused {
        /// The status.
        status: StatusCode,
        /// The code.
        code: String,
        /// In a few words.
        title: String,
        /// What to do next.
        detail: String,
    },
    /// Something failed, and was logged.
    Broken,
}

impl Fault {
    /// Logs what failed. The page does not say it.
    pub(crate) fn broken(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a page of the console could not be made");
        Self::Broken
    }

    /// A refusal of the console's own.
    pub(crate) fn refused(status: StatusCode, title: &str, detail: &str) -> Self {
        Self::coded("console", status, title, detail)
    }

    /// Somebody else's page.
    pub(crate) fn forbidden() -> Self {
        Self::refused(
            StatusCode::FORBIDDEN,
            "You cannot see this page",
            "your role does not cover it; if your work needs it, ask whoever looks after roles in your organisation",
        )
    }

    /// No such page.
    pub(crate) fn not_found() -> Self {
        Self::refused(
            StatusCode::NOT_FOUND,
            "Page not found",
            "check the address, or go to the home page and look for it there",
        )
    }

    /// A form of somebody whose session is over.
    pub(crate) fn signed_out() -> Self {
        Self::coded(
            SIGNED_OUT,
            StatusCode::UNAUTHORIZED,
            "You are signed out",
            "nothing was sent; go to the home page to sign in again, and then do it once more",
        )
    }

    /// A form that does not carry the session's token.
    pub(crate) fn not_taken() -> Self {
        Self::coded(
            NOT_TAKEN,
            StatusCode::FORBIDDEN,
            "This form was not taken",
            "it did not come from a page of yours, or from a session that has ended; go back to the page, load it again, and send it again",
        )
    }

    fn coded(code: &str, status: StatusCode, title: &str, detail: &str) -> Self {
        Self::Refused { status, code: code.to_owned(), title: title.to_owned(), detail: detail.to_owned() }
    }

    /// A form whose request was made before.
    pub(crate) fn is_sent_before(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "context-replayed")
    }

    /// What a form is to be corrected by, if that is what is wrong.
    pub(crate) fn correction(&self) -> Option<Correction> {
        match self {
            Self::Refused { status, detail, .. }
                if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) =>
            {
                Some(Correction::of(detail))
            }
            _ => None,
        }
    }
}

/// What is wrong with a form, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    /// The field's id; empty for the form as a whole.
    pub(crate) field: String,
    /// What to do.
    pub(crate) text: String,
}

impl Correction {
    /// The API names the member first: `note: say why in 10 to 2,000 characters`.
    pub(crate) fn of(detail: &str) -> Self {
        let named = detail.split_once(": ").filter(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        });
        let (field, text) = named.unwrap_or(("", detail));
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        Self { field: field.to_owned(), text: first + letters.as_str() }
    }

    /// Whether it is about this field.
    pub(crate) fn is_at(&self, field: &str) -> bool {
        self.field == field
    }
}

/// The status of a form's page: whether something is to be corrected.
pub(crate) fn status_of(correction: Option<&Correction>) -> StatusCode {
    if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let is = |wanted: &str| matches!(&self, Self::Refused { code, .. } if code == wanted);
        let code = [
            ("index-building", Stands::ForAWhile),
            (SIGNED_OUT, Stands::SignedOut),
            (NOT_TAKEN, Stands::OfAnotherSession),
        ];
        let known = code.into_iter().find_map(|(code, stands)| is(code).then_some(stands));
        let (status, title, detail) = match self {
            Self::Refused { status, code, title, detail } => match code.as_str() {
                "no-such-entry" | "no-such-route" => (
                    StatusCode::NOT_FOUND,
                    "Page not found".to_owned(),
                    "there is none, or it is not yours to see".to_owned(),
                ),
                "not-registered-for-this" | "not-granted" => return Self::forbidden().into_response(),
                _ => (status, title, detail),
            },
            Self::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Sorry, there is a problem with the service".to_owned(),
                "try again later; nothing was released, and nothing that you were told was done is lost"
                    .to_owned(),
            ),
        };
        let unknown = if status.is_server_error() { Stands::Broken } else { Stands::Refused };
        let detail = Correction::of(&detail).text;
        let said = Said { title, detail, stands: known.unwrap_or(unknown) };
        let mut response = (status, said.page(Frame::bare(&said.title))).into_response();
        response.extensions_mut().insert(said);
        response
    }
}

/// What such a page says, for whoever knows who reads it.
#[derive(Clone)]
pub(crate) struct Said {
    title: String,
    detail: String,
    stands: Stands,
}

/// What stands in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It is not to be done.
    Refused,
    /// It goes away by itself.
    ForAWhile,
    /// Signing in is what it takes.
    SignedOut,
    /// The form was of another session.
    OfAnotherSession,
    /// Something does not work: what a form was to do is perhaps done.
    Broken,
}

const NOT_SENT: &str = "It was not sent. Leave this page open until it is.";
const PERHAPS_DONE: &str =
    "It may have been done all the same: look whether it was before you send it again.";

/// What stands in the way of a form, with what was written in it.
#[derive(Template)]
#[template(path = "unsent.html")]
struct UnsentPage {
    frame: Frame,
    paragraphs: Vec<String>,
    /// Signing in is what stands in the way.
    signs_in: bool,
    can_be_sent: bool,
    is_about_nobody_known: bool,
    /// What became of it.
    became: &'static str,
    sign_in: String,
    written: Written,
}

/// What somebody wrote who has to prove again who they are before it is done.
pub(crate) fn to_prove(signed: &Signed, sign_in: String, written: Written) -> Response {
    let said = "It is more than a few minutes since you signed in, and this needs to be you.";
    render(&UnsentPage {
        frame: Frame::of(signed, "Prove that it is you", ""),
        paragraphs: vec![said.to_owned()],
        signs_in: true,
        can_be_sent: true,
        is_about_nobody_known: false,
        became: NOT_SENT,
        sign_in,
        written,
    })
}

/// How often a page is loaded again that waits for something.
const AGAIN_S: u16 = 15;

impl Said {
    fn page(&self, frame: Frame) -> Response {
        let link = Some(("/", "Go to the home page"));
        let mut paragraphs = vec![self.detail.clone()];
        if self.stands == Stands::ForAWhile {
            paragraphs.push("You need not do anything: this page is loaded again every 15 seconds, until what you asked for is there. If it came of a form, send the form again later.".to_owned());
        }
        render(&Plain { frame, paragraphs, link })
    }

    /// As [`Self::page`], for whoever wrote something that was not taken.
    fn with_words(&self, mut frame: Frame, signed: Option<&Signed>, mut written: Written) -> Response {
        // A session that goes on from the one it is of knows whom it is about.
        let known = |person: &String| signed.is_some_and(|signed| signed.knows(person));
        let is_about_nobody_known = written.person.take_if(|person| !known(person)).is_some();

        let signs_in = self.stands == Stands::SignedOut;
        let of_another = self.stands == Stands::OfAnotherSession;
        let can_be_sent = (signs_in || of_another) && !is_about_nobody_known;
        let mut paragraphs = vec![self.detail.clone()];
        if signs_in {
            paragraphs = vec!["Your session ended before this was sent.".to_owned()];
        } else if of_another {
            "Check what you send".clone_into(&mut frame.title);
            paragraphs = vec![format!(
                "The page it comes from was of an earlier session. You are signed in as {}.",
                frame.who
            )];
        }
        render(&UnsentPage {
            frame,
            paragraphs,
            signs_in,
            can_be_sent,
            is_about_nobody_known,
            became: if self.stands == Stands::Broken { PERHAPS_DONE } else { NOT_SENT },
            sign_in: sign_in::address("/", false),
            written,
        })
    }

    /// When a page that was only read is loaded again, without a script.
    pub(crate) fn again(&self, method: &Method) -> Option<HeaderValue> {
        (self.stands == Stands::ForAWhile && *method == Method::GET).then(|| HeaderValue::from(AGAIN_S))
    }

    /// With the navigation of whoever is signed in, so that they are not stranded.
    pub(crate) async fn framed(
        &self,
        console: &Console,
        headers: &HeaderMap,
        status: StatusCode,
        written: Option<Written>,
    ) -> Response {
        // When even that cannot be read, the page stands alone.
        let signed = session::find(console, headers).await.unwrap_or_default();
        let frame = match &signed {
            Some(signed) => Frame::of(signed, self.title.as_str(), ""),
            None => Frame::bare(&self.title),
        };
        let page = match written {
            Some(written) => self.with_words(frame, signed.as_ref(), written),
            None => self.page(frame),
        };
        (status, page).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_leads_to_a_field() {
        let said = Correction::of("note: say why in 10 to 2,000 characters");
        assert!(said.is_at("note"));
        assert_eq!(said.text, "Say why in 10 to 2,000 characters");
        assert!(Correction::of("article_6: choose the lawful basis").is_at("article_6"));
        assert!(Correction::of("take it first, so that others know: who").is_at(""));
    }
}
