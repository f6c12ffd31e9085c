//! What the ledger's entries make of the tables beside them, and whether a database has just that.
//!
//! A gateway decides by its tables. They are written with the entries, in one transaction; but a database that was damaged,
//! put together from two, or changed by hand can have every entry and lack an objection. The entries say what must be there.
//!
//! Held against them is what bears on who is told what: consents, objections, relationships, grants, emergencies, who is the
//! same person, marks of restriction and death, opt-out checks, policies, agreements and who signs them, holds, what a person
//! is told, and questions that are open; and that no complaint, referral, alert, erasure or export was lost. What people wrote
//! is in no entry but by its digest, and counts of use are in none.

mod tables;

use std::collections::{HashMap, HashSet};

use ledger::{
    entry::{AgreementStamp, Body, Entry},
    people::People,
};
use sha2::{Digest as _, Sha256};

use self::tables::Table;
use crate::row::to_list;

/// Half of a SHA-256: enough to tell two apart, and there is one for each thing that is held.
type Mark = u128;

fn mark<'a>(parts: impl IntoIterator<Item = &'a str>) -> Mark {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// A row that must be there.
struct Expected {
    table: Table,
    /// The entry that says so.
    seq: u64,
    /// What it says for good; none where the entry that began it is not known.
    lasting: Option<Mark>,
    /// How it stands; none where entries do not say.
    state: Option<Mark>,
    /// When it was recorded and when it was last changed, by entries; none where none says.
    times_us: [Option<i64>; 2],
}

/// A name of a person whom a record showed to be restricted or dead.
struct Shown {
    seq: u64,
    name: String,
    is_death: bool,
}

/// The policies in force.
struct InForce {
    seq: u64,
    revision: u64,
    digest: String,
    agreements: Vec<AgreementStamp>,
}

/// What the entries so far make of the tables. About a hundred bytes for each thing that is held, none for a question that has
/// ended.
#[derive(Default)]
pub struct Projected {
    expected: HashMap<Mark, Expected>,
    /// About whom the questions are that have not ended.
    asked: HashMap<String, String>,
    people: People,
    shown: Vec<Shown>,
    forgotten: HashSet<String>,
    /// Imported opt-out checks, and when each runs out.
    checks: Vec<(String, i64)>,
    policies: Option<InForce>,
    /// The time of the entry that is followed.
    at_us: i64,
}

impl Projected {
    /// Takes the next entry.
    #[expect(clippy::too_many_lines, reason = "one exhaustive match: a kind and what it makes of the tables")]
    pub fn follow(&mut self, entry: &Entry) {
        let seq = entry.seq;
        self.at_us = entry.at_us;
        match &entry.body {
            Body::Intent(decided) => {
                self.asked.insert(decided.decision_id.clone(), decided.subject.clone());
                self.is(Table::OpenQuestion, &[&decided.decision_id], seq, &[], None);
            }
            Body::Release { decision_id, subjects, observed, .. } => {
                self.people.join(subjects);
                self.ended(decision_id, observed, seq);
            }
            Body::Closure { decision_id, observed, linked, .. } => {
                self.people.join(linked);
                self.ended(decision_id, observed, seq);
            }
            Body::ConsentRecorded {
                consent_id,
                subject,
                consent_type,
                status,
                controller,
                recipients,
                purposes,
                expires_us,
                shown,
                ..
            } => {
                let (recipients, purposes) = (to_list(recipients), to_list(purposes));
                let shown = shown.as_deref().map(tables::entry_text).unwrap_or_default();
                let lasting =
                    [subject, consent_type, controller, &recipients, &purposes, &shown].map(String::as_str);
                let state = tables::until(status, expires_us.map(|at| at.to_string()).as_deref());
                self.is(Table::Consent, &[consent_id], seq, &lasting, Some(&state));
            }
            Body::ConsentWithdrawn { consent_id, .. } => {
                self.becomes(Table::Consent, consent_id, seq, "withdrawn");
            }
            Body::ConsentStatusChanged { consent_id, status, .. } => {
                self.becomes(Table::Consent, consent_id, seq, status);
            }
            Body::ObjectionRecorded { objection_id, subject, purposes, recipients, .. } => {
                let (purposes, recipients) = (to_list(purposes), to_list(recipients));
                let lasting = [subject, &purposes, &recipients].map(String::as_str);
                self.is(Table::Objection, &[objection_id], seq, &lasting, Some(tables::IN_FORCE));
            }
            Body::ObjectionEnded { objection_id, .. } => {
                self.becomes(Table::Objection, objection_id, seq, tables::ENDED);
            }
            Body::ObjectionAnswered { objection_id, outcome, .. } => {
                let state = if outcome == "refused" { tables::ENDED } else { tables::IN_FORCE };
                self.becomes(Table::Objection, objection_id, seq, state);
            }
            Body::RelationshipRecorded {
                relationship_id,
                subject,
                organisation,
                practitioner,
                relationship,
                from_us,
                until_us,
                ..
            } => {
                let practitioner = practitioner.as_deref().unwrap_or_default();
                let times = tables::times(*from_us, *until_us);
                let lasting = ["relationship", subject, organisation, practitioner, relationship, &times];
                self.is(Table::Fact, &[relationship_id], seq, &lasting, Some(tables::IN_FORCE));
            }
            Body::RelationshipEnded { relationship_id: id, .. } | Body::GrantRevoked { grant_id: id, .. } => {
                self.becomes(Table::Fact, id, seq, tables::ENDED);
            }
            Body::GrantMade {
                grant_id,
                subject,
                recipient,
                practitioner,
                provider,
                purpose,
                items,
                from_us,
                until_us,
                ..
            } => {
                let (items, times) = (to_list(items), tables::times(*from_us, Some(*until_us)));
                let lasting = ["grant", subject, recipient, practitioner, provider, purpose, &items, &times];
                self.is(Table::Fact, &[grant_id], seq, &lasting, Some(tables::IN_FORCE));
            }
            Body::BreakGlassDeclared {
                break_glass_id,
                subject,
                organisation,
                practitioner,
                purpose,
                reason,
                cannot_consent,
                from_us,
                until_us,
                ..
            } => {
                let (cannot, times) = (cannot_consent.to_string(), tables::times(*from_us, Some(*until_us)));
                let lasting =
                    ["break-glass", subject, organisation, practitioner, purpose, reason, &cannot, &times];
                self.is(Table::Fact, &[break_glass_id], seq, &lasting, Some(tables::IN_FORCE));
            }
            Body::OptOutsImported { batch, purpose, checked, expires_us } => {
                self.run_out(entry.at_us);
                self.checks.push((batch.clone(), *expires_us));
                let lasting = [purpose.as_str(), &expires_us.to_string(), &checked.to_string()];
                self.is(Table::OptOuts, &[batch], seq, &lasting, None);
            }
            Body::HoldPlaced { hold_id, subject, .. } => {
                let lasting = [subject.as_deref().unwrap_or_default()];
                self.is(Table::Hold, &[hold_id], seq, &lasting, None);
            }
            Body::HoldLifted { hold_id, .. } => self.is_gone(Table::Hold, hold_id),
            Body::ErasureAsked { erasure_id, subject, .. } => {
                self.is(Table::Erasure, &[erasure_id], seq, &[subject], None);
            }
            Body::RecordsForgotten { records, people, .. } => {
                for record in records {
                    Table::FORGETTABLE.into_iter().for_each(|table| self.is_gone(table, record));
                }
                self.forgotten.extend(people.iter().cloned());
            }
            Body::VisibilityDecided { of, visibility, until_us, ground, by } => {
                let until = tables::until(visibility, until_us.map(|at| at.to_string()).as_deref());
                let lasting = [until.as_str(), ground.as_deref().unwrap_or_default()];
                self.is(Table::Visibility, &[of, &by.organisation], seq, &lasting, None);
            }
            Body::RightsRequestMoved { request_id, subject, right, action, controller, .. } => {
                let lasting = [subject, right, controller].map(String::as_str);
                self.is(Table::RightsRequest, &[request_id], seq, &lasting, Some(action));
            }
            Body::ReferralMoved { decision_id, .. } => {
                self.is(Table::Referral, &[decision_id], seq, &[], None);
            }
            Body::AlertHandled { alert_id, .. } => self.is(Table::Alert, &[alert_id], seq, &[], None),
            Body::ExportRequested { export_id, .. } => {
                self.is(Table::Export, &[export_id], seq, &[], None);
            }
            Body::PolicySetActivated { revision, digest, agreements } => {
                let (revision, digest) = (*revision, digest.clone());
                self.policies = Some(InForce { seq, revision, digest, agreements: agreements.clone() });
            }
            Body::AgreementMoved { agreement, revision, version, terms_sha256, state, .. } => {
                self.step((agreement, *revision), (*version, terms_sha256), state, seq);
            }
            Body::AgreementSigned {
                agreement,
                revision,
                version,
                terms_sha256,
                state,
                role,
                officer_id,
                signature,
                by,
            } => {
                self.step((agreement, *revision), (*version, terms_sha256), state, seq);
                let lasting = [role, signature, &by.organisation].map(String::as_str);
                let version = version.to_string();
                let keys = [agreement, version.as_str(), officer_id];
                self.is(Table::Signature, &keys, seq, &lasting, None);
            }
            Body::AgreementOfficerMoved { officer_id, action, organisation, person, role, key, .. } => {
                let key = key.as_deref().unwrap_or_default();
                let lasting = [organisation, person, role, key];
                self.is(Table::Officer, &[officer_id], seq, &lasting, Some(action));
            }
            Body::AgreementMatterMoved { agreement, matter, about, revision, state, .. } => {
                let state = format!("{revision} {state}");
                self.is(Table::Matter, &[matter], seq, &[agreement, about], Some(&state));
            }
            Body::LoadMoved { load_id, action, source_sha256, .. } => {
                self.is(Table::Load, &[load_id], seq, &[source_sha256], Some(action));
            }
            Body::LogOpened { .. }
            | Body::PolicySetRejected { .. }
            | Body::Refusal(_)
            | Body::Referral(_)
            | Body::ListBegan { .. }
            | Body::ListMoved { .. }
            | Body::AlertMarksRecorded { .. }
            | Body::ExportMoved { .. }
            | Body::SigningKeyAnnounced { .. }
            | Body::SigningKeyRetired { .. }
            | Body::BlockMoved { .. }
            | Body::LookupKeyReplaced { .. }
            | Body::WrappingKeyReplaced { .. }
            | Body::DecisionRead { .. }
            | Body::SubjectRecordRead { .. }
            | Body::RequestRefused { .. }
            | Body::RequestsShed { .. }
            | Body::AccessTokenIssued { .. }
            | Body::HandshakeRefused { .. }
            | Body::AuditRead { .. } => {}
        }
    }

    /// The policies that must be in force, by revision and digest.
    pub fn policies(&self) -> Option<(u64, &str)> {
        self.policies.as_ref().map(|policies| (policies.revision, policies.digest.as_str()))
    }

    fn is(&mut self, table: Table, keys: &[&str], seq: u64, lasting: &[&str], state: Option<&str>) {
        let lasting = Some(mark(lasting.iter().copied()));
        let state = state.map(|state| mark([state]));
        let expected = Expected { table, seq, lasting, state, times_us: [Some(self.at_us), None] };
        self.expected.insert(table.key(keys.iter().copied()), expected);
    }

    fn becomes(&mut self, table: Table, id: &str, seq: u64, state: &str) {
        let begun = self.expected.entry(table.key([id]));
        let unknown = Expected { table, seq, lasting: None, state: None, times_us: [None; 2] };
        let expected = begun.or_insert(unknown);
        (expected.seq, expected.state) = (seq, Some(mark([state])));
        expected.times_us[1] = Some(self.at_us);
    }

    fn is_gone(&mut self, table: Table, id: &str) {
        self.expected.remove(&table.key([id]));
    }

    fn step(&mut self, (agreement, revision): (&str, u64), terms: (u32, &str), state: &str, seq: u64) {
        let (revision, version) = (revision.to_string(), terms.0.to_string());
        self.is(Table::Agreement, &[agreement], seq, &[], Some(&format!("{revision} {state}")));
        self.is(Table::Step, &[agreement, &revision], seq, &[&version, state], None);
        self.is(Table::Terms, &[agreement, &version], seq, &[terms.1], None);
    }

    fn ended(&mut self, decision_id: &str, observed: &[String], seq: u64) {
        self.is_gone(Table::OpenQuestion, decision_id);
        let Some(name) = self.asked.remove(decision_id) else { return };
        for what in observed {
            let is_death = what.starts_with("deceased:");
            if is_death || what.starts_with("restricted:") {
                self.shown.push(Shown { seq, name: name.clone(), is_death });
            }
        }
    }

    /// Checks that have run out are forgotten with the next one.
    fn run_out(&mut self, at_us: i64) {
        let ended: Vec<_> = self.checks.extract_if(.., |(_, expires_us)| *expires_us <= at_us).collect();
        ended.iter().for_each(|(batch, _)| self.is_gone(Table::OptOuts, batch));
    }
}
