//! The fast way of looking beside Cedar's own: requests made and checked by its public interface, and its authorizer.

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityUid, Request, RestrictedExpression,
    Schema,
};
use proptest::prelude::*;

use super::*;

fn entity(of: &str, name: &str) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid(of, name))
}

fn uid(of: &str, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.parse().unwrap(), cedar_policy::EntityId::new(name))
}

fn flag(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn record<const N: usize>(members: [(&str, RestrictedExpression); N]) -> RestrictedExpression {
    let members = members.map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(members).unwrap()
}

/// The request as Cedar makes it, checked against the schema.
fn request(facts: &Facts<'_>, schema: &Schema) -> Request {
    let agreement = record([
        ("id", entity("Agreement", facts.agreement.id)),
        ("active", flag(facts.agreement.active)),
        ("in_date", flag(facts.agreement.in_date)),
        ("signed", flag(facts.agreement.signed)),
        ("covers", flag(facts.agreement.covers_items_and_purpose)),
    ]);
    let ids = facts.items.ids.iter().map(|id| entity("Item", id));
    let items = record([
        ("ids", RestrictedExpression::new_set(ids)),
        ("special", flag(facts.items.special)),
        ("offence", flag(facts.items.offence)),
        ("confidential", flag(facts.items.confidential)),
        ("locating", flag(facts.items.locating)),
    ]);
    let context = [
        ("recipient_kind", entity("Kind", facts::kind_name(facts.recipient_kind))),
        ("role", entity("Role", facts.role)),
        ("attended", flag(facts.attended)),
        ("identifier", entity("Identifier", facts.identifier)),
        ("list", flag(facts.list)),
        ("london_hour", RestrictedExpression::new_long(i64::from(facts.london_hour))),
        ("override", entity("Override", facts.override_.as_str())),
        ("granted", flag(facts.granted)),
        ("provider_kind", entity("Kind", facts::kind_name(facts.provider_kind))),
        ("provider_organisation", entity("Organisation", facts.provider_organisation)),
        ("purpose", entity("Purpose", facts.purpose.as_str())),
        ("agreement", agreement),
        ("items", items),
        ("consent", entity("Consent", facts.consent.as_str())),
        ("restricted", entity("Restriction", facts.restricted.as_str())),
        ("deceased", entity("Deceased", facts.deceased.as_str())),
        ("objection", entity("Objection", facts.objection.as_str())),
        ("consent_decides", flag(facts.consent_decides)),
    ];
    let context = Context::from_pairs(context.map(|(name, value)| (name.to_owned(), value))).unwrap();
    let principal = uid("Organisation", facts.recipient);
    let action = uid("Action", facts.phase.as_str());
    Request::new(principal, action, uid("Provider", facts.provider), context, Some(schema)).unwrap()
}

/// What Cedar's authorizer says: which guardrails fire, and which err.
fn authorize(guardrails: &Guardrails, request: &Request) -> (Vec<String>, Vec<String>) {
    let response = Authorizer::new().is_authorized(request, &guardrails.policies(), &Entities::empty());
    let errs = response.diagnostics().errors().map(|error| match error {
        AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
    });
    let errs = errs.collect();
    let reasons = response.diagnostics().reason().map(ToString::to_string);
    let mut fired: Vec<_> = reasons.filter(|_| response.decision() == Decision::Deny).collect();
    fired.sort();
    (fired, errs)
}

fn any_of<T: Copy + std::fmt::Debug>(values: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(values)
}

prop_compose! {
    fn an_agreement()(
        id in any_of(&["none", "gm-safe-and-well-referral", "not-in-the-set"]),
        [active, in_date, signed, covers_items_and_purpose] in any::<[bool; 4]>(),
    ) -> AgreementFact<'static> {
        AgreementFact { id, active, in_date, signed, covers_items_and_purpose }
    }
}

prop_compose! {
    fn items()(
        ids in proptest::collection::vec(
            any_of(&["person.nhs_number", "person.name", "person.address", "not.in_the_set"]), 0..5),
        [special, offence, confidential, locating] in any::<[bool; 4]>(),
    ) -> ItemFacts<'static> {
        ItemFacts { ids, special, offence, confidential, locating }
    }
}

prop_compose! {
    fn facts()(
        phase in any_of(&Phase::ALL),
        (recipient, provider_organisation) in
            (any_of(&["gmca", "nhs-england", "nobody"]), any_of(&["trafford-council", "nobody"])),
        (recipient_kind, provider_kind) in (any_of(&facts::KINDS), any_of(&facts::KINDS)),
        (role, provider) in
            (any_of(&["unattended", "clinician", "no-role"]), any_of(&["nhs-pds", "trafford-asc", "no-holder"])),
        [attended, granted, list, consent_decides] in any::<[bool; 4]>(),
        purpose in any_of(&PurposeClass::ALL),
        identifier in any_of(&facts::IDENTIFIERS),
        (items, agreement) in (items(), an_agreement()),
        (consent, restricted) in (any_of(&ConsentFact::ALL), any_of(&RestrictionFact::ALL)),
        (deceased, objection) in (any_of(&DeathFact::ALL), any_of(&ObjectionFact::ALL)),
        override_ in any_of(&OverrideFact::ALL),
        london_hour in 0_u8..24,
    ) -> Facts<'static> {
        Facts {
            phase, recipient, recipient_kind, role, attended, provider, provider_organisation, provider_kind,
            purpose, identifier, items, agreement, consent, consent_decides, restricted, deceased, objection,
            override_, granted, list, london_hour,
        }
    }
}

/// One of every kind of expression and scope that a guardrail may have, and some that err.
const WHIMSICAL: &str = r#"
@id("scope-eq") @about("agreement") @practitioner("no") @officer("no")
forbid(principal == Organisation::"gmca", action == Action::"disclose", resource == Provider::"nhs-pds");
@id("scope-in") @about("agreement") @practitioner("no") @officer("no")
forbid(principal is Organisation, action in [Action::"disclose"], resource in Provider::"trafford-asc")
when { !context.attended };
@id("hours") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { context.london_hour + 1 < 8 || context.london_hour - 2 >= 18 } unless { context.attended };
@id("overflow") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { context.list || context.london_hour * 800000000000000000 > 9000000000000000000 };
@id("sets") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { context.items.ids.containsAny([Item::"person.name", Item::"person.nhs_number"]) &&
       !context.items.ids.containsAll([Item::"person.address"]) };
@id("choice") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { if context.role == Role::"unattended" then context.granted else context.agreement.id == Agreement::"none" };
@id("whole") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { context.agreement == {id: Agreement::"none", active: false, in_date: false, signed: false, covers: false} };
@id("later") @about("person") @officer("no")
@practitioner("no record can be released; check the identifier against your source")
forbid(principal, action, resource)
when { action == Action::"release" && context.london_hour * 800000000000000000 > 9000000000000000000 };
@id("nested") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource)
when { !(context.attended && (context.granted || !context.items.confidential)) || context.role == Role::"clinician" }
unless { [context.purpose].containsAny([Purpose::"research", Purpose::"direct-care"]) && context has list };
@id("principal") @about("agreement") @practitioner("no") @officer("no")
forbid(principal, action, resource) when { context.provider_organisation == principal };
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Requests are put together without the schema, for speed. Here each is the same as one that was checked, and
    /// Cedar's authorizer says what [`Guardrails::check`] says.
    #[test]
    fn a_look_says_what_cedar_says(facts in facts()) {
        thread_local! {
            static LOADED: (Schema, context::Words, [Guardrails; 2]) = {
                let (schema, _) = Schema::from_cedarschema_str(&Guardrails::schema()).unwrap();
                let guardrails = [files(), with(WHIMSICAL)].map(|files| Guardrails::load(&files).unwrap());
                let words = context::Words::new(&read::read(&files()).unwrap().names).unwrap();
                (schema, words, guardrails)
            };
        }
        LOADED.with(|(schema, words, guardrails)| {
            let reference = request(&facts, schema);
            let ours = words.request(&facts).unwrap();
            let theirs: &cedar_policy_core::ast::Request = reference.as_ref();
            prop_assert_eq!(ours.context(), theirs.context());
            prop_assert_eq!(ours.principal().uid(), theirs.principal().uid());
            prop_assert_eq!(ours.action().uid(), theirs.action().uid());
            prop_assert_eq!(ours.resource().uid(), theirs.resource().uid());
            for guardrails in guardrails {
                let verdict = guardrails.check(&facts);
                let fired: Vec<_> = verdict.fired.into_iter().map(|fired| fired.id).collect();
                let (fires, errs) = authorize(guardrails, &reference);
                prop_assert_eq!((&fired, verdict.faulted), (&fires, !errs.is_empty()));
                for guardrail in guardrails.loaded.iter().flat_map(|loaded| &loaded.guardrails) {
                    let id = &guardrail.fired.id;
                    if let Some(holds) = guardrail.sieve.holds(&facts) {
                        prop_assert_eq!((holds, false), (fires.contains(id), errs.contains(id)), "{}", id);
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn what_is_in_order_is_cleared_without_asking_cedar() {
    let guardrails = Guardrails::load(&files()).unwrap();
    let facts = Facts { recipient_kind: OrganisationKind::Nhs, ..fire_prevention() };
    for guardrail in &guardrails.loaded.unwrap().guardrails {
        assert_eq!(guardrail.sieve.holds(&facts), Some(false), "{}", guardrail.fired.id);
    }
}

/// Were nothing to fire or err among the generated facts, the comparison would say little.
#[test]
fn the_whimsical_fire_and_err() {
    let guardrails = Guardrails::load(&with(WHIMSICAL)).unwrap();
    let verdict = guardrails.check(&Facts { london_hour: 23, granted: true, ..fire_prevention() });
    assert!(verdict.faulted);
    let facts = Facts {
        phase: Phase::Disclose,
        attended: false,
        role: "unattended",
        granted: true,
        london_hour: 2,
        provider_organisation: "gmca",
        agreement: AgreementFact::NONE,
        ..fire_prevention()
    };
    let fired: Vec<_> = guardrails.check(&facts).fired.into_iter().map(|fired| fired.id).collect();
    assert_eq!(fired, ["choice", "hours", "nested", "principal", "scope-eq", "whole"]);
}
