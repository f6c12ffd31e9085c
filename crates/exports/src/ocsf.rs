//! OCSF 1.6.0 events for security monitoring: class API Activity (6003). Every entry is one event.
//!
//! Source: Open Cybersecurity Schema Framework 1.6.0, class `api_activity`; required: `activity_id`, `actor`, `api`,
//! `category_uid`, `class_uid`, `metadata`, `severity_id`, `src_endpoint`, `time`, `type_uid`.

use ledger::{
    entry::{Body, Entry},
    export::{CSV_COLUMNS, cells},
    tree::{hexadecimal, leaf_hash},
};
use serde_json::{Map, Value, json};

const CLASS: u32 = 6003;

/// The event of an entry.
pub fn event(entry: &Entry, leaf: &[u8]) -> Value {
    let kind = entry.body.kind();
    let row: Map<String, Value> = CSV_COLUMNS
        .iter()
        .skip(3)
        .zip(cells(&entry.body))
        .filter(|(_, cell)| !cell.is_empty())
        .map(|(name, cell)| ((*name).to_owned(), cell.into()))
        .collect();
    let text = |name: &str| row.get(name).cloned().unwrap_or(Value::Null);
    let activity = activity(&entry.body);
    let (status, severity) = graded(&entry.body);
    let mut event = json!({
        "activity_id": activity,
        "activity_name": kind,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity,
        "severity_id": severity,
        "status_id": status,
        "time": entry.at_us.div_euclid(1_000),
        "actor": actor(&row),
        "api": { "operation": kind, "service": { "name": "concordat" } },
        // The ledger has the client's certificate, not its address.
        "src_endpoint": { "name": row.get("system").cloned().unwrap_or_else(|| "concordat".into()) },
        "metadata": {
            "version": "1.6.0",
            "uid": hexadecimal(&leaf_hash(leaf)),
            "sequence": entry.seq,
            "log_name": "concordat ledger",
            "event_code": kind,
            "original_time": crate::rfc3339(entry.at_us),
            "product": { "name": "Concordat", "vendor_name": "Concordat" },
        },
        "unmapped": row,
    });
    if let (Value::String(decision), Some(members)) = (text("decision_id"), event.as_object_mut()) {
        members.insert("resources".to_owned(), json!([{ "uid": decision, "type": "decision" }]));
    }
    event
}

fn actor(row: &Map<String, Value>) -> Value {
    let text = |name: &str| row.get(name).cloned();
    match (text("practitioner"), text("organisation"), text("system")) {
        (Some(user), organisation, system) => json!({
            "user": { "uid": user, "org": { "name": organisation } },
            "app_name": system,
        }),
        (None, Some(organisation), system) => json!({
            "user": { "org": { "name": organisation }, "name": "unattended" },
            "app_name": system,
        }),
        (None, None, _) => json!({ "app_name": "concordat" }),
    }
}

/// Create 1, read 2, update 3, delete 4, other 99.
fn activity(body: &Body) -> u32 {
    match body {
        Body::ConsentRecorded { .. }
        | Body::ObjectionRecorded { .. }
        | Body::RelationshipRecorded { .. }
        | Body::BreakGlassDeclared { .. }
        | Body::GrantMade { .. }
        | Body::HoldPlaced { .. }
        | Body::ErasureAsked { .. }
        | Body::ExportRequested { .. }
        | Body::AgreementSigned { .. } => 1,
        Body::Intent(_)
        | Body::Refusal(_)
        | Body::Referral(_)
        | Body::Release { .. }
        | Body::Closure { .. }
        | Body::ListBegan { .. }
        | Body::ListMoved { .. }
        | Body::DecisionRead { .. }
        | Body::SubjectRecordRead { .. }
        | Body::AuditRead { .. } => 2,
        Body::ConsentWithdrawn { .. }
        | Body::ConsentStatusChanged { .. }
        | Body::ObjectionEnded { .. }
        | Body::ObjectionAnswered { .. }
        | Body::RightsRequestMoved { .. }
        | Body::RelationshipEnded { .. }
        | Body::GrantRevoked { .. }
        | Body::HoldLifted { .. }
        | Body::VisibilityDecided { .. }
        | Body::AlertHandled { .. }
        | Body::ExportMoved { .. }
        | Body::AgreementMoved { .. }
        | Body::AgreementOfficerMoved { .. }
        | Body::AgreementMatterMoved { .. }
        | Body::ReferralMoved { .. } => 3,
        Body::RecordsForgotten { .. } => 4,
        _ => 99,
    }
}

/// Success 1, failure 2, other 99; informational 1, low 2, medium 3.
fn graded(body: &Body) -> (u32, u32) {
    match body {
        Body::Refusal(_) | Body::RequestRefused { .. } | Body::RequestsShed { .. } => (2, 2),
        Body::HandshakeRefused { .. } | Body::PolicySetRejected { .. } => (2, 3),
        Body::ListMoved { action, .. } if action == "stopped" => (2, 2),
        Body::Closure { outcome, .. } if outcome != "decision_only" => (2, 2),
        Body::BreakGlassDeclared { .. } => (1, 3),
        Body::Referral(_) => (99, 1),
        _ => (1, 1),
    }
}
