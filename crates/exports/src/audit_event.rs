//! FHIR R4 AuditEvents, for the entries that are about a person's record.
//!
//! A release is IHE BALP's disclosure at the source (`IHE.BasicAudit.PrivacyDisclosure.Source`: an export, with source,
//! recipient, custodian, patient). A decision has a profile of our own that is shaped like BALP's authorization decision
//! and does not claim to be one: that needs a Consent, and a decision here may rest on an agreement alone. People are
//! pseudonyms; items are names, never values.
//!
//! Source: HL7 FHIR R4, AuditEvent; IHE ITI Basic Audit Log Patterns 1.1.

use ledger::{
    entry::{Actor, Body, Decided, Entry},
    tree::{hexadecimal, leaf_hash},
};
use serde_json::{Value, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const OURS: &str = "https://concordat.example/fhir";
const DISCLOSURE: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source";

/// The AuditEvent of an entry; `None` for a kind that is not about a person's record. `first` is the decision that the
/// entry ends, where it ends one.
pub fn event(entry: &Entry, leaf: &[u8], first: Option<&Decided>) -> Option<Value> {
    let about = Common { entry, hash: hexadecimal(&leaf_hash(leaf)) };
    match (&entry.body, first) {
        (Body::Intent(decided), _) => Some(about.decision(decided, "0", "permitted")),
        (Body::Refusal(decided), _) => Some(about.decision(decided, "4", "refused")),
        (Body::Referral(decided), _) => Some(about.decision(decided, "4", "referred to a person")),
        (Body::Release { subjects, items, .. }, Some(first)) => Some(about.release(first, subjects, items)),
        (Body::Closure { outcome, .. }, Some(first)) => {
            let failed = if outcome == "decision_only" { "0" } else { "4" };
            Some(about.decision(first, failed, outcome))
        }
        (Body::SubjectRecordRead { subject, what, purpose, by }, _) => {
            Some(about.read(subject, what, purpose.as_deref(), by))
        }
        _ => None,
    }
}

struct Common<'a> {
    entry: &'a Entry,
    hash: String,
}

impl Common<'_> {
    fn event(&self, profile: Option<&str>, kind: (&str, &str), action: &str, outcome: (&str, &str)) -> Value {
        let mut event = json!({
            "resourceType": "AuditEvent",
            "id": format!("entry-{}", self.entry.seq),
            "type": { "system": DCM, "code": kind.0, "display": kind.1 },
            "action": action,
            "recorded": crate::rfc3339(self.entry.at_us),
            "outcome": outcome.0,
            "outcomeDesc": outcome.1,
            "source": {
                "observer": { "identifier": { "system": OURS, "value": "concordat" }, "display": "Concordat" },
                "type": [{ "system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4", "display": "Application Server" }],
            },
        });
        if let (Some(profile), Some(members)) = (profile, event.as_object_mut()) {
            members.insert("meta".to_owned(), json!({ "profile": [profile] }));
        }
        event
    }

    fn release(&self, decided: &Decided, subjects: &[String], items: &[String]) -> Value {
        let mut event = self.event(Some(DISCLOSURE), ("110106", "Export"), "R", ("0", "released"));
        let mut entities: Vec<Value> = subjects.iter().map(|subject| patient(subject)).collect();
        entities.push(self.leaf());
        for item in items {
            entities.push(json!({
                "what": { "identifier": { "system": format!("{OURS}/item"), "value": item } },
                "type": { "system": ENTITY_TYPE, "code": "2", "display": "System Object" },
                "role": { "system": OBJECT_ROLE, "code": "4", "display": "Domain Resource" },
            }));
        }
        let custodian = json!({
            "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "CST", "display": "custodian" }] },
            "who": organisation(&decided.provider),
            "requestor": false,
        });
        fill(
            &mut event,
            &decided.purpose,
            Some(("iso", LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")),
            vec![
                role("110153", "Source Role ID", &organisation("concordat"), false),
                role("110152", "Destination Role ID", &organisation(&decided.recipient), false),
                custodian,
                person(&decided.by),
            ],
            entities,
        );
        event
    }

    fn decision(&self, decided: &Decided, outcome: &str, said: &str) -> Value {
        let profile = format!("{OURS}/StructureDefinition/SharingDecision");
        let mut event = self.event(Some(&profile), ("110112", "Query"), "E", (outcome, said));
        let mut entities = vec![patient(&decided.subject), self.leaf()];
        entities.push(json!({
            "what": { "identifier": { "system": format!("{OURS}/decision"), "value": decided.decision_id } },
            "type": { "system": ENTITY_TYPE, "code": "2", "display": "System Object" },
            "role": { "system": OBJECT_ROLE, "code": "13", "display": "Security Resource" },
        }));
        let rests_on = decided
            .agreement
            .as_ref()
            .map(|agreement| format!("{}/{}", agreement.agreement, agreement.version));
        for (kind, value) in decided
            .consents
            .iter()
            .map(|consent| ("consent", consent.clone()))
            .chain(rests_on.map(|agreement| ("agreement", agreement)))
        {
            entities.push(json!({
                "what": { "identifier": { "system": format!("{OURS}/{kind}"), "value": value } },
                "type": { "system": ENTITY_TYPE, "code": "2", "display": "System Object" },
                "role": { "system": OBJECT_ROLE, "code": "13", "display": "Security Resource" },
            }));
        }
        let agents = vec![
            role("110153", "Source Role ID", &organisation(&decided.provider), false),
            role("110152", "Destination Role ID", &organisation(&decided.recipient), false),
            person(&decided.by),
        ];
        fill(&mut event, &decided.purpose, None, agents, entities);
        event
    }

    fn read(&self, subject: &str, what: &str, purpose: Option<&str>, by: &Actor) -> Value {
        let mut event = self.event(None, ("110110", "Patient Record"), "R", ("0", what));
        let purpose = purpose.unwrap_or_default();
        fill(&mut event, purpose, None, vec![person(by)], vec![patient(subject), self.leaf()]);
        event
    }

    /// The leaf that this is an event of, by its hash.
    fn leaf(&self) -> Value {
        json!({
            "what": { "identifier": { "system": format!("{OURS}/leaf-sha256"), "value": self.hash } },
            "type": { "system": ENTITY_TYPE, "code": "2", "display": "System Object" },
            "role": { "system": OBJECT_ROLE, "code": "21", "display": "Job Stream" },
        })
    }
}

fn fill(
    event: &mut Value,
    purpose: &str,
    subtype: Option<(&str, &str, &str, &str)>,
    agents: Vec<Value>,
    entities: Vec<Value>,
) {
    let Some(members) = event.as_object_mut() else { return };
    if !purpose.is_empty() {
        let coding = json!({ "system": format!("{OURS}/purpose"), "code": purpose });
        members.insert("purposeOfEvent".to_owned(), json!([{ "coding": [coding] }]));
    }
    if let Some((_, system, code, display)) = subtype {
        members.insert("subtype".to_owned(), json!([{ "system": system, "code": code, "display": display }]));
    }
    members.insert("agent".to_owned(), agents.into());
    members.insert("entity".to_owned(), entities.into());
}

fn patient(subject: &str) -> Value {
    json!({
        "what": { "identifier": { "system": format!("{OURS}/pseudonym"), "value": subject } },
        "type": { "system": ENTITY_TYPE, "code": "1", "display": "Person" },
        "role": { "system": OBJECT_ROLE, "code": "1", "display": "Patient" },
    })
}

fn organisation(id: &str) -> Value {
    json!({ "identifier": { "system": format!("{OURS}/organisation"), "value": id } })
}

fn role(code: &str, display: &str, who: &Value, requestor: bool) -> Value {
    json!({
        "type": { "coding": [{ "system": DCM, "code": code, "display": display }] },
        "who": who,
        "requestor": requestor,
    })
}

/// Whoever asked: the practitioner, or the owner of an unattended job.
fn person(by: &Actor) -> Value {
    let id = by.practitioner.as_ref().or(by.unattended_owner.as_ref()).unwrap_or(&by.system);
    let mut agent = json!({
        "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP", "display": "information recipient" }] },
        "who": { "identifier": { "system": format!("{OURS}/practitioner/{}", by.organisation), "value": id } },
        "altId": by.system,
        "requestor": true,
    });
    if let (Some(role), Some(members)) = (&by.role, agent.as_object_mut()) {
        members.insert(
            "role".to_owned(),
            json!([{ "coding": [{ "system": format!("{OURS}/role"), "code": role }] }]),
        );
    }
    agent
}
