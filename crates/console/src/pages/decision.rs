//! One decision: in words, rule by rule, and with the proof that the ledger has it, checked here.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use ledger::entry::{Body, Decided};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sharing::explain;

use super::trail::{Answer, Found};
use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, in_london, items, organisation, record_holder, render, sentence, words},
    session::Signed,
};

/// As the API explains it.
#[derive(Serialize, Deserialize)]
struct Explained {
    decision_id: String,
    result: String,
    in_words: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_full: Option<Full>,
}

#[derive(Serialize, Deserialize)]
struct Full {
    rules: Vec<Rule>,
    reasons: Vec<Reason>,
    agreement: Option<Value>,
    policy_revision: u64,
    consents: Vec<String>,
    permitted: Vec<String>,
    guardrails: Vec<String>,
    grant: Option<String>,
    break_glass: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Rule {
    #[serde(rename = "rule")]
    name: String,
    outcome: String,
    sentence: String,
}

#[derive(Serialize, Deserialize)]
struct Reason {
    code: String,
    sentence: String,
}

struct Item {
    name: String,
    code: String,
    form: String,
    is_released: bool,
}

/// An entry of the decision, and its proof.
struct Leaf {
    seq: u64,
    kind: String,
    when: String,
    hash: String,
    json: String,
    proof: String,
    size: u64,
    hashes: usize,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "decision.html")]
struct DecisionPage {
    frame: Frame,
    explained: Explained,
    facts: Vec<(&'static str, String)>,
    items: Vec<Item>,
    leaves: Vec<Leaf>,
}

/// What is known of a decision.
struct Known {
    explained: Explained,
    entries: Vec<Found>,
}

/// The kinds of entries that a decision is made of.
const KINDS: [&str; 5] = ["intent", "refusal", "referral", "release", "closure"];

async fn known(console: &Console, signed: &Signed, id: &str) -> Result<Known, Fault> {
    let path = format!("/v1/decisions/{}/explanation", super::segment(id));
    let explained: Explained = console.ask(signed, Ask::get(path)).await?;
    // Each reading of it is an entry that refers to it, too.
    let search = json!({ "reference": explained.decision_id, "kinds": KINDS, "limit": 50 });
    let answer: Answer = console.ask(signed, Ask::post("/v1/trail/search", &search)).await?;
    let mut entries = answer.entries;
    entries.sort_by_key(|found| found.seq);
    Ok(Known { explained, entries })
}

/// The page.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let Known { explained, entries } = known(&console, &signed, &id).await?;
    let mut leaves = Vec::new();
    for found in &entries {
        leaves.push(leaf(&console, found).await?);
    }
    let bodies: Vec<Body> = entries.iter().filter_map(|found| Some(found.entry()?.body)).collect();
    let decided = bodies.iter().find_map(ledger::trail::decided);
    let mut facts = facts(&console, &explained, decided);
    if let Some(first) = leaves.first() {
        facts.insert(0, ("When", first.when.clone()));
    }
    let released: BTreeSet<&String> = bodies
        .iter()
        .filter_map(|body| match body {
            Body::Release { items, .. } => Some(items),
            _ => None,
        })
        .flatten()
        .collect();
    let permitted = explained.in_full.iter().flat_map(|full| &full.permitted);
    let provider = decided.map_or("", |decided| decided.provider.as_str());
    let set = console.gateway.policies();
    let items = permitted
        .map(|text| {
            let (code, form) = text.split_once(':').unwrap_or((text, "as-is"));
            Item {
                name: explain::item(&set, provider, code),
                code: code.to_owned(),
                form: sentence(form),
                is_released: released.contains(text),
            }
        })
        .collect();
    let title = decided.map_or_else(
        || "A decision".to_owned(),
        |decided| {
            format!("{}, asked by {}", sentence(&decided.purpose), organisation(&console, &decided.recipient))
        },
    );
    let frame = Frame::of(&signed, title, "/trail").back_to("/trail", "Audit trail");
    Ok(render(&DecisionPage { frame, explained, facts, items, leaves }))
}

fn facts(console: &Console, explained: &Explained, decided: Option<&Decided>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(decided) = decided {
        let person = decided.by.practitioner.as_deref().or(decided.by.unattended_owner.as_deref());
        let role = decided.by.role.as_deref().map(|role| format!(" ({})", words(role))).unwrap_or_default();
        facts.push(("Who asked", format!("{}{role}", person.unwrap_or("an automatic check"))));
        facts.push(("Organisation", organisation(console, &decided.recipient)));
        facts.push(("Record holder", record_holder(console, &decided.provider)));
        facts.push(("Purpose", sentence(&decided.purpose)));
        facts.push(("Case", decided.case_reference.clone()));
        if !decided.asked.is_empty() {
            facts.push(("Items asked for", items(console, &decided.provider, &decided.asked)));
        }
    }
    let Some(full) = &explained.in_full else { return facts };
    if let Some(agreement) = &full.agreement {
        let text = |name: &str| {
            agreement.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let id = text("agreement").unwrap_or_default();
        let title = explain::agreement_title(&console.gateway.policies(), &id);
        let said = format!(
            "{}, version {}, flow {}",
            title.map_or_else(|| id.clone(), |title| format!("{title} ({id})")),
            text("version").unwrap_or_default(),
            text("flow").unwrap_or_default()
        );
        facts.push(("Agreement", said));
    }
    facts.push(("Policies", format!("revision {}", full.policy_revision)));
    let more = [
        ("Consents it rests on", full.consents.join(", ")),
        ("One-off grant", full.grant.clone().unwrap_or_default()),
        ("Emergency", full.break_glass.clone().unwrap_or_default()),
        ("Forbidden by", full.guardrails.join(", ")),
    ];
    facts.extend(more.into_iter().filter(|(_, said)| !said.is_empty()));
    facts
}

/// Gets the entry's proof from the ledger and follows it from the entry's bytes to the signed checkpoint.
async fn leaf(console: &Console, found: &Found) -> Result<Leaf, Fault> {
    let store = console.gateway.store();
    let proof = store.proof(found.seq).await.map_err(|error| Fault::broken(&error))?;
    let entry = found.entry();
    let text = found.leaf.get();
    let mut leaf = Leaf {
        seq: found.seq,
        kind: entry.as_ref().map(|entry| sentence(entry.body.kind())).unwrap_or_default(),
        when: entry
            .and_then(|entry| jiff::Timestamp::from_microsecond(entry.at_us).ok())
            .map(in_london)
            .unwrap_or_default(),
        hash: found.leaf_hash.clone(),
        json: serde_json::from_str::<Value>(text)
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or_else(|_| text.to_owned()),
        proof: String::new(),
        size: 0,
        hashes: 0,
        wrong: None,
    };
    let Some(proof) = proof else {
        leaf.wrong = Some("the ledger has no such entry".to_owned());
        return Ok(leaf);
    };
    leaf.proof = proof.to_text();
    leaf.hashes = proof.hashes.len();
    match proof.verify(text.as_bytes(), store.ledger_keys(), &[]) {
        Ok(witnessed) => leaf.size = witnessed.checkpoint.size,
        Err(error) => leaf.wrong = Some(error.to_string()),
    }
    Ok(leaf)
}

/// The explanation, the entries and their proofs as one file.
pub(crate) async fn evidence(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let Known { explained, entries } = known(&console, &signed, &id).await?;
    if entries.is_empty() {
        return Err(Fault::not_found());
    }
    let store = console.gateway.store();
    let mut proven = Vec::new();
    for found in &entries {
        let proof = store.proof(found.seq).await.map_err(|error| Fault::broken(&error))?;
        // As text, so that whoever checks it has the bytes that were hashed.
        proven.push(json!({
            "index": found.seq,
            "entry": found.leaf.get(),
            "leaf_hash": found.leaf_hash,
            "proof": proof.map(|proof| proof.to_text()),
        }));
    }
    let pack = json!({
        "made_at": console.gateway.now().to_string(),
        "explanation": explained,
        "entries": proven,
        "how_to_check": "Each `entry` is a leaf, byte for byte; its hash is SHA-256 of a zero byte and the leaf (RFC 6962). `proof` is a C2SP tlog-proof that leads from it to a signed checkpoint. `concordat-verify --key KEY FILE` checks all of them, without this service. The explanation is the gateway's words and is not proven.",
    });
    let text = serde_json::to_string_pretty(&pack).map_err(|error| Fault::broken(&error))?;
    let name = format!("attachment; filename=\"{}-evidence.json\"", explained.decision_id);
    Ok(([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, name)], text)
        .into_response())
}
