//! What of a question goes into the ledger: how it was decided, and what was released.

use jiff::Timestamp;
use ledger::entry::{AgreementRef, Body, Decided, ListRef};
use sharing::{
    Decision, Permit, Provider, Reason,
    alerting::Kind,
    decide::{AgreementReference, Asked, ConfirmedPermit, Obligations, Referral, Step},
    minimise::MinimisedRecord,
};
use store::{CallerUse, Change, CommitError, Committed, Recheck, ReplayGuard, Resolved, Submission};

use super::{Walk, ending::OpenIntent, learned::Learned};
use crate::{
    alerts::familiar::{self, Known},
    caller_use::{self, Bounded},
    referrals,
};

impl Walk<'_> {
    /// INTENT, REFUSAL or REFERRAL, durable before anything else happens.
    pub(super) async fn record_decision(
        &self,
        decision: &Decision,
        subject: Resolved,
        familiar: &Known,
        at: Timestamp,
    ) -> Result<(Committed, Option<OpenIntent<'_>>), CommitError> {
        let (entry, opens) = match decision {
            Decision::Permit(permit) => (Body::Intent(Box::new(self.decided_permit(permit, &subject))), true),
            Decision::Deny(denial) => {
                let mut decided =
                    self.decided(&subject, denial.agreement.as_ref(), &denial.reasons, &denial.trace);
                decided.guardrails = denial.guardrails.iter().map(|fired| fired.id.clone()).collect();
                (Body::Refusal(Box::new(decided)), denial.depends_on_person())
            }
            Decision::Refer(Referral { reasons, trace }) => {
                (Body::Referral(Box::new(self.decided(&subject, None, reasons, trace))), false)
            }
        };
        let mut submission = Submission::of(at, vec![entry]);
        submission.replay = (!self.ask.continues).then(|| ReplayGuard {
            issuer: self.ask.caller.client_id.clone(),
            jti: self.ask.context.jti.clone(),
            expires: self.ask.context.expires,
        });
        let name = subject.pseudonym.clone();
        submission.using = Some(Box::new(self.using(decision, at)));
        submission.changes.push(Change::KnowSubject(subject));
        let mut found = familiar.kinds(&self.ask.caller);
        if self.is_trap() {
            found.push((Kind::HoneyRecord, self.ask.caller.organisation.clone()));
            let holder = self.policies.set.provider(&self.ask.question.provider).map(Provider::organisation);
            let holder = holder.filter(|holder| **holder != self.ask.caller.organisation);
            found.extend(holder.map(|holder| (Kind::HoneyRecord, holder.clone())));
        }
        submission.changes.extend(familiar::alerts(self.app, &self.ask.caller, &found, self.decision_id, at));
        if matches!(decision, Decision::Refer(_)) {
            submission.changes.extend(referrals::opened(
                self.app,
                &self.policies,
                self.ask,
                self.decision_id,
                &name,
                at,
            ));
        }
        if opens {
            submission.changes.push(Change::OpenIntent(self.decision_id.to_owned()));
        }
        // From before it is open: the caller may break off while it is being recorded.
        let open = opens.then(|| OpenIntent {
            app: self.app,
            decision_id: Some(self.decision_id.to_owned()),
            why: ("abandoned", "caller-gone"),
        });
        match self.app.store.commit(submission).await {
            Ok(committed) => Ok((committed, open)),
            Err(error) => {
                // Nothing is open, or the writer knows of it.
                if let Some(open) = open {
                    open.ended();
                }
                Err(error)
            }
        }
    }

    /// What the question counts for.
    fn using(&self, decision: &Decision, at: Timestamp) -> CallerUse {
        let agreement = match decision {
            Decision::Permit(permit) => permit.authority().agreement(),
            Decision::Deny(denial) => denial.agreement.as_ref(),
            Decision::Refer(_) => None,
        };
        let has_ceiling = agreement.is_some_and(|agreement| self.ceiling(agreement, at).is_some());
        let asked = &self.ask.question.subject;
        let is_urgent = self.ask.question.break_glass.is_some();
        let bounded = Bounded { has_ceiling, is_listed: self.ask.list.is_some(), is_urgent };
        caller_use::of_question(self.app, &self.ask.caller, asked, (self.decision_id, bounded), at)
    }

    fn decided(
        &self,
        subject: &Resolved,
        agreement: Option<&AgreementReference>,
        reasons: &[Reason],
        trace: &[Step],
    ) -> Decided {
        let question = &self.ask.question;
        let asked = match &question.asked {
            Asked::AllAgreed => Vec::new(),
            Asked::Items(items) => items.iter().map(ToString::to_string).collect(),
        };
        Decided {
            decision_id: self.decision_id.to_owned(),
            request_id: self.ask.request_id.clone(),
            by: self.ask.caller.actor(),
            provider: question.provider.to_string(),
            recipient: question.recipient.to_string(),
            purpose: question.purpose.to_string(),
            case_reference: self.ask.context.case_reference.as_str().to_owned(),
            subject: subject.pseudonym.to_string(),
            identifier_scheme: question.subject.scheme().to_string(),
            asked,
            agreement: agreement.map(|reference| AgreementRef {
                agreement: reference.agreement.to_string(),
                version: reference.version,
                flow: reference.flow.to_string(),
                digest: reference.digest.to_string(),
            }),
            policy_revision: self.policies.revision.unsigned_abs(),
            permitted: Vec::new(),
            reasons: reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
            trace: trace.iter().map(ToString::to_string).collect(),
            consents: Vec::new(),
            context_sha256: self.ask.context.digest.clone(),
            answer_only: self.ask.answer_only,
            grant: None,
            break_glass: question.break_glass.as_ref().map(ToString::to_string),
            guardrails: Vec::new(),
            list: self
                .ask
                .list
                .as_ref()
                .zip(question.list_people)
                .map(|((list_id, _), people)| ListRef { list_id: list_id.clone(), people }),
            within: question.agreements.iter().flatten().map(ToString::to_string).collect(),
        }
    }

    fn decided_permit(&self, permit: &Permit, subject: &Resolved) -> Decided {
        Decided {
            permitted: permit.items().iter().map(ToString::to_string).collect(),
            consents: permit.consents().iter().map(ToString::to_string).collect(),
            grant: permit.authority().grant().map(ToString::to_string),
            break_glass: permit.break_glass().map(ToString::to_string),
            ..self.decided(subject, permit.authority().agreement(), &[], permit.trace())
        }
    }

    /// RELEASE, durable before anything leaves, in the transaction that re-checks what it rests on.
    pub(super) async fn record_release(
        &self,
        confirmed: &ConfirmedPermit,
        (record, salt): (&MinimisedRecord, &str),
        rests_on: Recheck,
        learned: Learned,
        at: Timestamp,
    ) -> Result<Committed, CommitError> {
        let permit = confirmed.permit();
        let last = if self.ask.answer_only {
            self.closure("decision_only", Vec::new(), learned.observed, learned.linked)
        } else {
            Body::Release {
                decision_id: self.decision_id.to_owned(),
                subjects: rests_on.names.iter().map(|(name, _)| name.to_string()).collect(),
                items: record.items().map(ToString::to_string).collect(),
                record_sha256: record.digest(salt),
                obligations: obligation_codes(permit.obligations()),
                policy_revision: rests_on.policies.unwrap_or_default().unsigned_abs(),
                consents: permit.consents().iter().map(ToString::to_string).collect(),
                observed: learned.observed,
            }
        };
        let mut submission = Submission::of(at, vec![last]);
        let agreement = permit.authority().agreement();
        submission.recheck = Some(Recheck {
            agreement: agreement.map(|agreement| (agreement.agreement.clone(), agreement.digest.to_string())),
            ceiling: agreement
                .filter(|_| !self.ask.answer_only)
                .and_then(|agreement| self.ceiling(agreement, at)),
            ..rests_on
        });
        submission.changes = learned.changes;
        submission.changes.extend(self.alerts_of_release(permit, at));
        submission.changes.push(caller_use::of_answer(
            &self.ask.caller,
            (false, self.ask.list.is_some()),
            at,
        ));
        submission.changes.push(Change::CloseIntent(self.decision_id.to_owned()));
        self.commit_end(submission).await
    }
}

/// The obligations' codes, as the ledger keeps them.
pub fn obligation_codes(obligations: &Obligations) -> Vec<String> {
    let mut codes = vec![format!("retain-until:{}", obligations.retain_until)];
    if !obligations.onward_sharing {
        codes.push("no-onward-sharing".to_owned());
    }
    if obligations.obtain_consent_to_visit {
        codes.push("obtain-consent-to-visit".to_owned());
    }
    codes
}
