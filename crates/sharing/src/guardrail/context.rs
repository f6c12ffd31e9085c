//! From [`Facts`] to a Cedar request. What never changes (types, actions, closed lists, the names in the policy set) is
//! made once, at load, and a request is put together of finished values: nothing is parsed or evaluated on the way.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy_core::{
    ast::{Context, Eid, EntityType, EntityUID, EntityUIDEntry, Literal, Request, Value, ValueKind},
    parser::err::ParseErrors,
};

use super::facts::{
    ConsentFact, DeathFact, Facts, IDENTIFIERS, KINDS, ObjectionFact, OverrideFact, Phase, RestrictionFact,
    kind_name,
};
use crate::{
    policy::{Names, OrganisationKind},
    purpose::PurposeClass,
};

/// Names that a guardrail may use, by entity type and name.
pub(super) type KnownNames = BTreeSet<(&'static str, String)>;

/// The words of the schema, ready to be put in a request.
pub(super) struct Words {
    agreements: Open,
    items: Open,
    organisations: Open,
    providers: Open,
    roles: Open,
    phases: Closed<Phase>,
    consents: Closed<ConsentFact>,
    deaths: Closed<DeathFact>,
    identifiers: Closed<&'static str>,
    kinds: Closed<OrganisationKind>,
    objections: Closed<ObjectionFact>,
    overrides: Closed<OverrideFact>,
    purposes: Closed<PurposeClass>,
    restrictions: Closed<RestrictionFact>,
}

impl Words {
    pub(super) fn new(names: &KnownNames) -> Result<Self, Box<ParseErrors>> {
        Ok(Self {
            agreements: Open::new("Agreement", names)?,
            items: Open::new("Item", names)?,
            organisations: Open::new("Organisation", names)?,
            providers: Open::new("Provider", names)?,
            roles: Open::new("Role", names)?,
            phases: Closed::new("Action", Phase::ALL, Phase::as_str)?,
            consents: Closed::new("Consent", ConsentFact::ALL, ConsentFact::as_str)?,
            deaths: Closed::new("Deceased", DeathFact::ALL, DeathFact::as_str)?,
            identifiers: Closed::new("Identifier", IDENTIFIERS, |name| name)?,
            kinds: Closed::new("Kind", KINDS, kind_name)?,
            objections: Closed::new("Objection", ObjectionFact::ALL, ObjectionFact::as_str)?,
            overrides: Closed::new("Override", OverrideFact::ALL, OverrideFact::as_str)?,
            purposes: Closed::new("Purpose", PurposeClass::ALL, PurposeClass::as_str)?,
            restrictions: Closed::new("Restriction", RestrictionFact::ALL, RestrictionFact::as_str)?,
        })
    }

    /// The request; `None` where a fact is not one that the schema knows.
    ///
    /// It is not checked against the schema on each look: a test does that for generated facts.
    pub(super) fn request(&self, facts: &Facts<'_>) -> Option<Request> {
        // Members are in order of their names, so that there is nothing to sort.
        let agreement = record([
            ("active", Value::from(facts.agreement.active)),
            ("covers", Value::from(facts.agreement.covers_items_and_purpose)),
            ("id", self.agreements.value(facts.agreement.id)),
            ("in_date", Value::from(facts.agreement.in_date)),
            ("signed", Value::from(facts.agreement.signed)),
        ]);
        let ids = facts.items.ids.iter().map(|id| Literal::EntityUID(self.items.uid(id)));
        let items = record([
            ("confidential", Value::from(facts.items.confidential)),
            ("ids", Value::set_of_lits(ids, None)),
            ("locating", Value::from(facts.items.locating)),
            ("offence", Value::from(facts.items.offence)),
            ("special", Value::from(facts.items.special)),
        ]);
        let context = record([
            ("agreement", agreement),
            ("attended", Value::from(facts.attended)),
            ("consent", self.consents.value(facts.consent)?),
            ("consent_decides", Value::from(facts.consent_decides)),
            ("deceased", self.deaths.value(facts.deceased)?),
            ("granted", Value::from(facts.granted)),
            ("identifier", self.identifiers.value(facts.identifier)?),
            ("items", items),
            ("list", Value::from(facts.list)),
            ("london_hour", Value::from(i64::from(facts.london_hour))),
            ("objection", self.objections.value(facts.objection)?),
            ("override", self.overrides.value(facts.override_)?),
            ("provider_kind", self.kinds.value(facts.provider_kind)?),
            ("provider_organisation", self.organisations.value(facts.provider_organisation)),
            ("purpose", self.purposes.value(facts.purpose)?),
            ("recipient_kind", self.kinds.value(facts.recipient_kind)?),
            ("restricted", self.restrictions.value(facts.restricted)?),
            ("role", self.roles.value(facts.role)),
        ]);
        let ValueKind::Record(context) = context.value else { return None };
        let known = |euid| EntityUIDEntry::Known { euid, loc: None };
        Some(Request::new_unchecked(
            known(self.organisations.uid(facts.recipient)),
            known(self.phases.uid(facts.phase)?),
            known(self.providers.uid(facts.provider)),
            Some(Context::Value(context)),
        ))
    }
}

/// A kind of thing whose names are the operator's. Those in the policy set are ready.
struct Open {
    of: EntityType,
    ready: Names<String, Arc<EntityUID>>,
}

impl Open {
    fn new(of: &'static str, names: &KnownNames) -> Result<Self, Box<ParseErrors>> {
        let mut open = Self { of: entity_type(of)?, ready: Names::default() };
        for (_, name) in names.iter().filter(|(known, _)| *known == of) {
            open.ready.insert(name.clone(), uid(&open.of, name));
        }
        Ok(open)
    }

    fn uid(&self, name: &str) -> Arc<EntityUID> {
        self.ready.get(name).map_or_else(|| uid(&self.of, name), Arc::clone)
    }

    fn value(&self, name: &str) -> Value {
        entity(self.uid(name))
    }
}

/// A kind of thing of which there is a closed list.
struct Closed<T>(Vec<(T, Arc<EntityUID>)>);

impl<T: Copy + PartialEq> Closed<T> {
    fn new<const N: usize>(
        of: &str,
        values: [T; N],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Self, Box<ParseErrors>> {
        let of = entity_type(of)?;
        Ok(Self(values.map(|value| (value, uid(&of, name(value)))).to_vec()))
    }

    fn uid(&self, value: T) -> Option<Arc<EntityUID>> {
        let found = self.0.iter().find(|(known, _)| *known == value);
        found.map(|(_, uid)| Arc::clone(uid))
    }

    fn value(&self, value: T) -> Option<Value> {
        self.uid(value).map(entity)
    }
}

fn entity_type(name: &str) -> Result<EntityType, Box<ParseErrors>> {
    EntityType::from_normalized_str(name).map_err(Box::new)
}

fn uid(of: &EntityType, name: &str) -> Arc<EntityUID> {
    Arc::new(EntityUID::from_components(of.clone(), Eid::new(name), None))
}

fn entity(uid: Arc<EntityUID>) -> Value {
    Value::new(Literal::EntityUID(uid), None)
}

fn record<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::record(members, None)
}
