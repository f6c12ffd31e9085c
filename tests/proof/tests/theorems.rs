//! What is proved of the guardrails in `policies/guardrails`, whatever else permits.
//!
//! Each theorem has its control: without the guardrails that it rests on the proof must fail, and with a request
//! that Cedar itself then allows. A theorem that nothing can break says nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

use cedar_policy::{Authorizer, Decision, Policy, PolicyId, PolicySet};
use cedar_policy_symcc::{Env, solver::LocalSolver};
use proof::Prover;
use sharing::{Guardrails, PurposeClass, policy::PolicyFile};

/// Something that holds of every request that is allowed.
struct Theorem {
    name: &'static str,
    /// What holds, in Cedar.
    holds: &'static str,
    /// Without any one of these it is no longer so.
    rests_on: &'static [&'static str],
}

const AGREEMENT: Theorem = Theorem {
    name: "nothing leaves without an agreement in force, a grant where the law knows one, or a life at risk",
    holds: r#"
        (context.agreement.active && context.agreement.in_date && context.agreement.signed && context.agreement.covers) ||
        (context.granted && context.purpose in [Purpose::"safeguarding-adult", Purpose::"safeguarding-child",
            Purpose::"fire-prevention-targeting", Purpose::"fraud-crime", Purpose::"subject-access"]) ||
        context.purpose == Purpose::"vital-interests""#,
    rests_on: &["agreement-in-force", "grant-needs-a-ground"],
};

const RESTRICTED: Theorem = Theorem {
    name: "where a restricted person is never leaves outside health, whatever the override",
    holds: r#"
        !context.items.locating ||
        context.restricted == Restriction::"none" ||
        (context.restricted == Restriction::"unknown" && action == Action::"disclose") ||
        context.recipient_kind == Kind::"nhs""#,
    rests_on: &["restricted-location"],
};

const CONSENT: Theorem = Theorem {
    name: "where consent decides, a withdrawn one denies, save by an override for a person at risk, claimed in person",
    holds: r#"
        !context.consent_decides ||
        context.consent != Consent::"withdrawn" ||
        (context.override == Override::"safeguarding" && context.attended && !context.list &&
            context.purpose in [Purpose::"fire-return-referral", Purpose::"safe-and-well-referral",
                Purpose::"safeguarding-adult", Purpose::"safeguarding-child"])"#,
    rests_on: &[
        "consent-holds",
        "safeguarding-override-purpose",
        "practitioner-present",
        "override-never-on-a-list",
    ],
};

const BREAK_GLASS: Theorem = Theorem {
    name: "break-glass is claimed in person, for one person, for care, protection or a life at risk",
    holds: r#"
        context.override != Override::"break-glass" ||
        (context.attended && !context.list &&
            context.purpose in [Purpose::"direct-care", Purpose::"safeguarding-adult",
                Purpose::"safeguarding-child", Purpose::"vital-interests"])"#,
    rests_on: &["break-glass-purpose", "practitioner-present", "override-never-on-a-list"],
};

const FIRE: Theorem = Theorem {
    name: "a fire service is given no records for care, and no NHS numbers",
    holds: r#"
        context.recipient_kind != Kind::"fire" ||
        (context.purpose != Purpose::"direct-care" && !context.items.ids.contains(Item::"person.nhs_number"))"#,
    rests_on: &["fire-gives-no-care", "nhs-number-not-for-fire"],
};

const OFFENCE: Theorem = Theorem {
    name: "offence data leaves for fraud and crime, and for safeguarding asked for in person, only",
    holds: r#"
        !context.items.offence ||
        context.purpose == Purpose::"fraud-crime" ||
        (context.attended && context.purpose in [Purpose::"safeguarding-adult", Purpose::"safeguarding-child"])"#,
    rests_on: &["offence-data-purpose", "practitioner-present"],
};

fn guardrails() -> Guardrails {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for folder in ["agreements", "catalogue", "guardrails", "organisations"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(PolicyFile { path: format!("{folder}/{name}"), text });
        }
    }
    Guardrails::load(&files).unwrap()
}

/// The guardrails beside a permit for everything: no other permit can allow more.
fn with_rogue_permit() -> PolicySet {
    let mut policies = guardrails().policies();
    let rogue = Policy::parse(Some(PolicyId::new("rogue")), "permit(principal, action, resource);").unwrap();
    policies.add(rogue).unwrap();
    policies
}

fn without(policies: &PolicySet, id: &str) -> PolicySet {
    let mut fewer = policies.clone();
    fewer.remove_static(PolicyId::new(id)).unwrap();
    fewer
}

fn permitting(condition: &str) -> PolicySet {
    format!("permit(principal, action, resource) when {{ {condition} }};").parse().unwrap()
}

fn allows(policies: &PolicySet, found: &Env) -> bool {
    let response = Authorizer::new().is_authorized(&found.request, policies, &found.entities);
    assert!(response.diagnostics().errors().next().is_none());
    response.decision() == Decision::Allow
}

async fn prover() -> Prover {
    let prover = Prover::new(&Guardrails::schema()).await.unwrap();
    assert_eq!(prover.environments(), 2, "one kind of principal, one of resource, two actions");
    prover
}

async fn prove(theorem: &Theorem) {
    let mut prover = prover().await;
    let policies = with_rogue_permit();
    let property = permitting(theorem.holds);
    let found = prover.allowed_by_one_alone(&policies, &property).await.unwrap();
    assert!(found.is_none(), "not so: {}\n{:#?}", theorem.name, found.map(|found| found.request));
    for guardrail in theorem.rests_on {
        let fewer = without(&policies, guardrail);
        let found = prover.allowed_by_one_alone(&fewer, &property).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("holds without {guardrail}: {}", theorem.name));
        assert!(allows(&fewer, &found) && !allows(&policies, &found) && !allows(&property, &found));
    }
}

#[tokio::test]
async fn a_release_implies_an_agreement_in_force() {
    prove(&AGREEMENT).await;
}

#[tokio::test]
async fn a_restricted_record_never_tells_where_outside_health() {
    prove(&RESTRICTED).await;
}

#[tokio::test]
async fn a_withdrawn_consent_denies_where_consent_decides() {
    prove(&CONSENT).await;
}

#[tokio::test]
async fn break_glass_is_for_one_person_in_person() {
    prove(&BREAK_GLASS).await;
}

#[tokio::test]
async fn fire_receives_neither_care_records_nor_nhs_numbers() {
    prove(&FIRE).await;
}

#[tokio::test]
async fn offence_data_is_for_few_purposes() {
    prove(&OFFENCE).await;
}

/// Cedar skips a forbid that errs, so that it must be certain that none does.
#[tokio::test]
async fn no_guardrail_can_err() {
    let mut prover = prover().await;
    let found = prover.errs(&with_rogue_permit()).await.unwrap();
    assert!(found.is_none(), "{found:#?}");
}

#[tokio::test]
async fn a_guardrail_that_can_err_is_found() {
    let text = r#"@id("errs") forbid(principal, action, resource) when { context.london_hour * 9223372036854775807 > 0 };"#;
    let policies: PolicySet = text.parse().unwrap();
    let (_, found) = prover().await.errs(&policies).await.unwrap().expect("it overflows from two o'clock on");
    let response = Authorizer::new().is_authorized(&found.request, &policies, &found.entities);
    assert_eq!(response.diagnostics().errors().count(), 1, "and Cedar agrees");
}

/// A program that says the same of everything proves nothing, whatever it says; nor does one that is silent.
#[tokio::test]
async fn what_is_no_solver_is_not_believed() {
    for program in [
        "while read -r line; do case $line in *check-sat*) echo sat;; esac; done",
        "while read -r line; do case $line in *check-sat*) echo unsat;; esac; done",
        "while read -r line; do case $line in *check-sat*) echo unknown;; esac; done",
        "true",
    ] {
        let mut command = tokio::process::Command::new("sh");
        let solver = LocalSolver::from_command(command.args(["-c", program])).unwrap();
        assert!(Prover::with_solver(&Guardrails::schema(), solver).await.is_err(), "{program}");
    }
}

/// Guardrails that forbade everything would make every theorem true.
#[tokio::test]
async fn something_is_allowed_for_every_purpose_but_aggregates() {
    let mut prover = prover().await;
    let nothing: PolicySet = "forbid(principal, action, resource);".parse().unwrap();
    for purpose in PurposeClass::ALL {
        let mut policies = with_rogue_permit();
        let only = format!(
            "forbid(principal, action, resource) unless {{ context.purpose == Purpose::\"{purpose}\" }};"
        );
        policies.add(Policy::parse(Some(PolicyId::new("only")), only).unwrap()).unwrap();
        let found = prover.allowed_by_one_alone(&policies, &nothing).await.unwrap();
        assert_eq!(found.is_none(), purpose.rules().aggregate_only, "{purpose}");
    }
}

/// One that the others make needless would be believed in and do nothing.
#[tokio::test]
async fn every_guardrail_forbids_something_that_no_other_does() {
    let mut prover = prover().await;
    let policies = with_rogue_permit();
    for guardrail in guardrails().iter() {
        let found = prover.allowed_by_one_alone(&without(&policies, &guardrail.id), &policies).await.unwrap();
        assert!(found.is_some(), "{} is needless", guardrail.id);
    }
}
