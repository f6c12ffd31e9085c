//! People who were made up, and consents of theirs, by number: the same number is the same person each time. For measuring;
//! they are references of an organisation's own, so that none is anybody's NHS number.

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use sharing::{
    OrganisationId, PolicySet, PurposeClass, SubjectIdentifier, SubjectScheme,
    agreement::{ConfidentialityKind, Status},
    policy::hexadecimal,
    subject::{ConsentStatus, ConsentType, GivenBy},
};

use super::Row;
use crate::routes::{
    consents::{ConsentRequest, Recorder},
    said::Method,
    subject::Subject,
};

/// Made-up people.
pub(super) struct Generated {
    organisation: OrganisationId,
    /// To whom consents let records go, for what.
    flows: Vec<(OrganisationId, PurposeClass)>,
    from: u64,
    people: u64,
    consents: u64,
}

impl Generated {
    pub(super) fn of(
        set: &PolicySet,
        organisation: &OrganisationId,
        from: u64,
        people: u64,
        consents: u64,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(people > 0, "--generate: at least one person");
        anyhow::ensure!(consents <= people, "--consents: at most one for each person");
        let held = |flow: &&sharing::agreement::DataFlow| {
            set.provider(flow.provider.get_ref())
                .is_some_and(|provider| provider.provider.organisation.get_ref() == organisation)
                && flow.confidentiality.kind() == ConfidentialityKind::ExplicitConsent
        };
        let active = set.agreements().filter(|agreement| *agreement.status.get_ref() == Status::Active);
        let flows = active.flat_map(|agreement| agreement.flows.iter().filter(held));
        let flows: Vec<_> = flows.map(|flow| (flow.recipient.get_ref().clone(), flow.purpose)).collect();
        anyhow::ensure!(
            consents == 0 || !flows.is_empty(),
            "no active agreement lets records of {organisation} go by explicit consent, so that consents would decide nothing"
        );
        Ok(Self { organisation: organisation.clone(), flows, from, people, consents })
    }

    pub(super) fn people(&self) -> u64 {
        self.people
    }

    /// Of what they are made from.
    pub(super) fn sha256(&self) -> String {
        let Self { organisation, from, people, consents, .. } = self;
        let text = format!("made up for {organisation}: from {from}, {people} people, {consents} consents");
        hexadecimal(&Sha256::digest(text))
    }

    /// The people after the first `done`.
    pub(super) fn rows<'a>(
        &'a self,
        recorder: &'a Recorder<'a>,
        done: u64,
    ) -> impl Iterator<Item = anyhow::Result<Row>> + 'a {
        (done..self.people).map(move |index| self.row(recorder, index))
    }

    fn row(&self, recorder: &Recorder<'_>, index: u64) -> anyhow::Result<Row> {
        let number = self.from + index;
        let value = format!("GEN-{number:09}");
        let scheme = SubjectScheme::Local(self.organisation.clone());
        let identifier = SubjectIdentifier::parse(scheme.clone(), &value)?;
        if !self.has_consent(index) {
            return Ok((identifier, None));
        }
        let subject = Subject { scheme: scheme.to_string(), value };
        let asked = self.consent(subject, number, recorder);
        let row = recorder.check(&asked).map_err(|problem| anyhow::anyhow!("{}", problem.detail()))?;
        Ok((identifier, Some(Box::new(row))))
    }

    /// Evenly among them.
    fn has_consent(&self, index: u64) -> bool {
        let until =
            |index: u64| u128::from(index) * u128::from(self.consents) / u128::from(self.people.max(1));
        until(index + 1) > until(index)
    }

    /// Nine in ten are given, one refused in twenty, one asked for and not answered in twenty; one in four ends by itself.
    fn consent(&self, subject: Subject, number: u64, recorder: &Recorder<'_>) -> ConsentRequest {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let flow = usize::try_from(number).unwrap_or(0) % self.flows.len().max(1);
        let (recipients, purposes) =
            self.flows.get(flow).map(|(to, purpose)| (to.to_string(), purpose.to_string())).unzip();
        let days = i64::try_from(spread % 700).unwrap_or(0) + 1;
        let given_at = recorder.at.checked_sub(SignedDuration::from_hours(24 * days)).unwrap_or(recorder.at);
        let ends = given_at.checked_add(SignedDuration::from_hours(24 * 365 * 4)).ok();
        ConsentRequest {
            subject,
            consent_type: ConsentType::ConfidentialityConsent,
            status: match spread % 20 {
                0 => ConsentStatus::Refused,
                1 => ConsentStatus::Requested,
                _ => ConsentStatus::Given,
            },
            controller: self.organisation.to_string(),
            recipients: recipients.into_iter().collect(),
            purposes: purposes.into_iter().collect(),
            data_categories: vec!["needs".to_owned()],
            given_by: GivenBy::Person,
            given_at: Some(given_at.to_string()),
            method: Method::InPerson,
            notice_version: "made-up-1".to_owned(),
            expires_at: ends.filter(|_| spread.is_multiple_of(4)).map(|end| end.to_string()),
            evidence_reference: None,
        }
    }
}
