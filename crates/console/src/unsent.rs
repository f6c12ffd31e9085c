//! What somebody sent that was not taken: it is given back to them on the page that says why, so that a session which ends while
//! they write costs them none of it. Only a form of these pages is: whoever comes from elsewhere is given nothing to send.

use std::sync::{Arc, OnceLock};

/// Fields that are of no use later, or that no page shows: a session's token, the number of somebody who is looked up.
const NOT_GIVEN_BACK: [&str; 2] = ["csrf", "value"];
/// What a form says of itself, and nobody wrote.
const ITS_OWN: [&str; 4] = ["key", "reference", "version", "revision"];

/// Where a form leaves what it read, for the page that says that it was not taken. An extension of every request.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Arc<OnceLock<Written>>);

impl Unsent {
    /// Leaves it.
    pub(crate) fn leave(&self, written: Written) {
        let _ = self.0.set(written); // whoever reads a form reads it once
    }

    /// What was left, if anybody wrote anything.
    pub(crate) fn written(&self) -> Option<Written> {
        self.0.get().filter(|written| !written.words.is_empty()).cloned()
    }
}

/// A field, for a page.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Field {
    /// Its name, in words.
    pub(crate) fn label(&self) -> String {
        crate::page::sentence(&self.name)
    }
}

/// What somebody wrote in a form.
#[derive(Clone)]
pub(crate) struct Written {
    /// Where it was sent.
    pub(crate) action: String,
    /// What is in sentences.
    pub(crate) words: Vec<Field>,
    /// What was chosen beside it.
    pub(crate) chosen: Vec<Field>,
    /// What the form had by itself.
    pub(crate) hidden: Vec<Field>,
    /// Whom it was about, if anybody, sealed for the session that it is of: nobody else can send it again as it is.
    pub(crate) person: Option<String>,
}

impl Written {
    /// Whether anybody wrote or chose anything.
    pub(crate) fn is_anything(&self) -> bool {
        !self.words.is_empty() || !self.chosen.is_empty()
    }

    pub(crate) fn of(action: &str, fields: &[(String, String)]) -> Self {
        let mut written = Self {
            action: action.to_owned(),
            words: Vec::new(),
            chosen: Vec::new(),
            hidden: Vec::new(),
            person: fields.iter().find(|(name, _)| name == "person").map(|(_, value)| value.clone()),
        };
        for (name, value) in fields {
            let (name, value) = (name.clone(), value.trim().to_owned());
            if name == "person" || NOT_GIVEN_BACK.contains(&name.as_str()) {
                continue;
            }
            // What is empty was perhaps emptied: it is sent again, and there is nothing to show of it.
            let group = if value.is_empty() || ITS_OWN.contains(&name.as_str()) {
                &mut written.hidden
            } else if value.contains(char::is_whitespace) {
                &mut written.words
            } else {
                &mut written.chosen
            };
            group.push(Field { name, value });
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(fields: &[(&str, &str)]) -> Option<Written> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let unsent = Unsent::default();
        unsent.leave(Written::of("/my-requests", &fields));
        unsent.written()
    }

    #[test]
    fn words_are_given_back_and_neither_tokens_nor_numbers() {
        let written = left(&[
            ("csrf", "secret"),
            ("value", "973 211 0317"),
            ("key", "00ff"),
            ("right", "complaint"),
            ("contact", ""),
            ("text", "I was not told.\nNobody was."),
        ])
        .unwrap();
        let names = |fields: &[Field]| fields.iter().map(|one| one.name.clone()).collect::<Vec<_>>().concat();
        assert_eq!(names(&written.words), "text");
        assert_eq!(names(&written.chosen), "right");
        assert_eq!(names(&written.hidden), "keycontact");
        assert!(written.person.is_none());
    }

    #[test]
    fn a_form_in_which_nobody_wrote_gives_nothing_back() {
        assert!(left(&[("csrf", "secret"), ("answer", "given")]).is_none());
        assert!(Unsent::default().written().is_none());
    }

    #[test]
    fn whom_a_form_was_about_is_apart() {
        let written = left(&[("person", "sealed"), ("grounds", "not at all")]).unwrap();
        assert!(written.person.is_some() && written.chosen.is_empty() && written.hidden.is_empty());
    }
}
