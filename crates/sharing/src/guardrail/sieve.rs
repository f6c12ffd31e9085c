//! Which guardrails certainly do not forbid, told without asking Cedar at each look.
//!
//! Most facts have few values. When guardrails are loaded, Cedar itself is asked what each part of a condition that
//! reads one such fact comes to, for every value of it. A look then reads the answers and joins them as Cedar does:
//! `&&` and `||` from left to right, stopping early. Whatever else a condition does, or whatever errs, stays open.
//!
//! A sieve can only clear. What it does not clear Cedar evaluates whole, so that nothing is ever forbidden by a sieve
//! and no error is ever hidden by one. A property test compares looks with Cedar's authorizer.

use cedar_policy_core::{
    ast::{Expr, ExprKind, Literal, SlotEnv, UnaryOp, Value, ValueKind, Var},
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};

use super::{
    context::Words,
    facts::{
        AgreementFact, ConsentFact, DeathFact, Facts, IDENTIFIERS, ItemFacts, KINDS, ObjectionFact,
        OverrideFact, Phase, RestrictionFact,
    },
};
use crate::{policy::OrganisationKind, purpose::PurposeClass};

/// A condition, as far as it is known beforehand.
#[derive(Debug)]
pub(super) enum Sieve {
    /// It reads this one fact alone.
    Fact {
        fact: &'static Fact,
        /// A bit for each value for which it is true.
        holds: u32,
        /// A bit for each value for which it does not err.
        known: u32,
    },
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// Cedar has to be asked.
    Open,
}

impl Sieve {
    /// Asks Cedar about every part of the condition.
    pub(super) fn new(condition: &Expr, words: &Words) -> Self {
        let both = |left: &Expr, right: &Expr| [left, right].map(|part| Box::new(Self::new(part, words)));
        if let Some(fact) = only_fact(condition) {
            return Self::of_fact(fact, condition, words);
        }
        match condition.expr_kind() {
            ExprKind::And { left, right } => {
                let [left, right] = both(left, right);
                Self::And(left, right)
            }
            ExprKind::Or { left, right } => {
                let [left, right] = both(left, right);
                Self::Or(left, right)
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => Self::Not(Box::new(Self::new(arg, words))),
            _ => Self::Open,
        }
    }

    fn of_fact(fact: &'static Fact, condition: &Expr, words: &Words) -> Self {
        let (entities, slots) = (Entities::new(), SlotEnv::new());
        let (mut holds, mut known) = (0, 0);
        for value in 0..fact.values.count().min(32) {
            let mut facts = ANY;
            fact.values.put(&mut facts, value);
            let Some(request) = words.request(&facts) else { continue };
            let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
            let found = evaluator.interpret(condition, &slots);
            if let Ok(ValueKind::Lit(Literal::Bool(found))) = found.as_ref().map(Value::value_kind) {
                known |= 1 << value;
                holds |= u32::from(*found) << value;
            }
        }
        Self::Fact { fact, holds, known }
    }

    /// What the condition comes to; `None` where Cedar has to be asked.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Fact { fact, holds, known } => {
                let bit = 1_u32.checked_shl(fact.values.of(facts)?)?;
                (known & bit != 0).then_some(holds & bit != 0)
            }
            Self::Not(part) => part.holds(facts).map(|holds| !holds),
            Self::And(left, right) => {
                if left.holds(facts)? {
                    right.holds(facts)
                } else {
                    Some(false)
                }
            }
            Self::Or(left, right) => {
                if left.holds(facts)? {
                    Some(true)
                } else {
                    right.holds(facts)
                }
            }
            Self::Open => None,
        }
    }
}

/// The one fact of few values that the expression reads, if it reads nothing else.
fn only_fact(expression: &Expr) -> Option<&'static Fact> {
    let variables = expression.subexpressions().filter(|part| matches!(part.expr_kind(), ExprKind::Var(_)));
    let mut facts = expression.subexpressions().filter_map(fact);
    let first = facts.next()?;
    let others: Vec<_> = facts.collect();
    // Each fact is read through one variable: one more variable is something else that is read.
    let nothing_else = variables.count() == others.len() + 1;
    (nothing_else && others.iter().all(|other| other.path == first.path)).then_some(first)
}

/// The fact of few values that just this expression is.
fn fact(expression: &Expr) -> Option<&'static Fact> {
    let path: &[&str] = match expression.expr_kind() {
        ExprKind::Var(Var::Action) => &["action"],
        ExprKind::GetAttr { expr, attr } => match expr.expr_kind() {
            ExprKind::Var(Var::Context) => &[attr],
            ExprKind::GetAttr { expr, attr: record } if is_context(expr) => &[record, attr],
            _ => return None,
        },
        _ => return None,
    };
    // `context.action` would not be the action; there is no such fact, and the schema refuses it.
    FACTS.iter().find(|fact| fact.path == path)
}

fn is_context(expression: &Expr) -> bool {
    matches!(expression.expr_kind(), ExprKind::Var(Var::Context))
}

/// A fact that has few values.
#[derive(Debug)]
pub(super) struct Fact {
    /// Below `context`, except for the action.
    path: &'static [&'static str],
    values: Values,
}

/// The values of a fact. Numbers are places in its list; for a yes or no, 0 and 1.
#[derive(Debug)]
enum Values {
    Flag(fn(&Facts<'_>) -> bool, fn(&mut Facts<'_>, bool)),
    List(usize, fn(&Facts<'_>) -> Option<usize>, fn(&mut Facts<'_>, usize)),
}

impl Values {
    fn count(&self) -> usize {
        match self {
            Self::Flag(..) => 2,
            Self::List(count, ..) => *count,
        }
    }

    fn of(&self, facts: &Facts<'_>) -> Option<u32> {
        match self {
            Self::Flag(of, _) => Some(u32::from(of(facts))),
            Self::List(_, of, _) => of(facts).and_then(|value| u32::try_from(value).ok()),
        }
    }

    fn put(&self, facts: &mut Facts<'_>, value: usize) {
        match self {
            Self::Flag(_, put) => put(facts, value == 1),
            Self::List(_, _, put) => put(facts, value),
        }
    }
}

fn place<T: PartialEq>(list: &[T], value: &T) -> Option<usize> {
    list.iter().position(|known| known == value)
}

fn put<T: Copy>(list: &[T], place: usize, to: &mut T) {
    if let Some(value) = list.get(place) {
        *to = *value;
    }
}

const fn flag(
    path: &'static [&'static str],
    of: fn(&Facts<'_>) -> bool,
    put: fn(&mut Facts<'_>, bool),
) -> Fact {
    Fact { path, values: Values::Flag(of, put) }
}

const fn list(
    path: &'static [&'static str],
    count: usize,
    of: fn(&Facts<'_>) -> Option<usize>,
    put: fn(&mut Facts<'_>, usize),
) -> Fact {
    Fact { path, values: Values::List(count, of, put) }
}

/// Every fact but those whose values are the operator's names. One that is missing here is only slower.
#[rustfmt::skip]
static FACTS: [Fact; 23] = [
    list(&["action"], Phase::ALL.len(), |f| place(&Phase::ALL, &f.phase), |f, v| put(&Phase::ALL, v, &mut f.phase)),
    list(&["recipient_kind"], KINDS.len(), |f| place(&KINDS, &f.recipient_kind), |f, v| put(&KINDS, v, &mut f.recipient_kind)),
    list(&["provider_kind"], KINDS.len(), |f| place(&KINDS, &f.provider_kind), |f, v| put(&KINDS, v, &mut f.provider_kind)),
    list(&["purpose"], PurposeClass::ALL.len(), |f| place(&PurposeClass::ALL, &f.purpose), |f, v| put(&PurposeClass::ALL, v, &mut f.purpose)),
    list(&["identifier"], IDENTIFIERS.len(), |f| place(&IDENTIFIERS, &f.identifier), |f, v| put(&IDENTIFIERS, v, &mut f.identifier)),
    list(&["consent"], ConsentFact::ALL.len(), |f| place(&ConsentFact::ALL, &f.consent), |f, v| put(&ConsentFact::ALL, v, &mut f.consent)),
    list(&["restricted"], RestrictionFact::ALL.len(), |f| place(&RestrictionFact::ALL, &f.restricted), |f, v| put(&RestrictionFact::ALL, v, &mut f.restricted)),
    list(&["deceased"], DeathFact::ALL.len(), |f| place(&DeathFact::ALL, &f.deceased), |f, v| put(&DeathFact::ALL, v, &mut f.deceased)),
    list(&["objection"], ObjectionFact::ALL.len(), |f| place(&ObjectionFact::ALL, &f.objection), |f, v| put(&ObjectionFact::ALL, v, &mut f.objection)),
    list(&["override"], OverrideFact::ALL.len(), |f| place(&OverrideFact::ALL, &f.override_), |f, v| put(&OverrideFact::ALL, v, &mut f.override_)),
    flag(&["attended"], |f| f.attended, |f, v| f.attended = v),
    flag(&["granted"], |f| f.granted, |f, v| f.granted = v),
    flag(&["list"], |f| f.list, |f, v| f.list = v),
    flag(&["consent_decides"], |f| f.consent_decides, |f, v| f.consent_decides = v),
    flag(&["agreement", "active"], |f| f.agreement.active, |f, v| f.agreement.active = v),
    flag(&["agreement", "in_date"], |f| f.agreement.in_date, |f, v| f.agreement.in_date = v),
    flag(&["agreement", "signed"], |f| f.agreement.signed, |f, v| f.agreement.signed = v),
    flag(&["agreement", "covers"], |f| f.agreement.covers_items_and_purpose, |f, v| f.agreement.covers_items_and_purpose = v),
    list(&["london_hour"], 24, |f| Some(usize::from(f.london_hour)), |f, v| f.london_hour = u8::try_from(v).unwrap_or(0)),
    flag(&["items", "confidential"], |f| f.items.confidential, |f, v| f.items.confidential = v),
    flag(&["items", "special"], |f| f.items.special, |f, v| f.items.special = v),
    flag(&["items", "offence"], |f| f.items.offence, |f, v| f.items.offence = v),
    flag(&["items", "locating"], |f| f.items.locating, |f, v| f.items.locating = v),
];

/// What the facts are that a part does not read.
const ANY: Facts<'static> = Facts {
    phase: Phase::Disclose,
    recipient: "none",
    recipient_kind: OrganisationKind::Council,
    role: "unattended",
    attended: false,
    provider: "none",
    provider_organisation: "none",
    provider_kind: OrganisationKind::Council,
    purpose: PurposeClass::DirectCare,
    identifier: "local",
    items: ItemFacts {
        ids: Vec::new(),
        special: false,
        offence: false,
        confidential: false,
        locating: false,
    },
    agreement: AgreementFact::NONE,
    consent: ConsentFact::NotAsked,
    consent_decides: false,
    restricted: RestrictionFact::Unknown,
    deceased: DeathFact::Unknown,
    objection: ObjectionFact::None,
    override_: OverrideFact::None,
    granted: false,
    list: false,
    london_hour: 0,
};
