//! The rules that entries keep among themselves.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

use super::{
    agreed::Agreed,
    courses,
    decided::{self, MakeScratch, Told, What},
};
use crate::{
    entry::{AgreementStamp, Body, Decided, Entry},
    people::People,
};

/// Purposes that do not yield to objections (UK GDPR Art 21: legal obligation, vital interests).
const UNYIELDING: [&str; 6] = [
    "fraud-crime",
    "public-health",
    "safeguarding-adult",
    "safeguarding-child",
    "subject-access",
    "vital-interests",
];

/// Purposes for which an emergency stands without an agreement.
const STANDS_ALONE: [&str; 3] = ["safeguarding-adult", "safeguarding-child", "vital-interests"];

/// What is open and in force so far.
#[derive(Default)]
pub(super) struct Order {
    /// Intents that have not ended.
    open: HashMap<String, Open>,
    /// Every other decision.
    told: Told,
    withdrawn: HashSet<String>,
    agreed: Agreed,
    objections: BTreeMap<String, Objection>,
    /// Complaints and requests for rectification that have no answer.
    unanswered: HashSet<String>,
    people: People,
    agreements: HashMap<String, AgreementStamp>,
    policy_revision: u64,
    grants: HashMap<String, Grant>,
    emergencies: HashMap<String, Emergency>,
    /// Holds in force, with whom each is about; nobody is everything.
    holds: HashMap<String, Option<String>>,
    courses: courses::Courses,
}

/// A one-off disclosure that a named person allowed.
struct Grant {
    subject: String,
    recipient: String,
    practitioner: String,
    provider: String,
    purpose: String,
    items: Vec<String>,
    from_us: i64,
    until_us: i64,
}

/// An emergency that a practitioner declared.
struct Emergency {
    subject: String,
    organisation: String,
    practitioner: String,
    purpose: String,
    from_us: i64,
    until_us: i64,
}

/// An intent, and its place.
struct Open {
    decided: Box<Decided>,
    index: u64,
}

struct Objection {
    subject: String,
    purposes: Vec<String>,
    recipients: Vec<String>,
}

pub(super) type Broken = (&'static str, String);

impl Order {
    #[expect(
        clippy::too_many_lines,
        reason = "one exhaustive match: a kind and what it changes side by side"
    )]
    pub(super) fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        match &entry.body {
            Body::Intent(decided) => {
                self.policies_known(decided)?;
                self.not_open(decided)?;
                let open = Open { decided: decided.clone(), index: entry.seq };
                self.open.insert(decided.decision_id.clone(), open);
                Ok(())
            }
            Body::Refusal(decided) | Body::Referral(decided) => {
                self.not_open(decided)?;
                self.told.tell(&decided.decision_id, entry.seq, What::Made);
                Ok(())
            }
            Body::Release { decision_id, subjects, items, policy_revision, consents, .. } => {
                let Some(Open { decided, index }) = self.open.remove(decision_id) else {
                    return broken("release-without-intent", "it releases what no open intent asked for");
                };
                self.told.tell(decision_id, index, What::MadeAndEnded);
                // The names of one record are one person's.
                self.people.join(subjects);
                self.release(entry.at_us, &decided, subjects, items, *policy_revision, consents)
            }
            Body::Closure { decision_id, linked, .. } => {
                self.people.join(linked);
                match self.open.remove(decision_id) {
                    Some(Open { index, .. }) => self.told.tell(decision_id, index, What::MadeAndEnded),
                    None => self.told.tell(decision_id, entry.seq, What::Ended),
                }
                Ok(())
            }
            Body::ConsentRecorded { consent_id, shown, .. } => {
                self.agreed.recorded(consent_id, shown.as_deref());
                Ok(())
            }
            Body::ConsentWithdrawn { consent_id, .. } => {
                self.withdrawn.insert(consent_id.clone());
                Ok(())
            }
            Body::ObjectionRecorded { objection_id, subject, purposes, recipients, .. } => {
                let (purposes, recipients) = (purposes.clone(), recipients.clone());
                let objection = Objection { subject: subject.clone(), purposes, recipients };
                self.objections.insert(objection_id.clone(), objection);
                Ok(())
            }
            Body::ObjectionEnded { objection_id, .. } => {
                self.objections.remove(objection_id);
                Ok(())
            }
            Body::PolicySetActivated { revision, agreements, .. } => {
                if *revision != self.policy_revision + 1 {
                    return broken(
                        "policy-revision",
                        "its policy revision does not follow the one before it",
                    );
                }
                self.policy_revision = *revision;
                self.agreements =
                    agreements.iter().map(|stamp| (stamp.agreement.clone(), stamp.clone())).collect();
                Ok(())
            }
            Body::ConsentStatusChanged { consent_id, status, .. } => {
                if matches!(status.as_str(), "given" | "renewed") {
                    self.withdrawn.remove(consent_id);
                } else {
                    self.withdrawn.insert(consent_id.clone());
                }
                Ok(())
            }
            Body::ObjectionAnswered { objection_id, outcome, .. } => {
                if outcome == "refused" {
                    self.objections.remove(objection_id);
                }
                Ok(())
            }
            Body::RightsRequestMoved { request_id, action, .. } => {
                match action.as_str() {
                    "received" => drop(self.unanswered.insert(request_id.clone())),
                    "answered" => drop(self.unanswered.remove(request_id)),
                    _ => {}
                }
                Ok(())
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
                let grant = Grant {
                    subject: subject.clone(),
                    recipient: recipient.clone(),
                    practitioner: practitioner.clone(),
                    provider: provider.clone(),
                    purpose: purpose.clone(),
                    items: items.clone(),
                    from_us: *from_us,
                    until_us: *until_us,
                };
                self.grants.insert(grant_id.clone(), grant);
                Ok(())
            }
            Body::GrantRevoked { grant_id, .. } => {
                self.grants.remove(grant_id);
                Ok(())
            }
            Body::BreakGlassDeclared {
                break_glass_id,
                subject,
                organisation,
                practitioner,
                purpose,
                from_us,
                until_us,
                ..
            } => {
                let emergency = Emergency {
                    subject: subject.clone(),
                    organisation: organisation.clone(),
                    practitioner: practitioner.clone(),
                    purpose: purpose.clone(),
                    from_us: *from_us,
                    until_us: *until_us,
                };
                self.emergencies.insert(break_glass_id.clone(), emergency);
                Ok(())
            }
            Body::HoldPlaced { hold_id, subject, .. } => {
                self.holds.insert(hold_id.clone(), subject.clone());
                Ok(())
            }
            Body::HoldLifted { hold_id, .. } => {
                self.holds.remove(hold_id);
                Ok(())
            }
            Body::RecordsForgotten { records, people, .. } => self.forget(records, people),
            Body::AgreementMoved { agreement, revision, action, scope, by, .. } => {
                self.courses.moved((agreement, *revision), (action, scope.as_deref()), by.as_ref())
            }
            Body::AgreementSigned { agreement, revision, officer_id, by, .. } => {
                self.courses.signed((agreement, *revision), officer_id, by)
            }
            Body::AgreementOfficerMoved { officer_id, action, organisation, person, by, .. } => {
                self.courses.officer_moved(officer_id, action, (organisation, person), by)
            }
            Body::AgreementMatterMoved { agreement, matter, revision, action, by, .. } => {
                self.courses.matter_moved((agreement, matter, *revision), action, by.as_ref())
            }
            Body::LogOpened { .. } if entry.seq > 0 => broken("opened-twice", "it opens the ledger again"),
            Body::LogOpened { .. }
            | Body::PolicySetRejected { .. }
            | Body::SubjectRecordRead { .. }
            | Body::RelationshipRecorded { .. }
            | Body::RelationshipEnded { .. }
            | Body::AlertMarksRecorded { .. }
            | Body::AlertHandled { .. }
            | Body::ReferralMoved { .. }
            | Body::OptOutsImported { .. }
            | Body::ErasureAsked { .. }
            | Body::VisibilityDecided { .. }
            | Body::ExportRequested { .. }
            | Body::ExportMoved { .. }
            | Body::SigningKeyAnnounced { .. }
            | Body::BlockMoved { .. }
            | Body::SigningKeyRetired { .. }
            | Body::LoadMoved { .. }
            | Body::LookupKeyReplaced { .. }
            | Body::WrappingKeyReplaced { .. }
            | Body::DecisionRead { .. }
            | Body::RequestRefused { .. }
            | Body::RequestsShed { .. }
            | Body::ListBegan { .. }
            | Body::ListMoved { .. }
            | Body::AccessTokenIssued { .. }
            | Body::HandshakeRefused { .. }
            | Body::AuditRead { .. } => Ok(()),
        }
    }

    pub(super) fn with_scratch(&mut self, make: MakeScratch) {
        self.told.with_scratch(make);
    }

    /// Ends with the intents that are open, and the first entry that decides or ends what it cannot.
    pub(super) fn finish(mut self) -> io::Result<(Vec<String>, Option<decided::Broken>)> {
        let mut open: Vec<_> = self.open.into_iter().collect();
        open.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        open.iter().for_each(|(decision_id, open)| self.told.tell(decision_id, open.index, What::Made));
        let broken = self.told.settle()?;
        Ok((open.into_iter().map(|(decision_id, _)| decision_id).collect(), broken))
    }

    /// What protects somebody is not forgotten, nor what is held.
    fn forget(&self, records: &[String], people: &[String]) -> Result<(), Broken> {
        if records.iter().any(|record| self.objections.contains_key(record)) {
            return broken("forgotten-in-force", "it forgets an objection that is in force");
        }
        if records.iter().any(|record| self.unanswered.contains(record)) {
            return broken(
                "forgotten-in-force",
                "it forgets a complaint or a correction that nobody has answered",
            );
        }
        let same = |one: &str, other: &str| self.people.person(one) == self.people.person(other);
        let protected =
            |name: &String| self.objections.values().any(|objection| same(&objection.subject, name));
        if people.iter().any(protected) {
            return broken("forgotten-in-force", "it forgets a person whose objection is in force");
        }
        let anything = !records.is_empty() || !people.is_empty();
        let held = self.holds.values().any(|held| match held {
            None => anything,
            Some(subject) => people.iter().any(|name| same(name, subject)),
        });
        if held {
            return broken("forgotten-under-hold", "it forgets what a legal hold covers");
        }
        Ok(())
    }

    fn not_open(&self, decided: &Decided) -> Result<(), Broken> {
        if self.open.contains_key(&decided.decision_id) {
            return broken("decided-twice", "it decides a question that was decided already");
        }
        Ok(())
    }

    fn policies_known(&self, decided: &Decided) -> Result<(), Broken> {
        if decided.policy_revision == 0 || decided.policy_revision > self.policy_revision {
            return broken(
                "policy-unknown",
                "it was decided under policies that the ledger has not announced",
            );
        }
        Ok(())
    }

    fn release(
        &self,
        at_us: i64,
        decided: &Decided,
        subjects: &[String],
        items: &[String],
        policy_revision: u64,
        consents: &[String],
    ) -> Result<(), Broken> {
        if decided.answer_only {
            return broken("release-of-answer", "it releases a record where only the decision was asked for");
        }
        if !subjects.contains(&decided.subject) {
            return broken("release-of-another", "it is about another person than its intent");
        }
        if let Some(item) = items.iter().find(|item| !decided.permitted.contains(item)) {
            return broken(
                "release-widened",
                &format!("it releases {item}, which its intent did not permit"),
            );
        }
        if policy_revision < decided.policy_revision || policy_revision > self.policy_revision {
            return broken("policy-revision", "it was released under policies that were not in force");
        }
        let persons: HashSet<&str> = subjects.iter().map(|subject| self.people.person(subject)).collect();
        let emergency = self.emergency_in_force(at_us, decided, &persons)?;
        match (&decided.agreement, &decided.grant) {
            (None, Some(grant)) => self.grant_in_force(at_us, decided, grant, items, &persons)?,
            (None, None) if emergency && STANDS_ALONE.contains(&decided.purpose.as_str()) => {}
            _ => self.agreement_in_force(at_us, decided)?,
        }
        if consents.iter().chain(&decided.consents).any(|consent| self.withdrawn.contains(consent)) {
            return broken("release-after-withdrawal", "it rests on a consent that was withdrawn before it");
        }
        self.agreed.covers(decided, items, consents)?;
        // Break-glass overrides it in direct care; a grant does not: the controller answers the objection first.
        let overridden = emergency && decided.purpose == "direct-care";
        if !overridden && self.objections.values().any(|objection| self.stops(objection, &persons, decided)) {
            return broken("release-after-objection", "the person had objected to it before");
        }
        Ok(())
    }

    /// Whether it was asked under an emergency; an error if that does not cover it.
    fn emergency_in_force(
        &self,
        at_us: i64,
        decided: &Decided,
        persons: &HashSet<&str>,
    ) -> Result<bool, Broken> {
        let Some(id) = &decided.break_glass else { return Ok(false) };
        let covers = self.emergencies.get(id).is_some_and(|emergency| {
            persons.contains(self.people.person(&emergency.subject))
                && emergency.organisation == decided.recipient
                && Some(&emergency.practitioner) == decided.by.practitioner.as_ref()
                && emergency.purpose == decided.purpose
                && (emergency.from_us..emergency.until_us).contains(&at_us)
        });
        if covers {
            Ok(true)
        } else {
            Err(("emergency-does-not-cover", "it rests on an emergency that does not cover it".to_owned()))
        }
    }

    fn grant_in_force(
        &self,
        at_us: i64,
        decided: &Decided,
        grant: &str,
        items: &[String],
        persons: &HashSet<&str>,
    ) -> Result<(), Broken> {
        let covers = self.grants.get(grant).is_some_and(|grant| {
            persons.contains(self.people.person(&grant.subject))
                && grant.recipient == decided.recipient
                && Some(&grant.practitioner) == decided.by.practitioner.as_ref()
                && grant.provider == decided.provider
                && grant.purpose == decided.purpose
                && items.iter().all(|item| grant.items.contains(item))
                && (grant.from_us..grant.until_us).contains(&at_us)
        });
        if covers {
            Ok(())
        } else {
            broken("grant-does-not-cover", "it rests on a grant that does not cover it")
        }
    }

    fn agreement_in_force(&self, at_us: i64, decided: &Decided) -> Result<(), Broken> {
        let Some(reference) = &decided.agreement else {
            return broken("release-without-agreement", "its intent rests on no agreement");
        };
        let stamp =
            self.agreements.get(&reference.agreement).filter(|stamp| stamp.digest == reference.digest);
        match stamp {
            Some(stamp) if stamp.status != "active" => {
                broken("agreement-suspended", "its agreement was not active any more")
            }
            Some(stamp) if at_us < stamp.effective_us || at_us >= stamp.ends_us => {
                broken("agreement-ended", "its agreement was outside its dates")
            }
            Some(_) => Ok(()),
            None => broken("agreement-changed", "its agreement had been replaced before it"),
        }
    }

    fn stops(&self, objection: &Objection, persons: &HashSet<&str>, decided: &Decided) -> bool {
        persons.contains(self.people.person(&objection.subject))
            && !UNYIELDING.contains(&decided.purpose.as_str())
            && (objection.purposes.is_empty() || objection.purposes.contains(&decided.purpose))
            && (objection.recipients.is_empty() || objection.recipients.contains(&decided.recipient))
    }
}

pub(super) fn broken(code: &'static str, detail: &str) -> Result<(), Broken> {
    Err((code, detail.to_owned()))
}
