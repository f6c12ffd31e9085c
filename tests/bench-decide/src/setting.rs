//! What every contestant is asked: the policies, as files, the questions, and the people.

use std::fmt::Write as _;

use jiff::Timestamp;
use sharing::{
    AgreementId, ConsentId, PolicySet, PurposeClass, Question, SubjectIdentifier, SubjectScheme,
    SubjectState,
    decide::Asked,
    policy::PolicyFile,
    subject::{ConsentRecord, ConsentStatus, ConsentType},
};

use crate::QUESTIONS;

/// Agreements in force.
pub const AGREEMENTS: usize = 1_000;
/// Record holders; each has 25 agreements.
pub const HOLDERS: usize = 40;
/// Consents held about each person.
pub const CONSENTS: usize = 20;
/// Items in a record holder's catalogue.
pub const ITEMS: usize = 24;
/// Items that an agreement lists: the first ones.
pub const AGREED: usize = 12;
/// The role of whoever asks.
pub const ROLE: &str = "prevention-officer";
const NOW: &str = "2026-11-23T12:00:00Z";

/// How a question ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// It may be told.
    Permit,
    /// The person took the consent back.
    NoConsent,
    /// No agreement covers the purpose.
    NoAgreement,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 3] = [Self::Permit, Self::NoConsent, Self::NoAgreement];

    /// The case in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::NoConsent => "deny: consent ended",
            Self::NoAgreement => "deny: no agreement",
        }
    }
}

/// One agreement's place in the generated set.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The record holder's number.
    pub holder: usize,
    /// The asking organisation's number.
    pub asker: usize,
}

impl Pair {
    /// The pair of the agreement with this number.
    pub fn of(agreement: usize) -> Self {
        Self { holder: agreement % HOLDERS, asker: agreement / HOLDERS }
    }

    /// The pair that a question is about: spread over the agreements.
    pub fn asked(question: usize) -> Self {
        Self::of(question * 157 % AGREEMENTS)
    }

    /// The record holder's name.
    pub fn holder(self) -> String {
        format!("holder-{}", self.holder)
    }

    /// The name of the organisation behind the record holder.
    pub fn controller(self) -> String {
        format!("council-{}", self.holder)
    }

    /// The asking organisation's name.
    pub fn asker(self) -> String {
        format!("asker-{}", self.asker)
    }
}

/// The purpose that is agreed, and the one that is not.
pub fn purpose(case: Case) -> PurposeClass {
    match case {
        Case::Permit | Case::NoConsent => PurposeClass::SafeAndWellReferral,
        Case::NoAgreement => PurposeClass::FirePreventionTargeting,
    }
}

/// Everything that is asked.
pub struct Setting {
    /// The policies, loaded.
    pub policies: PolicySet,
    /// The same with the project's own guardrails, and the record holders that these name.
    pub guarded: PolicySet,
    /// When.
    pub at: Timestamp,
    agreed: Vec<Question>,
    not_agreed: Vec<Question>,
    consenting: Vec<SubjectState>,
    withdrawn: Vec<SubjectState>,
}

impl Setting {
    /// Makes the files and loads them.
    pub fn new() -> Self {
        let policies = PolicySet::load(&files()).expect("the generated policies are in order");
        assert_eq!(policies.agreements().count(), AGREEMENTS);
        let guarded = [files(), shipped()].concat();
        let guarded = PolicySet::load(&guarded).expect("the generated policies fit the guardrails");
        assert!(guarded.guardrails().len() >= 12);
        let numbers = || 0..QUESTIONS;
        Self {
            policies,
            guarded,
            at: NOW.parse().expect("a time"),
            agreed: numbers().map(|number| question(number, Case::Permit)).collect(),
            not_agreed: numbers().map(|number| question(number, Case::NoAgreement)).collect(),
            consenting: numbers().map(|number| subject(number, ConsentStatus::Given)).collect(),
            withdrawn: numbers().map(|number| subject(number, ConsentStatus::Withdrawn)).collect(),
        }
    }

    /// A question, and what is held about its person.
    pub fn asked(&self, number: usize, case: Case) -> (&Question, &SubjectState) {
        match case {
            Case::Permit => (&self.agreed[number], &self.consenting[number]),
            Case::NoConsent => (&self.agreed[number], &self.withdrawn[number]),
            Case::NoAgreement => (&self.not_agreed[number], &self.consenting[number]),
        }
    }
}

/// The items asked for: four that are agreed and one that is not.
pub fn items_asked() -> [usize; 5] {
    [0, 3, 5, 11, AGREED + 1]
}

/// An item's name.
pub fn item(number: usize) -> String {
    format!("record.item_{number}")
}

fn question(number: usize, case: Case) -> Question {
    let pair = Pair::asked(number);
    Question {
        recipient: pair.asker().parse().expect("a name"),
        role: ROLE.to_owned(),
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: pair.holder().parse().expect("a name"),
        purpose: purpose(case),
        subject: SubjectIdentifier::parse(SubjectScheme::NhsNumber, "9732110317").expect("a number"),
        asked: Asked::Items(items_asked().into_iter().map(|id| item(id).parse().expect("a name")).collect()),
        list_people: None,
        agreements: None::<Vec<AgreementId>>,
    }
}

/// Twenty consents, of which the fourteenth concerns the question.
fn subject(number: usize, status: ConsentStatus) -> SubjectState {
    let pair = Pair::asked(number);
    let consents = (0..CONSENTS).map(|position| {
        let concerns = position == 13;
        let holder = if concerns { pair.holder } else { (pair.holder + 1 + position) % HOLDERS };
        let controller = Pair { holder, ..pair }.controller();
        let recipients = [pair, Pair { asker: pair.asker + 1, ..pair }].map(Pair::asker);
        ConsentRecord {
            id: ConsentId::from_random(u128::try_from(number * CONSENTS + position).unwrap_or_default()),
            consent_type: if position % 5 == 4 {
                ConsentType::Preference
            } else {
                ConsentType::ConfidentialityConsent
            },
            status: if concerns { status } else { ConsentStatus::Given },
            controller: controller.parse().expect("a name"),
            recipients: recipients.into_iter().map(|id| id.parse().expect("a name")).collect(),
            purposes: vec![PurposeClass::SafeAndWellReferral, PurposeClass::FireReturnReferral],
            recorded_at: "2026-10-12T10:00:00Z".parse().expect("a time"),
            given_at: "2026-10-12T10:00:00Z".parse().expect("a time"),
            given_by: sharing::subject::GivenBy::Person,
            expires_at: None,
            ended_at: None,
            shown: None,
        }
    });
    SubjectState { consents: consents.collect(), ..SubjectState::default() }
}

fn files() -> Vec<PolicyFile> {
    let mut files = Vec::new();
    let mut add = |path: String, text: String| files.push(PolicyFile { path, text });
    for asker in 0..=AGREEMENTS / HOLDERS {
        add(format!("organisations/asker-{asker}.toml"), organisation(&format!("asker-{asker}")));
    }
    for holder in 0..HOLDERS {
        let pair = Pair { holder, asker: 0 };
        add(format!("organisations/{}.toml", pair.controller()), organisation(&pair.controller()));
        add(format!("catalogue/{}.toml", pair.holder()), provider(pair));
    }
    for number in 0..AGREEMENTS {
        add(format!("agreements/agreement-{number}.toml"), agreement(number));
    }
    files
}

/// The project's guardrails, and what they name.
fn shipped() -> Vec<PolicyFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for folder in ["catalogue", "guardrails", "organisations"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the project's policies") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("a text");
            files.push(PolicyFile { path: format!("{folder}/{name}"), text });
        }
    }
    files
}

fn organisation(id: &str) -> String {
    format!(
        "id = \"{id}\"\nname = \"{id}\"\nkind = \"council\"\n\
         purposes = [\"safe-and-well-referral\", \"fire-prevention-targeting\", \"direct-care\"]\n\
         contact = \"ig@{id}.example.org\"\n"
    )
}

fn provider(pair: Pair) -> String {
    let mut text = format!(
        r#"
[provider]
id = "{}"
organisation = "{}"
name = "A record holder"
base_url = "https://127.0.0.1:1"
protocol = "json"
media_types = ["application/json"]
rectification_contact = "records@example.org"

[[lookups]]
scheme = "nhs-number"
method = "POST"
path = "/lookups"
body_member = "nhs_number"
decoy = "9990000166"

[subject]
identifiers = [{{ scheme = "nhs-number", select = "nhs_number" }}]
"#,
        pair.holder(),
        pair.controller()
    );
    for number in 0..ITEMS {
        let confidential = number % 3 == 0;
        let _ = write!(
            text,
            r#"
[[items]]
id = "{}"
title = "An item"
category = "ordinary"
confidential = {confidential}
locating = {}
select = "item_{number}"
forms = ["as-is"]
"#,
            item(number),
            number == 3,
        );
    }
    text
}

fn agreement(number: usize) -> String {
    let pair = Pair::of(number);
    let mut text = format!(
        r#"
id = "agreement-{number}"
version = 1
title = "An agreement"
framework = "An accord"
status = "active"
effective_on = "2026-04-01"
ends_on = "2028-04-01"
review_on = "2027-04-01"
owner = "Somebody"
breach_contact = "breach@example.org"

[dpia]
reference = "DPIA-{number}"
outcome = "accepted"
completed_on = "2026-02-12"
current_until = "2028-02-12"

[[parties]]
organisation = "{controller}"
controller = "separate"
signatures = [
    {{ role = "caldicott-guardian", name = "A", signed_on = "2026-03-18" }},
    {{ role = "siro", name = "B", signed_on = "2026-03-20" }},
]

[[parties]]
organisation = "{asker}"
controller = "separate"
signatures = [{{ role = "siro", name = "C", signed_on = "2026-03-25" }}]

[[flows]]
id = "referral"
provider = "{holder}"
recipient = "{asker}"
purpose = "safe-and-well-referral"
identifiers = ["nhs-number"]
roles = ["{ROLE}", "unattended"]
confidentiality = {{ basis = "explicit-consent" }}

[flows.provider_basis]
article_6 = "6(1)(e)"

[flows.recipient_basis]
article_6 = "6(1)(e)"

[flows.obligations]
retain_days = 180
onward_sharing = false
"#,
        controller = pair.controller(),
        asker = pair.asker(),
        holder = pair.holder(),
    );
    for item in (0..AGREED).map(item) {
        let _ = write!(
            text,
            "\n[[flows.items]]\nitem = \"{item}\"\nform = \"as-is\"\njustification = \"It is needed.\"\n"
        );
    }
    text
}
