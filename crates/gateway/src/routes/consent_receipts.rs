//! A consent as a receipt that the person, or a system of theirs, can keep: JSON-LD in W3C DPV terms, in the shape
//! of ISO/IEC TS 27560:2023. The person is a pseudonym in it; whoever holds it knows whose it is.
//!
//! Four things are called consent here, and only one of them is a legal basis of the UK GDPR. A receipt says which.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sharing::subject::{ConsentStatus, ConsentType, GivenBy, ProxyAuthority};
use store::ConsentRow;

use super::consents::{commit, respond, visible};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{receive, request_id},
    receipt::Receipt,
};

/// Our own terms, where the vocabulary has none.
const TERMS: &str = "https://concordat.example/terms#";

/// Read a consent as a receipt. Reading is recorded.
#[utoipa::path(get, path = "/v1/consents/{id}/receipt", tag = "consents", params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "The receipt, as JSON-LD", content_type = "application/ld+json", body = Object),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not the caller's to see")))]
pub async fn read(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        let entry = received.read_of(row.subject.as_str(), "consent receipt");
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        let receipt = Receipt::of(&id, &committed);
        let body = receipt_of(&row, &receipt, app.clock.now()).to_string();
        Ok(([(header::CONTENT_TYPE, "application/ld+json")], body).into_response())
    })
    .await
}

fn receipt_of(row: &ConsentRow, receipt: &Receipt, now: Timestamp) -> Value {
    let record = &row.record;
    let ours = |code: &str| json!({ "@id": format!("{TERMS}{code}") });
    let organisation = |id: &str| json!({ "@type": "dpv:LegalEntity", "dct:identifier": id });
    let details: Map<String, Value> = serde_json::from_str(&row.details).unwrap_or_default();
    let detail = |name: &str| details.get(name).cloned().unwrap_or(Value::Null);
    let mut events = vec![json!({
        "dpv:hasConsentStatus": { "@id": first_status(record.status) },
        "dpv:isIndicatedAtTime": record.given_at.to_string(),
        "dpv:isIndicatedBy": giver(&record.given_by),
        "dpv:hasIndicationMethod": detail("method"),
    })];
    if let Some(at) = record.ended_at {
        events.push(json!({
            "dpv:hasConsentStatus": { "@id": status(record.status) },
            "dpv:isIndicatedAtTime": at.to_string(),
        }));
    }
    let ended = record.expires_at.is_some_and(|end| end <= now) && !record.status.takes_back();
    let current = if ended { ConsentStatus::Expired } else { record.status };
    json!({
        "@context": {
            "dpv": "https://w3id.org/dpv#",
            "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
            "dct": "http://purl.org/dc/terms/",
        },
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": "ISO/IEC TS 27560:2023",
        "dct:identifier": record.id.as_str(),
        "dct:issued": now.to_string(),
        "dpv:hasDataSubject": { "@type": "dpv:DataSubject", "dct:identifier": row.subject.as_str() },
        "dpv:hasDataController": organisation(record.controller.as_str()),
        "dpv:hasRecipient": record.recipients.iter().map(|id| organisation(id.as_str())).collect::<Vec<_>>(),
        "dpv:hasPurpose": record.purposes.iter().map(|purpose| ours(purpose.as_str())).collect::<Vec<_>>(),
        "dpv:hasPersonalData": detail("data_categories"),
        "dpv:hasLegalBasis": legal_basis(record.consent_type),
        "dpv:hasNotice": { "@type": "dpv:ConsentNotice", "dct:hasVersion": detail("notice_version") },
        "dpv:hasConsentStatus": { "@id": status(current) },
        "dpv:hasDuration": record.expires_at.map_or_else(
            || json!({ "@id": "dpv:IndeterminateDuration" }),
            |until| json!({ "@type": "dpv:UntilTimeDuration", "dct:valid": until.to_string() }),
        ),
        "dpv:hasConsentControl": {
            "@type": "dpv:WithdrawConsent",
            "dct:description": "Tell the organisation that recorded it; it takes effect on the next question.",
        },
        "dct:hasPart": events,
        "dct:provenance": {
            "dct:creator": organisation(row.recorded_by.as_str()),
            "dct:created": row.record.recorded_at.to_string(),
            "ledger_receipt": serde_json::to_value(receipt).unwrap_or_default(),
        },
    })
}

/// Only one of the four is a legal basis of the UK GDPR.
fn legal_basis(consent_type: ConsentType) -> Value {
    let (basis, said) = match consent_type {
        ConsentType::GdprConsent => {
            ("eu-gdpr:A6-1-a", "Consent, UK GDPR Art 6(1)(a), and 9(2)(a) where explicit.")
        }
        ConsentType::ConfidentialityConsent => (
            "https://concordat.example/terms#common-law-duty-of-confidentiality",
            "Consent under the common-law duty of confidentiality. It is no legal basis of the UK GDPR.",
        ),
        ConsentType::ConsentToService => (
            "https://concordat.example/terms#consent-to-service",
            "Agreement to a visit or to help. It lets no data go anywhere.",
        ),
        ConsentType::Preference => {
            ("https://concordat.example/terms#preference", "A wish. It lets no data go anywhere.")
        }
    };
    json!({ "@id": basis, "dct:description": said })
}

fn giver(given_by: &GivenBy) -> Value {
    match given_by {
        GivenBy::Person => json!({ "@type": "dpv:DataSubject" }),
        GivenBy::Proxy { authority, capacity_statement } => {
            let kind = match authority {
                ProxyAuthority::ParentalResponsibility => "dpv:ParentOfDataSubject",
                ProxyAuthority::HealthAndWelfareAttorney | ProxyAuthority::CourtDeputy => {
                    "dpv:GuardianOfDataSubject"
                }
            };
            json!({ "@type": kind, "authority": authority.as_str(), "dct:description": capacity_statement })
        }
    }
}

/// The status in W3C DPV 2 terms.
fn status(status: ConsentStatus) -> &'static str {
    match status {
        ConsentStatus::Requested => "dpv:ConsentRequested",
        ConsentStatus::Given => "dpv:ConsentGiven",
        ConsentStatus::Renewed => "dpv:RenewedConsentGiven",
        ConsentStatus::Refused => "dpv:ConsentRefused",
        ConsentStatus::Expired => "dpv:ConsentExpired",
        ConsentStatus::Withdrawn => "dpv:ConsentWithdrawn",
        ConsentStatus::Revoked => "dpv:ConsentRevoked",
        ConsentStatus::Invalidated => "dpv:ConsentInvalidated",
        ConsentStatus::Unknown => "dpv:ConsentUnknown",
    }
}

/// What was said first: a consent that has ended was once given.
fn first_status(current: ConsentStatus) -> &'static str {
    match current {
        ConsentStatus::Requested | ConsentStatus::Refused | ConsentStatus::Unknown => status(current),
        ConsentStatus::Given
        | ConsentStatus::Renewed
        | ConsentStatus::Expired
        | ConsentStatus::Withdrawn
        | ConsentStatus::Revoked
        | ConsentStatus::Invalidated => "dpv:ConsentGiven",
    }
}
