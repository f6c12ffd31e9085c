//! Decision cases and the printed matrix: the rules, tested and read without Rust.
//!
//! `policies/cases/*.toml` hold questions and the answers that an information governance lead expects. The
//! matrix prints who may be told what, and is reviewed like code.

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;

use crate::{
    PolicySet, Question, SubjectIdentifier, SubjectScheme,
    decide::{Asked, Decision, decide, decide_with_facts},
    identifier::{ConsentId, ItemId, ObjectionId, OrganisationId, ProviderId},
    policy::PolicyFile,
    purpose::PurposeClass,
    subject::{
        ConsentRecord, ConsentStatus, ConsentType, Objection, ObjectionStatus, RecordFacts, SubjectState,
    },
};

mod matrix;

pub use matrix::{MATRIX_AT, matrix};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Whether the decision was the expected one; if not, what it was.
    pub outcome: Result<(), String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    at: Timestamp,
    recipient: OrganisationId,
    role: String,
    provider: ProviderId,
    purpose: PurposeClass,
    identifier: SubjectScheme,
    asked: Option<Vec<ItemId>>,
    #[serde(default)]
    consents: Vec<HeldConsent>,
    #[serde(default)]
    objections: Vec<HeldObjection>,
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    deceased: bool,
    record: Option<Record>,
    #[serde(default)]
    edits: Vec<Edit>,
    expect: Expected,
    #[serde(default)]
    reasons: Vec<String>,
    /// Every item permitted, with its form. A permit that says nothing of its items is no expectation.
    #[serde(default)]
    items: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldConsent {
    consent_type: ConsentType,
    status: ConsentStatus,
    controller: OrganisationId,
    recipients: Vec<OrganisationId>,
    purposes: Vec<PurposeClass>,
    given_at: Timestamp,
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldObjection {
    #[serde(default)]
    purposes: Vec<PurposeClass>,
    #[serde(default)]
    recipients: Vec<OrganisationId>,
    status: ObjectionStatus,
}

/// What the record says, for the second decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    deceased: bool,
    birth_date: Option<Date>,
}

/// A change to a policy file that the case is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    path: String,
    find: String,
    replace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Permit,
    Deny,
    Refer,
}

/// Runs every case among the files of a policy folder.
pub fn run(files: &[PolicyFile]) -> Vec<CaseResult> {
    let mut results = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("cases/")) {
        match toml::from_str::<CaseFile>(&file.text) {
            Err(error) => {
                let outcome = Err(error.to_string());
                results.push(CaseResult { file: file.path.clone(), name: "the file".to_owned(), outcome });
            }
            Ok(cases) => results.extend(cases.case.iter().map(|case| CaseResult {
                file: file.path.clone(),
                name: case.name.clone(),
                outcome: case.check(files),
            })),
        }
    }
    results
}

impl Case {
    fn check(&self, files: &[PolicyFile]) -> Result<(), String> {
        let policies = self.policies(files)?;
        let decision = self.decide(&policies)?;
        let (kind, reasons, items) = match &decision {
            Decision::Permit(permit) => {
                (Expected::Permit, Vec::new(), permit.items().iter().map(ToString::to_string).collect())
            }
            Decision::Deny(denial) => (Expected::Deny, denial.reasons.clone(), Vec::new()),
            Decision::Refer(referral) => (Expected::Refer, referral.reasons.clone(), Vec::new()),
        };
        let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
        if kind != self.expect || reasons != self.reasons {
            return Err(format!(
                "expected {:?} {:?} because {}; decided {kind:?} {reasons:?}",
                self.expect, self.reasons, self.why
            ));
        }
        if items != self.items {
            return Err(format!("expected items {:?} because {}; permitted {items:?}", self.items, self.why));
        }
        Ok(())
    }

    fn policies(&self, files: &[PolicyFile]) -> Result<PolicySet, String> {
        let mut files = files.to_vec();
        for edit in &self.edits {
            let file =
                files.iter_mut().find(|file| file.path == edit.path).ok_or("an edit names no policy file")?;
            if !file.text.contains(&edit.find) {
                return Err(format!("an edit finds nothing to replace in {}", edit.path));
            }
            file.text = file.text.replace(&edit.find, &edit.replace);
        }
        PolicySet::load(&files)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn decide(&self, policies: &PolicySet) -> Result<Decision, String> {
        let value = match self.identifier {
            SubjectScheme::NhsNumber => "9000000009",
            SubjectScheme::Local(_) => "REF-1",
        };
        let subject =
            SubjectIdentifier::parse(self.identifier.clone(), value).map_err(|error| error.to_string())?;
        let question = Question {
            recipient: self.recipient.clone(),
            role: self.role.clone(),
            provider: self.provider.clone(),
            purpose: self.purpose,
            subject,
            asked: self.asked.clone().map_or(Asked::AllAgreed, Asked::Items),
            agreements: None,
        };
        let state = self.state();
        Ok(match &self.record {
            None => decide(&question, policies, &state, self.at),
            Some(record) => {
                let facts = RecordFacts {
                    restricted: record.restricted,
                    deceased: record.deceased,
                    birth_date: record.birth_date,
                    ..RecordFacts::default()
                };
                decide_with_facts(&question, policies, &state, &facts, self.at)
            }
        })
    }

    fn state(&self) -> SubjectState {
        let consents = self.consents.iter().zip(1..).map(|(held, number)| ConsentRecord {
            id: ConsentId::from_random(number),
            consent_type: held.consent_type,
            status: held.status,
            controller: held.controller.clone(),
            recipients: held.recipients.clone(),
            purposes: held.purposes.clone(),
            given_at: held.given_at,
            expires_at: held.expires_at,
        });
        let objections = self.objections.iter().zip(1..).map(|(held, number)| Objection {
            id: ObjectionId::from_random(number),
            purposes: held.purposes.clone(),
            recipients: held.recipients.clone(),
            status: held.status,
        });
        SubjectState {
            consents: consents.collect(),
            objections: objections.collect(),
            restricted: self.restricted,
            deceased: self.deceased,
            ..SubjectState::default()
        }
    }
}

#[cfg(test)]
mod tests;
