//! Rows of consents and objections, and the one place where each becomes a domain value.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sharing::{
    ConsentId, ObjectionId, OrganisationId, Pseudonym, PurposeClass,
    subject::{
        ConsentRecord, ConsentStatus, ConsentType, GivenBy, Objection, ObjectionKind, ObjectionStatus, Shown,
    },
};

use crate::error::StoreError;

/// A consent as it is stored: what decides, and the rest as the recording system gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRow {
    /// What bears on decisions.
    pub record: ConsentRecord,
    /// Whose it is.
    pub subject: Pseudonym,
    /// The organisation that recorded it.
    pub recorded_by: OrganisationId,
    /// When its last change of status was recorded.
    pub withdrawn_at: Option<Timestamp>,
    /// Everything else, as JSON: given by whom, with which authority and capacity, how, on which notice.
    pub details: String,
    /// Why its status was changed, where somebody said.
    pub status_reason: Option<String>,
}

/// An objection as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectionRow {
    /// What bears on decisions.
    pub record: Objection,
    /// Whose it is.
    pub subject: Pseudonym,
    /// The organisation that recorded it.
    pub recorded_by: OrganisationId,
    /// When.
    pub recorded_at: Timestamp,
    /// By when it must be answered: one calendar month (UK GDPR Art 12(3)).
    pub answer_due: Timestamp,
    /// The controller that answers it.
    pub controller: OrganisationId,
    /// The grounds of a refusal.
    pub status_reason: Option<String>,
    /// Everything else, as JSON.
    pub details: String,
}

/// What decides of a consent, as it is stored.
pub(crate) struct RawConsentRecord {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) consent_type: String,
    pub(crate) status: String,
    pub(crate) controller: String,
    pub(crate) recipients: String,
    pub(crate) purposes: String,
    pub(crate) given_by: String,
    pub(crate) recorded_us: i64,
    pub(crate) given_us: i64,
    pub(crate) expires_us: Option<i64>,
    pub(crate) ended_us: Option<i64>,
    pub(crate) shown: Option<String>,
}

columns!(RawConsentRecord {
    id,
    subject,
    consent_type,
    status,
    controller,
    recipients,
    purposes,
    given_by,
    recorded_us,
    given_us,
    expires_us,
    ended_us,
    shown
});

/// What decides of an objection, as it is stored.
pub(crate) struct RawObjectionRecord {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) purposes: String,
    pub(crate) recipients: String,
    pub(crate) objection_kind: String,
    pub(crate) status: String,
}

columns!(RawObjectionRecord { id, subject, purposes, recipients, objection_kind, status });

pub(crate) struct RawConsent {
    decides: RawConsentRecord,
    recorded_by: String,
    withdrawn_us: Option<i64>,
    details: String,
    status_reason: Option<String>,
}

columns!(RawConsent { recorded_by, withdrawn_us, details, status_reason } decides);

pub(crate) struct RawObjection {
    decides: RawObjectionRecord,
    recorded_by: String,
    recorded_us: i64,
    answer_due_us: i64,
    details: String,
    controller: String,
    status_reason: Option<String>,
}

columns!(RawObjection { recorded_by, recorded_us, answer_due_us, details, controller, status_reason } decides);

impl RawConsentRecord {
    fn read(&self) -> Option<ConsentRecord> {
        Some(ConsentRecord {
            id: self.id.parse::<ConsentId>().ok()?,
            consent_type: word::<ConsentType>(&self.consent_type)?,
            status: word::<ConsentStatus>(&self.status)?,
            controller: self.controller.parse().ok()?,
            recipients: list(&self.recipients)?,
            purposes: list::<PurposeClass>(&self.purposes)?,
            given_by: serde_json::from_str::<GivenBy>(&self.given_by).ok()?,
            recorded_at: instant(self.recorded_us)?,
            given_at: instant(self.given_us)?,
            expires_at: optional_instant(self.expires_us)?,
            ended_at: optional_instant(self.ended_us)?,
            // What cannot be read is no consent without a bound.
            shown: self.shown.as_deref().map(serde_json::from_str::<Box<Shown>>).transpose().ok()?,
        })
    }
}

impl RawObjectionRecord {
    fn read(&self) -> Option<Objection> {
        Some(Objection {
            id: self.id.parse::<ObjectionId>().ok()?,
            purposes: list::<PurposeClass>(&self.purposes)?,
            recipients: list(&self.recipients)?,
            kind: word::<ObjectionKind>(&self.objection_kind)?,
            status: word::<ObjectionStatus>(&self.status)?,
        })
    }
}

impl TryFrom<RawConsentRecord> for ConsentRecord {
    type Error = StoreError;

    fn try_from(raw: RawConsentRecord) -> Result<Self, Self::Error> {
        raw.read().ok_or(StoreError::CorruptRow { table: "consent", row: raw.id })
    }
}

impl TryFrom<RawObjectionRecord> for Objection {
    type Error = StoreError;

    fn try_from(raw: RawObjectionRecord) -> Result<Self, Self::Error> {
        raw.read().ok_or(StoreError::CorruptRow { table: "objection", row: raw.id })
    }
}

impl TryFrom<RawConsent> for ConsentRow {
    type Error = StoreError;

    fn try_from(raw: RawConsent) -> Result<Self, Self::Error> {
        let read = || {
            Some(Self {
                record: raw.decides.read()?,
                subject: raw.decides.subject.parse().ok()?,
                recorded_by: raw.recorded_by.parse().ok()?,
                withdrawn_at: optional_instant(raw.withdrawn_us)?,
                details: raw.details.clone(),
                status_reason: raw.status_reason.clone(),
            })
        };
        read().ok_or(StoreError::CorruptRow { table: "consent", row: raw.decides.id })
    }
}

impl TryFrom<RawObjection> for ObjectionRow {
    type Error = StoreError;

    fn try_from(raw: RawObjection) -> Result<Self, Self::Error> {
        let read = || {
            Some(Self {
                record: raw.decides.read()?,
                subject: raw.decides.subject.parse().ok()?,
                recorded_by: raw.recorded_by.parse().ok()?,
                recorded_at: instant(raw.recorded_us)?,
                answer_due: instant(raw.answer_due_us)?,
                controller: raw.controller.parse().ok()?,
                status_reason: raw.status_reason.clone(),
                details: raw.details.clone(),
            })
        };
        read().ok_or(StoreError::CorruptRow { table: "objection", row: raw.decides.id })
    }
}

/// A closed set's value as its one word in the database.
pub(crate) fn to_word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(), // unit variants serialise as strings
    }
}

pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// What was shown, as it is stored.
pub(crate) fn to_shown(record: &ConsentRecord) -> Option<String> {
    record.shown.as_ref().map(|shown| serde_json::to_string(shown).unwrap_or_default())
}

pub(crate) fn to_list<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_else(|_| "[]".to_owned())
}

pub(crate) fn list<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
    serde_json::from_str(text).ok()
}

pub(crate) fn instant(microseconds: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds).ok()
}

#[expect(clippy::option_option, reason = "absent, present and unreadable are three things")]
pub(crate) fn optional_instant(microseconds: Option<i64>) -> Option<Option<Timestamp>> {
    match microseconds {
        None => Some(None),
        Some(microseconds) => instant(microseconds).map(Some),
    }
}
