//! A version of an agreement as people read it: one page that prints, with the hash of the terms that it was made from.

use askama::Template;
use sharing::{
    Agreement, DataFlow, PolicySet,
    agreement::{Confidentiality, ControllerRole, LawfulBasis, terms::Terms},
    policy::OrganisationKind,
};
use store::{SignatureRow, TermsRow};

use super::StepError;

#[derive(Template)]
#[template(path = "agreement.html")]
struct Page {
    title: String,
    id: String,
    version: u32,
    state: String,
    framework: String,
    terms_sha256: String,
    effective_on: String,
    ends_on: String,
    review_on: String,
    owner: String,
    breach_contact: String,
    dpia: String,
    parties: Vec<PartyLine>,
    flows: Vec<FlowLine>,
    signatures: Vec<SignatureLine>,
}

struct PartyLine {
    name: String,
    kind: &'static str,
    role: &'static str,
    notice: String,
}

/// A flow, in words.
#[expect(missing_docs, reason = "each is what the page says of it")]
pub struct FlowLine {
    pub id: String,
    pub from: String,
    pub to: String,
    pub purpose: String,
    pub identifiers: String,
    pub roles: String,
    pub ceiling: String,
    pub provider_basis: String,
    pub recipient_basis: String,
    pub confidentiality: String,
    pub retain_days: u16,
    pub onward: &'static str,
    pub items: Vec<ItemLine>,
}

/// An item, in words.
#[expect(missing_docs, reason = "each is what the page says of it")]
pub struct ItemLine {
    pub title: String,
    pub form: String,
    pub justification: String,
}

struct SignatureLine {
    organisation: String,
    name: String,
    role: String,
    at: String,
}

/// Makes the page of a version, in the state that the agreement is in.
///
/// # Errors
/// [`StepError::Kept`] when the terms cannot be read.
pub fn page(
    set: &PolicySet,
    row: &TermsRow,
    state: &str,
    signatures: &[(SignatureRow, String)],
) -> Result<String, StepError> {
    let kept = |error: sharing::agreement::terms::TermsError| StepError::Kept(error.to_string());
    let agreement = Terms::kept(&row.terms).and_then(|terms| terms.agreement()).map_err(kept)?;
    let signatures = signatures.iter().map(|(signature, name)| SignatureLine {
        organisation: signature.organisation.clone(),
        name: name.clone(),
        role: signature.role.clone(),
        at: crate::subject_access::in_london(
            jiff::Timestamp::from_microsecond(signature.signed_us).unwrap_or_default(),
        ),
    });
    let page = Page {
        id: agreement.id().to_string(),
        version: agreement.version,
        state: state.to_owned(),
        terms_sha256: row.terms_sha256.clone(),
        effective_on: agreement.effective_on.to_string(),
        ends_on: agreement.ends_on.to_string(),
        review_on: agreement.review_on.to_string(),
        dpia: format!(
            "{}, completed on {}, current until {}",
            agreement.dpia.reference, agreement.dpia.completed_on, agreement.dpia.current_until
        ),
        parties: parties(set, &agreement),
        flows: agreement.flows.iter().map(|flow| flow_line(set, flow)).collect(),
        signatures: signatures.collect(),
        title: agreement.title,
        framework: agreement.framework,
        owner: agreement.owner,
        breach_contact: agreement.breach_contact,
    };
    page.render().map_err(|error| StepError::Kept(error.to_string()))
}

fn parties(set: &PolicySet, agreement: &Agreement) -> Vec<PartyLine> {
    let lines = agreement.parties.iter().map(|party| {
        let organisation = set.organisation(party.organisation.get_ref());
        PartyLine {
            name: organisation.map_or_else(
                || party.organisation.get_ref().to_string(),
                |organisation| organisation.name.clone(),
            ),
            kind: match organisation.map(|organisation| organisation.kind) {
                Some(OrganisationKind::Nhs) => "NHS",
                Some(OrganisationKind::Council) => "council",
                Some(OrganisationKind::Fire) => "fire and rescue",
                None => "not registered",
            },
            role: match party.controller {
                ControllerRole::Separate => "controller",
                ControllerRole::Joint => "joint controller",
                ControllerRole::Processor => "processor",
            },
            notice: party.privacy_notice.clone().unwrap_or_default(),
        }
    });
    lines.collect()
}

/// A flow, in words.
pub fn flow_line(set: &PolicySet, flow: &DataFlow) -> FlowLine {
    let provider = set.provider(flow.provider.get_ref());
    let recipient = set.organisation(flow.recipient.get_ref());
    let items = flow.items.iter().map(|listed| ItemLine {
        title: provider
            .and_then(|provider| provider.item(listed.item.get_ref()))
            .map_or_else(|| listed.item.get_ref().to_string(), |item| item.title.clone()),
        form: listed.form.to_string(),
        justification: listed.justification.clone(),
    });
    let schemes: Vec<_> = flow.identifiers.iter().map(ToString::to_string).collect();
    FlowLine {
        id: flow.id.get_ref().to_string(),
        from: provider
            .map_or_else(|| flow.provider.get_ref().to_string(), |provider| provider.provider.name.clone()),
        to: recipient.map_or_else(|| flow.recipient.get_ref().to_string(), |found| found.name.clone()),
        purpose: flow.purpose.to_string(),
        identifiers: schemes.join(", "),
        roles: flow.roles.join(", "),
        ceiling: flow
            .releases_per_day_max
            .map_or_else(|| "none".to_owned(), |most| format!("{most} people in a day")),
        provider_basis: basis(&flow.provider_basis),
        recipient_basis: basis(&flow.recipient_basis),
        confidentiality: confidentiality(&flow.confidentiality),
        retain_days: flow.obligations.retain_days,
        onward: if flow.obligations.onward_sharing { "allowed" } else { "not allowed" },
        items: items.collect(),
    }
}

fn basis(basis: &LawfulBasis) -> String {
    let mut said = vec![format!("Article {}", basis.article_6.as_str())];
    said.extend(basis.article_9.map(|article| format!("Article {}", article.as_str())));
    let schedule = basis.schedule_1;
    said.extend(
        schedule
            .map(|schedule| format!("Schedule 1 part {} paragraph {}", schedule.part, schedule.paragraph)),
    );
    said.extend(basis.article_10.as_ref().map(|authority| format!("Article 10: {authority}")));
    said.join("; ")
}

fn confidentiality(confidentiality: &Confidentiality) -> String {
    match confidentiality {
        Confidentiality::NotConfidential => "nothing is held in confidence".to_owned(),
        Confidentiality::ImpliedConsent => "implied consent, for individual care".to_owned(),
        Confidentiality::ExplicitConsent => "the person's explicit consent".to_owned(),
        Confidentiality::Statute { reference } => format!("statute: {reference}"),
        Confidentiality::Section251 { reference, expires_on } => {
            format!("section 251 support {reference}, until {expires_on}")
        }
        Confidentiality::PublicInterest => "an overriding public interest, case by case".to_owned(),
    }
}
