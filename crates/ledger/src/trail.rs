//! What an entry can be found by. One function says it for whoever builds an index and for whoever checks that an
//! entry that was found is one that was asked for, so that an index is a help and never a witness.

use std::{collections::BTreeSet, fmt};

use crate::entry::{Actor, Body, Decided, Entry};

/// What an entry can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A person, by pseudonym.
    Subject,
    /// An organisation: whoever acted, asked or received.
    Organisation,
    /// The human who acted.
    Practitioner,
    /// The record holder.
    Provider,
    /// The purpose.
    Purpose,
    /// The agreement.
    Agreement,
    /// The decision, or what else the entry is about by identifier: a consent, an objection, an alert, a grant.
    Reference,
    /// A reason for which something was not released.
    Reason,
    /// An item that was asked for, permitted or released.
    Item,
    /// The kind of entry.
    Kind,
    /// The case.
    Case,
}

impl Field {
    /// The field's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Organisation => "organisation",
            Self::Practitioner => "practitioner",
            Self::Provider => "provider",
            Self::Purpose => "purpose",
            Self::Agreement => "agreement",
            Self::Reference => "reference",
            Self::Reason => "reason",
            Self::Item => "item",
            Self::Kind => "kind",
            Self::Case => "case_reference",
        }
    }
}

/// One thing that an entry can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// What it is.
    pub field: Field,
    /// Which.
    pub value: String,
}

impl Term {
    /// A term.
    pub fn new(field: Field, value: impl Into<String>) -> Self {
        Self { field, value: value.into() }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.field.as_str(), self.value)
    }
}

/// The decision that an entry ends or moves on, by identifier. What it was about is in the entry that decided it.
pub fn follows(body: &Body) -> Option<&str> {
    match body {
        Body::Release { decision_id, .. }
        | Body::Closure { decision_id, .. }
        | Body::ReferralMoved { decision_id, .. }
        | Body::GrantMade { decision_id, .. } => Some(decision_id),
        _ => None,
    }
}

/// What a decision's first entry says.
pub fn decided(body: &Body) -> Option<&Decided> {
    match body {
        Body::Intent(decided) | Body::Refusal(decided) | Body::Referral(decided) => Some(decided),
        _ => None,
    }
}

/// Whose officers an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sight {
    /// Those of the organisation whose record was asked for: a decision, and what follows it. By record holder.
    Holder(String),
    /// Those of the organisation whose people wrote it. By organisation.
    Writer(String),
}

impl fmt::Display for Sight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder(provider) => write!(formatter, "holder:{provider}"),
            Self::Writer(organisation) => write!(formatter, "writer:{organisation}"),
        }
    }
}

/// Whose officers see an entry; `None` is for auditors alone. `first` is what decided the question that it ends, where it ends one.
pub fn sight(entry: &Entry, first: Option<&Decided>) -> Option<Sight> {
    match first.or_else(|| decided(&entry.body)) {
        Some(decided) => Some(Sight::Holder(decided.provider.clone())),
        None => writer(&entry.body).map(|by| Sight::Writer(by.organisation.clone())),
    }
}

/// Whoever wrote an entry that their colleagues see.
fn writer(body: &Body) -> Option<&Actor> {
    match body {
        Body::ConsentRecorded { by, .. }
        | Body::ConsentWithdrawn { by, .. }
        | Body::ConsentStatusChanged { by, .. }
        | Body::ObjectionRecorded { by, .. }
        | Body::ObjectionEnded { by, .. }
        | Body::ObjectionAnswered { by, .. }
        | Body::RightsRequestMoved { by, .. }
        | Body::RelationshipRecorded { by, .. }
        | Body::RelationshipEnded { by, .. }
        | Body::BreakGlassDeclared { by, .. }
        | Body::HoldPlaced { by, .. }
        | Body::HoldLifted { by, .. }
        | Body::ErasureAsked { by, .. }
        | Body::RecordsForgotten { by: Some(by), .. }
        | Body::ExportRequested { by, .. }
        | Body::ExportMoved { by: Some(by), .. }
        | Body::VisibilityDecided { by, .. }
        | Body::DecisionRead { by, .. }
        | Body::SubjectRecordRead { by, .. } => Some(by),
        _ => None,
    }
}

/// Everything that an entry can be found by. `first` is what decided the question that it ends, where it ends one.
pub fn terms(entry: &Entry, first: Option<&Decided>) -> BTreeSet<Term> {
    let mut terms = Terms(BTreeSet::new());
    terms.add(Field::Kind, entry.body.kind());
    if let Some(first) = first {
        terms.decided(first);
    }
    terms.body(&entry.body);
    terms.0
}

struct Terms(BTreeSet<Term>);

impl Terms {
    fn add(&mut self, field: Field, value: &str) {
        if !value.is_empty() {
            self.0.insert(Term::new(field, value));
        }
    }

    fn all(&mut self, field: Field, values: &[String]) {
        values.iter().for_each(|value| self.add(field, value));
    }

    fn items(&mut self, items: &[String]) {
        // An item by name, whatever the form it left in.
        items.iter().for_each(|item| self.add(Field::Item, item.split(':').next().unwrap_or(item)));
    }

    fn actor(&mut self, by: &Actor) {
        self.add(Field::Organisation, &by.organisation);
        let human = by.practitioner.as_ref().or(by.unattended_owner.as_ref());
        human.into_iter().for_each(|id| self.add(Field::Practitioner, id));
    }

    fn about(&mut self, reference: &str, subject: &str, by: &Actor) {
        self.add(Field::Reference, reference);
        self.add(Field::Subject, subject);
        self.actor(by);
    }

    fn decided(&mut self, decided: &Decided) {
        self.about(&decided.decision_id, &decided.subject, &decided.by);
        self.add(Field::Organisation, &decided.recipient);
        self.add(Field::Provider, &decided.provider);
        self.add(Field::Purpose, &decided.purpose);
        self.add(Field::Case, &decided.case_reference);
        decided.agreement.iter().for_each(|agreement| self.add(Field::Agreement, &agreement.agreement));
        self.all(Field::Reason, &decided.reasons);
        self.items(&decided.asked);
        self.items(&decided.permitted);
        for reference in decided.grant.iter().chain(&decided.break_glass) {
            self.add(Field::Reference, reference);
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one exhaustive match: a kind and what it is found by side by side"
    )]
    fn body(&mut self, body: &Body) {
        match body {
            Body::Intent(decided) | Body::Refusal(decided) | Body::Referral(decided) => self.decided(decided),
            Body::Release { decision_id, subjects, items, .. } => {
                self.add(Field::Reference, decision_id);
                self.all(Field::Subject, subjects);
                self.items(items);
            }
            Body::Closure { decision_id, reasons, linked, .. } => {
                self.add(Field::Reference, decision_id);
                self.all(Field::Reason, reasons);
                self.all(Field::Subject, linked);
            }
            Body::ConsentRecorded { consent_id, subject, controller, recipients, purposes, by, .. } => {
                self.about(consent_id, subject, by);
                self.add(Field::Organisation, controller);
                self.all(Field::Organisation, recipients);
                self.all(Field::Purpose, purposes);
            }
            Body::ConsentWithdrawn { consent_id, subject, by }
            | Body::ConsentStatusChanged { consent_id, subject, by, .. } => {
                self.about(consent_id, subject, by);
            }
            Body::ObjectionRecorded { objection_id, subject, purposes, recipients, by } => {
                self.about(objection_id, subject, by);
                self.all(Field::Purpose, purposes);
                self.all(Field::Organisation, recipients);
            }
            Body::ObjectionEnded { objection_id, subject, by, .. }
            | Body::ObjectionAnswered { objection_id, subject, by, .. } => {
                self.about(objection_id, subject, by);
            }
            Body::RightsRequestMoved { request_id, subject, controller, of, by, .. } => {
                self.about(request_id, subject, by);
                self.add(Field::Organisation, controller);
                of.iter().for_each(|of| self.add(Field::Reference, of));
            }
            Body::RelationshipRecorded {
                relationship_id, subject, organisation, practitioner, by, ..
            } => {
                self.about(relationship_id, subject, by);
                self.add(Field::Organisation, organisation);
                practitioner.iter().for_each(|id| self.add(Field::Practitioner, id));
            }
            Body::RelationshipEnded { relationship_id, subject, by } => {
                self.about(relationship_id, subject, by);
            }
            Body::BreakGlassDeclared { break_glass_id, subject, purpose, reason, by, .. } => {
                self.about(break_glass_id, subject, by);
                self.add(Field::Purpose, purpose);
                self.add(Field::Reason, reason);
            }
            Body::AlertMarksRecorded { reference, by, .. } => {
                self.add(Field::Reference, reference);
                self.actor(by);
            }
            Body::AlertHandled { alert_id, by, .. } => {
                self.add(Field::Reference, alert_id);
                by.iter().for_each(|by| self.actor(by));
            }
            Body::ReferralMoved { decision_id, by, .. } => {
                self.add(Field::Reference, decision_id);
                self.actor(by);
            }
            Body::GrantMade {
                grant_id,
                decision_id,
                subject,
                recipient,
                practitioner,
                provider,
                purpose,
                items,
                by,
                ..
            } => {
                self.about(grant_id, subject, by);
                self.add(Field::Reference, decision_id);
                self.add(Field::Organisation, recipient);
                self.add(Field::Practitioner, practitioner);
                self.add(Field::Provider, provider);
                self.add(Field::Purpose, purpose);
                self.items(items);
            }
            Body::GrantRevoked { grant_id, subject, by } => self.about(grant_id, subject, by),
            Body::OptOutsImported { batch, purpose, .. } => {
                self.add(Field::Reference, batch);
                self.add(Field::Purpose, purpose);
            }
            Body::DecisionRead { of, by, .. } => {
                self.add(Field::Reference, of);
                self.actor(by);
            }
            Body::SubjectRecordRead { subject, purpose, by, .. } => {
                self.add(Field::Subject, subject);
                purpose.iter().for_each(|purpose| self.add(Field::Purpose, purpose));
                self.actor(by);
            }
            Body::RequestRefused { code, organisation, .. } => {
                self.add(Field::Reason, code);
                organisation.iter().for_each(|organisation| self.add(Field::Organisation, organisation));
            }
            Body::RequestsShed { reason, organisation, .. } => {
                self.add(Field::Reason, reason);
                organisation.iter().for_each(|organisation| self.add(Field::Organisation, organisation));
            }
            Body::AccessTokenIssued { token_id, organisation, purposes, .. } => {
                self.add(Field::Reference, token_id);
                self.add(Field::Organisation, organisation);
                purposes.iter().for_each(|purpose| self.add(Field::Purpose, purpose));
            }
            Body::HandshakeRefused { reason, .. } => self.add(Field::Reason, reason),
            Body::PolicySetActivated { agreements, .. } => {
                agreements.iter().for_each(|stamp| self.add(Field::Agreement, &stamp.agreement));
            }
            Body::PolicySetRejected { code, .. } => self.add(Field::Reason, code),
            Body::HoldPlaced { hold_id, subject, by, .. } => {
                self.add(Field::Reference, hold_id);
                subject.iter().for_each(|subject| self.add(Field::Subject, subject));
                self.actor(by);
            }
            Body::HoldLifted { hold_id, by } => {
                self.add(Field::Reference, hold_id);
                self.actor(by);
            }
            Body::ErasureAsked { erasure_id, subject, ground, by } => {
                self.about(erasure_id, subject, by);
                self.add(Field::Reason, ground);
            }
            Body::VisibilityDecided { of, ground, by, .. } => {
                self.add(Field::Reference, of);
                ground.iter().for_each(|ground| self.add(Field::Reason, ground));
                self.actor(by);
            }
            Body::RecordsForgotten { ground, records, people, request, by } => {
                self.add(Field::Reason, ground);
                self.all(Field::Reference, records);
                self.all(Field::Subject, people);
                request.iter().for_each(|request| self.add(Field::Reference, request));
                by.iter().for_each(|by| self.actor(by));
            }
            Body::ExportRequested { export_id, subjects, purpose, case_reference, by, .. } => {
                self.add(Field::Reference, export_id);
                self.all(Field::Subject, subjects);
                self.add(Field::Purpose, purpose);
                self.add(Field::Case, case_reference);
                self.actor(by);
            }
            Body::ExportMoved { export_id, by, .. } => {
                self.add(Field::Reference, export_id);
                by.iter().for_each(|by| self.actor(by));
            }
            Body::AgreementMoved { agreement, reason, by, .. } => {
                self.add(Field::Agreement, agreement);
                reason.iter().for_each(|reason| self.add(Field::Reason, reason));
                by.iter().for_each(|by| self.actor(by));
            }
            Body::AgreementMatterMoved { agreement, matter, reason, by, .. } => {
                self.add(Field::Agreement, agreement);
                self.add(Field::Reference, matter);
                reason.iter().for_each(|reason| self.add(Field::Reason, reason));
                by.iter().for_each(|by| self.actor(by));
            }
            Body::AgreementSigned { agreement, officer_id, by, .. } => {
                self.add(Field::Agreement, agreement);
                self.add(Field::Reference, officer_id);
                self.actor(by);
            }
            Body::AgreementOfficerMoved { officer_id, organisation, person, by, .. } => {
                self.add(Field::Reference, officer_id);
                self.add(Field::Organisation, organisation);
                self.add(Field::Practitioner, person);
                self.actor(by);
            }
            Body::ListBegan { list_id, recipient, purpose, by, .. } => {
                self.add(Field::Reference, list_id);
                self.add(Field::Organisation, recipient);
                self.add(Field::Purpose, purpose);
                self.actor(by);
            }
            Body::ListMoved { list_id, reason, .. } => {
                self.add(Field::Reference, list_id);
                reason.iter().for_each(|reason| self.add(Field::Reason, reason));
            }
            Body::LoadMoved { load_id, by, .. } => {
                self.add(Field::Reference, load_id);
                self.actor(by);
            }
            Body::LogOpened { .. }
            | Body::AuditRead { .. }
            | Body::SigningKeyAnnounced { .. }
            | Body::BlockMoved { .. }
            | Body::SigningKeyRetired { .. }
            | Body::LookupKeyReplaced { .. }
            | Body::WrappingKeyReplaced { .. } => {}
        }
    }
}
