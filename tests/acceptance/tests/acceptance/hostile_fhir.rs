//! FHIR's ways of asking for more than was granted, and of saying more than was asked: hundreds of queries, none of which
//! reaches a record holder, and records with a canary in every leaf.

use std::collections::BTreeSet;

use acceptance::{Answer, Request, World};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::holder::{Holder, Says};

const NUMBER: &str = "9736363023";
const NHS: &str = "https://fhir.nhs.uk/Id/nhs-number";

fn about(world: &World, method: &'static str, path: &str) -> Request {
    let mut request = world.bare("council", method, path, "direct-care");
    request.record = Some(("nhs-number".to_owned(), NUMBER.to_owned()));
    request
}

/// Search parameters, modifiers, operations and results parameters of FHIR R4, GraphQL among them.
const PARAMETERS: &[&str] = &[
    "_include=*",
    "_include=Patient:general-practitioner",
    "_include=Patient:organization",
    "_include=Patient:link",
    "_include:iterate=Patient:link",
    "_include:recurse=Patient:link",
    "_include:logical=Patient:link",
    "_revinclude=*",
    "_revinclude=Observation:subject",
    "_revinclude=Observation:patient",
    "_revinclude=Provenance:target",
    "_revinclude=Encounter:patient",
    "_revinclude:iterate=Condition:subject",
    "_has:Observation:patient:code=1234-5",
    "_has:Group:member:_id=1",
    "_has:Observation:patient:_has:AuditEvent:entity:agent=x",
    "general-practitioner.name=Smith",
    "general-practitioner:Practitioner.name=Smith",
    "organization.name=x",
    "link:Patient.family=MELLOY",
    "link.other.name=x",
    "_filter=family eq MELLOY",
    "_filter=name co x",
    "_elements=name",
    "_elements=*",
    "_elements=contact,link",
    "_summary=true",
    "_summary=false",
    "_summary=text",
    "_summary=data",
    "_summary=count",
    "_format=xml",
    "_format=json",
    "_format=html",
    "_format=application/fhir%2Bxml",
    "_format=text/turtle",
    "_pretty=true",
    "_count=1000",
    "_count=0",
    "_sort=family",
    "_sort=-birthdate",
    "_total=accurate",
    "_contained=true",
    "_contained=both",
    "_containedType=container",
    "_query=current-high-risk",
    "_lastUpdated=gt2000-01-01",
    "_tag=x",
    "_security=R",
    "_profile=x",
    "_text=address",
    "_content=MELLOY",
    "_list=$current-allergies",
    "_type=Patient,Observation",
    "_typeFilter=x",
    "_since=2000-01-01",
    "_at=2000",
    "_offset=0",
    "_page=2",
    "_getpages=abc",
    "_getpagesoffset=10",
    "_id=9736363023",
    "_id=9732110317",
    "_source=x",
    "_graph=x",
    "_score=1",
    "_outputFormat=ndjson",
    "_mdm=true",
    "family=MELLOY",
    "given=Cyril",
    "name=MELLOY",
    "name:exact=MELLOY",
    "birthdate=1940-08-02",
    "address=KEADBY",
    "address-postalcode=DN17",
    "phone=01",
    "email=x",
    "gender=male",
    "death-date=gt1900",
    "deceased=true",
    "phonetic=x",
    "active=true",
    "language=en",
    "near=51|0|10",
    "subject=Patient/1",
    "patient=9736363023",
    "query={Patient{name{family}}}",
    "access_token=x",
    "_method=DELETE",
    "X-Request-ID=1",
    "$everything",
    "fuzzy=true",
];

/// Ways to write the one parameter that there is, other than the one in which it counts.
fn identifiers() -> Vec<String> {
    let good = format!("identifier={NHS}|{NUMBER}");
    let mut written = vec![
        format!("{good}&{good}"),
        format!("{good}&identifier="),
        format!("{good},{NHS}|9732110317"),
        format!("{good}%2C{NHS}|9732110317"),
        format!("{good}|"),
        format!("{good}%00"),
        format!("{good}%0a"),
        format!("{good};x=1"),
        format!("{good}#x%23").replace("#x", ""),
        format!("identifier={NUMBER}"),
        format!("identifier=|{NUMBER}"),
        format!("identifier={NHS}|"),
        format!("identifier={NHS}"),
        "identifier=".to_owned(),
        "identifier".to_owned(),
        "identifier=*".to_owned(),
        "identifier=%25".to_owned(),
        "identifier=|".to_owned(),
        format!("identifier=http://fhir.nhs.uk/Id/nhs-number|{NUMBER}"),
        format!("identifier={}|{NUMBER}", NHS.to_uppercase()),
        format!("identifier={NHS}/|{NUMBER}"),
        format!("identifier={NHS}%7c%7c{NUMBER}"),
        format!("identifier={NHS}|{NUMBER}|x"),
        format!("identifier={NHS}|0{NUMBER}"),
        format!("identifier={NHS}|{NUMBER}0"),
        format!("identifier={NHS}|9736363024"),
        format!("identifier={NHS}|９７３６３６３０２３"),
        format!("identifier={NHS}|٩٧٣٦٣٦٣٠٢٣"),
        format!("identifier={NHS}|973 636 3023x"),
        format!("identifier={NHS}|0x244579"),
    ];
    for modifier in [
        ":not",
        ":text",
        ":of-type",
        ":contains",
        ":exact",
        ":in",
        ":above",
        ":missing",
        "[]",
        "[0]",
        ".value",
        "%00",
        " ",
        "%0d%0a",
    ] {
        written.push(good.replacen("identifier", &format!("identifier{modifier}"), 1));
    }
    for name in [
        "Identifier",
        "IDENTIFIER",
        "іdentifier",
        "identifier%E2%80%8B",
        "_identifier",
        "identifiers",
        "%EF%BB%BFidentifier",
    ] {
        written.push(good.replacen("identifier", name, 1));
    }
    for prefix in ["eq", "ne", "gt", "ap"] {
        written.push(good.replacen('=', &format!("={prefix}"), 1));
    }
    written
}

/// Paths of FHIR servers that are not paths here.
const PATHS: &[&str] = &[
    "/fhir/nhs-pds/Patient/9736363023/$everything",
    "/fhir/nhs-pds/Patient/9736363023/$everything?_type=Observation",
    "/fhir/nhs-pds/Patient/9736363023/_history",
    "/fhir/nhs-pds/Patient/9736363023/_history/1",
    "/fhir/nhs-pds/Patient/9736363023/Observation",
    "/fhir/nhs-pds/Patient/9736363023/*",
    "/fhir/nhs-pds/Patient/9736363023/$graphql",
    "/fhir/nhs-pds/Patient/9736363023/$summary",
    "/fhir/nhs-pds/Patient/9736363023/$meta",
    "/fhir/nhs-pds/Patient/9736363023/$export",
    "/fhir/nhs-pds/Patient/$everything",
    "/fhir/nhs-pds/Patient/$match",
    "/fhir/nhs-pds/Patient/$export",
    "/fhir/nhs-pds/Patient/_search",
    "/fhir/nhs-pds/Patient/_history",
    "/fhir/nhs-pds/Patient/",
    "/fhir/nhs-pds/Patient/9736363023/",
    "/fhir/nhs-pds/Patient/9736363023,9732110317",
    "/fhir/nhs-pds/Patient/9736363023%2f$everything",
    "/fhir/nhs-pds/Patient/9736363023%3f_include=*",
    "/fhir/nhs-pds/Patient/9736363023%23",
    "/fhir/nhs-pds/Patient/9736363023%00",
    "/fhir/nhs-pds/Patient/9736363023;x=1",
    "/fhir/nhs-pds/Patient/9736363023|1",
    "/fhir/nhs-pds/Patient/9736363023%0d%0aX-A:%20b",
    "/fhir/nhs-pds/Patient/*",
    "/fhir/nhs-pds/Patient/%25",
    "/fhir/nhs-pds/Patient/_all",
    "/fhir/nhs-pds/Patient/9736363023.xml",
    "/fhir/nhs-pds/",
    "/fhir/nhs-pds",
    "/fhir/nhs-pds/metadata",
    "/fhir/nhs-pds/_history",
    "/fhir/nhs-pds/_search",
    "/fhir/nhs-pds/$graphql?query={PatientList{name}}",
    "/fhir/nhs-pds/$export",
    "/fhir/nhs-pds/Observation?patient=9736363023",
    "/fhir/nhs-pds/Observation",
    "/fhir/nhs-pds/RelatedPerson?patient=9736363023",
    "/fhir/nhs-pds/Group/1/$export",
    "/fhir/nhs-pds/Bundle",
    "/fhir/nhs-pds/Person/9736363023",
    "/fhir/nhs-pds/patient/9736363023",
    "/fhir/nhs-pds/PATIENT/9736363023",
    "/fhir/nhs-pds/Patients/9736363023",
    "/fhir/nhs-pds/Patient/9736363023/Patient/9732110317",
    "/fhir/NHS-PDS/Patient/9736363023",
    "/fhir/nhs-pds%2fPatient/9736363023",
    "/fhir/nhs-pds/R4/Patient/9736363023",
    "/fhir/*/Patient/9736363023",
    "/fhir/trafford-asc/Patient/9736363023",
    "/fhir/nhs-pds/Patient/9736363023/$everything/",
    "/fhir//nhs-pds/Patient/9736363023",
    "/fhir/Patient/9736363023",
];

/// Neither a record nor anything of one.
fn assert_refused(world: &World, what: &str, answer: &Answer) {
    assert!(answer.status.is_client_error(), "{what}: {answer:?}");
    for value in ["MELLOY", "Cyril", "KEADBY", NUMBER] {
        assert!(!answer.text.contains(value), "{what}: {}", answer.text);
    }
    assert!(!answer.headers.contains_key("sharing-terms"), "{what}");
    assert!(world.asked["nhs"].asked().is_empty(), "{what} reached the record holder");
}

#[tokio::test]
async fn no_query_but_the_one_reaches_a_record_holder() {
    let world = World::new().await;
    let good = format!("identifier={NHS}|{NUMBER}");
    let mut paths: Vec<String> = PATHS.iter().map(|path| (*path).to_owned()).collect();
    for parameter in PARAMETERS {
        paths.push(format!("/fhir/nhs-pds/Patient?{parameter}"));
        paths.push(format!("/fhir/nhs-pds/Patient?{good}&{parameter}"));
        paths.push(format!("/fhir/nhs-pds/Patient?{parameter}&{good}"));
        paths.push(format!("/fhir/nhs-pds/Patient/{NUMBER}?{parameter}"));
    }
    paths.extend(identifiers().iter().map(|written| format!("/fhir/nhs-pds/Patient?{written}")));
    let client = world.client("council");
    let port = world.settings.public_url.rsplit(':').next().unwrap().parse().unwrap();
    let mut tried = 0;
    for path in &paths {
        // What the address turns into on the way is what the gateway sees, and what the context has to name.
        let Ok(sent) = reqwest::Url::parse(&format!("https://localhost{path}")) else { continue };
        let seen = sent.query().map_or(sent.path().to_owned(), |query| format!("{}?{query}", sent.path()));
        let answer = world.send_to(&client, port, &about(&world, "GET", &seen)).await.unwrap();
        assert_refused(&world, path, &answer);
        tried += 1;
    }
    // Other ways to ask for the same: a search by POST, a batch, a transaction, GraphQL, a patch.
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [{ "request": { "method": "GET", "url": format!("Patient/{NUMBER}") } }] });
    let bodies = [
        ("/fhir/nhs-pds/Patient/_search", "application/x-www-form-urlencoded", good.clone()),
        ("/fhir/nhs-pds/Patient", "application/x-www-form-urlencoded", good.clone()),
        ("/fhir/nhs-pds/Patient/_search?_include=*", "application/x-www-form-urlencoded", good.clone()),
        ("/fhir/nhs-pds", "application/fhir+json", batch.to_string()),
        ("/fhir/nhs-pds/", "application/fhir+json", batch.to_string()),
        ("/fhir/", "application/fhir+json", batch.to_string()),
        ("/fhir/nhs-pds", "application/fhir+json", batch.to_string().replace("batch", "transaction")),
        (
            "/fhir/nhs-pds/$graphql",
            "application/graphql",
            format!("{{Patient(id:{NUMBER}){{name{{family}}}}}}"),
        ),
        (
            "/fhir/nhs-pds/Patient/$match",
            "application/fhir+json",
            json!({ "resourceType": "Parameters" }).to_string(),
        ),
        ("/fhir/nhs-pds/Patient", "application/fhir+json", json!({ "resourceType": "Patient" }).to_string()),
    ];
    for (path, kind, body) in bodies {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let mut request = about(&world, method, path);
            (request.content_type, request.text) = (Some(kind), Some(body.clone()));
            assert_refused(
                &world,
                &format!("{method} {path}"),
                &world.send_to(&client, port, &request).await.unwrap(),
            );
            tried += 1;
        }
    }
    assert!(tried >= 450, "{tried}");
    // And the one that there is.
    let answer = world.send(about(&world, "GET", &format!("/fhir/nhs-pds/Patient?{good}"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(world.asked["nhs"].asked().len(), 1);
}

/// What the record holder sees is made from the catalogue: nothing of the caller's request is in it but the number.
#[tokio::test]
async fn a_record_holder_sees_the_catalogues_request() {
    let (world, holder) = Holder::world().await;
    holder.says(Says::Fhir(patient(0).to_string().into_bytes()));
    let mut paths = vec![
        format!("/fhir/nhs-pds/Patient/{NUMBER}"),
        format!("/fhir/nhs-pds/Patient?identifier={NHS}|{NUMBER}"),
    ];
    paths.push(format!(
        "/fhir/nhs-pds/Patient?identifier={}%7C{NUMBER}",
        NHS.replace(':', "%3A").replace('/', "%2F")
    ));
    for path in &paths {
        let mut request = about(&world, "GET", path);
        request.request_id = Some("3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned());
        assert_eq!(world.send(request).await.status, StatusCode::OK, "{path}");
    }
    let question = world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER));
    assert_eq!(world.send(question).await.status, StatusCode::OK);
    let asked = holder.asked();
    assert_eq!(asked.len(), 4);
    for head in asked {
        let mut lines = head.trim().lines();
        assert_eq!(
            lines.next(),
            Some(format!("GET /personal-demographics/FHIR/R4/Patient/{NUMBER} HTTP/1.1").as_str())
        );
        let names: BTreeSet<String> =
            lines.map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
        let expected = ["accept", "host", "x-request-id"].map(str::to_owned);
        assert_eq!(names, expected.into_iter().collect(), "{head}");
        assert!(!head.contains("3f2504e0"), "the partner's own request id stays here");
    }
}

const RECORDS: [&str; 10] = [
    include_str!("../../../upstreams/records/pds/patients/Minimal_Patient.json"),
    include_str!("../../../upstreams/records/pds/patients/Patient-Jayne-Smyth.json"),
    include_str!("../../../upstreams/records/pds/patients/Patient.json"),
    include_str!("../../../upstreams/records/pds/patients/Sensitive_Patient.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_5900046192.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_5900056597.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_9732110317.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_9733162043.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_9736363015.json"),
    include_str!("../../../upstreams/records/pds/patients/patient_9736363023.json"),
];

/// The record of somebody of the sandbox's as it would be if it were this test's person's: alive, unrestricted, of the same number.
fn patient(which: usize) -> Value {
    let mut patient: Value = serde_json::from_str(RECORDS[which]).unwrap();
    let members = patient.as_object_mut().unwrap();
    members.retain(|name, _| !name.starts_with("deceased"));
    members.insert("id".to_owned(), json!(NUMBER));
    members.insert("birthDate".to_owned(), json!("1940-08-02"));
    members.insert("identifier".to_owned(), json!([{ "system": NHS, "value": NUMBER }]));
    members.insert(
        "meta".to_owned(),
        json!({ "security": [{ "code": "U", "display": "unrestricted" }], "versionId": "1" }),
    );
    let current = json!({ "use": "usual", "family": "x", "given": ["x", "x"], "prefix": ["x"], "suffix": ["x"], "period": { "start": "2000-01-01" } });
    members.insert("name".to_owned(), json!([current]));
    patient
}

type Decoration = (&'static str, fn(Value) -> Value);

fn with(mut patient: Value, name: &str, value: Value) -> Value {
    patient[name] = value;
    patient
}

fn in_bundle(patient: Value, others: Vec<Value>) -> Value {
    let mut entries: Vec<_> = others
        .into_iter()
        .map(|resource| {
            let mode = match resource["resourceType"].as_str() {
                Some("Patient") => "match",
                Some("OperationOutcome") => "outcome",
                _ => "include",
            };
            json!({ "fullUrl": "x", "resource": resource, "search": { "mode": mode, "score": "x" } })
        })
        .collect();
    entries.insert(entries.len() / 2, json!({ "fullUrl": "x", "resource": patient, "search": { "mode": "match" }, "link": [{ "relation": "self", "url": "x" }] }));
    json!({
        "resourceType": "Bundle", "type": "searchset", "total": 7, "id": "x", "meta": { "tag": [{ "code": "x", "display": "x" }] },
        "link": [{ "relation": "self", "url": "x" }, { "relation": "next", "url": "x" }], "entry": entries, "signature": { "data": "x", "who": { "display": "x" } },
    })
}

fn somebody_else() -> Value {
    json!({
        "resourceType": "Patient", "id": "9732110317", "identifier": [{ "system": NHS, "value": "9732110317" }], "birthDate": "1950-01-01",
        "name": [{ "use": "usual", "family": "x", "given": ["x"] }], "address": [{ "use": "home", "line": ["x"], "postalCode": "x", "period": { "start": "2000-01-01" } }],
        "telecom": [{ "system": "phone", "value": "x", "use": "home" }],
    })
}

const DECORATIONS: &[Decoration] = &[
    ("contained", |patient| {
        let contained = json!([somebody_else(), { "resourceType": "Practitioner", "id": "p", "name": [{ "family": "x" }] }, { "resourceType": "Observation", "id": "o", "valueString": "x", "note": [{ "text": "x" }] }]);
        with(patient, "contained", contained)
    }),
    ("narrative", |patient| with(patient, "text", json!({ "status": "generated", "div": "x" }))),
    ("extensions", |patient| {
        let nested = json!([{ "url": "x", "valueString": "x" }, { "url": "x", "extension": [{ "url": "x", "valueAddress": { "line": ["x"], "postalCode": "x" } }, { "url": "x", "valueReference": { "reference": "x", "display": "x" } }] }]);
        with(patient, "extension", nested)
    }),
    ("meta", |mut patient| {
        patient["meta"]["tag"] = json!([{ "system": "x", "code": "x", "display": "x" }]);
        patient["meta"]["profile"] = json!(["x"]);
        patient["meta"]["source"] = json!("x");
        patient["meta"]["extension"] = json!([{ "url": "x", "valueString": "x" }]);
        with(patient, "language", json!("x"))
    }),
    ("contacts and links", |patient| {
        let contact = json!([{ "relationship": [{ "text": "x", "coding": [{ "code": "x", "display": "x" }] }], "name": { "family": "x", "given": ["x"], "use": "usual" }, "telecom": [{ "system": "phone", "value": "x" }], "address": { "line": ["x"], "use": "home" }, "organization": { "display": "x" } }]);
        with(
            with(patient, "contact", contact),
            "link",
            json!([{ "other": { "reference": "x", "display": "x", "identifier": { "value": "x" } }, "type": "seealso" }]),
        )
    }),
    ("attachments", |patient| {
        with(
            patient,
            "photo",
            json!([{ "contentType": "image/png", "data": "x", "url": "x", "title": "x", "hash": "x" }]),
        )
    }),
    ("references", |patient| {
        let practice = json!([{ "identifier": { "value": "x", "system": "x", "assigner": { "display": "x" }, "period": { "start": "2000-01-01" } }, "reference": "x", "display": "x", "type": "x" }]);
        with(
            with(patient, "generalPractitioner", practice),
            "managingOrganization",
            json!({ "reference": "x", "display": "x", "identifier": { "value": "x" } }),
        )
    }),
    ("primitive extensions", |mut patient| {
        patient["name"][0]["_family"] =
            json!({ "id": "x", "extension": [{ "url": "x", "valueString": "x" }] });
        patient["name"][0]["_given"] = json!([null, { "extension": [{ "url": "x", "valueString": "x" }] }]);
        patient["name"][0]["extension"] = json!([{ "url": "x", "valueString": "x" }]);
        patient["name"][0]["text"] = json!("x");
        with(
            with(patient, "_birthDate", json!({ "extension": [{ "url": "x", "valueDateTime": "x" }] })),
            "_gender",
            json!({ "id": "x" }),
        )
    }),
    ("other identifiers", |mut patient| {
        let others = [
            json!({ "system": "x", "value": "x", "type": { "text": "x" } }),
            json!({ "use": "old", "system": "urn:x", "value": "x", "assigner": { "display": "x" } }),
        ];
        patient["identifier"].as_array_mut().unwrap().extend(others);
        patient
    }),
    ("other names, addresses, numbers", |mut patient| {
        patient["name"].as_array_mut().unwrap().extend([
            json!({ "use": "old", "family": "x", "given": ["x"] }),
            json!({ "use": "nickname", "text": "x" }),
            json!({ "use": "maiden", "family": "x" }),
        ]);
        let addresses = json!([
            { "use": "temp", "line": ["x"], "postalCode": "x", "text": "x" }, { "use": "billing", "line": ["x"] },
            { "use": "home", "line": ["x", "x"], "postalCode": "x", "city": "x", "district": "x", "text": "x", "country": "x", "period": { "start": "2000-01-01" }, "extension": [{ "url": "x", "valueString": "x" }] },
            { "use": "old", "line": ["x"] },
        ]);
        let numbers = json!([
            { "system": "phone", "value": "x", "use": "home", "rank": 1, "period": { "start": "2000-01-01" }, "extension": [{ "url": "x", "valueString": "x" }] },
            { "system": "email", "value": "x" }, { "system": "fax", "value": "x" }, { "system": "url", "value": "x" }, { "system": "other", "value": "x" },
        ]);
        with(with(patient, "address", addresses), "telecom", numbers)
    }),
    ("a bundle of other people", |patient| in_bundle(patient, vec![somebody_else(), somebody_else()])),
    ("a bundle with an outcome", |patient| {
        let outcome = json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "information", "diagnostics": "x", "details": { "text": "x" } }] });
        in_bundle(patient, vec![outcome])
    }),
    ("what is in no standard", |patient| {
        with(
            with(patient, "Name", json!([{ "use": "usual", "family": "x" }])),
            "unlisted",
            json!({ "address": [{ "use": "home", "line": ["x"] }], "deep": [[["x"]]] }),
        )
    }),
];

/// Where a text is.
type Place = Vec<String>;

/// Replaces every text but those that say whose a record is and what a part of it is, each by a canary of its own. Which were put
/// where an agreement for the council's direct care says that they may leave.
struct Planting {
    count: usize,
    permitted: BTreeSet<String>,
}

impl Planting {
    fn plant(&mut self, value: &mut Value, place: &mut Place, parent: &Value) {
        match value {
            Value::Object(members) => {
                let whole = Value::Object(members.clone());
                for (name, member) in members.iter_mut() {
                    place.push(name.clone());
                    self.plant(member, place, &whole);
                    place.pop();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.plant(item, place, parent)),
            Value::String(text) if !is_needed(place, parent) => {
                self.count += 1;
                let canary = format!("canary{}z", self.count);
                if may_leave(place, parent) {
                    self.permitted.insert(canary.clone());
                }
                *text = canary;
            }
            _ => {}
        }
    }
}

fn is_needed(place: &[String], parent: &Value) -> bool {
    let last = place.last().map_or("", String::as_str);
    let path = place.join(".");
    let path = path.strip_prefix("entry.resource.").unwrap_or(&path);
    let kept = [
        "resourceType",
        "id",
        "type",
        "birthDate",
        "name.use",
        "address.use",
        "telecom.system",
        "meta.security.code",
        "meta.versionId",
        "link.type",
        "entry.search.mode",
    ];
    let is_number =
        matches!(path, "identifier.system" | "identifier.value") && parent["system"] == json!(NHS);
    is_number || kept.contains(&path) || matches!(last, "start" | "end")
}

fn may_leave(place: &[String], parent: &Value) -> bool {
    let path = place.join(".");
    let path = path.strip_prefix("entry.resource.").unwrap_or(&path);
    let is = |name: &str, value: &str| parent[name] == json!(value);
    match path {
        "name.family" | "name.given" | "name.prefix" => is("use", "usual"),
        "address.line" | "address.postalCode" => is("use", "home"),
        "telecom.value" | "telecom.use" => is("system", "phone"),
        "generalPractitioner.identifier.value" | "gender" => true,
        _ => false,
    }
}

/// Those that are in a text; of one that was shortened, what is left of it.
fn canaries(text: &str) -> BTreeSet<String> {
    let found = text.match_indices("canary").map(|(place, _)| &text[place..]);
    found
        .map(|rest| {
            let digits = rest["canary".len()..].chars().take_while(char::is_ascii_digit).count();
            let end = "canary".len() + digits;
            rest[..end + usize::from(rest[end..].starts_with('z'))].to_owned()
        })
        .collect()
}

#[tokio::test]
async fn only_permitted_leaves_of_records_full_of_canaries_leave() {
    let (world, holder) = Holder::world().await;
    let (mut resources, mut planted, mut left) = (0, 0, 0);
    for which in 0..RECORDS.len() {
        for (position, (name, decorate)) in DECORATIONS.iter().enumerate() {
            // Half of the pairs: each record and each decoration many times.
            if (which + position) % 2 == 1 {
                continue;
            }
            let mut record = decorate(patient(which));
            let is_bundle = record["resourceType"] == "Bundle";
            let mut planting = Planting { count: 0, permitted: BTreeSet::new() };
            if is_bundle {
                // Others in the Bundle may have no canary leave at all: only the one entry is planted as this person's.
                for entry in record["entry"].as_array_mut().unwrap() {
                    let is_own = entry["resource"]["id"] == json!(NUMBER);
                    let before = planting.permitted.clone();
                    planting.plant(entry, &mut vec!["entry".to_owned()], &Value::Null);
                    if !is_own {
                        planting.permitted = before;
                    }
                }
                for part in ["link", "meta", "signature"] {
                    planting.plant(&mut record[part], &mut vec![format!("bundle-{part}")], &Value::Null);
                }
            } else {
                planting.plant(&mut record, &mut Vec::new(), &Value::Null);
            }
            holder.says(Says::Fhir(record.to_string().into_bytes()));
            let answers = [
                world.send(about(&world, "GET", &format!("/fhir/nhs-pds/Patient/{NUMBER}"))).await,
                world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await,
            ];
            for answer in answers {
                assert_eq!(answer.status, StatusCode::OK, "{name} {which} {answer:?}");
                let said = format!("{} {:?}", answer.text, answer.headers);
                let out = canaries(&said);
                let may = |one: &&String| {
                    planting.permitted.contains(*one)
                        || !one.ends_with('z')
                            && planting.permitted.iter().any(|whole| whole.starts_with(one.as_str()))
                };
                let strangers: Vec<_> = out.iter().filter(|one| !may(one)).collect();
                assert!(
                    strangers.is_empty(),
                    "{name} of record {which} lets out {strangers:?}: {said}\n{record}"
                );
                assert!(out.len() >= 3, "{name} {which}: what was asked for is there: {out:?}");
                assert!(!said.contains("9732110317"), "{name}: somebody else's number");
                left += out.len();
            }
            planted += planting.count;
            resources += 1;
        }
    }
    assert!(resources >= 60 && planted > 1_500 && left > 400, "{resources} {planted} {left}");
    // None of it is in the ledger either.
    for entry in world.entries().await {
        assert!(!format!("{entry:?}").contains("canary"), "{entry:?}");
    }
}

/// Bundles and resources that are about somebody else, about nobody, or about both.
#[tokio::test]
async fn what_is_not_about_the_person_is_refused_whole() {
    let (world, holder) = Holder::world().await;
    let other = somebody_else();
    let own = patient(9);
    let twice = in_bundle(own.clone(), vec![own.clone()]);
    let mut both = own.clone();
    both["identifier"].as_array_mut().unwrap().push(json!({ "system": NHS, "value": "9732110317" }));
    let mut renamed = own.clone();
    renamed["id"] = json!("9732110317");
    let mut nameless = own.clone();
    nameless.as_object_mut().unwrap().remove("id");
    nameless.as_object_mut().unwrap().remove("identifier");
    let contained = json!({ "resourceType": "Basic", "contained": [own.clone()] });
    let nested = in_bundle(
        json!({ "resourceType": "Bundle", "type": "searchset", "entry": [{ "resource": own.clone() }] }),
        vec![],
    );
    let malformed = json!({ "resourceType": "Patient", "id": NUMBER, "meta": { "security": [{ "code": "R" }] },
        "identifier": [{ "system": NHS, "value": "bad" }] });
    let of_history = |part: &str, value: Value| {
        let mut bundle = in_bundle(own.clone(), vec![]);
        bundle["entry"][0][part] = value;
        bundle
    };
    let other_kinds = ["RelatedPerson", "Provenance", "DocumentReference", "Binary"]
        .map(|kind| json!({ "resourceType": kind }));
    let modifier = json!([{ "url": "https://example.org/not-this-person", "valueBoolean": true }]);
    let mut modified_address = own.clone();
    modified_address["address"][0]["modifierExtension"] = modifier.clone();
    let cases = [
        ("a second copy with a number that is none", in_bundle(own.clone(), vec![malformed])),
        ("other kinds of resources", in_bundle(own.clone(), other_kinds.to_vec())),
        ("a modifier", with(own.clone(), "modifierExtension", modifier.clone())),
        ("a modifier of the address", modified_address),
        ("rules that are not known", with(own.clone(), "implicitRules", json!("https://example.org/rules"))),
        ("not in use", with(own.clone(), "active", json!(false))),
        (
            "merged",
            with(
                own.clone(),
                "link",
                json!([{ "type": "replaced-by", "other": { "reference": "Patient/9732110317" } }]),
            ),
        ),
        ("deleted", of_history("request", json!({ "method": "DELETE", "url": "x" }))),
        ("gone", of_history("response", json!({ "status": "410" }))),
        ("included", of_history("search", json!({ "mode": "include" }))),
        ("a history", with(in_bundle(own.clone(), vec![]), "type", json!("history"))),
        ("a collection", with(in_bundle(own.clone(), vec![]), "type", json!("collection"))),
        ("somebody else", other.clone()),
        ("a bundle of somebody else", in_bundle(other.clone(), vec![other.clone()])),
        ("the same twice", twice),
        ("two numbers", both),
        ("an id that is another's", renamed),
        ("no number at all", nameless),
        ("contained in another", contained),
        ("a bundle in a bundle", nested),
        ("an empty bundle", json!({ "resourceType": "Bundle", "type": "searchset", "total": 1 })),
        ("an outcome", json!({ "resourceType": "OperationOutcome", "issue": [] })),
        ("a list", json!([own.clone()])),
        ("no type", json!({ "id": NUMBER })),
        ("a type in a list", json!({ "resourceType": ["Patient"], "id": NUMBER })),
        ("entries that are none", json!({ "resourceType": "Bundle", "entry": { "resource": own.clone() } })),
    ];
    for (name, body) in cases {
        holder.says(Says::Fhir(body.to_string().into_bytes()));
        let answer = world.send(about(&world, "GET", &format!("/fhir/nhs-pds/Patient/{NUMBER}"))).await;
        assert!(matches!(answer.status.as_u16(), 404 | 502), "{name} {answer:?}");
        assert_eq!(answer.body["resourceType"], "OperationOutcome", "{name}");
        assert!(!answer.text.contains("9732110317") && !answer.text.contains("KEADBY"), "{name}");
        assert_eq!(world.last_kinds(1).await, ["closure"], "{name}");
    }
    holder.says(Says::Fhir(own.to_string().into_bytes()));
    assert_eq!(
        world.send(about(&world, "GET", &format!("/fhir/nhs-pds/Patient/{NUMBER}"))).await.status,
        StatusCode::OK
    );
}

/// Fire is told where nobody lives whose mark cannot be read, whatever is in its place; and nothing is kept of it, so that
/// the next record that can be read is released.
#[tokio::test]
async fn a_mark_that_cannot_be_read_tells_nobody_where_somebody_is() {
    let (world, holder) = Holder::world().await;
    let told = async |record: &Value| {
        holder.says(Says::Fhir(record.to_string().into_bytes()));
        let answer = world.send(world.prevention(NUMBER)).await;
        if answer.status == StatusCode::OK {
            return answer.text.contains("person.address");
        }
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "no-record-available"));
        false
    };
    let own = patient(9);
    let marked = |security: Value| {
        let mut record = own.clone();
        record["meta"]["security"] = security;
        record
    };
    let odd = [
        json!(["R"]),
        json!("R"),
        json!([{ "coding": [{ "code": "R" }] }]),
        json!([{ "display": "restricted" }]),
        json!([{ "code": "U" }, { "display": "restricted" }]),
        json!([]),
        Value::Null,
    ];
    let mut without = own.clone();
    without.as_object_mut().unwrap().remove("meta");
    let mut around = in_bundle(own.clone(), vec![]);
    around["meta"]["security"] = json!(["R"]);
    for record in odd.map(marked).into_iter().chain([without, around]) {
        assert!(!told(&record).await, "{record}");
        assert_eq!(world.last_kinds(1).await, ["closure"]);
        assert!(told(&own).await, "the source is in order again");
    }
    // What can be read, and is not unrestricted to the letter, is a mark that stays.
    assert!(!told(&marked(json!([{ "code": "r" }]))).await);
    assert!(!told(&own).await);
    world.verify().await;
}
