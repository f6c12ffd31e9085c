//! From [`Facts`] to a Cedar request. What never changes (types, actions, closed lists) is made once, at load.

use cedar_policy::{
    Context, EntityId, EntityTypeName, EntityUid, ParseErrors, Request, RestrictedExpression,
};

use super::facts::{
    ConsentFact, DeathFact, Facts, IDENTIFIERS, KINDS, ObjectionFact, OverrideFact, Phase, RestrictionFact,
    kind_name,
};
use crate::{policy::OrganisationKind, purpose::PurposeClass};

/// The words of the schema, ready to be put in a request.
pub(super) struct Words {
    agreement: EntityTypeName,
    item: EntityTypeName,
    organisation: EntityTypeName,
    provider: EntityTypeName,
    role: EntityTypeName,
    phases: Vec<(Phase, EntityUid)>,
    consents: Vec<(ConsentFact, RestrictedExpression)>,
    deaths: Vec<(DeathFact, RestrictedExpression)>,
    identifiers: Vec<(&'static str, RestrictedExpression)>,
    kinds: Vec<(OrganisationKind, RestrictedExpression)>,
    objections: Vec<(ObjectionFact, RestrictedExpression)>,
    overrides: Vec<(OverrideFact, RestrictedExpression)>,
    purposes: Vec<(PurposeClass, RestrictedExpression)>,
    restrictions: Vec<(RestrictionFact, RestrictedExpression)>,
}

impl Words {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        let action: EntityTypeName = "Action".parse()?;
        let phases = Phase::ALL.map(|phase| (phase, uid(&action, phase.as_str())));
        Ok(Self {
            agreement: "Agreement".parse()?,
            item: "Item".parse()?,
            organisation: "Organisation".parse()?,
            provider: "Provider".parse()?,
            role: "Role".parse()?,
            phases: phases.to_vec(),
            consents: list("Consent", ConsentFact::ALL, ConsentFact::as_str)?,
            deaths: list("Deceased", DeathFact::ALL, DeathFact::as_str)?,
            identifiers: list("Identifier", IDENTIFIERS, |name| name)?,
            kinds: list("Kind", KINDS, kind_name)?,
            objections: list("Objection", ObjectionFact::ALL, ObjectionFact::as_str)?,
            overrides: list("Override", OverrideFact::ALL, OverrideFact::as_str)?,
            purposes: list("Purpose", PurposeClass::ALL, PurposeClass::as_str)?,
            restrictions: list("Restriction", RestrictionFact::ALL, RestrictionFact::as_str)?,
        })
    }

    /// The request; `None` where a fact is not one that the schema knows.
    pub(super) fn request(&self, facts: &Facts<'_>) -> Option<Request> {
        let agreement = RestrictedExpression::new_record([
            ("id".to_owned(), entity(&self.agreement, facts.agreement.id)),
            ("active".to_owned(), RestrictedExpression::new_bool(facts.agreement.active)),
            ("in_date".to_owned(), RestrictedExpression::new_bool(facts.agreement.in_date)),
            ("signed".to_owned(), RestrictedExpression::new_bool(facts.agreement.signed)),
            ("covers".to_owned(), RestrictedExpression::new_bool(facts.agreement.covers_items_and_purpose)),
        ]);
        let ids = facts.items.ids.iter().map(|id| entity(&self.item, id));
        let items = RestrictedExpression::new_record([
            ("ids".to_owned(), RestrictedExpression::new_set(ids)),
            ("special".to_owned(), RestrictedExpression::new_bool(facts.items.special)),
            ("offence".to_owned(), RestrictedExpression::new_bool(facts.items.offence)),
            ("confidential".to_owned(), RestrictedExpression::new_bool(facts.items.confidential)),
            ("locating".to_owned(), RestrictedExpression::new_bool(facts.items.locating)),
        ]);
        let context = Context::from_pairs([
            ("recipient_kind".to_owned(), word(&self.kinds, facts.recipient_kind)?),
            ("role".to_owned(), entity(&self.role, facts.role)),
            ("attended".to_owned(), RestrictedExpression::new_bool(facts.attended)),
            ("identifier".to_owned(), word(&self.identifiers, facts.identifier)?),
            ("list".to_owned(), RestrictedExpression::new_bool(facts.list)),
            ("london_hour".to_owned(), RestrictedExpression::new_long(i64::from(facts.london_hour))),
            ("override".to_owned(), word(&self.overrides, facts.override_)?),
            ("granted".to_owned(), RestrictedExpression::new_bool(facts.granted)),
            ("provider_kind".to_owned(), word(&self.kinds, facts.provider_kind)?),
            ("provider_organisation".to_owned(), entity(&self.organisation, facts.provider_organisation)),
            ("purpose".to_owned(), word(&self.purposes, facts.purpose)?),
            ("agreement".to_owned(), agreement.ok()?),
            ("items".to_owned(), items.ok()?),
            ("consent".to_owned(), word(&self.consents, facts.consent)?),
            ("restricted".to_owned(), word(&self.restrictions, facts.restricted)?),
            ("deceased".to_owned(), word(&self.deaths, facts.deceased)?),
            ("objection".to_owned(), word(&self.objections, facts.objection)?),
            ("consent_decides".to_owned(), RestrictedExpression::new_bool(facts.consent_decides)),
        ]);
        let principal = uid(&self.organisation, facts.recipient);
        let action = self.phases.iter().find(|(phase, _)| *phase == facts.phase)?.1.clone();
        let resource = uid(&self.provider, facts.provider);
        // Not checked against the schema on each request: a test does that for every value of every fact.
        Request::new(principal, action, resource, context.ok()?, None).ok()
    }
}

fn uid(of: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
}

fn entity(of: &EntityTypeName, name: &str) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid(of, name))
}

fn list<T: Copy, const N: usize>(
    of: &str,
    values: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<Vec<(T, RestrictedExpression)>, Box<ParseErrors>> {
    let of: EntityTypeName = of.parse()?;
    Ok(values.map(|value| (value, entity(&of, name(value)))).to_vec())
}

fn word<T: Copy + PartialEq>(list: &[(T, RestrictedExpression)], value: T) -> Option<RestrictedExpression> {
    list.iter().find(|(known, _)| *known == value).map(|(_, expression)| expression.clone())
}
