//! When a person's consent decides, and what a person can therefore be asked to agree to. The rules use the first; the console asks
//! about the second, so that nobody is asked for a consent that no decision would rest on.

use jiff::{SignedDuration, Timestamp};

use crate::{
    agreement::{Agreement, Article6, Article9, Confidentiality, DataFlow, LawfulBasis},
    catalogue::Provider,
    identifier::{OrganisationId, SubjectScheme},
    policy::PolicySet,
    purpose::ConsentNeed,
    subject::ConsentType,
};

/// Longest time for which a person's own answer holds before they are asked again.
const HOLDS_MAX: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Which consents a flow needs, each of which has to hold. `confidential` is whether something confidential would leave.
pub(crate) fn needed(flow: &DataFlow, confidential: bool) -> [(bool, ConsentType); 2] {
    let explicit = match flow.purpose.rules().explicit_consent {
        ConsentNeed::Always => true,
        ConsentNeed::ForConfidentialItems => {
            confidential && !matches!(flow.confidentiality, Confidentiality::Section251 { .. })
        }
        ConsentNeed::NotAsked => confidential && flow.confidentiality == Confidentiality::ExplicitConsent,
    };
    let by_consent = |basis: &LawfulBasis| {
        basis.article_6 == Article6::Consent || basis.article_9 == Some(Article9::ExplicitConsent)
    };
    let gdpr = by_consent(&flow.provider_basis) || by_consent(&flow.recipient_basis);
    [(explicit, ConsentType::ConfidentialityConsent), (gdpr, ConsentType::GdprConsent)]
}

/// Something that moves only if the person agrees.
pub struct ConsentQuestion<'a> {
    /// Under which agreement.
    pub agreement: &'a Agreement,
    /// What moves.
    pub flow: &'a DataFlow,
    /// Who holds the records.
    pub provider: &'a Provider,
    /// The consents that an answer gives or refuses, at least one.
    pub types: Vec<ConsentType>,
}

impl ConsentQuestion<'_> {
    /// First instant at which an answer that is given `at` holds no more: after a year, or with the agreement.
    pub fn expires_at(&self, at: Timestamp) -> Timestamp {
        let year = at.checked_add(HOLDS_MAX).unwrap_or(at);
        year.min(self.agreement.effective_until())
    }
}

/// What a person who is known by an identifier of this kind can be asked, on behalf of an organisation that holds the records or
/// receives them: flows of agreements in force that need consent, and that ask by that kind of identifier. An answer under another
/// identifier would be of somebody whom no question of the flow is about.
pub fn questions<'a>(
    set: &'a PolicySet,
    scheme: &SubjectScheme,
    organisation: &OrganisationId,
    at: Timestamp,
) -> Vec<ConsentQuestion<'a>> {
    let flows =
        set.agreements().flat_map(|agreement| agreement.flows.iter().map(move |flow| (agreement, flow)));
    let asked = flows.filter_map(|(agreement, flow)| {
        let provider = set.provider(flow.provider.get_ref())?;
        let recipient = flow.recipient.get_ref();
        let is_theirs = provider.organisation() == organisation || recipient == organisation;
        let is_in_force = agreement.is_switched_on(flow)
            && (agreement.effective_from()..agreement.effective_until()).contains(&at)
            && agreement.is_signed_by(provider.organisation(), at)
            && agreement.is_signed_by(recipient, at)
            && agreement.dpia.is_current(at);
        if !is_theirs || !is_in_force || !flow.identifiers.contains(scheme) {
            return None;
        }
        let item = |listed: &crate::agreement::FlowItem| provider.item(listed.item.get_ref());
        let confidential = flow.items.iter().filter_map(item).any(|item| item.confidential);
        let types: Vec<_> = needed(flow, confidential)
            .into_iter()
            .filter_map(|(is_needed, consent_type)| is_needed.then_some(consent_type))
            .collect();
        (!types.is_empty()).then_some(ConsentQuestion { agreement, flow, provider, types })
    });
    asked.collect()
}
