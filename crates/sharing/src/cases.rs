//! Decision cases and the printed matrix: the rules, tested and read without Rust.
//!
//! `policies/cases/*.toml` hold questions and the answers that an information governance lead expects. The
//! matrix prints who may be told what, and is reviewed like code.

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;

use crate::{
    PolicySet, Question, SubjectIdentifier, SubjectScheme,
    decide::{Asked, Decision, decide, decide_with_facts},
    identifier::{
        BreakGlassId, ConsentId, GrantId, ItemId, ObjectionId, OrganisationId, ProviderId, RelationshipId,
    },
    policy::PolicyFile,
    purpose::PurposeClass,
    subject::{
        AdHocGrant, BreakGlass, BreakGlassReason, ConsentRecord, ConsentStatus, ConsentType, GivenBy,
        LegitimateRelationship, Objection, ObjectionKind, ObjectionStatus, OptOut, ProxyAuthority,
        RecordFacts, RelationshipKind, Shown, SubjectState,
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
    /// The practitioner who asks; `practitioner-1` unless the role is `unattended`.
    #[serde(default = "usual_practitioner")]
    practitioner: Option<String>,
    /// The question names the first of the emergencies.
    #[serde(default)]
    break_glass: bool,
    /// The question is one of a list of so many people.
    #[serde(default)]
    list_people: Option<u32>,
    #[serde(default)]
    relationships: Vec<HeldRelationship>,
    #[serde(default)]
    grants: Vec<HeldGrant>,
    #[serde(default)]
    emergencies: Vec<HeldEmergency>,
    #[serde(default)]
    opt_out: HeldOptOut,
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
    /// When it was recorded; when it was given, where that is not said.
    recorded_at: Option<Timestamp>,
    given_at: Timestamp,
    expires_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// A proxy's authority; without it the person themselves.
    proxy: Option<ProxyAuthority>,
    /// What they were shown when they answered, where a yes is one to that alone.
    shown: Option<Shown>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldRelationship {
    organisation: OrganisationId,
    practitioner: Option<String>,
    kind: RelationshipKind,
    from: Timestamp,
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldGrant {
    recipient: OrganisationId,
    practitioner: String,
    provider: ProviderId,
    purpose: PurposeClass,
    items: Vec<String>,
    from: Timestamp,
    until: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldEmergency {
    organisation: OrganisationId,
    practitioner: String,
    purpose: PurposeClass,
    reason: BreakGlassReason,
    #[serde(default)]
    cannot_consent: bool,
    from: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HeldOptOut {
    #[default]
    NotChecked,
    Clear,
    OptedOut,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional member")]
fn usual_practitioner() -> Option<String> {
    Some("practitioner-1".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldObjection {
    #[serde(default)]
    purposes: Vec<PurposeClass>,
    #[serde(default)]
    recipients: Vec<OrganisationId>,
    #[serde(default)]
    kind: ObjectionKind,
    status: ObjectionStatus,
}

/// What the record says, for the second decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    unconfirmed: bool,
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
            practitioner: self.practitioner.clone().filter(|_| self.role != "unattended"),
            break_glass: self.break_glass.then(|| BreakGlassId::from_random(1)),
            provider: self.provider.clone(),
            purpose: self.purpose,
            subject,
            asked: self.asked.clone().map_or(Asked::AllAgreed, Asked::Items),
            list_people: self.list_people,
            agreements: None,
        };
        let state = self.state();
        Ok(match &self.record {
            None => decide(&question, policies, &state, self.at),
            Some(record) => {
                let facts = RecordFacts {
                    restricted: record.restricted,
                    unconfirmed: record.unconfirmed,
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
            given_by: held.proxy.map_or(GivenBy::Person, |authority| GivenBy::Proxy {
                authority,
                capacity_statement: "assessed".to_owned(),
            }),
            recorded_at: held.recorded_at.unwrap_or(held.given_at),
            given_at: held.given_at,
            expires_at: held.expires_at,
            ended_at: held.ended_at,
            shown: held.shown.clone().map(Box::new),
        });
        let objections = self.objections.iter().zip(1..).map(|(held, number)| Objection {
            id: ObjectionId::from_random(number),
            purposes: held.purposes.clone(),
            recipients: held.recipients.clone(),
            kind: held.kind,
            status: held.status,
        });
        let relationships = self.relationships.iter().zip(1..).map(|(held, number)| LegitimateRelationship {
            id: RelationshipId::from_random(number),
            organisation: held.organisation.clone(),
            practitioner: held.practitioner.clone(),
            kind: held.kind,
            from: held.from,
            until: held.until,
        });
        let grants = self.grants.iter().zip(1..).map(|(held, number)| AdHocGrant {
            id: GrantId::from_random(number),
            recipient: held.recipient.clone(),
            practitioner: held.practitioner.clone(),
            provider: held.provider.clone(),
            purpose: held.purpose,
            items: held.items.iter().filter_map(|text| text.parse().ok()).collect(),
            retain_days: 28,
            from: held.from,
            until: held.until,
        });
        let emergencies = self.emergencies.iter().zip(1..).map(|(held, number)| BreakGlass {
            id: BreakGlassId::from_random(number),
            organisation: held.organisation.clone(),
            practitioner: held.practitioner.clone(),
            purpose: held.purpose,
            reason: held.reason,
            cannot_consent: held.cannot_consent,
            from: held.from,
            until: held.until,
        });
        SubjectState {
            relationships: relationships.collect(),
            grants: grants.collect(),
            emergencies: emergencies.collect(),
            opt_out: match self.opt_out {
                HeldOptOut::NotChecked => OptOut::NotChecked,
                HeldOptOut::Clear => OptOut::Clear,
                HeldOptOut::OptedOut => OptOut::OptedOut,
            },
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
