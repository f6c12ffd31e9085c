//! What officers do in those months about what waits for them: most alerts are reviewed within a week, and a one-off disclosure is decided.

use serde_json::{Value, json};

use super::{Asker, DAYS};

/// Alerts of the last days are still open: whoever looks has something to do.
const LEFT_OPEN_DAYS: i64 = 9;

/// What happens on this day.
pub(super) async fn on(
    day: i64,
    askers: [(&Asker<'_>, &str); 3],
    deciding: (&Asker<'_>, &str),
) -> anyhow::Result<()> {
    if day % 3 == 2 && day < DAYS - LEFT_OPEN_DAYS {
        for (asker, person) in askers {
            review(asker, person).await?;
        }
    }
    if day == 41 { decide(deciding).await } else { Ok(()) }
}

async fn review(asker: &Asker<'_>, person: &str) -> anyhow::Result<()> {
    let list = asker.read(person, "/v1/alerts").await?;
    let alerts = list.get("alerts").and_then(Value::as_array).into_iter().flatten();
    let open = alerts.filter(|alert| alert.get("state").is_some_and(|state| state != "closed"));
    for alert in open {
        let (Some(id), Some(rule)) = (text(alert, "id"), text(alert, "rule")) else { continue };
        let (outcome, note) = match rule {
            "break-glass-declared" | "break-glass-used" => {
                ("justified", "The incident log has the call, and the crew needed what it asked for.")
            }
            "out-of-hours" => ("justified", "On the rota that evening, and in the case file."),
            "restricted-attempt" => {
                ("no-further-action", "The reference came from a list made before the restriction.")
            }
            _ => ("false-positive", "Looked at with the team leader: ordinary work."),
        };
        let body = json!({ "outcome": outcome, "note": note });
        told(asker.act(person, (&format!("/v1/alerts/{id}/review"), None), body).await);
    }
    Ok(())
}

/// Auditors take the ledger away, on the last day: one export is approved by a colleague, and the next waits for one.
pub(super) async fn exports(auditors: &Asker<'_>) {
    let ask = async |format: &str, person: &str| {
        let body = json!({ "format": format });
        let asked = auditors.act(person, ("/v1/exports", None), body).await?;
        let id = text(&asked, "id").map(str::to_owned);
        id.ok_or_else(|| anyhow::anyhow!("an export without a name"))
    };
    match ask("ndjson", "TRF-AUD-3").await {
        Ok(id) => {
            let path = format!("/v1/exports/{id}/approve");
            told(auditors.act("TRF-AUD-4", (&path, None), json!({})).await);
        }
        Err(error) => told(Err(error)),
    }
    told(ask("csv", "TRF-AUD-4").await.map(Value::from));
}

/// The request of the day before is allowed, once.
async fn decide((asker, person): (&Asker<'_>, &str)) -> anyhow::Result<()> {
    let list = asker.read(person, "/v1/referrals").await?;
    let waiting = list.get("referrals").and_then(Value::as_array).into_iter().flatten();
    let requested = waiting.filter(|one| text(one, "state") == Some("requested"));
    for id in requested.filter_map(|one| text(one, "decision_id")) {
        let at = |what: &str| format!("/v1/referrals/{id}/{what}");
        told(asker.act(person, (&at("take"), None), Value::Null).await);
        let body = json!({
            "outcome": "grant",
            "items": ["person.address:as-is", "health.home_oxygen:yes-no"],
            "lawful_basis": { "article_6": "6(1)(c)", "article_9": "9(2)(g)", "schedule_1": "part 2 paragraph 18" },
            "confidentiality": { "basis": "public-interest" },
            "minutes": 120,
            "retain_days": 28,
            "reason": "Section 42 duty: the harm of not sharing outweighs the intrusion.",
        });
        told(asker.act(person, (&at("decide"), None), body).await);
    }
    Ok(())
}

/// What officers do is for show: the story goes on without it.
fn told(done: anyhow::Result<Value>) {
    if let Err(error) = done {
        tracing::warn!(%error, "a part of the story is left out");
    }
}

fn text<'a>(of: &'a Value, member: &str) -> Option<&'a str> {
    of.get(member).and_then(Value::as_str)
}
