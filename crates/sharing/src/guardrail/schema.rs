//! The Cedar schema, generated from the enums in Rust, so that a guardrail cannot name a purpose or a state that
//! does not exist.

use super::facts::{
    ConsentFact, DeathFact, IDENTIFIERS, KINDS, ObjectionFact, OverrideFact, Phase, RestrictionFact,
    kind_name,
};
use crate::purpose::PurposeClass;

const HEADER: &str = "\
// What a guardrail may look at. Generated from the gateway's own lists; do not edit.
// Every fact is there for every question: none is optional, and what is unknown says so.

// Named in the organisations, catalogue and agreements folders; a name that is not there is refused.
entity Agreement;
entity Item;
entity Organisation;
entity Provider;
entity Role;

// Closed lists; a name that is not in them is refused.
";

const FACTS: &str = "
type Facts = {
    // Who asks, and how.
    recipient_kind: Kind,
    role: Role,
    attended: Bool, // a person asks; otherwise a declared job
    identifier: Identifier, // how the person is named in the question
    list: Bool, // for a list of people, not for one
    london_hour: Long, // 0 to 23
    override: Override,
    granted: Bool, // a named person has granted this one-off disclosure

    // Whose record, for what, under which agreement.
    provider_kind: Kind,
    provider_organisation: Organisation,
    purpose: Purpose,
    consent_decides: Bool, // explicit consent decides this flow, whoever it is about
    agreement: {
        id: Agreement, // Agreement::\"none\" where there is none
        active: Bool,
        in_date: Bool,
        signed: Bool, // by both ends of the flow
        covers: Bool, // these items and this purpose, for this directed pair
    },
    items: {
        ids: Set<Item>, // agreed among those asked for, before anything is left out because of the person
        special: Bool,
        offence: Bool,
        confidential: Bool,
        locating: Bool, // PERSON: something that says where the person is would leave
    },

    // PERSON: what is known about the person. A guardrail about an agreement may not look at these.
    consent: Consent,
    restricted: Restriction,
    deceased: Deceased,
    objection: Objection,
};

";

/// Facts that depend on the person, as paths below `context`. A guardrail that reads one is about the person.
pub(super) const PERSON_FACTS: [&[&str]; 5] =
    [&["consent"], &["restricted"], &["deceased"], &["objection"], &["items", "locating"]];

/// The schema as Cedar text.
pub(super) fn text() -> String {
    let lists: [(&str, Vec<&str>); 8] = [
        ("Consent", ConsentFact::ALL.map(ConsentFact::as_str).to_vec()),
        ("Deceased", DeathFact::ALL.map(DeathFact::as_str).to_vec()),
        ("Identifier", IDENTIFIERS.to_vec()),
        ("Kind", KINDS.map(kind_name).to_vec()),
        ("Objection", ObjectionFact::ALL.map(ObjectionFact::as_str).to_vec()),
        ("Override", OverrideFact::ALL.map(OverrideFact::as_str).to_vec()),
        ("Purpose", PurposeClass::ALL.map(PurposeClass::as_str).to_vec()),
        ("Restriction", RestrictionFact::ALL.map(RestrictionFact::as_str).to_vec()),
    ];
    let mut text = HEADER.to_owned();
    for (name, values) in lists {
        let values: Vec<_> = values.into_iter().map(|value| format!("\"{value}\"")).collect();
        text.push_str(&format!("entity {name} enum [{}];\n", values.join(", ")));
    }
    text.push_str(FACTS);
    let phases: Vec<_> = Phase::ALL.iter().map(|phase| format!("\"{}\"", phase.as_str())).collect();
    text.push_str(
        "// \"disclose\": before the record holder is asked. \"release\": when the record has been read.\n",
    );
    text.push_str(&format!(
        "action {} appliesTo {{\n    principal: Organisation, // the recipient\n    resource: Provider, // the record holder\n    context: Facts,\n}};\n",
        phases.join(", ")
    ));
    text
}
