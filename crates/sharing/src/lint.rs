//! What an experienced lead would ask about a set of policies that is in order as far as its form goes.
//!
//! Nothing here stops anything: what must not happen is refused by [`crate::PolicySet::load`] or by
//! [`crate::decide`]. A finding says where, what, and what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;

use crate::{
    PolicySet,
    agreement::{
        Agreement, DataFlow, DpiaOutcome, LondonDay, Status, london_midnight,
        side_by_side::{gateway_gap, nears, support_gap},
    },
    framework,
    identifier::{AgreementId, OrganisationId},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests are refused because of it, now.
    Refuses,
    /// Requests will be refused because of it soon.
    Soon,
    /// Worth a conversation.
    Ask,
}

impl Severity {
    /// The severity as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::Soon => "soon",
            Self::Ask => "ask",
        }
    }
}

/// Something to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its stable code.
    pub code: &'static str,
    /// The agreement, and the flow where it is about one, as `agreement/flow`.
    pub place: String,
    /// What it is and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<8} {:<26} {}: {}", self.severity.as_str(), self.code, self.place, self.message)
    }
}

/// How often flows and items were used, as the ledger says.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Releases of each flow, by `agreement/flow`.
    pub releases: BTreeMap<String, u64>,
    /// Releases of each item of a flow, by `agreement/flow` and `item:form`.
    pub items: BTreeMap<(String, String), u64>,
    /// How many days that is over.
    pub days: u32,
}

/// Looks at every agreement. With `usage`, also at what nobody uses.
pub fn lint(policies: &PolicySet, usage: Option<&Usage>, at: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let passed_on = passed_on(policies);
    for agreement in lasting(policies) {
        whole(agreement, at, &mut findings);
        circle(&passed_on, agreement, &mut findings);
        assurances(policies, agreement, at, &mut findings);
        under(policies, agreement, at, &mut findings);
        for flow in &agreement.flows {
            let place = place(agreement, flow);
            bases(policies, flow, &place, &mut findings);
            support(flow, &place, at, &mut findings);
            signatures(policies, agreement, flow, &place, at, &mut findings);
            volume(flow, &place, &mut findings);
            if let Some(usage) = usage {
                unused(flow, &place, usage, &mut findings);
            }
        }
    }
    overlaps(policies, &mut findings);
    findings.sort_by(|one, other| {
        (one.severity, &one.place, one.code).cmp(&(other.severity, &other.place, other.code))
    });
    findings
}

/// Every agreement that is not over: what is in force, and what may come to be.
fn lasting(policies: &PolicySet) -> impl Iterator<Item = &Agreement> {
    policies.agreements().filter(|agreement| agreement.status.get_ref() != &Status::Terminated)
}

fn place(agreement: &Agreement, flow: &DataFlow) -> String {
    format!("{}/{}", agreement.id(), flow.id.get_ref())
}

fn add(
    findings: &mut Vec<Finding>,
    severity: Severity,
    code: &'static str,
    place: &str,
    message: impl Into<String>,
) {
    findings.push(Finding { severity, code, place: place.to_owned(), message: message.into() });
}

/// When something ends, if that is now or soon.
fn ends(day: LondonDay, at: Timestamp) -> Option<Severity> {
    nears(day, at).map(how_much)
}

fn how_much(is_over: bool) -> Severity {
    if is_over { Severity::Refuses } else { Severity::Soon }
}

fn whole(agreement: &Agreement, at: Timestamp, findings: &mut Vec<Finding>) {
    let place = agreement.id().as_str();
    if agreement.owner.trim().is_empty() {
        add(
            findings,
            Severity::Ask,
            "no-owner",
            place,
            "nobody is named who sees that the data is used well; name one",
        );
    }
    if let Some(severity) = ends(agreement.ends_on, at) {
        let message =
            format!("it ends on {}; renew it or say how the work goes on without it", agreement.ends_on);
        add(findings, severity, "agreement-ends", place, message);
    }
    if let Some(severity) = ends(agreement.review_on, at) {
        // Passing the review date stops nothing by itself.
        let message = format!(
            "its review was due, or is due soon: {}; set a date with the parties",
            agreement.review_on
        );
        add(findings, severity.max(Severity::Ask), "review-due", place, message);
    }
    let dpia = &agreement.dpia;
    if dpia.outcome == DpiaOutcome::Open {
        add(
            findings,
            Severity::Refuses,
            "dpia-open",
            place,
            format!("impact assessment {} is not concluded", dpia.reference),
        );
    } else if london_midnight(dpia.completed_on) > at {
        let message = format!(
            "impact assessment {} is accepted and completed on {}, which is yet to come; correct the day",
            dpia.reference, dpia.completed_on
        );
        add(findings, Severity::Refuses, "dpia-not-completed", place, message);
    } else if let Some(severity) = ends(dpia.current_until, at) {
        let verb = if severity == Severity::Refuses { "was" } else { "is" };
        let message = format!(
            "impact assessment {} {verb} current until {}; review it",
            dpia.reference, dpia.current_until
        );
        add(findings, severity, "dpia-ends", place, message);
    }
}

/// Assurances of the parties' security that have run out, or will. They stop nothing: whether the work goes on is for the parties.
fn assurances(policies: &PolicySet, agreement: &Agreement, at: Timestamp, findings: &mut Vec<Finding>) {
    let parties = agreement.parties.iter().map(|party| party.organisation.get_ref());
    for organisation in parties.filter_map(|party| policies.organisation(party)) {
        for assurance in &organisation.assurances {
            let said = match ends(assurance.expires_on, at) {
                Some(Severity::Refuses) => "has run out",
                Some(_) => "runs out soon",
                None => continue,
            };
            let message = format!(
                "the {} of {} {said} ({}); have the next one published, and recorded in its organisation's file",
                assurance.scheme.as_str(),
                organisation.id.get_ref(),
                assurance.expires_on
            );
            add(findings, Severity::Ask, "assurance-ends", agreement.id().as_str(), message);
        }
    }
}

/// The framework: nothing begins without one, and what runs goes on.
fn under(policies: &PolicySet, agreement: &Agreement, at: Timestamp, findings: &mut Vec<Finding>) {
    let place = agreement.id().as_str();
    let parties = agreement.parties.iter().map(|party| party.organisation.get_ref());
    if let Some(gap) = framework::gap(policies, agreement, parties, at) {
        add(findings, Severity::Ask, gap.as_str(), place, gap.to_string());
        return;
    }
    let Some(framework) = policies.framework_of(agreement) else { return };
    if framework.standing(at) == framework::Standing::ReviewOverdue {
        let message = format!(
            "the review of framework `{}` was due on {}; ask who convenes it",
            framework.id(),
            framework.review_on
        );
        add(findings, Severity::Ask, "framework-review-due", place, message);
    }
    if let Some(ends_on) = framework.ends_on.filter(|ends_on| ends(*ends_on, at).is_some()) {
        let message = format!(
            "framework `{}` ends on {ends_on}; nothing new is put in force under it from then on",
            framework.id()
        );
        add(findings, Severity::Ask, "framework-ends", place, message);
    }
}

/// A flow whose data may be passed on: whose it is, who gets it, under which agreement.
type PassedOn<'a> = (&'a OrganisationId, &'a OrganisationId, &'a AgreementId);

fn passed_on(policies: &PolicySet) -> Vec<PassedOn<'_>> {
    let flows =
        lasting(policies).flat_map(|agreement| agreement.flows.iter().map(move |flow| (agreement, flow)));
    let passed_on = flows.filter(|(_, flow)| flow.obligations.onward_sharing);
    let ends = passed_on.filter_map(|(agreement, flow)| {
        let provider = policies.provider(flow.provider.get_ref())?;
        Some((provider.organisation(), flow.recipient.get_ref(), agreement.id()))
    });
    ends.collect()
}

/// Data that may be passed on comes back to where it began, under whichever agreements: nobody can say any more whose copy is whose.
fn circle(passed_on: &[PassedOn<'_>], agreement: &Agreement, findings: &mut Vec<Finding>) {
    for (begin, next, _) in passed_on.iter().filter(|(.., of)| *of == agreement.id()) {
        let mut reached = vec![(*next, BTreeSet::new())];
        let mut place = 0;
        while let Some((from, under)) = reached.get(place).cloned() {
            place += 1;
            if from == *begin {
                let others: Vec<_> = under.iter().map(ToString::to_string).collect();
                let others =
                    if others.is_empty() { String::new() } else { format!(", with {}", others.join(", ")) };
                let message = format!(
                    "what {begin} gives may be passed on until it comes back to {begin}{others}; say who may not pass it on"
                );
                add(findings, Severity::Ask, "circular", agreement.id().as_str(), message);
                return;
            }
            for (_, recipient, of) in passed_on.iter().filter(|(provider, ..)| *provider == from) {
                if !reached.iter().any(|(known, _)| known == recipient) {
                    let mut under = under.clone();
                    if *of != agreement.id() {
                        under.insert(*of);
                    }
                    reached.push((recipient, under));
                }
            }
        }
    }
}

fn bases(policies: &PolicySet, flow: &DataFlow, place: &str, findings: &mut Vec<Finding>) {
    let Some(provider) = policies.provider(flow.provider.get_ref()) else { return };
    let mut seen = Vec::new();
    for item in flow.items.iter().filter_map(|listed| provider.item(listed.item.get_ref())) {
        for (party, basis) in [("provider", &flow.provider_basis), ("recipient", &flow.recipient_basis)] {
            let Some(gap) = basis.gap(flow.purpose, item.category) else { continue };
            if !seen.contains(&(party, gap)) {
                seen.push((party, gap));
                let message = format!(
                    "for `{}` and others of its kind, the {party}'s basis: {}",
                    item.id.get_ref(),
                    gap.as_str()
                );
                add(findings, Severity::Refuses, "basis", place, message);
            }
        }
    }
    if let Some(gap) = gateway_gap(flow, provider.organisation(), policies) {
        add(findings, Severity::Ask, "gateway", place, gap);
    }
    let rules = flow.purpose.rules();
    let confidential = flow
        .items
        .iter()
        .filter_map(|listed| provider.item(listed.item.get_ref()))
        .any(|item| item.confidential);
    if confidential && !rules.confidentiality.contains(&flow.confidentiality.kind()) {
        let message = format!(
            "{:?} does not meet the duty of confidentiality for {}",
            flow.confidentiality.kind(),
            flow.purpose
        );
        add(findings, Severity::Refuses, "confidentiality", place, message);
    }
    if rules.excludes_social_care {
        let listed = flow.items.iter().filter_map(|listed| provider.item(listed.item.get_ref()));
        if let Some(item) = listed.into_iter().find(|item| item.social_care) {
            let message = format!(
                "`{}` is social care data, which case finding leaves out; remove it",
                item.id.get_ref()
            );
            add(findings, Severity::Refuses, "social-care", place, message);
        }
    }
}

fn support(flow: &DataFlow, place: &str, at: Timestamp, findings: &mut Vec<Finding>) {
    if let Some((has_ended, message)) = support_gap(flow, at) {
        add(findings, how_much(has_ended), "section-251-expires", place, message);
    }
}

fn signatures(
    policies: &PolicySet,
    agreement: &Agreement,
    flow: &DataFlow,
    place: &str,
    at: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let provider = policies.provider(flow.provider.get_ref()).map(crate::Provider::organisation);
    for organisation in provider.into_iter().chain([flow.recipient.get_ref()]) {
        if !agreement.is_signed_by(organisation, at) {
            let message = format!("nobody with authority has signed for {organisation}");
            add(findings, Severity::Refuses, "not-signed", place, message);
        }
    }
}

fn volume(flow: &DataFlow, place: &str, findings: &mut Vec<Finding>) {
    if flow.roles.iter().any(|role| role == "unattended") && flow.releases_per_day_max.is_none() {
        let message = "a job may ask without end; set `releases_per_day_max` to what the work needs";
        add(findings, Severity::Ask, "bulk-without-ceiling", place, message);
    }
}

fn unused(flow: &DataFlow, place: &str, usage: &Usage, findings: &mut Vec<Finding>) {
    if usage.releases.get(place).copied().unwrap_or(0) == 0 {
        let message = format!("nothing was released under it in {} days; is it needed?", usage.days);
        add(findings, Severity::Ask, "flow-never-used", place, message);
        return;
    }
    for listed in &flow.items {
        let item = listed.with_form();
        if usage.items.get(&(place.to_owned(), item.clone())).copied().unwrap_or(0) == 0 {
            let message = format!(
                "`{item}` was never released in {} days; drop it, or ask why the source lacks it",
                usage.days
            );
            add(findings, Severity::Ask, "item-never-released", place, message);
        }
    }
}

/// Two flows for the same pair and purpose: which one answers is decided by what fails least, then as the decision's ranks say.
/// What is not in force yet counts: whoever is about to sign it has to know.
fn overlaps(policies: &PolicySet, findings: &mut Vec<Finding>) {
    let mut by_pair: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    for agreement in lasting(policies) {
        for flow in &agreement.flows {
            let key = (
                flow.provider.get_ref().to_string(),
                flow.recipient.get_ref().to_string(),
                flow.purpose.to_string(),
            );
            by_pair.entry(key).or_default().push(place(agreement, flow));
        }
    }
    for ((provider, recipient, purpose), places) in by_pair {
        for place in &places {
            let others: Vec<_> = places.iter().filter(|other| *other != place).map(String::as_str).collect();
            if others.is_empty() {
                continue;
            }
            let message = format!(
                "{} also covers {recipient} asking {provider} for {purpose}; agree which one should. Until then whichever covers most of what is asked for answers, then whichever binds most",
                others.join(", ")
            );
            add(findings, Severity::Ask, "overlap", place, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::{policies, policy_files};

    fn codes_after(path: &str, find: &str, replace: &str) -> Vec<&'static str> {
        let mut files = policy_files();
        let file = files.iter_mut().find(|file| file.path == path).unwrap();
        assert!(file.text.contains(find), "{find}");
        file.text = file.text.replacen(find, replace, 1);
        let set = PolicySet::load(&files).unwrap();
        let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
        let before = lint(&policies(), None, at);
        let new = lint(&set, None, at).into_iter().filter(|finding| !before.contains(finding));
        new.map(|finding| finding.code).collect()
    }

    #[test]
    fn each_finding_is_found() {
        let over_65s = "agreements/gm-fire-prevention-over-65s.toml";
        let care = "agreements/trafford-asc-nhs-direct-care.toml";
        let referral = "agreements/gm-safe-and-well-referral.toml";
        let owner = |text: &str| text.lines().find(|line| line.starts_with("owner = ")).unwrap().to_owned();
        let files = policy_files();
        let line = owner(&files.iter().find(|file| file.path == over_65s).unwrap().text);
        assert_eq!(codes_after(over_65s, &line, "owner = \" \""), ["no-owner"]);
        assert_eq!(
            codes_after(care, "ends_on = \"2029-04-01\"", "ends_on = \"2027-04-02\""),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes_after(care, "current_until = \"2029-01-30\"", "current_until = \"2026-12-01\""),
            ["dpia-ends"]
        );
        assert_eq!(codes_after(care, "outcome = \"accepted\"", "outcome = \"open\""), ["dpia-open"]);
        assert_eq!(
            codes_after(
                referral,
                "schedule_1 = \"part 2 paragraph 18\"",
                "schedule_1 = \"part 1 paragraph 2\""
            ),
            ["basis"]
        );
        assert_eq!(
            codes_after(
                referral,
                "{ basis = \"explicit-consent\" }",
                "{ basis = \"section251\", reference = \"26/CAG/1\", expires_on = \"2026-12-24\" }"
            ),
            ["confidentiality", "section-251-expires"]
        );
        assert_eq!(
            codes_after(
                care,
                "role = \"caldicott-guardian\", name = \"A. Whitfield\"",
                "role = \"dpo\", name = \"A. Whitfield\""
            ),
            Vec::<&str>::new(),
            "one approval is left"
        );
        assert_eq!(
            codes_after(referral, "roles = [\"prevention-officer\"]", "roles = [\"unattended\"]"),
            ["bulk-without-ceiling"]
        );
    }

    #[test]
    fn what_an_agreement_lacks_of_its_framework_is_found() {
        let accord = "frameworks/gm-information-sharing-accord.toml";
        let three = |code: &'static str| [code; 3];
        let found = |find: &str, replace: &str| codes_after(accord, find, replace);
        assert_eq!(
            found("organisation = \"gmca\"\n", "organisation = \"gmca\"\nleft_on = \"2026-01-01\"\n"),
            three("framework-not-joined"),
            "of three of the four it is a party"
        );
        let all = |code: &'static str| [code; 4];
        assert_eq!(found("Sharing Accord", "Sharing Charter"), all("framework-unknown"));
        assert_eq!(
            found("effective_on = \"2024-04-01\"", "effective_on = \"2028-01-01\""),
            all("framework-not-in-force")
        );
        assert_eq!(
            found(
                "review_on = \"2028-04-01\"\nends_on = \"2030-04-01\"",
                "review_on = \"2025-04-01\"\nends_on = \"2026-01-01\""
            ),
            all("framework-not-in-force")
        );
        assert_eq!(
            found("review_on = \"2028-04-01\"", "review_on = \"2025-04-01\""),
            all("framework-review-due")
        );
        assert_eq!(
            found(
                "review_on = \"2028-04-01\"\nends_on = \"2030-04-01\"",
                "review_on = \"2026-12-31\"\nends_on = \"2027-01-01\""
            ),
            all("framework-ends")
        );
    }

    #[test]
    fn what_nobody_uses_is_found() {
        let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
        let mut usage = Usage { days: 90, ..Usage::default() };
        let flow = "gm-safe-and-well-referral/referral".to_owned();
        usage.releases.insert(flow.clone(), 3);
        usage.items.insert((flow.clone(), "person.name:as-is".to_owned()), 3);
        let findings = lint(&policies(), Some(&usage), at);
        let unused: Vec<_> = findings.iter().filter(|finding| finding.code == "flow-never-used").collect();
        assert!(!unused.is_empty() && unused.iter().all(|finding| finding.place != flow));
        let items: Vec<_> = findings.iter().filter(|finding| finding.code == "item-never-released").collect();
        assert!(!items.is_empty() && items.iter().all(|finding| finding.place == flow));
        assert!(!items.iter().any(|finding| finding.message.contains("`person.name:as-is`")));
    }

    #[test]
    fn flows_that_come_back_to_where_they_began_are_found() {
        let care = "agreements/trafford-asc-nhs-direct-care.toml";
        let mut files = policy_files();
        let file = files.iter_mut().find(|file| file.path == care).unwrap();
        file.text = file.text.replacen("onward_sharing = false", "onward_sharing = true", 1);
        let codes = |files: &[crate::policy::PolicyFile]| {
            let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
            let findings = lint(&PolicySet::load(files).unwrap(), None, at);
            findings.iter().filter(|finding| finding.code == "circular").count()
        };
        assert_eq!(codes(&files), 0, "one of the two ways may not be passed on");
        let file = files.iter_mut().find(|file| file.path == care).unwrap();
        file.text = file.text.replace("onward_sharing = false", "onward_sharing = true");
        assert_eq!(codes(&files), 1);
        // Or one way under one agreement, and back under another.
        let mut files = policy_files();
        let file = files.iter_mut().find(|file| file.path == care).unwrap();
        let (first, second) = file.text.split_at(file.text.rfind("[[flows]]").unwrap());
        let mut back = file.clone();
        back.path = "agreements/and-back.toml".to_owned();
        back.text = format!("{first}{}", second.replace("onward_sharing = false", "onward_sharing = true"))
            .replacen("trafford-asc-nhs-direct-care", "and-back", 1);
        file.text = format!("{}{second}", first.replace("onward_sharing = false", "onward_sharing = true"));
        assert_eq!(codes(&files), 0);
        files.push(back);
        assert_eq!(codes(&files), 2, "each is told of the other");
    }

    #[test]
    fn an_assurance_that_runs_out_is_found_for_each_agreement_of_its_party() {
        let found = |day: &str| {
            let mut files = policy_files();
            let file = files.iter_mut().find(|file| file.path == "organisations/gmca.toml").unwrap();
            file.text.push_str(&format!(
                "\nassurances = [{{ scheme = \"dspt\", link = \"https://dspt.example.org/gmca\", expires_on = \"{day}\" }}]\n"
            ));
            let set = PolicySet::load(&files).unwrap();
            let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
            let findings =
                lint(&set, None, at).into_iter().filter(|finding| finding.code == "assurance-ends");
            findings
                .map(|finding| (finding.place, finding.message.contains("has run out")))
                .collect::<Vec<_>>()
        };
        assert!(found("2031-06-30").is_empty());
        let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
        let ahead =
            crate::agreement::london_day(at.checked_add(jiff::SignedDuration::from_hours(24 * 60)).unwrap());
        let soon = found(&ahead.to_string());
        assert!(soon.len() == 3 && soon.iter().all(|(_, over)| !over), "{soon:?}");
        let over = found("2020-06-30");
        assert!(over.len() == 3 && over.iter().all(|(_, over)| *over), "{over:?}");
        assert!(
            !over.iter().any(|(place, _)| place == "trafford-asc-nhs-direct-care"),
            "it is no party to that"
        );
    }

    #[test]
    fn two_agreements_for_one_pair_and_purpose_are_found() {
        let mut files = policy_files();
        let mut copy =
            files.iter().find(|file| file.path.ends_with("gm-safe-and-well-referral.toml")).unwrap().clone();
        copy.path = "agreements/copy.toml".to_owned();
        copy.text = copy.text.replacen("gm-safe-and-well-referral", "gm-safe-and-well-pilot", 1);
        files.push(copy);
        let at: Timestamp = crate::cases::MATRIX_AT.parse().unwrap();
        let findings = lint(&PolicySet::load(&files).unwrap(), None, at);
        let at_each = ["gm-safe-and-well-pilot", "gm-safe-and-well-referral"].map(|id| {
            let found = |finding: &&Finding| finding.code == "overlap" && finding.place.starts_with(id);
            findings.iter().filter(found).count()
        });
        assert_eq!(at_each, [1, 1], "each side is told of the other");
    }
}
