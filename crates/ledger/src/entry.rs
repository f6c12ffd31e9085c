//! Leaves: what the ledger says, one entry a fact.
//!
//! A leaf holds names of items, never values; people by random pseudonym; staff by the identifier that their
//! organisation gave them. The schema is versioned; a field is added, never given another meaning.

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, to_canonical_json};

pub use blind::Blind;

mod blind;
mod size;

/// The version of the schema that this program writes.
pub const SCHEMA_VERSION: u8 = 1;

/// Largest leaf, in bytes.
pub const LEAF_BYTES_MAX: usize = 16 * 1024;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Entry {
    /// The schema's version.
    pub v: u8,
    /// Its place in the ledger, from 0.
    pub seq: u64,
    /// When it was written: microseconds since 1970-01-01T00:00:00Z.
    pub at_us: i64,
    /// Random, so that the entry cannot be guessed from its hash. Entries of releases before 2026-11-29 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Blind>,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are described in docs/ledger.md, one table a kind")]
pub enum Body {
    /// The ledger begins.
    LogOpened { origin: String, public_key: String },
    /// A policy set came into force. Replaces the set before it whole.
    PolicySetActivated { revision: u64, digest: String, agreements: Vec<AgreementStamp> },
    /// A policy set was offered and refused; the one before it stays in force.
    PolicySetRejected {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        code: String,
    },
    /// A question was permitted; the record holder is about to be asked.
    Intent(Box<Decided>),
    /// A question was refused.
    Refusal(Box<Decided>),
    /// A question was left to a person.
    Referral(Box<Decided>),
    /// A record was released.
    Release {
        decision_id: String,
        subjects: Vec<String>,
        items: Vec<String>,
        record_sha256: String,
        obligations: Vec<String>,
        policy_revision: u64,
        consents: Vec<String>,
        observed: Vec<String>,
    },
    /// A question ended without a release. What its record showed about the person is in it, rather than in
    /// entries of its own, so that the ledger grows alike whatever was seen.
    Closure {
        decision_id: String,
        outcome: String,
        reasons: Vec<String>,
        observed: Vec<String>,
        linked: Vec<String>,
    },
    /// A list of people began to be asked about. Each person's question and its end are entries of their own, which name
    /// the list.
    ListBegan {
        list_id: String,
        provider: String,
        recipient: String,
        purpose: String,
        case_reference: String,
        people: u64,
        context_sha256: String,
        by: Actor,
    },
    /// A list moved on: a `chunk` of it was about to leave, or it was `completed` or `stopped`. `answered` people have an
    /// answer so far and `released` of them a record.
    ListMoved {
        list_id: String,
        action: String,
        chunk: u64,
        answered: u64,
        released: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A consent was recorded.
    ConsentRecorded {
        consent_id: String,
        subject: String,
        consent_type: String,
        status: String,
        controller: String,
        recipients: Vec<String>,
        purposes: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_us: Option<i64>,
        record_sha256: String,
        /// What the person was shown, where it is known: a yes is to nothing beyond it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Box<ConsentShown>>,
        by: Actor,
    },
    /// A consent was withdrawn.
    ConsentWithdrawn { consent_id: String, subject: String, by: Actor },
    /// An objection was recorded. Empty lists mean every purpose that yields to objections, every recipient.
    ObjectionRecorded {
        objection_id: String,
        subject: String,
        purposes: Vec<String>,
        recipients: Vec<String>,
        by: Actor,
    },
    /// An objection ended.
    ObjectionEnded { objection_id: String, subject: String, outcome: String, by: Actor },
    /// A consent's status changed in another way than by withdrawal.
    ConsentStatusChanged { consent_id: String, subject: String, status: String, by: Actor },
    /// An objection was answered: `upheld` or `refused`.
    ObjectionAnswered { objection_id: String, subject: String, outcome: String, by: Actor },
    /// A person's `complaint`, or their request for `rectification`, moved on: `received`, `acknowledged` or `answered`. `of` is
    /// the decision that it is about. What was written is kept beside the ledger; its digest is here.
    RightsRequestMoved {
        request_id: String,
        subject: String,
        right: String,
        action: String,
        controller: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_sha256: Option<String>,
        by: Actor,
    },
    /// An organisation says that it has to do with a person.
    RelationshipRecorded {
        relationship_id: String,
        subject: String,
        organisation: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        practitioner: Option<String>,
        relationship: String,
        from_us: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_us: Option<i64>,
        by: Actor,
    },
    /// A relationship ended.
    RelationshipEnded { relationship_id: String, subject: String, by: Actor },
    /// A practitioner declared an emergency: break-glass. The alert to their organisation is in the same commit.
    BreakGlassDeclared {
        break_glass_id: String,
        subject: String,
        organisation: String,
        practitioner: String,
        purpose: String,
        reason: String,
        cannot_consent: bool,
        statement_sha256: String,
        from_us: i64,
        until_us: i64,
        review_due_us: i64,
        by: Actor,
    },
    /// What alerts compare with was registered: a practitioner's own identifiers, surnames and homes, or a person to
    /// watch; `marks` of them, 0 when it ended. What was registered is a keyed hash, and not here.
    AlertMarksRecorded { of: String, reference: String, marks: u64, by: Actor },
    /// An alert was triaged (in older entries acknowledged), reviewed, reopened or escalated. Nobody's hand is on an escalation: the time did it.
    AlertHandled {
        alert_id: String,
        action: String,
        outcome: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// A request for a one-off disclosure moved on: `requested`, `taken`, `asked`, `answered` or `refused`.
    /// What was written is kept beside the ledger; its digest is here.
    ReferralMoved { decision_id: String, action: String, text_sha256: String, by: Actor },
    /// A named person of the record holder allowed a one-off disclosure.
    GrantMade {
        grant_id: String,
        decision_id: String,
        subject: String,
        recipient: String,
        practitioner: String,
        provider: String,
        purpose: String,
        items: Vec<String>,
        from_us: i64,
        until_us: i64,
        reason_sha256: String,
        by: Actor,
    },
    /// A grant was taken back.
    GrantRevoked { grant_id: String, subject: String, by: Actor },
    /// The answers of a national data opt-out check were taken in, for one purpose and a limited time.
    OptOutsImported { batch: String, purpose: String, checked: u64, expires_us: i64 },
    /// Something must not be forgotten; without a subject, nothing.
    HoldPlaced {
        hold_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        reason_sha256: String,
        by: Actor,
    },
    /// A hold is over.
    HoldLifted { hold_id: String, by: Actor },
    /// An erasure was asked for, on a ground of UK GDPR Art 17(1).
    ErasureAsked { erasure_id: String, subject: String, ground: String, by: Actor },
    /// Records were forgotten, by their random names, and people, by every pseudonym: `retention` when they were kept
    /// long enough, `erasure` when it was asked for.
    RecordsForgotten {
        ground: String,
        records: Vec<String>,
        people: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// An officer decided whether a person is told of an event when they ask: `visible`, or `withheld` until a time on
    /// a ground of the Data Protection Act 2018.
    VisibilityDecided {
        of: String,
        visibility: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_us: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ground: Option<String>,
        by: Actor,
    },
    /// Somebody asks to take entries away, and needs a second person for it. The selection is kept beside the ledger; its
    /// digest is here, and the people in it by pseudonym.
    ExportRequested {
        export_id: String,
        format: String,
        selected_by: Vec<String>,
        filter_sha256: String,
        subjects: Vec<String>,
        purpose: String,
        case_reference: String,
        by: Actor,
    },
    /// An export moved on: `approved`, `refused`, `ready` (over so many entries, with the file's digest), `failed`,
    /// `downloaded` (from which byte on) or `expired`.
    ExportMoved {
        export_id: String,
        action: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_byte: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// An agreement took a step: who did it and why, to which terms. Nobody's hand is on what time alone did. What was
    /// written is kept beside the ledger; its digest is here. `revision` counts the agreement's steps from 1.
    AgreementMoved {
        agreement: String,
        revision: u64,
        version: u32,
        terms_sha256: String,
        action: String,
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// Somebody signed an agreement's terms: a detached JWS (RFC 7515, appendix F) over their canonical form, with a
    /// registered key. It is a step as any other.
    AgreementSigned {
        agreement: String,
        revision: u64,
        version: u32,
        terms_sha256: String,
        state: String,
        role: String,
        officer_id: String,
        signature: String,
        by: Actor,
    },
    /// An organisation registered, with two hands, who signs or advises for it: `asked`, `registered` or `ended`. `key` is
    /// the RFC 7638 thumbprint of the key that they sign with.
    AgreementOfficerMoved {
        officer_id: String,
        action: String,
        organisation: String,
        person: String,
        role: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        by: Actor,
    },
    /// Something beside an agreement's course moved on: a `comment` on a clause, a `dispute`, a `benefit`, a `harm` or an
    /// `evaluation`. Nobody's hand is on what time alone did. What was written is kept beside the ledger; its digest is
    /// here. `revision` counts the matter's own steps from 1.
    AgreementMatterMoved {
        agreement: String,
        matter: String,
        about: String,
        revision: u64,
        version: u32,
        action: String,
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// From here on checkpoints are signed by this key too, `name+hash+key`.
    SigningKeyAnnounced { public_key: String },
    /// From here on checkpoints are not signed by this key any more. `handover` is the checkpoint over all entries before
    /// this one, signed by this key and by those that stay.
    SigningKeyRetired { public_key: String, reason: String, handover: String },
    /// A closed range of entries was `archived` outside the database and read back, or `detached` from it after that. The
    /// archive's manifest of the range has this digest.
    BlockMoved { action: String, from: u64, until: u64, range_root: String, manifest_sha256: String },
    /// A load of people and consents in bulk moved on: `began`, `completed`, or `abandoned`, when the consents that it had
    /// recorded were invalidated. What is loaded has this digest; so many people it named, and so many consents.
    LoadMoved {
        load_id: String,
        action: String,
        source_sha256: String,
        people: u64,
        consents: u64,
        by: Actor,
    },
    /// The key by which people are looked up was replaced.
    LookupKeyReplaced { identifiers: u64 },
    /// The key that wraps people's keys was replaced.
    WrappingKeyReplaced { keys: u64 },
    /// Somebody read how a decision came about.
    DecisionRead { of: String, what: String, by: Actor },
    /// Somebody read what is held about a person.
    SubjectRecordRead {
        subject: String,
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
        by: Actor,
    },
    /// A request was refused before any decision.
    RequestRefused {
        code: String,
        route: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organisation: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Requests were turned away unread, `count` of one system for the same reason between these times: there were too
    /// many, or no time was left. One entry a system, reason and interval, so that a flood is recorded and is not a flood
    /// of entries.
    RequestsShed {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organisation: Option<String>,
        count: u64,
        from_us: i64,
        until_us: i64,
    },
    /// A system was given an access token, by the gateway itself.
    AccessTokenIssued {
        token_id: String,
        system: String,
        organisation: String,
        certificate_sha256: String,
        purposes: Vec<String>,
        actions: Vec<String>,
        expires_us: i64,
    },
    /// TLS handshakes were refused, `count` of them for the same reason since the last such entry.
    HandshakeRefused { reason: String, count: u32 },
    /// Somebody exported or verified the ledger.
    AuditRead { what: String, by_operator: String, from: u64, until: u64 },
}

/// An agreement in a policy set, as far as it bears on releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgreementStamp {
    /// Its name.
    pub agreement: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file.
    pub digest: String,
    /// Its status.
    pub status: String,
    /// First instant at which anything may flow.
    pub effective_us: i64,
    /// First instant at which nothing may flow any more.
    pub ends_us: i64,
}

/// A decision, with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Decided {
    /// The decision.
    pub decision_id: String,
    /// The caller's own id for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Who asked.
    pub by: Actor,
    /// The record holder.
    pub provider: String,
    /// The organisation that asked.
    pub recipient: String,
    /// For what.
    pub purpose: String,
    /// The caller's case.
    pub case_reference: String,
    /// About whom: a pseudonym.
    pub subject: String,
    /// By which kind of identifier.
    pub identifier_scheme: String,
    /// The items asked for; empty is everything agreed.
    pub asked: Vec<String>,
    /// The flow that it rests on, or came nearest to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<AgreementRef>,
    /// The policy set it was decided under.
    pub policy_revision: u64,
    /// The items that may leave, as `item:form`.
    pub permitted: Vec<String>,
    /// Every reason, where it was not permitted.
    pub reasons: Vec<String>,
    /// Every rule that was looked at, as `rule=pass`, `rule=fail` or `rule=n/a`.
    pub trace: Vec<String>,
    /// The consents that it rests on.
    pub consents: Vec<String>,
    /// SHA-256 of the caller's signed context.
    pub context_sha256: String,
    /// The caller wants the decision and not the record.
    pub answer_only: bool,
    /// The grant that it rests on, in place of an agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The emergency that it was asked under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
    /// The guardrails that forbade it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<String>,
    /// The list that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListRef>,
    /// The agreements that the access token was limited to; none is no such limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
}

/// A list of people that are asked about at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListRef {
    /// The list.
    pub list_id: String,
    /// How many people it has.
    pub people: u32,
}

/// The version of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgreementRef {
    /// The agreement.
    pub agreement: String,
    /// Its version.
    pub version: u32,
    /// The flow.
    pub flow: String,
    /// SHA-256 of the agreement's file.
    pub digest: String,
}

/// What a person was shown when they answered whether something may leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConsentShown {
    /// The version of the flow.
    pub agreement: AgreementRef,
    /// The record holder.
    pub provider: String,
    /// What leaves only after a yes, as `item:form`.
    pub items: Vec<String>,
    /// For how many days it is kept.
    pub retain_days: u32,
    /// Whether it may be passed on.
    pub onward_sharing: bool,
}

/// Who did something: the named human or declared job, and the system they used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Actor {
    /// The organisation.
    pub organisation: String,
    /// Its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The system.
    pub system: String,
    /// The practitioner, by their organisation's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub practitioner: Option<String>,
    /// The practitioner's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The owner of an unattended job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended_owner: Option<String>,
    /// SHA-256 of the client certificate.
    pub certificate_sha256: String,
}

/// A leaf that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// It is over the limit.
    #[error("the entry is larger than 16 KiB")]
    TooLarge,
    /// It is not an entry of a known kind and version.
    #[error("not an entry of a known kind and version")]
    Unknown,
    /// Its bytes are not the canonical form of what they say.
    #[error("the bytes are not the canonical form of what they say")]
    NotCanonical,
}

impl AsRef<Self> for Entry {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Entry {
    /// The leaf's bytes.
    ///
    /// # Errors
    /// [`EntryError`] when it is too large or holds an unsafe number.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let bytes = to_canonical_json(self)?;
        if bytes.len() > LEAF_BYTES_MAX { Err(EntryError::TooLarge) } else { Ok(bytes) }
    }

    /// Reads a leaf. Bytes that this program would have written otherwise are refused, so nothing can hide in
    /// them: no unknown member, no second spelling.
    ///
    /// # Errors
    /// [`EntryError`] when the bytes are not exactly an entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(EntryError::TooLarge);
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(|_| EntryError::Unknown)?;
        if entry.v != SCHEMA_VERSION {
            return Err(EntryError::Unknown);
        }
        if entry.encode()? == bytes { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }
}

impl Body {
    /// The kind's name, as in the leaf.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LogOpened { .. } => "log_opened",
            Self::PolicySetActivated { .. } => "policy_set_activated",
            Self::PolicySetRejected { .. } => "policy_set_rejected",
            Self::Intent(_) => "intent",
            Self::Refusal(_) => "refusal",
            Self::Referral(_) => "referral",
            Self::Release { .. } => "release",
            Self::Closure { .. } => "closure",
            Self::ListBegan { .. } => "list_began",
            Self::ListMoved { .. } => "list_moved",
            Self::ConsentRecorded { .. } => "consent_recorded",
            Self::ConsentWithdrawn { .. } => "consent_withdrawn",
            Self::ObjectionRecorded { .. } => "objection_recorded",
            Self::ObjectionEnded { .. } => "objection_ended",
            Self::ConsentStatusChanged { .. } => "consent_status_changed",
            Self::ObjectionAnswered { .. } => "objection_answered",
            Self::RightsRequestMoved { .. } => "rights_request_moved",
            Self::RelationshipRecorded { .. } => "relationship_recorded",
            Self::RelationshipEnded { .. } => "relationship_ended",
            Self::BreakGlassDeclared { .. } => "break_glass_declared",
            Self::AlertMarksRecorded { .. } => "alert_marks_recorded",
            Self::AlertHandled { .. } => "alert_handled",
            Self::ReferralMoved { .. } => "referral_moved",
            Self::GrantMade { .. } => "grant_made",
            Self::GrantRevoked { .. } => "grant_revoked",
            Self::OptOutsImported { .. } => "opt_outs_imported",
            Self::HoldPlaced { .. } => "hold_placed",
            Self::HoldLifted { .. } => "hold_lifted",
            Self::ErasureAsked { .. } => "erasure_asked",
            Self::RecordsForgotten { .. } => "records_forgotten",
            Self::VisibilityDecided { .. } => "visibility_decided",
            Self::ExportRequested { .. } => "export_requested",
            Self::ExportMoved { .. } => "export_moved",
            Self::AgreementMoved { .. } => "agreement_moved",
            Self::AgreementSigned { .. } => "agreement_signed",
            Self::AgreementOfficerMoved { .. } => "agreement_officer_moved",
            Self::AgreementMatterMoved { .. } => "agreement_matter_moved",
            Self::SigningKeyAnnounced { .. } => "signing_key_announced",
            Self::SigningKeyRetired { .. } => "signing_key_retired",
            Self::BlockMoved { .. } => "block_moved",
            Self::LoadMoved { .. } => "load_moved",
            Self::LookupKeyReplaced { .. } => "lookup_key_replaced",
            Self::WrappingKeyReplaced { .. } => "wrapping_key_replaced",
            Self::DecisionRead { .. } => "decision_read",
            Self::SubjectRecordRead { .. } => "subject_record_read",
            Self::RequestRefused { .. } => "request_refused",
            Self::RequestsShed { .. } => "requests_shed",
            Self::AccessTokenIssued { .. } => "access_token_issued",
            Self::HandshakeRefused { .. } => "handshake_refused",
            Self::AuditRead { .. } => "audit_read",
        }
    }

    /// The decision that the entry belongs to.
    pub fn decision_id(&self) -> Option<&str> {
        match self {
            Self::Intent(decided) | Self::Refusal(decided) | Self::Referral(decided) => {
                Some(&decided.decision_id)
            }
            Self::Release { decision_id, .. }
            | Self::Closure { decision_id, .. }
            | Self::ReferralMoved { decision_id, .. }
            | Self::GrantMade { decision_id, .. } => Some(decision_id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Entry {
        let body = Body::LogOpened { origin: "o".to_owned(), public_key: "k".to_owned() };
        Entry { v: 1, seq: 0, at_us: 5, blind: None, body }
    }

    #[test]
    fn a_leaf_has_one_spelling() {
        let bytes = opened().encode().unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"{"at_us":5,"kind":"log_opened","origin":"o","public_key":"k","seq":0,"v":1}"#
        );
        assert_eq!(Entry::decode(&bytes).unwrap(), opened());
        for other in [
            r#"{"at_us":5, "kind":"log_opened","origin":"o","public_key":"k","seq":0,"v":1}"#,
            r#"{"at_us":5,"kind":"log_opened","origin":"o","public_key":"k","seq":0,"v":1,"x":1}"#,
            r#"{"at_us":5,"kind":"log_opened","origin":"o","origin":"o","public_key":"k","seq":0,"v":1}"#,
            r#"{"at_us":5,"kind":"log_opened","origin":"o","public_key":"k","seq":0,"v":2}"#,
            r#"{"at_us":5,"kind":"unheard_of","seq":0,"v":1}"#,
        ] {
            assert!(Entry::decode(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_leaf_has_a_limit() {
        let body = Body::LogOpened { origin: "o".repeat(LEAF_BYTES_MAX), public_key: String::new() };
        assert!(matches!(Entry { body, ..opened() }.encode(), Err(EntryError::TooLarge)));
    }
}
