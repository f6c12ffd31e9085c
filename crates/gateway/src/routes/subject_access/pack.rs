//! What is held about a person, for that person, and the readable document.

use askama::Template;
use serde::Serialize;
use sharing::{OrganisationId, PolicySet, Pseudonym, PurposeClass, subject::RelationshipKind};
use store::Fact;
use utoipa::ToSchema;

use super::{SubjectAccessBody, word};
use crate::{app::App, disclose::internal, problem::Refusal, subject_access::in_london};

/// What an organisation holds about a person here.
#[derive(Serialize, ToSchema)]
pub struct Held {
    /// Consents that it answers for, or that it received from.
    consents: Vec<HeldConsent>,
    /// Objections that it has to answer, or recorded.
    objections: Vec<HeldObjection>,
    /// Why it has to do with the person.
    relationships: Vec<HeldRelationship>,
}

impl Held {
    fn consents(&self) -> &[HeldConsent] {
        &self.consents
    }

    fn objections(&self) -> &[HeldObjection] {
        &self.objections
    }

    fn relationships(&self) -> &[HeldRelationship] {
        &self.relationships
    }
}

/// A consent, in words.
#[derive(Serialize, ToSchema)]
pub struct HeldConsent {
    /// `given`, `withdrawn` and so on.
    status: String,
    /// What for.
    purposes: Vec<String>,
    /// Who may receive.
    recipients: Vec<String>,
    /// Since when.
    given: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Its identifier, for withdrawing it.
    reference: String,
}

/// An objection, in words.
#[derive(Serialize, ToSchema)]
pub struct HeldObjection {
    /// `received`, `upheld`, `refused` or `withdrawn`.
    status: String,
    /// Against what.
    purposes: Vec<String>,
    /// When it was recorded.
    recorded: String,
    /// By when it has to be answered.
    answer_due: String,
    /// The grounds of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Its identifier.
    reference: String,
}

/// A relationship, in words.
#[derive(Serialize, ToSchema)]
pub struct HeldRelationship {
    /// `referral`, `caseload` or `self-claimed`.
    #[schema(value_type = String)]
    kind: RelationshipKind,
    /// Since when.
    from: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The readable document.
#[derive(Template)]
#[template(path = "subject_access.html")]
pub(super) struct Page<'a> {
    pub(super) body: &'a SubjectAccessBody,
}

/// What this organisation recorded, answers for or received from. Emergencies and one-off disclosures show as events.
pub(super) async fn held(app: &App, mine: &OrganisationId, name: &Pseudonym) -> Result<Held, Refusal> {
    let (consents, objections, facts) =
        app.store.held_about(name, None).await.map_err(|error| Refusal::from(internal(&error)))?;
    let set = app.policies().set;
    let consents = consents.iter().filter(|row| {
        let record = &row.record;
        row.recorded_by == *mine || record.controller == *mine || record.recipients.contains(mine)
    });
    let objections = objections.iter().filter(|row| row.recorded_by == *mine || row.controller == *mine);
    let relationships =
        facts.iter().filter(|row| row.recorded_by == *mine).filter_map(|row| match &row.fact {
            Fact::Relationship(relationship) => Some(relationship),
            Fact::Grant(_) | Fact::BreakGlass(_) => None,
        });
    Ok(Held {
        consents: consents
            .map(|row| HeldConsent {
                status: word(&row.record.status),
                purposes: purposes(&row.record.purposes),
                recipients: row.record.recipients.iter().map(|id| called(&set, id)).collect(),
                given: in_london(row.record.given_at),
                expires: row.record.expires_at.map(in_london),
                reference: row.record.id.to_string(),
            })
            .collect(),
        objections: objections
            .map(|row| HeldObjection {
                status: word(&row.record.status),
                purposes: purposes(&row.record.purposes),
                recorded: in_london(row.recorded_at),
                answer_due: in_london(row.answer_due),
                answer: row.status_reason.clone(),
                reference: row.record.id.to_string(),
            })
            .collect(),
        relationships: relationships
            .map(|relationship| HeldRelationship {
                kind: relationship.kind,
                from: in_london(relationship.from),
                until: relationship.until.map(in_london),
            })
            .collect(),
    })
}

fn purposes(purposes: &[PurposeClass]) -> Vec<String> {
    if purposes.is_empty() {
        return vec!["everything that an objection can stop".to_owned()];
    }
    purposes.iter().map(|purpose| purpose.as_str().replace('-', " ")).collect()
}

fn called(set: &PolicySet, id: &OrganisationId) -> String {
    set.organisation(id).map_or_else(|| id.to_string(), |found| found.name.clone())
}
