//! A version of an agreement as people read it, with the hash of the terms that it was made from: what it says, of which a page that
//! prints (`html`) and a PDF (`pdf`) are made alike.

use askama::Template;
use jiff::Timestamp;
use sharing::{
    Agreement, DataFlow, PolicySet,
    agreement::{Confidentiality, ControllerRole, DpiaOutcome, LawfulBasis, terms::Terms},
    explain,
    policy::OrganisationKind,
};
use store::{SignatureRow, TermsRow};

use super::StepError;

mod pdf;
pub(crate) mod readable;

/// What a version says, in the order in which it is read.
pub struct Document {
    title: String,
    id: String,
    version: u32,
    terms_sha256: String,
    /// When the version was written.
    written: Timestamp,
    parts: Vec<Part>,
}

/// A part of it.
enum Part {
    /// A heading below the title: 2 or 3.
    Heading(u8, String),
    Paragraph(String),
    /// Names, each with what it is.
    Facts(Vec<(&'static str, String)>),
    Table(Table),
    /// The hash of the terms.
    Hash(String),
}

struct Table {
    caption: Option<&'static str>,
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

/// A column: its name, and how wide it is beside the others.
type Column = (&'static str, u8);

const PARTIES: &[Column] = &[("Organisation", 4), ("Kind", 2), ("Role", 2), ("Privacy notice", 4)];
const ITEMS: &[Column] = &[("Item", 4), ("Form", 2), ("Why", 6)];
const SIGNATURES: &[Column] = &[("Organisation", 3), ("Name", 3), ("Role", 3), ("When", 4)];

#[derive(Template)]
#[template(path = "agreement.html")]
struct Page<'a> {
    document: &'a Document,
}

impl Document {
    /// What a version says, in the state that the agreement is in.
    ///
    /// # Errors
    /// [`StepError::Kept`] when the terms cannot be read.
    pub fn of(
        set: &PolicySet,
        row: &TermsRow,
        state: &str,
        signatures: &[(SignatureRow, String)],
    ) -> Result<Self, StepError> {
        let kept = |error: sharing::agreement::terms::TermsError| StepError::Kept(error.to_string());
        let agreement = Terms::kept(&row.terms).and_then(|terms| terms.agreement()).map_err(kept)?;
        let mut parts = vec![Part::Facts(facts(&agreement, state))];
        parts.push(Part::Heading(2, "Parties".to_owned()));
        parts.push(Part::Table(parties(set, &agreement)));
        parts.push(Part::Heading(2, "What moves".to_owned()));
        for flow in &agreement.flows {
            flow_parts(flow_line(set, flow), &mut parts);
        }
        parts.push(Part::Heading(2, "Signatures".to_owned()));
        parts.push(signed(signatures));
        parts.push(Part::Heading(2, "What this document was made from".to_owned()));
        parts.push(Part::Paragraph(
            "The terms as canonical JSON (RFC 8785), of which this is the SHA-256. Signatures are over those bytes, not over this \
             document."
                .to_owned(),
        ));
        parts.push(Part::Hash(row.terms_sha256.clone()));
        let mut document = Self {
            title: agreement.title.clone(),
            id: agreement.id().to_string(),
            version: agreement.version,
            terms_sha256: row.terms_sha256.clone(),
            written: Timestamp::from_microsecond(row.written_us).unwrap_or_default(),
            parts,
        };
        document.each_text(&mut |text: &mut String| {
            *text = if text.trim().is_empty() { "–".to_owned() } else { readable::unambiguous(text) };
        });
        Ok(document)
    }

    /// As a page that prints.
    ///
    /// # Errors
    /// [`StepError::Kept`] when it cannot be made.
    pub fn html(&self) -> Result<String, StepError> {
        Page { document: self }.render().map_err(|error| StepError::Kept(error.to_string()))
    }

    /// As a PDF that is tagged (PDF/UA-1) and can be archived (PDF/A-2a). Of the same it makes the same bytes.
    ///
    /// # Errors
    /// [`StepError::Kept`] when it cannot be made.
    pub fn pdf(&self) -> Result<Vec<u8>, StepError> {
        pdf::make(self).map_err(|error| StepError::Kept(error.to_string()))
    }

    fn each_text(&mut self, edit: &mut impl FnMut(&mut String)) {
        edit(&mut self.title);
        for part in &mut self.parts {
            match part {
                Part::Heading(_, text) | Part::Paragraph(text) | Part::Hash(text) => edit(text),
                Part::Facts(facts) => facts.iter_mut().for_each(|(_, text)| edit(text)),
                Part::Table(table) => table.rows.iter_mut().flatten().for_each(&mut *edit),
            }
        }
    }
}

fn facts(agreement: &Agreement, state: &str) -> Vec<(&'static str, String)> {
    let dpia = &agreement.dpia;
    let outcome = match dpia.outcome {
        DpiaOutcome::Accepted => "the residual risk is accepted",
        DpiaOutcome::Open => "not concluded",
    };
    let mut facts = vec![
        ("Agreement", format!("{}, version {}", agreement.id(), agreement.version)),
        ("State", state.replace('-', " ")),
        ("Framework", agreement.framework.clone()),
        ("In use from", agreement.effective_on.to_string()),
        ("Ends on", agreement.ends_on.to_string()),
        ("Review by", agreement.review_on.to_string()),
    ];
    facts.extend(agreement.grace_days.map(|days| ("Grace after the review date", format!("{days} days"))));
    facts.push(("Owner of the use", agreement.owner.clone()));
    facts.push(("Breach contact", agreement.breach_contact.clone()));
    facts.push((
        "Impact assessment",
        format!(
            "{}: {outcome}; completed on {}, current until {}",
            dpia.reference, dpia.completed_on, dpia.current_until
        ),
    ));
    facts.extend(dpia.link.clone().map(|link| ("Published at", link)));
    facts.extend(agreement.external_reference.clone().map(|name| ("External reference", name)));
    facts.extend(agreement.pilot.as_ref().map(|pilot| ("Pilot, measured by", pilot.measures.join("; "))));
    facts
}

fn flow_parts(flow: FlowLine, parts: &mut Vec<Part>) {
    parts.push(Part::Heading(3, format!("{}: from {} to {}", flow.id, flow.from, flow.to)));
    let mut facts = vec![("Purpose", flow.purpose)];
    facts.extend(flow.statutory_gateway.map(|gateway| ("Statutory gateway", gateway)));
    facts.push(("Asked by", flow.identifiers));
    facts.push(("Roles that may ask", flow.roles));
    facts.push(("Relationship to the person", flow.relationship));
    facts.extend(flow.age_from_years.map(|years| ("Youngest age", format!("{years} years"))));
    facts.push(("Ceiling", flow.ceiling));
    facts.push(("Lists", flow.lists));
    facts.push(("Basis for disclosing", flow.provider_basis));
    facts.push(("Basis for receiving", flow.recipient_basis));
    facts.push(("Duty of confidentiality", flow.confidentiality));
    facts.push(("Deleted after", format!("{} days", flow.retain_days)));
    facts.push(("Passing on", flow.onward.to_owned()));
    parts.push(Part::Facts(facts));
    let rows = flow.items.into_iter().map(|item| vec![item.title, item.form, item.justification]);
    parts.push(Part::Table(Table { caption: Some("Items"), columns: ITEMS, rows: rows.collect() }));
}

fn signed(signatures: &[(SignatureRow, String)]) -> Part {
    if signatures.is_empty() {
        return Part::Paragraph("Nobody has signed this version.".to_owned());
    }
    let rows = signatures.iter().map(|(signature, name)| {
        let at = Timestamp::from_microsecond(signature.signed_us).unwrap_or_default();
        let at = crate::subject_access::in_london(at);
        vec![signature.organisation.clone(), name.clone(), signature.role.clone(), at]
    });
    Part::Table(Table { caption: None, columns: SIGNATURES, rows: rows.collect() })
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
    pub lists: String,
    pub relationship: String,
    pub statutory_gateway: Option<String>,
    pub age_from_years: Option<i16>,
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

fn parties(set: &PolicySet, agreement: &Agreement) -> Table {
    let rows = agreement.parties.iter().map(|party| {
        let id = party.organisation.get_ref();
        let organisation = set.organisation(id);
        let name = explain::organisation(set, id.as_str());
        let kind = match organisation.map(|organisation| organisation.kind) {
            Some(OrganisationKind::Nhs) => "NHS",
            Some(OrganisationKind::Council) => "council",
            Some(OrganisationKind::Fire) => "fire and rescue",
            None => "not registered",
        };
        let role = match party.controller {
            ControllerRole::Separate => "controller",
            ControllerRole::Joint => "joint controller",
            ControllerRole::Processor => "processor",
        };
        vec![name, kind.to_owned(), role.to_owned(), party.privacy_notice.clone().unwrap_or_default()]
    });
    Table { caption: None, columns: PARTIES, rows: rows.collect() }
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
        lists: flow
            .list_people_max
            .map_or_else(|| "one person at a time".to_owned(), |most| format!("up to {most} people at once")),
        relationship: match flow.relationship.as_slice() {
            [] => "none is asked for".to_owned(),
            kinds => {
                kinds.iter().map(|kind| kind.as_str().replace('-', " ")).collect::<Vec<_>>().join(", or ")
            }
        },
        statutory_gateway: flow.statutory_gateway.clone(),
        age_from_years: flow.cohort.age_from_years,
        provider_basis: basis(&flow.provider_basis),
        recipient_basis: basis(&flow.recipient_basis),
        confidentiality: confidentiality(&flow.confidentiality),
        retain_days: flow.obligations.retain_days,
        onward: if flow.obligations.onward_sharing { "allowed" } else { "not allowed" },
        items: items.collect(),
    }
}

/// A lawful basis, as people cite it.
pub(crate) fn basis(basis: &LawfulBasis) -> String {
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

/// What becomes of the duty of confidentiality, in words.
pub(crate) fn confidentiality(confidentiality: &Confidentiality) -> String {
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
