//! How guardrails are read, and what becomes of those that err. What the shipped ones do is in `shipped`.

use std::path::Path;

use super::*;
use crate::{
    policy::{OrganisationKind, PolicySet},
    purpose::PurposeClass,
};

mod reference;
mod shipped;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

/// The project's policies, with its guardrails.
fn files() -> Vec<PolicyFile> {
    let mut files = Vec::new();
    for folder in ["agreements", "catalogue", "guardrails", "organisations"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(PolicyFile { path: format!("{folder}/{name}"), text });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// The project's policies, with this text in place of its guardrails.
fn with(text: &str) -> Vec<PolicyFile> {
    let mut files = files();
    files.retain(|file| !file.path.starts_with("guardrails/"));
    files.push(PolicyFile { path: "guardrails/one.cedar".to_owned(), text: text.to_owned() });
    files
}

fn problems(text: &str) -> Vec<String> {
    let problems = Guardrails::load(&with(text)).expect_err("it loads");
    problems.iter().map(ToString::to_string).collect()
}

fn only_problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.concat()
}

/// A guardrail about an agreement with this condition, on the sixth line.
fn guardrail(condition: &str) -> String {
    named("one", condition)
}

fn named(id: &str, condition: &str) -> String {
    format!(
        "// A comment.\n@id(\"{id}\")\n@about(\"agreement\")\n@practitioner(\"no\")\n@officer(\"because\")\nforbid(principal, action, resource) when {{ {condition} }};\n"
    )
}

/// Fire prevention as the demonstration asks for it.
fn fire_prevention() -> Facts<'static> {
    Facts {
        phase: Phase::Release,
        recipient: "gmca",
        recipient_kind: OrganisationKind::Fire,
        role: "prevention-officer",
        attended: true,
        provider: "nhs-pds",
        provider_organisation: "nhs-england",
        provider_kind: OrganisationKind::Nhs,
        purpose: PurposeClass::FirePreventionTargeting,
        identifier: "nhs-number",
        items: ItemFacts {
            ids: vec!["person.family_name", "person.birth_date", "person.address"],
            locating: true,
            ..ItemFacts::default()
        },
        agreement: AgreementFact {
            id: "gm-fire-prevention-over-65s",
            active: true,
            in_date: true,
            signed: true,
            covers_items_and_purpose: true,
        },
        consent: ConsentFact::NotAsked,
        consent_decides: false,
        restricted: RestrictionFact::None,
        deceased: DeathFact::No,
        objection: ObjectionFact::None,
        override_: OverrideFact::None,
        granted: false,
        list: false,
        london_hour: 12,
    }
}

#[test]
fn the_committed_schema_is_not_stale() {
    let committed = std::fs::read_to_string(root().join("schema/guardrails.cedarschema")).unwrap_or_default();
    assert!(
        committed == Guardrails::schema(),
        "policies/schema/guardrails.cedarschema is stale; it should be:\n{}",
        Guardrails::schema()
    );
}

#[test]
fn a_policy_that_permits_is_refused() {
    let text = guardrail("context.list").replace("forbid(", "permit(");
    assert_eq!(
        only_problem(&text),
        "guardrails/one.cedar:2: a guardrail can only forbid; what is permitted is for agreements to say"
    );
}

#[test]
fn what_cannot_be_parsed_is_refused_with_its_line() {
    let problem = only_problem(&guardrail("context.list && && true"));
    assert!(problem.starts_with("guardrails/one.cedar:6: unexpected token `&&`"), "{problem}");
    let problem = only_problem(&format!("{}\n\nforbid(principal, action);", guardrail("context.list")));
    assert!(problem.starts_with("guardrails/one.cedar:9: "), "{problem}");
}

#[test]
fn annotations_are_all_needed_and_no_others() {
    let text = guardrail("context.list");
    for name in ["id", "about", "practitioner", "officer"] {
        let annotation = format!("@{name}");
        let lines = text.lines().map(|line| if line.starts_with(&annotation) { "" } else { line });
        let without = lines.collect::<Vec<_>>().join("\n");
        let problem = only_problem(&without);
        assert!(
            problem.ends_with(&format!("a guardrail needs an `@{name}(\"..\")` annotation")),
            "{problem}"
        );
    }
    let problem = only_problem(&text.replace("@officer", "@reviewed(\"yes\") @officer"));
    assert!(problem.contains("unknown annotation `@reviewed`"), "{problem}");
    assert!(only_problem(&text.replace("agreement", "everything")).contains("`@about` is"));
    assert!(only_problem(&text.replace("@id(\"one\")", "@id(\"(permit)\")")).contains("`@id` is"));
    assert!(only_problem(&format!("{text}{text}")).contains("`one` is defined twice"));
}

#[test]
fn a_fact_that_does_not_exist_is_refused() {
    for problem in problems(&guardrail("context.consented")) {
        assert!(
            problem.starts_with("guardrails/one.cedar:6: ") && problem.contains("`consented`"),
            "{problem}"
        );
    }
    // Facts are of the question: an organisation has no attributes that might be missing.
    assert!(!problems(&guardrail("principal.kind == Kind::\"fire\"")).is_empty());
    let problem = only_problem(&guardrail("context.london_hour == \"night\""));
    assert!(problem.contains("guardrails/one.cedar:6"), "{problem}");
}

#[test]
fn a_name_that_does_not_exist_is_refused() {
    let unknown = [
        ("context.purpose == Purpose::\"direct-car\"", "direct-car"),
        ("context.override == Override::\"breakglass\"", "breakglass"),
        (
            "context.items.ids.contains(Item::\"person.nhsnumber\")",
            "catalogue/ has no item `person.nhsnumber`",
        ),
        ("principal == Organisation::\"gmfrs\"", "organisations/ has no organisation `gmfrs`"),
        ("resource == Provider::\"pds\"", "catalogue/ has no record holder `pds`"),
        ("context.role == Role::\"nurse\"", "agreements/ has no role `nurse`"),
        ("context.agreement.id == Agreement::\"gm\"", "agreements/ has no agreement `gm`"),
    ];
    for (condition, expected) in unknown {
        let problem = only_problem(&guardrail(condition));
        assert!(problem.contains(expected), "{problem}");
    }
    let known = "context.role == Role::\"unattended\" && principal == Organisation::\"gmca\" && context.items.ids.contains(Item::\"person.nhs_number\")";
    assert_eq!(Guardrails::load(&with(&guardrail(known))).unwrap().len(), 1);
}

#[test]
fn a_guardrail_that_can_never_fire_is_refused() {
    let problem = only_problem(&guardrail("context.list && !context.list && false"));
    assert!(problem.contains("impossible"), "{problem}");
}

#[test]
fn a_guardrail_about_an_agreement_does_not_look_at_the_person() {
    let person = [
        "context.consent == Consent::\"withdrawn\"",
        "context.list && context.restricted == Restriction::\"restricted\"",
        "if context.list then context.deceased == Deceased::\"yes\" else false",
        "[context.objection].contains(Objection::\"standing\")",
        "context.items.locating",
        "context.items == {ids: [Item::\"person.name\"], special: false, offence: false, confidential: false, locating: true}",
        "[context].contains(context)",
    ];
    for condition in person {
        let problem = only_problem(&guardrail(condition));
        assert!(problem.contains("tells something about the person"), "{problem}");
    }
    let text = guardrail(person[0]).replace("\"agreement\"", "\"person\"");
    let problem = only_problem(&text);
    assert!(
        problem.contains("tells the practitioner exactly: @practitioner(\"no record can be released"),
        "{problem}"
    );
    let text =
        text.replace("\"no\"", "\"no record can be released; check the identifier against your source\"");
    assert!(Guardrails::load(&with(&text)).unwrap().iter().all(|guardrail| guardrail.about_person));
}

#[test]
fn a_guardrail_about_an_agreement_does_not_wait_for_the_record() {
    let release = "action == Action::\"release\"";
    let conditions = [
        format!("{release} && context.list"),
        "context.list && action != Action::\"disclose\"".to_owned(),
        "if context.list then action in [Action::\"disclose\"] else false".to_owned(),
    ];
    let in_scope = [release, "action in [Action::\"disclose\", Action::\"release\"]"];
    let scoped =
        |scope| guardrail("context.list").replace("principal, action,", &format!("principal, {scope},"));
    for text in conditions.map(|condition| guardrail(&condition)).into_iter().chain(in_scope.map(scoped)) {
        let problem = only_problem(&text);
        assert!(problem.contains("tells `release` from `disclose`"), "{problem}");
        let about_person = text
            .replace("\"agreement\"", "\"person\"")
            .replace("\"no\"", "\"no record can be released; check the identifier against your source\"");
        assert_eq!(Guardrails::load(&with(&about_person)).unwrap().len(), 1, "{about_person}");
    }
    let before = scoped("action == Action::\"disclose\"");
    assert_eq!(Guardrails::load(&with(&before)).unwrap().len(), 1, "what it tells is told before");
}

#[test]
fn templates_are_refused() {
    let text = guardrail("context.list").replace("principal,", "principal == ?principal,");
    assert!(only_problem(&text).contains("no `?principal`"));
}

#[test]
fn every_problem_is_told_in_order() {
    let text = format!("{}{}", guardrail("context.nothing"), named("two", "context.never"));
    let lines: Vec<_> =
        Guardrails::load(&with(&text)).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [6, 6, 12, 12], "once for each action");
}

/// Cedar skips a policy that meets an error. Its answer is then "allowed", though a `forbid` was not looked at.
#[test]
fn a_forbid_that_errs_is_skipped_by_cedar_and_told_by_us() {
    let errs = "context.list || context.london_hour * 9223372036854775807 > 0";
    let guardrails = Guardrails::load(&with(&guardrail(errs))).unwrap();
    let verdict = guardrails.check(&fire_prevention());
    assert_eq!(verdict, Verdict { fired: Vec::new(), faulted: true });
    assert!(!verdict.is_clear());
    // At midnight nothing overflows, and in a list it is not reached.
    assert!(guardrails.check(&Facts { london_hour: 0, ..fire_prevention() }).is_clear());
    let fired = guardrails.check(&Facts { list: true, ..fire_prevention() });
    assert_eq!((fired.fired.len(), fired.faulted), (1, false));
}

#[test]
fn one_that_fires_does_not_hide_one_that_errs() {
    let errs = guardrail("context.london_hour * 9223372036854775807 > 0");
    let text = format!("{errs}{}", named("two", "context.attended"));
    let verdict = Guardrails::load(&with(&text)).unwrap().check(&fire_prevention());
    assert_eq!((verdict.fired.len(), verdict.faulted), (1, true));
}

#[test]
fn a_fact_outside_its_list_is_a_fault() {
    let guardrails = Guardrails::load(&files()).unwrap();
    let verdict = guardrails.check(&Facts { identifier: "passport", ..fire_prevention() });
    assert_eq!(verdict, Verdict { fired: Vec::new(), faulted: true });
}

#[test]
fn none_forbids_nothing() {
    let none = Guardrails::none();
    assert!(none.is_empty() && none.check(&fire_prevention()).is_clear());
    assert!(Guardrails::load(&with("// nothing yet\n")).unwrap().is_empty());
    assert_eq!(format!("{none:?}"), "[]");
}

#[test]
fn items_are_told_as_the_catalogue_has_them() {
    let policies = PolicySet::load(&files()).unwrap();
    let provider = policies.provider(&"trafford-asc".parse().unwrap()).unwrap();
    let item = |id: &str| provider.item(&id.parse().unwrap()).unwrap();
    let facts = ItemFacts::new([item("person.address"), item("needs.mobility")], false);
    assert_eq!(facts.ids, ["person.address", "needs.mobility"]);
    assert!(facts.special && facts.confidential && facts.locating && !facts.offence);
    assert!(!ItemFacts::new([item("person.address")], true).locating, "left out of a restricted record");
}

#[test]
fn facts_print_neither_consent_nor_restriction() {
    let facts = format!("{:?}", fire_prevention());
    assert_eq!(facts, "Facts(release nhs-pds to gmca for fire-prevention-targeting, ..)");
}
