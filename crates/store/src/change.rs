//! What a submission asks of the writer: entries to append, projections to change, and what must still hold.

use jiff::Timestamp;
use ledger::entry::Body;
use sharing::{
    AgreementId, ConsentId, ObjectionId, OrganisationId, Pseudonym,
    subject::{ConsentStatus, ObjectionStatus},
};

use crate::{
    agreement_use::UseCount,
    agreements::{AgreementMove, OfficerMove},
    alerting::{DeliveryRow, MarkRow, Messages},
    blocks::BlockRow,
    caller_use::{AnswerUse, CallerUse},
    exported::{ExportMove, ExportRow},
    fact::FactRow,
    loading::LoadRow,
    lookup::Resolved,
    matters::MatterMove,
    opt_out::{OptOutBatch, OptOutCheck, OptOutChecks},
    privacy::{Cutoffs, ErasureRow, Forgettable, HoldRow, NewLookupKey},
    queue::{AlertMove, AlertRow, ReferralMove, ReferralRow},
    rights::{RightsMove, RightsRow},
    row::{ConsentRow, ObjectionRow},
    visibility::VisibilityRow,
};

/// One atomic submission: every part of it is committed, or none is.
#[derive(Debug)]
pub struct Submission {
    /// When it was submitted.
    pub at: Timestamp,
    /// The signed context it came with, which must not have been used before.
    pub replay: Option<ReplayGuard>,
    /// What must still be as it was read.
    pub recheck: Option<Recheck>,
    /// How much the caller asks, counted with it.
    pub using: Option<Box<CallerUse>>,
    /// Changes to projections.
    pub changes: Vec<Change>,
    /// Entries, in order.
    pub entries: Vec<Body>,
}

impl Submission {
    /// A submission of these entries alone.
    pub fn of(at: Timestamp, entries: Vec<Body>) -> Self {
        Self { at, replay: None, recheck: None, using: None, changes: Vec::new(), entries }
    }

    /// Whether each of its entries is small enough for the ledger.
    pub(crate) fn fits(&self) -> bool {
        self.entries.iter().all(Body::fits)
    }

    /// The end of a question of which nobody knows how it went, if it is still open.
    pub(crate) fn closing(at: Timestamp, decision_id: &str, reason: &str) -> Self {
        let closure = Body::Closure {
            decision_id: decision_id.to_owned(),
            outcome: "indeterminate".to_owned(),
            reasons: vec![reason.to_owned()],
            observed: Vec::new(),
            linked: Vec::new(),
        };
        let mut submission = Self::of(at, vec![closure]);
        submission.changes.push(Change::CloseIntent(decision_id.to_owned()));
        submission
    }
}

/// A per-request context that is good once.
#[derive(Debug, Clone)]
pub struct ReplayGuard {
    /// Who issued it.
    pub issuer: String,
    /// Its `jti`.
    pub jti: String,
    /// When it expires, after which it need not be remembered.
    pub expires: Timestamp,
}

/// What a release rests on.
#[derive(Debug, Default, Clone)]
pub struct Recheck {
    /// The person's names and the revision read of each.
    pub names: Vec<(Pseudonym, i64)>,
    /// The agreement and the digest of the version decided under; none for a grant or an emergency, which hang on
    /// the person's revision.
    pub agreement: Option<(AgreementId, String)>,
    /// The revision of the policies decided under: whatever else was put in force since, such as a guardrail, is not what this
    /// rests on.
    pub policies: Option<i64>,
    /// The opt-out checks decided beside, for a purpose that they apply to.
    pub opt_outs: Option<OptOutChecks>,
    /// The flow's ceiling of releases in a day, where it has one.
    pub ceiling: Option<Ceiling>,
}

/// How many releases a flow may make in one day.
#[derive(Debug, Clone)]
pub struct Ceiling {
    /// The agreement and flow, as `agreement/flow`.
    pub flow: String,
    /// The day in Europe/London, as `2026-11-23`.
    pub day: String,
    /// Most releases.
    pub releases_max: u32,
}

/// A change to a projection.
#[derive(Debug)]
pub enum Change {
    /// Registers identifiers that were not known when they were resolved.
    KnowSubject(Resolved),
    /// A question was answered.
    CountAnswer(AnswerUse),
    /// A record holder is about to be asked.
    OpenIntent(String),
    /// A decision has ended.
    CloseIntent(String),
    /// That a commit gets through, and nothing else.
    Beat,
    /// A writer that does not beat any more has nothing open.
    ForgetReplica(String),
    /// The record of one person was found under these names: they are the same person.
    Link(Vec<Pseudonym>),
    /// Some source marks the record restricted.
    Restrict(Pseudonym),
    /// Some source says that the person has died.
    Die(Pseudonym),
    /// A consent was recorded.
    RecordConsent(Box<ConsentRow>),
    /// A consent's status changed: withdrawn, revoked, invalidated, renewed, or an open request answered.
    ChangeConsent {
        /// Which.
        id: ConsentId,
        /// Its new status.
        status: ConsentStatus,
        /// When it ended, where it did.
        ended_at: Option<Timestamp>,
        /// Until when it holds from now on, where it was renewed.
        expires_at: Option<Timestamp>,
        /// Why, where somebody said.
        reason: Option<String>,
    },
    /// An objection was recorded.
    RecordObjection(Box<ObjectionRow>),
    /// An objection was taken back or answered.
    ChangeObjection {
        /// Which.
        id: ObjectionId,
        /// Its new status.
        status: ObjectionStatus,
        /// The grounds, where it was refused.
        reason: Option<String>,
    },
    /// A person complains, or asks that something be corrected.
    OpenRightsRequest(Box<RightsRow>),
    /// That moved on.
    MoveRightsRequest(Box<RightsMove>),
    /// A relationship, a grant or an emergency was recorded.
    RecordFact(Box<FactRow>),
    /// A relationship or a grant ended.
    EndFact(String),
    /// A question was put to a named person, or is to be.
    OpenReferral(Box<ReferralRow>),
    /// A referral moved on.
    MoveReferral(Box<ReferralMove>),
    /// An organisation's privacy officers are alerted.
    RaiseAlert(Box<AlertRow>),
    /// As [`Self::RaiseAlert`], unless one of its series was caused after this instant.
    RaiseUnlessQuiet(Box<AlertRow>, Timestamp),
    /// An alert was triaged, closed or escalated.
    HandleAlert(Box<AlertMove>),
    /// The ledger has been held against the alerts' rules up to this entry, which is the next.
    EvaluatedUntil(u64),
    /// What is registered of a practitioner, in place of what was.
    SetMarks {
        /// Their organisation.
        organisation: String,
        /// Who.
        practitioner: String,
        /// What.
        marks: Vec<MarkRow>,
    },
    /// A person is watched from now on.
    AddMark(Box<MarkRow>),
    /// A person is watched no more.
    EndMark(String),
    /// A closed range is kept outside the database too.
    AddBlock(Box<BlockRow>),
    /// Leaves of an archived range are removed from the database.
    DetachLeaves {
        /// The first.
        from: u64,
        /// One past the last.
        until: u64,
    },
    /// All leaves of the archived range that begins here were removed.
    BlockDetached(u64),
    /// Somebody asks to take entries away.
    OpenExport(Box<ExportRow>),
    /// A request to take entries away moves on.
    MoveExport(Box<ExportMove>),
    /// An agreement that is managed over the API takes a step.
    MoveAgreement(Box<AgreementMove>),
    /// Entries of the ledger were counted for the use of agreements.
    CountUse {
        /// The first.
        from: i64,
        /// One past the last.
        until: i64,
        /// What was counted.
        counts: Vec<UseCount>,
    },
    /// Something beside an agreement's course begins or takes a step.
    MoveMatter(Box<MatterMove>),
    /// An office for agreements is asked for, begins or ends.
    MoveOfficer(OfficerMove),
    /// What is registered to be compared with and has run out is forgotten, and messages about agreements that nobody waits for.
    ForgetEndedMarks,
    /// A message was delivered, put off or given up.
    MoveDelivery(Box<DeliveryRow>),
    /// An organisation's messages that were given up are tried again.
    RetryDeliveries(OrganisationId, Messages),
    /// A portion of a national data opt-out check. It counts when all of it is there, and [`Change::CountOptOuts`] says so.
    HoldOptOuts(Box<OptOutBatch>),
    /// All of a check is there, about so many people: from now on it counts.
    CountOptOuts(OptOutCheck, u64),
    /// A portion of a check that has run out is forgotten.
    ForgetOptOuts(String),
    /// What has ended is forgotten.
    Forget(Cutoffs, Box<Forgettable>),
    /// Something must not be forgotten.
    PlaceHold(Box<HoldRow>),
    /// A hold is over.
    LiftHold {
        /// Which.
        id: String,
        /// Who says so.
        by: String,
    },
    /// Somebody asks for an erasure.
    AskErasure(Box<ErasureRow>),
    /// An erasure is carried out.
    EndErasure {
        /// Which.
        id: String,
        /// By whom.
        by: String,
    },
    /// An officer decided whether a person is told of an event.
    DecideVisibility(Box<VisibilityRow>),
    /// A load of people and consents began, or ended.
    MoveLoad(Box<LoadRow>),
    /// A look-up key is put on top of those before.
    ReplaceLookupKey(NewLookupKey),
    /// Every person's key is wrapped with the newest wrapping key.
    RewrapKeys,
    /// A policy set came into force.
    ActivatePolicies {
        /// Its revision, one more than the last.
        revision: i64,
        /// Its digest.
        digest: String,
        /// Its agreements.
        agreements: Vec<AgreementRow>,
        /// Its files, as JSON, for deciding again later.
        files: String,
    },
}

/// An agreement of the policy set in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementRow {
    /// Its name.
    pub agreement: AgreementId,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file.
    pub digest: String,
    /// Its status.
    pub status: String,
}
