//! When a person's consent decides, and what a person can therefore be asked to agree to. The rules use the first; the console asks
//! about the second, so that nobody is asked for a consent that no decision would rest on.

use jiff::{SignedDuration, Timestamp};

use crate::{
    agreement::{Agreement, Article6, Article9, Confidentiality, DataFlow, FlowItem, LawfulBasis},
    catalogue::Provider,
    decide::PermittedItem,
    identifier::{OrganisationId, SubjectScheme},
    policy::PolicySet,
    purpose::ConsentNeed,
    subject::{ConsentType, Shown},
};

/// Longest time for which a person's own answer holds before they are asked again.
const HOLDS_MAX: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Which of a flow's items leave only with a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needing {
    /// None.
    Nothing,
    /// Those that are confidential.
    Confidential,
    /// All.
    Everything,
}

/// Which consents a flow needs, and for what of it. Each has to hold.
pub(crate) fn needed(flow: &DataFlow) -> [(Needing, ConsentType); 2] {
    let supported = matches!(flow.confidentiality, Confidentiality::Section251 { .. });
    let explicit = match flow.purpose.rules().explicit_consent {
        ConsentNeed::Always => Needing::Everything,
        ConsentNeed::ForConfidentialItems if !supported => Needing::Confidential,
        ConsentNeed::NotAsked if flow.confidentiality == Confidentiality::ExplicitConsent => {
            Needing::Confidential
        }
        ConsentNeed::ForConfidentialItems | ConsentNeed::NotAsked => Needing::Nothing,
    };
    let by_consent = |basis: &LawfulBasis| {
        basis.article_6 == Article6::Consent || basis.article_9 == Some(Article9::ExplicitConsent)
    };
    let by_either = by_consent(&flow.provider_basis) || by_consent(&flow.recipient_basis);
    let gdpr = if by_either { Needing::Everything } else { Needing::Nothing };
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
    /// What leaves only after a yes, at least one.
    pub asked: Vec<&'a FlowItem>,
    /// What the same flow lets leave without one: no answer changes that.
    pub anyway: Vec<&'a FlowItem>,
    digest: &'a str,
}

impl ConsentQuestion<'_> {
    /// What a yes is a yes to.
    pub fn shown(&self) -> Shown {
        let Self { agreement, flow, .. } = self;
        let item =
            |listed: &&FlowItem| PermittedItem { item: listed.item.get_ref().clone(), form: listed.form };
        Shown {
            agreement: agreement.id().clone(),
            version: agreement.version,
            flow: flow.id.get_ref().clone(),
            digest: self.digest.to_owned(),
            provider: flow.provider.get_ref().clone(),
            items: self.asked.iter().map(item).collect(),
            retain_days: flow.obligations.retain_days,
            onward_sharing: flow.obligations.onward_sharing,
        }
    }

    /// What is asked that a yes to what was shown then is not a yes to; all of it, where that was another flow, or where it would now
    /// be kept for longer or passed on.
    pub fn beyond(&self, then: &[&Shown]) -> Vec<&FlowItem> {
        let now = self.shown();
        let usable: Vec<_> = then.iter().filter(|then| reaches(then, &now)).collect();
        let is_in = |item: &PermittedItem| usable.iter().any(|then| then.includes(item));
        self.asked
            .iter()
            .zip(&now.items)
            .filter(|(_, item)| !is_in(item))
            .map(|(listed, _)| *listed)
            .collect()
    }

    /// First instant at which an answer that is given `at` holds no more: after a year, or with the agreement.
    pub fn expires_at(&self, at: Timestamp) -> Timestamp {
        let year = at.checked_add(HOLDS_MAX).unwrap_or(at);
        year.min(self.agreement.effective_until())
    }
}

/// Whether what is to be shown `now` is the same flow as what was shown `then`, and its recipient does no more with what it
/// receives.
fn reaches(then: &Shown, now: &Shown) -> bool {
    then.agreement == now.agreement
        && then.flow == now.flow
        && then.provider == now.provider
        && now.retain_days <= then.retain_days
        && (then.onward_sharing || !now.onward_sharing)
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
        let needed = needed(flow);
        let is_needed_for = |needing, listed: &FlowItem| match needing {
            Needing::Nothing => false,
            Needing::Confidential => {
                provider.item(listed.item.get_ref()).is_some_and(|item| item.confidential)
            }
            Needing::Everything => true,
        };
        let types =
            needed.iter().filter(|(needing, _)| flow.items.iter().any(|item| is_needed_for(*needing, item)));
        let types: Vec<_> = types.map(|(_, consent_type)| *consent_type).collect();
        let (asked, anyway) = flow
            .items
            .iter()
            .filter(|listed| {
                let known = provider.item(listed.item.get_ref());
                known.is_some_and(|item| item.forms.contains(&listed.form))
            })
            .partition::<Vec<_>, _>(|listed| {
                needed.iter().any(|(needing, _)| is_needed_for(*needing, listed))
            });
        let digest = set.agreement_digest(agreement.id());
        let question = ConsentQuestion { agreement, flow, provider, types, asked, anyway, digest };
        (!question.asked.is_empty()).then_some(question)
    });
    asked.collect()
}
