//! Each flow's legal bases, the provider's beside the recipient's, with what is missing marked.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Agreement, Confidentiality, DataFlow, LawfulBasis, LondonDay, london_midnight};
use crate::{
    identifier::OrganisationId,
    policy::{OrganisationKind, PolicySet},
};

/// A flow's bases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowBases {
    /// The flow.
    pub flow: String,
    /// The purpose.
    pub purpose: String,
    /// Whoever discloses.
    pub provider: PartyBasis,
    /// Whoever receives.
    pub recipient: PartyBasis,
    /// What is missing for both: confidentiality, and the statutory gateway.
    pub gaps: Vec<String>,
}

/// One party's basis for a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartyBasis {
    /// Which party.
    pub organisation: String,
    /// UK GDPR Art 6(1).
    pub article_6: &'static str,
    /// UK GDPR Art 9(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub article_9: Option<&'static str>,
    /// Data Protection Act 2018, Schedule 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_1: Option<String>,
    /// The authority for offence data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub article_10: Option<String>,
    /// What is missing.
    pub gaps: Vec<&'static str>,
}

/// Every flow's bases.
pub fn side_by_side(agreement: &Agreement, set: &PolicySet, at: Timestamp) -> Vec<FlowBases> {
    agreement.flows.iter().filter_map(|flow| of_flow(flow, set, at)).collect()
}

fn of_flow(flow: &DataFlow, set: &PolicySet, at: Timestamp) -> Option<FlowBases> {
    let provider = set.provider(flow.provider.get_ref())?;
    let items = || flow.items.iter().filter_map(|listed| provider.item(listed.item.get_ref()));
    let of = |organisation: &OrganisationId, basis: &LawfulBasis| {
        let mut gaps = Vec::new();
        for gap in items().filter_map(|item| basis.gap(flow.purpose, item.category)) {
            if !gaps.contains(&gap.as_str()) {
                gaps.push(gap.as_str());
            }
        }
        PartyBasis {
            organisation: organisation.to_string(),
            article_6: basis.article_6.as_str(),
            article_9: basis.article_9.map(super::Article9::as_str),
            schedule_1: basis
                .schedule_1
                .map(|found| format!("part {} paragraph {}", found.part, found.paragraph)),
            article_10: basis.article_10.clone(),
            gaps,
        }
    };
    let mut gaps = Vec::new();
    let rules = flow.purpose.rules();
    if items().any(|item| item.confidential) && !rules.confidentiality.contains(&flow.confidentiality.kind())
    {
        gaps.push("how the duty of confidentiality is met does not fit this purpose".to_owned());
    }
    gaps.extend(support_gap(flow, at).map(|(_, gap)| gap));
    gaps.extend(gateway_gap(flow, provider.organisation(), set).map(str::to_owned));
    Some(FlowBases {
        flow: flow.id.get_ref().to_string(),
        purpose: flow.purpose.to_string(),
        provider: of(provider.organisation(), &flow.provider_basis),
        recipient: of(flow.recipient.get_ref(), &flow.recipient_basis),
        gaps,
    })
}

/// How far ahead a lead looks.
const AHEAD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Whether something that ends on this day is over, where it is, or soon will be.
pub fn nears(day: LondonDay, at: Timestamp) -> Option<bool> {
    let end = london_midnight(day);
    let is_over = end <= at;
    let is_soon = || at.checked_add(AHEAD).is_ok_and(|ahead| end <= ahead);
    (is_over || is_soon()).then_some(is_over)
}

/// Support under section 251 that has ended, or soon will: whether it has, and that in words.
pub fn support_gap(flow: &DataFlow, at: Timestamp) -> Option<(bool, String)> {
    let Confidentiality::Section251 { reference, expires_on } = &flow.confidentiality else { return None };
    let has_ended = nears(*expires_on, at)?;
    let verb = if has_ended { "expired" } else { "expires" };
    let renewal = "ask the Confidentiality Advisory Group for renewal";
    Some((has_ended, format!("section 251 support {reference} {verb} on {expires_on}; {renewal}")))
}

/// A statutory gateway that does not reach one of the two ends.
///
/// Source: Digital Economy Act 2017, s35 and Schedule 4 as enacted: councils, combined and fire authorities are listed, and
/// no NHS body.
pub fn gateway_gap(flow: &DataFlow, provider: &OrganisationId, set: &PolicySet) -> Option<&'static str> {
    let is_nhs = |id: &OrganisationId| {
        set.organisation(id).is_some_and(|organisation| organisation.kind == OrganisationKind::Nhs)
    };
    let as_statute = match &flow.confidentiality {
        Confidentiality::Statute { reference } => Some(reference),
        _ => None,
    };
    let is_named = flow.statutory_gateway.iter().chain(as_statute).any(|named| names_economy_act(named));
    let misses = is_named && (is_nhs(provider) || is_nhs(flow.recipient.get_ref()));
    misses
        .then_some("the digital economy act 2017 names no nhs body in schedule 4; another gateway is needed")
}

/// Whether a text names the Digital Economy Act as people write it: by its name, or `DEA 2017`, `DEA17`, `D.E.A.`
fn names_economy_act(text: &str) -> bool {
    let named = text.to_lowercase().replace("d.e.a", "dea");
    let is_short = |word: &str| {
        word.strip_prefix("dea").is_some_and(|rest| rest.chars().all(|char| char.is_ascii_digit()))
    };
    named.contains("digital economy") || named.split(|char: char| !char.is_alphanumeric()).any(is_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::policy_files;

    fn bases(edit: (&str, &str)) -> Vec<FlowBases> {
        let mut files = policy_files();
        let file =
            files.iter_mut().find(|file| file.path == "agreements/gm-safe-and-well-referral.toml").unwrap();
        assert!(file.text.contains(edit.0), "{}", edit.0);
        file.text = file.text.replacen(edit.0, edit.1, 1);
        let set = PolicySet::load(&files).unwrap();
        let found =
            set.agreements().find(|found| found.id().as_str() == "gm-safe-and-well-referral").unwrap();
        side_by_side(found, &set, crate::cases::MATRIX_AT.parse().unwrap())
    }

    #[test]
    fn what_is_missing_is_marked_at_its_party() {
        let [whole]: [FlowBases; 1] = bases(("onward_sharing", "onward_sharing")).try_into().unwrap();
        assert!(
            whole.gaps.is_empty() && whole.provider.gaps.is_empty() && whole.recipient.gaps.is_empty(),
            "{whole:?}"
        );
        let paragraph = "schedule_1 = \"part 2 paragraph 18\"";
        let [misfit]: [FlowBases; 1] =
            bases((paragraph, "schedule_1 = \"part 1 paragraph 2\"")).try_into().unwrap();
        assert_eq!(misfit.provider.gaps, [crate::agreement::BasisGap::Schedule1NotForPurpose.as_str()]);
        assert!(misfit.recipient.gaps.is_empty());
        let [missing]: [FlowBases; 1] = bases((paragraph, "")).try_into().unwrap();
        assert_eq!(missing.provider.gaps, [crate::agreement::BasisGap::Schedule1Missing.as_str()]);
        let [uncovered]: [FlowBases; 1] =
            bases(("basis = \"explicit-consent\"", "basis = \"implied-consent\"")).try_into().unwrap();
        assert_eq!(uncovered.gaps.len(), 1, "{uncovered:?}");
        let supported = |until: &str| {
            let section =
                format!("{{ basis = \"section251\", reference = \"26/CAG/1\", expires_on = \"{until}\" }}");
            let [flow]: [FlowBases; 1] =
                bases(("{ basis = \"explicit-consent\" }", &section)).try_into().unwrap();
            flow.gaps.iter().filter(|gap| gap.contains("section 251")).cloned().collect::<Vec<_>>()
        };
        assert!(supported("2027-12-31").is_empty());
        assert!(supported("2026-12-31")[0].contains("expires on 2026-12-31"));
        assert!(supported("2026-01-31")[0].contains("expired on 2026-01-31"));
    }

    #[test]
    fn a_gateway_that_names_no_nhs_body_is_none_for_one() {
        let files = policy_files();
        let set = PolicySet::load(&files).unwrap();
        let found =
            set.agreements().find(|found| found.id().as_str() == "gm-fire-prevention-over-65s").unwrap();
        let mut flow = found.flows[0].clone();
        let provider: OrganisationId = "nhs-england".parse().unwrap();
        assert_eq!(gateway_gap(&flow, &provider, &set), None);
        for written in [
            "Digital Economy Act 2017, s35",
            "the DEA 2017 (section 35)",
            "DEA17 s.35",
            "D.E.A. 2017",
            "DEA.s35",
            "Digital Economy (Chapter 1, Part 5)",
        ] {
            flow.statutory_gateway = Some(written.to_owned());
            assert!(gateway_gap(&flow, &provider, &set).is_some(), "{written}");
        }
        assert_eq!(gateway_gap(&flow, &"trafford-council".parse().unwrap(), &set), None, "council to fire");
        flow.statutory_gateway = None;
        flow.confidentiality =
            Confidentiality::Statute { reference: "Digital Economy Act 2017 s35".to_owned() };
        assert!(gateway_gap(&flow, &provider, &set).is_some(), "named as the statute");
        flow.confidentiality = Confidentiality::NotConfidential;
        flow.statutory_gateway = Some("Fire and Rescue Services Act 2004, s6: dealt with, idea".to_owned());
        assert_eq!(gateway_gap(&flow, &provider, &set), None);
    }
}
