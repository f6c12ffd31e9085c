//! Entries as partners' questions leave them, of the organisations, record holders and agreements of the demonstration.

use ledger::entry::{Actor, AgreementRef, Body, Decided};

/// People, practitioners and cases that take turns.
const PEOPLE: u64 = 500_000;
const PRACTITIONERS: u64 = 500;
const CASES: u64 = 50_000;

const HOURS_KEPT: &str = "retain-28-days";

struct Asking {
    organisation: &'static str,
    system: &'static str,
    role: &'static str,
    provider: &'static str,
    purpose: &'static str,
    agreement: (&'static str, u32, &'static str),
    scheme: &'static str,
}

const ASKING: [Asking; 3] = [
    Asking {
        organisation: "gmca",
        system: "gmca-prevention",
        role: "prevention-officer",
        provider: "nhs-pds",
        purpose: "fire-prevention-targeting",
        agreement: ("gm-fire-prevention-over-65s", 2, "single-look-up"),
        scheme: "nhs-number",
    },
    Asking {
        organisation: "trafford-council",
        system: "trafford-asc",
        role: "social-worker",
        provider: "nhs-pds",
        purpose: "direct-care",
        agreement: ("trafford-asc-nhs-direct-care", 3, "nhs-to-council"),
        scheme: "nhs-number",
    },
    Asking {
        organisation: "gmca",
        system: "gmca-prevention",
        role: "prevention-officer",
        provider: "trafford-asc",
        purpose: "safe-and-well-referral",
        agreement: ("gm-safe-and-well-referral", 1, "referral"),
        scheme: "local:trafford-council",
    },
];

/// Endless, from this one on. Eight entries are two releases, a refusal, a question that ends without a release, and who read one.
pub fn bodies(from: u64) -> impl Iterator<Item = Body> {
    (from..).map(body)
}

fn body(number: u64) -> Body {
    let (round, place) = (number / 8, number % 8);
    match place {
        0 | 2 | 5 => intent(round, place),
        1 | 3 => release(round, place - 1),
        4 => refusal(round, place),
        6 => Body::Closure {
            decision_id: decision(round, 5),
            outcome: "not_released".to_owned(),
            reasons: vec!["no-consent".to_owned()],
            observed: Vec::new(),
            linked: vec![subject(round, 5)],
        },
        _ => Body::DecisionRead {
            of: decision(round, 0),
            what: "explanation".to_owned(),
            by: by(asking(round, 0), "IG-1"),
        },
    }
}

fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn decision(round: u64, place: u64) -> String {
    format!("dec_{:032x}", (u128::from(spread(round * 8 + place)) << 64) | u128::from(round * 8 + place))
}

fn subject(round: u64, place: u64) -> String {
    format!("sub_{:032x}", u128::from(spread(round * 8 + place) % PEOPLE))
}

/// Six of ten are the fire service's about the NHS's records, three the council's, one about the council's.
fn asking(round: u64, place: u64) -> &'static Asking {
    let [fire, council, referral] = &ASKING;
    match spread(round * 8 + place + 1) % 10 {
        0..6 => fire,
        6..9 => council,
        _ => referral,
    }
}

fn by(asking: &Asking, practitioner: &str) -> Actor {
    Actor {
        organisation: asking.organisation.to_owned(),
        service: None,
        system: asking.system.to_owned(),
        practitioner: Some(practitioner.to_owned()),
        role: Some(asking.role.to_owned()),
        unattended_owner: None,
        certificate_sha256: "c".repeat(64),
    }
}

fn permitted() -> Vec<String> {
    ["person.address:as-is", "person.birth_date:age-band", "person.gender:as-is"].map(str::to_owned).to_vec()
}

fn decided(round: u64, place: u64) -> Decided {
    let asking = asking(round, place);
    let (agreement, version, flow) = asking.agreement;
    let number = spread(round * 8 + place + 2);
    Decided {
        decision_id: decision(round, place),
        request_id: Some("0192f0c1-0000-7000-8000-000000000001".to_owned()),
        by: by(asking, &format!("P-{}", number % PRACTITIONERS)),
        provider: asking.provider.to_owned(),
        recipient: asking.organisation.to_owned(),
        purpose: asking.purpose.to_owned(),
        case_reference: format!("CASE-{}", number % CASES),
        subject: subject(round, place),
        identifier_scheme: asking.scheme.to_owned(),
        asked: Vec::new(),
        agreement: Some(AgreementRef {
            agreement: agreement.to_owned(),
            version,
            flow: flow.to_owned(),
            digest: "a".repeat(64),
        }),
        policy_revision: 1,
        permitted: permitted(),
        reasons: Vec::new(),
        trace: ["agreement-in-force=pass", "purpose-agreed=pass", "consent=n/a"].map(str::to_owned).to_vec(),
        consents: Vec::new(),
        context_sha256: "d".repeat(64),
        answer_only: false,
        grant: None,
        break_glass: None,
        guardrails: Vec::new(),
        list: None,
        within: Vec::new(),
    }
}

fn intent(round: u64, place: u64) -> Body {
    Body::Intent(Box::new(decided(round, place)))
}

fn release(round: u64, place: u64) -> Body {
    Body::Release {
        decision_id: decision(round, place),
        subjects: vec![subject(round, place)],
        items: permitted(),
        record_sha256: "e".repeat(64),
        obligations: vec![HOURS_KEPT.to_owned()],
        policy_revision: 1,
        consents: Vec::new(),
        observed: Vec::new(),
    }
}

fn refusal(round: u64, place: u64) -> Body {
    Body::Refusal(Box::new(Decided {
        agreement: None,
        permitted: Vec::new(),
        reasons: vec!["purpose-not-agreed".to_owned()],
        ..decided(round, place)
    }))
}
