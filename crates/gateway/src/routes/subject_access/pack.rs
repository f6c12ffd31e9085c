//! What is held about a person, for that person, and the readable document.

use askama::Template;
use jiff::Timestamp;
use serde::Serialize;
use sharing::{
    OrganisationId, PolicySet, Pseudonym, PurposeClass, explain,
    subject::{ConsentRecord, ConsentType, GivenBy, RelationshipKind, Shown},
};
use store::{ConsentRow, Fact};
use utoipa::ToSchema;

use super::{super::rights_requests, SubjectAccessBody, word};
use crate::{
    app::App,
    fault::internal,
    kept,
    problem::Refusal,
    subject_access::{in_london, until},
};

/// What an organisation holds about a person here.
#[derive(Serialize, ToSchema)]
pub struct Held {
    /// Consents that it answers for, or that it received from.
    consents: Vec<HeldConsent>,
    /// Objections that it has to answer, or recorded.
    objections: Vec<HeldObjection>,
    /// Complaints and requests for rectification that it has to answer, or recorded.
    rights_requests: Vec<HeldRightsRequest>,
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

    fn rights_requests(&self) -> &[HeldRightsRequest] {
        &self.rights_requests
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
    /// To what kind of thing: `confidentiality-consent`, `gdpr-consent`, `consent-to-service`.
    #[schema(value_type = String)]
    consent_type: ConsentType,
    /// Whether it is a yes now: not over, and no later no about the same outweighs it.
    holds: bool,
    /// What for.
    purposes: Vec<String>,
    /// Who may receive.
    recipients: Vec<String>,
    /// Since when.
    given: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// When it was taken back, or ended otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// The organisation that recorded it.
    recorded_by: String,
    /// Who said it and how, in words.
    said: String,
    /// The data that the person was told of, as they were recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data_categories: Vec<String>,
    /// To what, where it is a yes to that alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
    /// What the person was shown, where it is a yes of theirs that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    shown: Option<Shown>,
    /// Its identifier, for withdrawing it.
    reference: String,
}

/// An objection, in words.
#[derive(Serialize, ToSchema)]
pub struct HeldObjection {
    /// `objection`, `dissent` or `restriction`.
    kind: String,
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

/// A complaint or a request for rectification, in words.
#[derive(Serialize, ToSchema)]
pub struct HeldRightsRequest {
    /// `complaint` or `rectification`.
    right: String,
    /// `received`, `acknowledged` or `answered`.
    status: String,
    /// The event that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// What the person wrote.
    text: String,
    /// Who answers it.
    answered_by: String,
    /// When it was received.
    received: String,
    /// By when it must be acknowledged.
    acknowledge_due: String,
    /// By when it must be answered, where the law sets a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_due: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The answer.
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

fn shown_items(set: &PolicySet, shown: &Shown) -> Vec<String> {
    let provider = shown.provider.as_str();
    shown.items.iter().map(|item| explain::released_item(set, provider, &item.to_string())).collect()
}

/// What this organisation recorded, answers for or received from. Emergencies and one-off disclosures show as events.
pub(super) async fn held(app: &App, mine: &OrganisationId, name: &Pseudonym) -> Result<Held, Refusal> {
    let (consents, objections, facts) =
        app.store.held_about(name, None).await.map_err(|error| Refusal::from(internal(&error)))?;
    let set = app.policies().set;
    let at = app.now();
    // What others hold counts for whether one of these does: it does for decisions.
    let holds = |record: &ConsentRecord| record.stands(consents.iter().map(|row| &row.record), at);
    let shown = consents.iter().filter(|row| {
        let record = &row.record;
        row.recorded_by == *mine || record.controller == *mine || record.recipients.contains(mine)
    });
    let shown: Vec<_> = shown.collect();
    let objections = objections.iter().filter(|row| row.recorded_by == *mine || row.controller == *mine);
    let relationships =
        facts.iter().filter(|row| row.recorded_by == *mine).filter_map(|row| match &row.fact {
            Fact::Relationship(relationship) => Some(relationship),
            Fact::Grant(_) | Fact::BreakGlass(_) => None,
        });
    let requests = rights_requests::rows_of(app, mine, name).await?;
    let instant = |at_us| in_london(Timestamp::from_microsecond(at_us).unwrap_or_default());
    Ok(Held {
        rights_requests: requests
            .into_iter()
            .map(|row| HeldRightsRequest {
                right: row.about_right,
                status: row.state,
                about: row.decision_id,
                item: kept::member(&row.details, "item"),
                text: kept::words(&row.details),
                answered_by: row.organisation.parse().map_or(row.organisation, |id| called(&set, &id)),
                received: instant(row.received_us),
                acknowledge_due: instant(row.acknowledge_due_us),
                answer_due: row.answer_due_us.map(instant),
                outcome: row.outcome,
                answer: row.answer.as_deref().map(kept::words),
                reference: row.id,
            })
            .collect(),
        consents: shown
            .iter()
            .map(|row| HeldConsent {
                status: word(&row.record.status),
                consent_type: row.record.consent_type,
                holds: holds(&row.record),
                purposes: purposes(&row.record.purposes),
                recipients: row.record.recipients.iter().map(|id| called(&set, id)).collect(),
                given: in_london(row.record.given_at),
                expires: row.record.expires_at.map(until),
                ended: row.record.ended_at.map(in_london),
                recorded_by: called(&set, &row.recorded_by),
                said: said(row),
                data_categories: members(&row.details, "data_categories"),
                items: row.record.shown.as_deref().map(|shown| shown_items(&set, shown)).unwrap_or_default(),
                shown: row.record.shown.as_deref().filter(|_| holds(&row.record)).cloned(),
                reference: row.record.id.to_string(),
            })
            .collect(),
        objections: objections
            .map(|row| HeldObjection {
                kind: word(&row.record.kind),
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

/// Who said it, and how.
fn said(row: &ConsentRow) -> String {
    let who = match &row.record.given_by {
        GivenBy::Person => "by the person".to_owned(),
        GivenBy::Proxy { authority, .. } => {
            format!("by somebody else, as {}", authority.as_str().replace('-', " "))
        }
    };
    match kept::member(&row.details, "method") {
        Some(method) => format!("{who}, {}", method.replace('-', " ")),
        None => who,
    }
}

/// A list of texts within what is kept as JSON.
fn members(details: &str, name: &str) -> Vec<String> {
    let details: serde_json::Value = serde_json::from_str(details).unwrap_or_default();
    let list = details.get(name).and_then(serde_json::Value::as_array).into_iter().flatten();
    list.filter_map(serde_json::Value::as_str).map(str::to_owned).collect()
}

fn purposes(purposes: &[PurposeClass]) -> Vec<String> {
    if purposes.is_empty() {
        return vec!["everything that an objection can stop".to_owned()];
    }
    purposes.iter().map(|purpose| purpose.title().to_owned()).collect()
}

fn called(set: &PolicySet, id: &OrganisationId) -> String {
    set.organisation(id).map_or_else(|| id.to_string(), |found| found.name.clone())
}
