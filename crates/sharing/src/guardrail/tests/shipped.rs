//! The guardrails in `policies/guardrails`: each fires where it should, and none in the demonstration's own flows.

use super::*;
use crate::decide::Reason;

fn shipped() -> Guardrails {
    Guardrails::load(&files()).unwrap()
}

fn fired(guardrails: &Guardrails, facts: &Facts<'_>) -> Vec<String> {
    let verdict = guardrails.check(facts);
    assert!(!verdict.faulted, "{facts:?}");
    verdict.fired.into_iter().map(|fired| fired.id).collect()
}

/// Safe and Well: the person's explicit consent decides.
fn safe_and_well() -> Facts<'static> {
    Facts {
        provider: "trafford-asc",
        provider_organisation: "trafford-council",
        provider_kind: OrganisationKind::Council,
        purpose: PurposeClass::SafeAndWellReferral,
        identifier: "local",
        items: ItemFacts {
            ids: vec!["person.name", "person.address", "health.home_oxygen"],
            special: true,
            confidential: true,
            locating: true,
            offence: false,
        },
        agreement: AgreementFact { id: "gm-safe-and-well-referral", ..fire_prevention().agreement },
        consent: ConsentFact::Holds,
        consent_decides: true,
        ..fire_prevention()
    }
}

/// NHS to council, for one person's care.
fn direct_care() -> Facts<'static> {
    Facts {
        recipient: "trafford-council",
        recipient_kind: OrganisationKind::Council,
        role: "social-worker",
        purpose: PurposeClass::DirectCare,
        items: ItemFacts {
            ids: vec!["person.nhs_number", "person.name", "person.address", "care.gp_practice"],
            confidential: true,
            locating: true,
            ..ItemFacts::default()
        },
        agreement: AgreementFact { id: "trafford-asc-nhs-direct-care", ..fire_prevention().agreement },
        ..fire_prevention()
    }
}

/// Council to NHS, for one person's discharge.
fn discharge() -> Facts<'static> {
    Facts {
        recipient: "nhs-england",
        recipient_kind: OrganisationKind::Nhs,
        role: "clinician",
        provider: "trafford-asc",
        provider_organisation: "trafford-council",
        provider_kind: OrganisationKind::Council,
        items: ItemFacts { special: true, ..direct_care().items },
        ..direct_care()
    }
}

/// A one-off that a named person granted, without an agreement.
fn granted() -> Facts<'static> {
    Facts {
        purpose: PurposeClass::SafeguardingAdult,
        identifier: "local",
        agreement: AgreementFact::NONE,
        granted: true,
        ..safe_and_well()
    }
}

/// What each guardrail is there for, as a change to a flow in which nothing fires.
fn table() -> Vec<(&'static str, Vec<Facts<'static>>)> {
    let ordinary = fire_prevention().agreement;
    let under = |agreement| Facts { agreement, ..fire_prevention() };
    let restricted = RestrictionFact::Restricted;
    vec![
        (
            "agreement-in-force",
            vec![
                under(AgreementFact { active: false, ..ordinary }),
                under(AgreementFact { in_date: false, ..ordinary }),
                under(AgreementFact { signed: false, ..ordinary }),
                under(AgreementFact { covers_items_and_purpose: false, ..ordinary }),
                Facts { granted: false, ..granted() },
            ],
        ),
        ("aggregates-only", vec![Facts { purpose: PurposeClass::OpenData, ..direct_care() }]),
        ("break-glass-purpose", vec![Facts { override_: OverrideFact::BreakGlass, ..safe_and_well() }]),
        (
            "consent-holds",
            vec![
                Facts { consent: ConsentFact::Withdrawn, ..safe_and_well() },
                Facts { consent: ConsentFact::Refused, ..safe_and_well() },
                Facts { consent: ConsentFact::Expired, ..safe_and_well() },
                Facts { consent: ConsentFact::Absent, ..safe_and_well() },
                Facts { consent: ConsentFact::NotAsked, ..safe_and_well() },
            ],
        ),
        (
            "deceased-not-contacted",
            vec![
                Facts { deceased: DeathFact::Yes, ..fire_prevention() },
                Facts { deceased: DeathFact::Yes, ..safe_and_well() },
            ],
        ),
        ("fire-gives-no-care", vec![Facts { purpose: PurposeClass::DirectCare, ..safe_and_well() }]),
        ("grant-needs-a-ground", vec![Facts { granted: true, ..direct_care() }]),
        (
            "nhs-number-not-for-fire",
            vec![
                Facts { identifier: "nhs-number", ..safe_and_well() },
                Facts {
                    items: ItemFacts { ids: vec!["person.nhs_number"], ..ItemFacts::default() },
                    ..fire_prevention()
                },
            ],
        ),
        (
            "no-social-care-in-stratification",
            vec![Facts { purpose: PurposeClass::RiskStratification, ..discharge() }],
        ),
        (
            "objection-stands",
            vec![
                Facts { objection: ObjectionFact::Standing, ..direct_care() },
                Facts { objection: ObjectionFact::Standing, ..safe_and_well() },
            ],
        ),
        (
            "offence-data-purpose",
            vec![Facts { items: ItemFacts { offence: true, ..direct_care().items }, ..direct_care() }],
        ),
        (
            "override-never-on-a-list",
            vec![Facts { override_: OverrideFact::BreakGlass, list: true, ..direct_care() }],
        ),
        (
            "practitioner-present",
            vec![
                Facts { attended: false, ..granted() },
                Facts { attended: false, override_: OverrideFact::BreakGlass, ..direct_care() },
            ],
        ),
        (
            "restricted-location",
            vec![
                Facts { restricted, ..safe_and_well() },
                Facts { restricted, ..direct_care() },
                Facts { restricted, override_: OverrideFact::BreakGlass, ..direct_care() },
                Facts { restricted, override_: OverrideFact::Safeguarding, ..granted() },
                Facts { restricted: RestrictionFact::Unknown, ..safe_and_well() },
            ],
        ),
        (
            "restricted-not-listed",
            vec![
                Facts { restricted, items: ItemFacts::default(), ..fire_prevention() },
                Facts { restricted, list: true, ..discharge() },
            ],
        ),
        (
            "safeguarding-override-purpose",
            vec![Facts { override_: OverrideFact::Safeguarding, ..direct_care() }],
        ),
    ]
}

#[test]
fn each_guardrail_fires_where_it_should() {
    let guardrails = shipped();
    let ids: Vec<_> = guardrails.iter().map(|guardrail| guardrail.id.as_str()).collect();
    let table = table();
    let mut tried: Vec<_> = table.iter().map(|(id, _)| *id).collect();
    tried.sort_unstable();
    assert_eq!(tried, ids, "every guardrail has a row");
    for (id, rows) in &table {
        for facts in rows {
            assert_eq!(fired(&guardrails, facts), [*id], "{facts:?}");
        }
    }
}

#[test]
fn none_fires_in_ordinary_flows() {
    let guardrails = shipped();
    let before = RestrictionFact::Unknown;
    let ordinary = [
        fire_prevention(),
        safe_and_well(),
        direct_care(),
        discharge(),
        granted(),
        Facts { attended: false, role: "unattended", ..fire_prevention() },
        Facts { phase: Phase::Disclose, restricted: before, deceased: DeathFact::Unknown, ..safe_and_well() },
        Facts { override_: OverrideFact::BreakGlass, ..discharge() },
        Facts { override_: OverrideFact::BreakGlass, objection: ObjectionFact::Standing, ..discharge() },
        Facts { override_: OverrideFact::Safeguarding, consent: ConsentFact::Refused, ..safe_and_well() },
        Facts { deceased: DeathFact::Yes, ..discharge() },
        Facts { restricted: RestrictionFact::Restricted, ..discharge() },
        Facts {
            restricted: RestrictionFact::Restricted,
            items: ItemFacts { locating: false, ..safe_and_well().items },
            ..safe_and_well()
        },
        Facts { purpose: PurposeClass::VitalInterests, agreement: AgreementFact::NONE, ..direct_care() },
    ];
    for facts in &ordinary {
        assert_eq!(fired(&guardrails, facts), Vec::<String>::new(), "{facts:?}");
    }
}

/// The guardrails repeat what the decision table says, in other words. Here both are asked.
#[test]
fn they_agree_with_the_decision_table() {
    let guardrails = shipped();
    for purpose in PurposeClass::ALL {
        let rules = purpose.rules();
        let base = || Facts {
            purpose,
            recipient: "nhs-england",
            recipient_kind: OrganisationKind::Nhs,
            ..direct_care()
        };
        let fires = |id: &str, facts: Facts<'_>| fired(&guardrails, &facts).iter().any(|fired| fired == id);
        assert_eq!(fires("aggregates-only", base()), rules.aggregate_only, "{purpose}");
        let objection = Facts { objection: ObjectionFact::Standing, ..base() };
        assert_eq!(fires("objection-stands", objection), rules.objection_blocks, "{purpose}");
        let dead = Facts { deceased: DeathFact::Yes, ..base() };
        assert_eq!(fires("deceased-not-contacted", dead), rules.contacts_person, "{purpose}");
        let restricted = Facts { restricted: RestrictionFact::Restricted, ..base() };
        assert_eq!(fires("restricted-not-listed", restricted), rules.excludes_restricted, "{purpose}");
        let one_off = Facts { granted: true, ..base() };
        assert_eq!(
            fires("grant-needs-a-ground", one_off),
            !crate::decide::may_be_granted(purpose),
            "{purpose}"
        );
    }
}

#[test]
fn about_the_person_all_say_the_same() {
    let guardrails = shipped();
    let mut about_person = guardrails.iter().filter(|guardrail| guardrail.about_person);
    assert!(about_person.all(|guardrail| guardrail.practitioner == Reason::Restricted.advice()));
    let officers: std::collections::BTreeSet<_> =
        guardrails.iter().map(|guardrail| &guardrail.officer).collect();
    assert_eq!(officers.len(), guardrails.len(), "an officer can tell them apart");
}

#[test]
fn each_has_a_comment_above_it() {
    for file in files().iter().filter(|file| file.path.starts_with("guardrails/")) {
        let lines: Vec<_> = file.text.lines().collect();
        let bare = lines.windows(2).find(|pair| pair[1].starts_with("@id(") && !pair[0].starts_with("// "));
        assert_eq!(bare, None, "{}", file.path);
    }
}
