//! What people say about their data in those months: consents, objections, complaints, corrections, and what they are answered.

use serde_json::{Value, json};

use super::Asker;

/// Residents of the demonstration, and somebody whom the council looks after.
const FIRST: (&str, &str) = ("nhs-number", "9732110317");
const SECOND: (&str, &str) = ("nhs-number", "9736363023");
const REFERRED: (&str, &str) = ("local:trafford-council", "SWR-2042");

/// What happens on this day.
pub(super) async fn on(
    day: i64,
    council: &Asker<'_>,
    nhs: &Asker<'_>,
    fire: &Asker<'_>,
) -> anyhow::Result<()> {
    match day {
        16 => agreed(nhs, "given").await,
        // Somebody is asked about who looks seldom.
        22 | 64 => fire.ask("nhs-pds", "fire-prevention-targeting", SECOND, json!({})).await.map(drop),
        34 => agreed(nhs, "refused").await,
        12 => consent(council).await,
        30 => answered(nhs).await,
        45 => complain(
            council,
            REFERRED,
            "The letter about the visit named my daughter, who does not live with me.",
        )
        .await
        .map(drop),
        58 => object(nhs).await,
        70 => {
            let made =
                complain(nhs, FIRST, "I was not told that the fire service would ask about me.").await?;
            step(nhs, &made, "acknowledge", json!({})).await
        }
        79 => correct(nhs).await,
        _ => Ok(()),
    }
}

async fn say(by: &Asker<'_>, path: &str, person: (&str, &str), mut body: Value) -> anyhow::Result<Value> {
    if let Some(members) = body.as_object_mut() {
        members.insert("subject".to_owned(), json!({ "scheme": person.0, "value": person.1 }));
    }
    by.send((path, "direct-care", "WISH-3"), Some(person), body).await
}

async fn step(by: &Asker<'_>, of: &Value, what: &str, body: Value) -> anyhow::Result<()> {
    let Some(id) = of.get("id").and_then(Value::as_str) else { return Ok(()) };
    let path = format!("/v1/rights-requests/{id}/{what}");
    by.send((&path, "direct-care", "WISH-3"), None, body).await.map(drop)
}

async fn consent(council: &Asker<'_>) -> anyhow::Result<()> {
    let body = json!({
        "consent_type": "confidentiality-consent",
        "status": "given",
        "controller": "trafford-council",
        "recipients": ["gmca"],
        "purposes": ["safe-and-well-referral"],
        "data_categories": ["needs", "the outcome that is wanted"],
        "given_by": {
            "who": "proxy",
            "authority": "health-and-welfare-attorney",
            "capacity_statement": "Assessed on 3 September: cannot weigh what is shared with whom.",
        },
        "method": "in-person",
        "notice_version": "SW-2",
        "evidence_reference": "Registered power of attorney, case file 77",
    });
    say(council, "/v1/consents", REFERRED, body).await.map(drop)
}

/// What a resident said to their practice about visits: a yes that counts, and a no to something else.
async fn agreed(nhs: &Asker<'_>, status: &str) -> anyhow::Result<()> {
    let is_yes = status == "given";
    let body = json!({
        "consent_type": if is_yes { "consent-to-service" } else { "confidentiality-consent" },
        "status": status,
        "controller": "nhs-england",
        "recipients": ["gmca"],
        "purposes": ["safe-and-well-referral"],
        "data_categories": if is_yes { json!(["a visit"]) } else { json!(["health"]) },
        "given_by": { "who": "person" },
        "method": "in-person",
        "notice_version": "SW-2",
    });
    say(nhs, "/v1/consents", FIRST, body).await.map(drop)
}

async fn complain(by: &Asker<'_>, person: (&str, &str), text: &str) -> anyhow::Result<Value> {
    say(by, "/v1/rights-requests", person, json!({ "right": "complaint", "text": text })).await
}

async fn answered(nhs: &Asker<'_>) -> anyhow::Result<()> {
    let made = complain(nhs, FIRST, "Somebody asked for my address twice in one week.").await?;
    step(nhs, &made, "acknowledge", json!({})).await?;
    let answer = json!({
        "outcome": "upheld",
        "answer": "You are right. The second question was sent by mistake, and the fire service has mended its list. We are sorry.",
    });
    step(nhs, &made, "answer", answer).await
}

async fn object(nhs: &Asker<'_>) -> anyhow::Result<()> {
    let body = json!({
        "kind": "objection",
        "purposes": ["fire-prevention-targeting"],
        "grounds": "I do not want visitors whom I have not asked for.",
    });
    say(nhs, "/v1/objections", SECOND, body).await.map(drop)
}

async fn correct(nhs: &Asker<'_>) -> anyhow::Result<()> {
    let body = json!({
        "right": "rectification",
        "item": "my address",
        "text": "I moved in October. The old house is empty now.",
    });
    say(nhs, "/v1/rights-requests", FIRST, body).await.map(drop)
}
