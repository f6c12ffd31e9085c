//! Who says something about a person's data, how, and where the evidence is: the fields that such forms have in common.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{fault::Correction, form::Form, page::words};

type Options = Vec<(String, String)>;

const AUTHORITIES: [(&str, &str); 4] = [
    ("person", "The person"),
    ("health-and-welfare-attorney", "An attorney for health and welfare, while the person lacks capacity"),
    ("court-deputy", "A deputy whom the Court of Protection appointed"),
    (
        "parental-responsibility",
        "Somebody with parental responsibility, until the child is competent to decide",
    ),
];

const METHODS: [(&str, &str); 4] = [
    ("in-person", "In person"),
    ("by-telephone", "By telephone"),
    ("in-writing", "In writing"),
    ("online", "Online"),
];

pub(super) fn options(of: &[(&str, &str)]) -> Options {
    of.iter().map(|(code, text)| ((*code).to_owned(), (*text).to_owned())).collect()
}

/// What somebody has filled in.
#[derive(Default)]
pub(super) struct Said {
    pub(super) who: String,
    pub(super) capacity_statement: String,
    pub(super) method: String,
    pub(super) evidence_reference: String,
}

impl Said {
    /// Where nobody has filled it in yet: most people speak for themselves.
    pub(super) fn by_person() -> Self {
        Self { who: "person".to_owned(), ..Self::default() }
    }

    pub(super) fn of(form: &Form) -> Self {
        let field = |name: &str| form.field(name).to_owned();
        Self {
            who: field("who"),
            capacity_statement: field("capacity_statement"),
            method: field("method"),
            evidence_reference: field("evidence_reference"),
        }
    }

    #[expect(clippy::unused_self, reason = "templates ask a value")]
    pub(super) fn authorities(&self) -> Options {
        options(&AUTHORITIES)
    }

    #[expect(clippy::unused_self, reason = "templates ask a value")]
    pub(super) fn methods(&self) -> Options {
        options(&METHODS)
    }

    /// What is missing before the API is asked.
    pub(super) fn correction(&self) -> Option<Correction> {
        let known = |of: &[(&str, &str)], code: &str| of.iter().any(|(known, _)| *known == code);
        if !known(&AUTHORITIES, &self.who) {
            return Some(Correction::of("who: say who decides"));
        }
        if !known(&METHODS, &self.method) {
            return Some(Correction::of("method: say how it was said"));
        }
        if self.who != "person" && self.evidence_reference.is_empty() {
            return Some(Correction::of("evidence_reference: say where the proof of the authority is kept"));
        }
        if self.who != "person" && self.capacity_statement.chars().count() < 10 {
            return Some(Correction::of(
                "capacity_statement: say in 10 characters or more why the person could not decide",
            ));
        }
        None
    }

    /// Who, as the API has it.
    pub(super) fn by(&self) -> Value {
        if self.who == "person" {
            return json!({ "who": "person" });
        }
        json!({ "who": "proxy", "authority": self.who, "capacity_statement": self.capacity_statement })
    }

    pub(super) fn evidence(&self) -> Option<&str> {
        Some(self.evidence_reference.as_str()).filter(|text| !text.is_empty())
    }

    /// All of it, as the API has it.
    pub(super) fn to_json(&self) -> Value {
        json!({ "by": self.by(), "method": self.method, "evidence_reference": self.evidence() })
    }
}

/// Who said something, as the API answers.
#[derive(Deserialize)]
#[serde(tag = "who", rename_all = "kebab-case")]
pub(super) enum By {
    Person,
    Proxy { authority: String, capacity_statement: String },
}

impl By {
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Person => vec![("Said by", "The person".to_owned())],
            Self::Proxy { authority, capacity_statement } => {
                let known = AUTHORITIES.iter().find(|(code, _)| code == authority);
                let who = known.map_or_else(|| words(authority), |(_, text)| (*text).to_owned());
                vec![("Said by", who), ("Why the person did not decide", capacity_statement.clone())]
            }
        }
    }
}

/// All of it, as the API answers.
#[derive(Deserialize)]
pub(super) struct WasSaid {
    by: By,
    method: String,
    evidence_reference: Option<String>,
}

impl WasSaid {
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = self.by.rows();
        rows.push(("How", words(&self.method)));
        rows.extend(self.evidence_reference.clone().map(|at| ("Evidence", at)));
        rows
    }
}
