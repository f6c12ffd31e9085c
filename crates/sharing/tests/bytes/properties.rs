//! Properties of this crate as functions of bytes. They panic where a property does not hold.
//!
//! Bytes are read as instructions, so that most inputs get past the parsers: edits of the project's own policies,
//! choices that make up a question and a person, edits of a sample record. Reading beyond the end gives zeros.

use std::{cell::RefCell, path::PathBuf, sync::LazyLock};

use jiff::Timestamp;
use sharing::{
    ConsentId, ObjectionId, PolicySet, PurposeClass, Question, SubjectIdentifier, SubjectState, Writing,
    cases,
    decide::{Asked, Decision, PermittedItem, decide, decide_with_facts},
    json::{self, Limits},
    minimise::Familiar,
    policy::PolicyFile,
    restriction::Marking,
    subject::{ConsentRecord, ConsentStatus, ConsentType, Objection, ObjectionStatus, RecordFacts},
};

#[path = "documents.rs"]
mod documents;
#[path = "reference.rs"]
mod reference;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// Every property, by the name of its fuzz target.
pub const ALL: [(&str, Property); 4] =
    [("policies", policies), ("questions", questions), ("records", records), ("places", places)];

/// Policies, however broken, load or are refused with every problem's file and line; nothing panics on what loads.
pub fn policies(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut files = FILES.clone();
    for _ in 0..8 {
        if bytes.0.is_empty() || files.is_empty() {
            break;
        }
        edit_files(&mut files, &mut bytes);
    }
    match PolicySet::load(&files) {
        Ok(set) => {
            assert!(!cases::matrix(&set, any_time(&mut bytes)).is_empty());
            for _ in 0..4 {
                let (question, subject, facts) = any_question(&mut bytes);
                check_decision(&question, &set, &subject, &facts, any_time(&mut bytes));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            for problem in &problems {
                let lines = |file: &PolicyFile| file.text.matches('\n').count() + 1;
                let is_in = |file: &PolicyFile| file.path == problem.path && problem.line <= lines(file);
                let names_line = problem.line > 0 && files.iter().any(is_in);
                assert!(names_line || (problem.path == "." && problem.line == 0), "{problem}");
                assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
            }
        }
    }
    if bytes.one() % 8 == 7 {
        let _ = cases::run(&files); // loads them again, for each case
    }
}

/// Any question about anybody at any time is decided, and a permit is within what was asked and what is agreed.
pub fn questions(data: &[u8]) {
    let mut bytes = Bytes(data);
    let at = any_time(&mut bytes);
    let (question, subject, facts) = any_question(&mut bytes);
    check_decision(&question, &POLICIES, &subject, &facts, at);
}

/// A record, however hostile, is refused or cut down to what is permitted; a selector finds or does not.
pub fn records(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (question, sample) = [
        ("gmca", "prevention-officer", "nhs-pds", PurposeClass::FirePreventionTargeting, NHS_RECORD.as_str()),
        ("trafford-council", "social-worker", "nhs-pds", PurposeClass::DirectCare, NHS_RECORD.as_str()),
        ("nhs-england", "clinician", "trafford-asc", PurposeClass::DirectCare, COUNCIL_RECORD),
    ]
    .map(|(recipient, role, provider, purpose, sample)| {
        let question = asked((recipient, role), provider, purpose);
        (question, sample)
    })[bytes.below(3)]
    .clone();
    let _ = bytes.text();
    let body = if bytes.one() % 4 == 0 { bytes.0.to_vec() } else { edited(sample, &mut bytes).into_bytes() };
    check_document(&body);
    let marking =
        bytes.any().then(|| bytes.pick(&[Marking::Clear, Marking::Restricted, Marking::Unconfirmed]));
    check_cutting(&POLICIES, &question, &body, marking);
}

/// A question for everything agreed, of one about whom there are records.
fn asked((recipient, role): (&str, &str), provider: &str, purpose: PurposeClass) -> Question {
    Question {
        recipient: recipient.parse().unwrap(),
        role: role.to_owned(),
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: provider.parse().unwrap(),
        purpose,
        subject: person("nhs-number", "9732110317"),
        asked: Asked::AllAgreed,
        list_people: None,
        agreements: None,
    }
}

/// A council's record in which this stands for a value that no item is of, and this for one that leaves: read, refused and cut down as
/// the reference does it. Whether it could be read.
pub fn holding(value: &str, name: &str) -> bool {
    let question = asked(("nhs-england", "clinician"), "trafford-asc", PurposeClass::DirectCare);
    let body = COUNCIL_RECORD.replacen("\"left behind\"", value, 1).replacen("\"Sanderson\"", name, 1);
    check_document(body.as_bytes());
    check_cutting(&POLICIES, &question, body.as_bytes(), None);
    json::parse(body.as_bytes(), &Limits::default()).is_ok()
}

/// Any places in any document are found as the reference finds them, and what leaves is the same to the byte.
pub fn places(data: &[u8]) {
    let mut bytes = Bytes(data);
    let fhir = bytes.any();
    let organisations = FILES.iter().filter(|file| file.path.starts_with("organisations/"));
    let mut set: Vec<_> = organisations.cloned().collect();
    set.push(PolicyFile {
        path: "catalogue/any.toml".to_owned(),
        text: documents::any_catalogue(fhir, &mut bytes),
    });
    set.push(PolicyFile { path: "agreements/any.toml".to_owned(), text: documents::any_agreement() });
    let set = PolicySet::load(&set).unwrap();
    let question = asked(("trafford-council", "social-worker"), "any", PurposeClass::DirectCare);
    for _ in 0..8 {
        let mut body = documents::any_document(fhir, &mut bytes).into_bytes();
        if bytes.one() % 8 == 7 {
            let place = bytes.two() % body.len();
            body[place] = bytes.pick(br#""\{}[]:,u0 x"#);
        }
        check_document(&body);
        check_cutting(&set, &question, &body, None);
        if bytes.0.is_empty() {
            break;
        }
    }
}

/// The record is read, refused and cut down just as the reference does it, and nothing leaves but what is permitted.
fn check_cutting(set: &PolicySet, question: &Question, body: &[u8], marking: Option<Marking>) {
    let (state, at) = (SubjectState::default(), NOW.parse().unwrap());
    let Decision::Permit(permit) = decide(question, set, &state, at) else { panic!("a permit") };
    let provider = set.provider(&question.provider).unwrap();
    let simply = reference::examine(provider, &question.subject, body);
    let (examined, simply) = match (permit.examine(provider, body), simply) {
        (Ok(examined), Ok(simply)) => (examined, simply),
        (ours, simply) => {
            assert_eq!(ours.err(), simply.err(), "refused alike");
            return;
        }
    };
    assert_eq!(*examined.facts(), simply.facts);
    assert!(simply.facts.identifiers.contains(&question.subject), "about the person asked for");
    let seen: RefCell<Vec<(Familiar, String)>> = RefCell::default();
    examined.resembles(provider, |which, text| {
        seen.borrow_mut().push((which, text.to_owned()));
        false
    });
    assert_eq!(seen.into_inner(), reference::familiar(provider, &simply));
    let examined = match (permit.restriction_check(provider, set, &examined), marking) {
        (Some(check), Some(marking)) => examined.checked(&check, marking),
        _ => examined,
    };
    let Ok(confirmed) = permit.confirm(question, set, &state, &examined, at) else { return };
    let record = confirmed.minimise(provider, &examined, at, Writing::Patient);
    let simply = reference::minimise(&confirmed, provider, &simply, at);
    assert_eq!(record.as_json(), simply.text);
    assert_eq!(record.as_fhir_patient(), simply.patient.as_deref());
    assert_eq!(record.items().cloned().collect::<Vec<_>>(), simply.items);
    assert_eq!(record.absent(), simply.absent);
    assert!(record.items().all(|item| permit.items().contains(item)), "within the permit");
    assert_eq!(record.digest("salt").len(), 64);
    for out in [Some(record.as_json()), record.as_fhir_patient()].into_iter().flatten() {
        let read = json::parse(out.as_bytes(), &LIMITS).map(|read| read.to_text());
        assert_eq!(read.as_deref(), Ok(out), "what leaves can be read");
    }
}

/// Text that was read once is read again as the same.
fn check_document(body: &[u8]) {
    let Ok(document) = json::parse(body, &Limits::default()) else { return };
    assert_eq!(json::parse(document.to_text().as_bytes(), &LIMITS).as_ref(), Ok(&document));
}

fn check_decision(
    question: &Question,
    set: &PolicySet,
    subject: &SubjectState,
    facts: &RecordFacts,
    at: Timestamp,
) {
    let items = |decision: &Decision| match decision {
        Decision::Permit(permit) => permit.items().to_vec(),
        Decision::Deny(denial) => {
            assert!(!denial.reasons.is_empty(), "a refusal says why");
            Vec::new()
        }
        Decision::Refer(_) => Vec::new(),
    };
    let before = items(&decide(question, set, subject, at));
    let after = items(&decide_with_facts(question, set, subject, facts, at));
    assert!(after.iter().all(|item| before.contains(item)), "a record never widens a permit");
    let flows = set.flows(&question.provider, &question.recipient, question.purpose);
    let agreed = |permitted: &PermittedItem| {
        let mut listed = flows.iter().flat_map(|(_, flow)| &flow.items);
        listed.any(|listed| *listed.item.get_ref() == permitted.item && listed.form == permitted.form)
    };
    let asked = |permitted: &PermittedItem| match &question.asked {
        Asked::AllAgreed => true,
        Asked::Items(asked) => asked.contains(&permitted.item),
    };
    assert!(before.iter().all(|item| asked(item) && agreed(item)), "permitted is within asked and agreed");
    if subject.restricted {
        let provider = set.provider(&question.provider);
        let locating = |permitted: &PermittedItem| {
            provider.and_then(|provider| provider.item(&permitted.item)).is_none_or(|item| item.locating)
        };
        assert!(!before.iter().any(locating), "a restricted record's place is never told");
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn one(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn two(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.one(), self.one()]))
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.one()) % end
    }

    fn any(&mut self) -> bool {
        self.one() % 2 == 1
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// A length, and as many bytes as text.
    fn text(&mut self) -> String {
        let length = usize::from(self.one()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

fn edit_files(files: &mut Vec<PolicyFile>, bytes: &mut Bytes<'_>) {
    let place = bytes.below(files.len());
    match bytes.one() % 16 {
        0 => drop(files.remove(place)),
        1 => {
            let copy =
                PolicyFile { path: files[place].path.replacen('/', "/copy-", 1), ..files[place].clone() };
            files.push(copy);
        }
        2 => files[place].text = bytes.text(),
        _ => files[place].text = edited(&files[place].text, bytes),
    }
}

/// Changes one place of a text: a line is left out, doubled or given another value, or something is put in.
fn edited(text: &str, bytes: &mut Bytes<'_>) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let count = lines.len();
    let place = bytes.two() % count;
    match bytes.one() % 5 {
        0 => drop(lines.remove(place)),
        1 => lines.insert(place, lines[place].clone()),
        2 => lines.swap(place, (place + 1) % count),
        3 => {
            let separator = if lines[place].contains(" = ") { " = " } else { ": " };
            let name = lines[place].split(separator).next().unwrap_or("").to_owned();
            lines[place] = format!("{name}{separator}{}", token(bytes));
        }
        _ => {
            let line = &mut lines[place];
            let mut offset = bytes.below(line.len() + 1);
            while !line.is_char_boundary(offset) {
                offset -= 1;
            }
            line.insert_str(offset, &token(bytes));
        }
    }
    lines.join("\n")
}

/// Something that may upset a reader, or any text.
fn token(bytes: &mut Bytes<'_>) -> String {
    const TOKENS: [&str; 40] = [
        "\"\"",
        "\"",
        "''",
        "'''",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        "[[",
        "[[flows]]",
        "[[flows.items]]",
        "=",
        ",",
        "#",
        "\0",
        "\r",
        "\u{feff}",
        "\u{202e}",
        "\\ud800",
        "\"\\u0000\"",
        "true",
        "false",
        "null",
        "nan",
        "-1",
        "0",
        "65535",
        "65536",
        "18446744073709551616",
        "1e400",
        "-9999-01-01",
        "0001-01-01",
        "9999-12-31",
        "2026-02-30",
        "\"gmca\"",
        "\"nhs-pds\"",
        "\"direct-care\"",
        "{ age_from_years = -32768 }",
        "\"person.address\"",
    ];
    match bytes.below(TOKENS.len() + 1) {
        position if position < TOKENS.len() => TOKENS[position].to_owned(),
        _ => bytes.text(),
    }
}

fn any_time(bytes: &mut Bytes<'_>) -> Timestamp {
    let near: Timestamp = NOW.parse().unwrap();
    match bytes.one() % 8 {
        0..=4 => near,
        5 => Timestamp::MIN,
        6 => Timestamp::MAX,
        _ => {
            let days = i64::try_from(bytes.two()).unwrap_or(0) - 32_768;
            near.checked_add(jiff::SignedDuration::from_hours(days * 24)).unwrap_or(near)
        }
    }
}

fn any_question(bytes: &mut Bytes<'_>) -> (Question, SubjectState, RecordFacts) {
    // Weighted towards questions that an agreement covers.
    let covered = [
        ("gmca", "prevention-officer", "nhs-pds", PurposeClass::FirePreventionTargeting),
        ("gmca", "prevention-officer", "trafford-asc", PurposeClass::SafeAndWellReferral),
        ("trafford-council", "social-worker", "nhs-pds", PurposeClass::DirectCare),
        ("nhs-england", "clinician", "trafford-asc", PurposeClass::DirectCare),
        ("trafford-council", "social-worker", "gmfrs-prevention", PurposeClass::FireReturnReferral),
    ];
    let (mut recipient, mut role, mut provider, mut purpose) = bytes.pick(&covered);
    if bytes.one() % 4 == 3 {
        recipient = bytes.pick(&ORGANISATIONS);
        provider = bytes.pick(&["nhs-pds", "trafford-asc", "gmfrs-prevention", "nobody"]);
        purpose = bytes.pick(&PurposeClass::ALL);
        role = bytes.pick(&["clinician", "unattended", "", "clerk"]);
    }
    let subject = match bytes.one() % 4 {
        0 | 1 => person("nhs-number", "9732110317"),
        2 => person("local:trafford-council", "SWR-1"),
        _ => person("local:nobody", "-"),
    };
    let all: Vec<_> = POLICIES.providers().flat_map(|provider| &provider.items).collect();
    let asked = if bytes.any() {
        let items = (0..bytes.below(12)).map(|_| match bytes.below(all.len() + 1) {
            position if position < all.len() => all[position].id.get_ref().clone(),
            _ => "no.such_item".parse().unwrap(),
        });
        Asked::Items(items.collect())
    } else {
        Asked::AllAgreed
    };
    let limited = bytes.one() % 8 == 7;
    let agreements = limited.then(|| POLICIES.agreements().take(1).map(|one| one.id().clone()).collect());
    let question = Question {
        recipient: recipient.parse().unwrap(),
        role: role.to_owned(),
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: provider.parse().unwrap(),
        purpose,
        subject,
        asked,
        list_people: None,
        agreements,
    };
    let state = SubjectState {
        consents: (0..bytes.below(6)).map(|_| any_consent(bytes, &question)).collect(),
        objections: (0..bytes.one() / 128).map(|_| any_objection(bytes)).collect(),
        restricted: bytes.one() % 4 == 3,
        deceased: bytes.one() % 4 == 3,
        ..SubjectState::default()
    };
    let births = ["1940-01-01", "2010-10-22", "9999-12-31", "-009999-01-01", "2024-02-29"];
    let facts = RecordFacts {
        identifiers: Vec::new(),
        restricted: bytes.one() % 4 == 3,
        unconfirmed: bytes.one() % 8 == 7,
        deceased: bytes.one() % 4 == 3,
        birth_date: bytes.any().then(|| bytes.pick(&births).parse().unwrap()),
        source_time: None,
    };
    (question, state, facts)
}

fn any_consent(bytes: &mut Bytes<'_>, question: &Question) -> ConsentRecord {
    let types = [
        ConsentType::ConfidentialityConsent,
        ConsentType::GdprConsent,
        ConsentType::ConsentToService,
        ConsentType::Preference,
    ];
    let states = [
        ConsentStatus::Given,
        ConsentStatus::Renewed,
        ConsentStatus::Withdrawn,
        ConsentStatus::Refused,
        ConsentStatus::Expired,
        ConsentStatus::Unknown,
    ];
    ConsentRecord {
        id: ConsentId::from_random(u128::from(bytes.one())),
        consent_type: bytes.pick(&types),
        status: bytes.pick(&states),
        controller: bytes.pick(&ORGANISATIONS).parse().unwrap(),
        recipients: vec![question.recipient.clone()],
        purposes: vec![question.purpose],
        recorded_at: any_time(bytes),
        given_at: any_time(bytes),
        given_by: sharing::subject::GivenBy::Person,
        expires_at: bytes.any().then(|| any_time(bytes)),
        ended_at: None,
        shown: None,
    }
}

fn any_objection(bytes: &mut Bytes<'_>) -> Objection {
    let states = [
        ObjectionStatus::Received,
        ObjectionStatus::Upheld,
        ObjectionStatus::Refused,
        ObjectionStatus::Withdrawn,
    ];
    Objection {
        id: ObjectionId::from_random(1),
        kind: sharing::subject::ObjectionKind::Objection,
        purposes: if bytes.any() { vec![bytes.pick(&PurposeClass::ALL)] } else { Vec::new() },
        recipients: if bytes.any() { vec![bytes.pick(&ORGANISATIONS).parse().unwrap()] } else { Vec::new() },
        status: bytes.pick(&states),
    }
}

fn person(scheme: &str, value: &str) -> SubjectIdentifier {
    SubjectIdentifier::parse(scheme.parse().unwrap(), value).unwrap()
}

const NOW: &str = "2026-11-23T12:00:00Z";
const ORGANISATIONS: [&str; 4] = ["nhs-england", "trafford-council", "gmca", "nobody"];
/// More than anything that was read needs when it is written again.
const LIMITS: Limits = Limits { bytes_max: 16 << 20, depth_max: 64, values_max: 200_000 };

static POLICIES: LazyLock<PolicySet> = LazyLock::new(|| PolicySet::load(&FILES).unwrap());
static FILES: LazyLock<Vec<PolicyFile>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for folder in ["agreements", "cases", "catalogue", "organisations"] {
        for entry in std::fs::read_dir(root().join("policies").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            files.push(PolicyFile {
                path: format!("{folder}/{name}"),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
});

static NHS_RECORD: LazyLock<String> = LazyLock::new(|| {
    let path = "tests/upstreams/records/pds/patients/patient_9732110317.json";
    std::fs::read_to_string(root().join(path)).unwrap()
});

/// The project's root, from here or from the fuzz targets.
fn root() -> PathBuf {
    let mut above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.find(|folder| folder.join("policies").is_dir()).unwrap().to_owned()
}

const COUNCIL_RECORD: &str = r#"{
 "nhs_number": "9732110317",
 "referral_reference": "SWR-2041",
 "name": {"family": "Sanderson", "given": ["A"], "maiden": "left behind"},
 "date_of_birth": "1936-06-21",
 "address": {"lines": ["1 Moss Lane"], "postcode": "M32 0TH", "ward_code": "E05015252"},
 "flags": {"address_withheld": false, "deceased_on": null},
 "key_worker": {"name": "Priya Nair", "role": "Social worker", "phone": "0161 496 0101"},
 "care_package": {"status": "active", "visits": [{"day": "Mon", "time": "08:30", "task": "Personal care"}]},
 "needs": {"mobility": {"level": "walks_with_frame", "aids": ["walking frame"]}, "hearing": "hearing_aids"},
 "health": {"home_oxygen": {"in_use": true}, "conditions": ["COPD"]},
 "household": {"lives_alone": true, "smoker_in_home": true, "clutter_rating": 3},
 "case_notes": [{"on": "2026-10-02", "text": "left behind"}],
 "updated_at": "2026-11-02T09:14:00Z"
}"#;
