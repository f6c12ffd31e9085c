//! The part of the story that is about agreements: one that waits for signatures, one that is negotiated and disputed, and what
//! people noted of one that is in use. It leaves something to do for whoever signs in to the console.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{history::Asker, keys};
use crate::{agreements::signature, config};

/// The key of somebody in office, for whoever tries to sign in the demonstration.
const GUARDIAN_KEY: &str = "nhs-guardian.key";
/// The key of another: each person has their own.
const SIRO_KEY: &str = "fire-siro.key";
const TO_SIGN: &str = "gm-winter-warmth";
const DISPUTED: &str = "gm-hoarding-visits";
const IN_USE: &str = "gm-fire-prevention-over-65s";

/// Who takes part.
#[derive(Clone, Copy)]
pub(super) struct Parties<'a> {
    pub(super) fire: &'a Asker<'a>,
    pub(super) council: &'a Asker<'a>,
    pub(super) nhs: &'a Asker<'a>,
}

/// What happens on a day of the story.
pub(super) async fn day(of: Parties<'_>, day: i64, state: &Path) -> anyhow::Result<()> {
    match day {
        12 => begin(of).await,
        20 => counter(of).await,
        26 => offices(of, state).await,
        33 => open_signing(of).await,
        50 => dispute(of).await,
        60 => mediate(of).await,
        _ => Ok(()),
    }
}

/// The terms: who lives where it may be cold, or full.
fn terms(title: &str, flow: &str, birth_date: &str) -> Value {
    let item =
        |item: &str, form: &str, why: &str| json!({ "item": item, "form": form, "justification": why });
    let basis = json!({ "article_6": "6(1)(e)" });
    let party = |name: &str, notice: &str| json!({ "organisation": name, "controller": "separate", "privacy_notice": notice });
    json!({
        "title": title, "framework": "Greater Manchester Information Sharing Accord",
        "effective_on": "2026-12-01", "ends_on": "2028-12-01", "review_on": "2027-06-01",
        "owner": "Head of Prevention, GMFRS", "breach_contact": "breach@gmfrs.example.org",
        "dpia": { "reference": "DPIA-GM-2026-031", "outcome": "accepted", "completed_on": "2026-08-14", "current_until": "2028-12-31" },
        "parties": [
            party("nhs-england", "https://nhs.example.org/sharing"), party("gmca", "https://gmfrs.example.org/privacy"),
        ],
        "flows": [{
            "id": flow, "provider": "nhs-pds", "recipient": "gmca", "purpose": "fire-prevention-targeting",
            "identifiers": ["nhs-number"], "roles": ["prevention-officer"], "releases_per_day_max": 150,
            "provider_basis": basis, "recipient_basis": basis, "confidentiality": { "basis": "not-confidential" },
            "obligations": { "retain_days": 90, "onward_sharing": false },
            "items": [
                item("person.family_name", "as-is", "The visitor asks for the household by name at the door."),
                item("person.birth_date", birth_date, "Older people lose heat faster; crews visit them first."),
                item("person.address", "as-is", "The visit is to a home."),
            ],
        }],
    })
}

async fn begin(of: Parties<'_>) -> anyhow::Result<()> {
    for (id, title, flow) in [
        (TO_SIGN, "Winter warmth visits", "cold-homes"),
        (DISPUTED, "Visits to homes where hoarding is known", "hoarding"),
    ] {
        let body = json!({ "id": id, "terms": terms(title, flow, "as-is") });
        of.fire.act("GMFRS-1001", ("/v1/agreements", None), body).await?;
        let said = "Crews visit before the winter does. This is what they need to find the right door.";
        step(of.fire, id, "GMFRS-1001", json!({ "step": "propose", "text": said })).await?;
    }
    Ok(())
}

/// Takes a step of an agreement as it is now.
async fn step(by: &Asker<'_>, id: &str, person: &str, body: Value) -> anyhow::Result<()> {
    let path = format!("/v1/agreements/{id}");
    let revision = by.read(person, &path).await?.get("revision").and_then(Value::as_i64);
    by.act(person, (&format!("{path}/steps"), revision), body).await.map(drop)
}

async fn say(by: &Asker<'_>, id: &str, person: &str, body: Value) -> anyhow::Result<Value> {
    by.act(person, (&format!("/v1/agreements/{id}/comments"), None), body).await
}

async fn counter(of: Parties<'_>) -> anyhow::Result<()> {
    let comment = json!({
        "version": 1, "clause": "/flows/0/items/1", "text": "A date of birth names somebody. Would an age band not do?",
        "position": "The age band", "interest": "No more about anybody than a visit needs.", "reason": "less-would-do",
        "owner": { "organisation": "gmca", "person": "GMFRS-IG-1" },
    });
    let made = say(of.nhs, TO_SIGN, "NHS-IG-1", comment).await?;
    let id = made.get("id").and_then(Value::as_str).context("the story's comment has no name")?;
    let path = format!("/v1/agreements/{TO_SIGN}/comments/{id}/steps");
    let answer =
        json!({ "step": "reply", "text": "It would. We order visits by it and do nothing else with it." });
    of.fire.act("GMFRS-IG-1", (&path, None), answer).await?;
    let counter = json!({
        "step": "counter", "terms": terms("Winter warmth visits", "cold-homes", "age-band"), "reason": "less-would-do",
        "text": "As we said: the band.", "interest": "No more about anybody than a visit needs.",
    });
    step(of.nhs, TO_SIGN, "NHS-C-12", counter).await?;
    of.nhs.act("NHS-IG-1", (&path, None), json!({ "step": "resolve", "text": "Version 2 has it." })).await?;
    let blocking = json!({
        "version": 1, "clause": "/flows/0/obligations", "text": "Ninety days is long for a visit that takes an hour.",
        "position": "Thirty days", "interest": "A list that lies about goes stale, and crews knock at wrong doors.",
        "reason": "retention-too-long", "owner": { "organisation": "gmca" }, "blocking": true,
    });
    say(of.nhs, DISPUTED, "NHS-IG-1", blocking).await.map(drop)
}

/// Puts people in office, with two hands each.
async fn offices(of: Parties<'_>, state: &Path) -> anyhow::Result<()> {
    let key = |name: &str| {
        let path = state.join(name);
        if !path.exists() {
            keys::officer_key(&path)?;
        }
        signature::public_key(&config::read(&path)?)
    };
    let (guardian, siro) = (key(GUARDIAN_KEY)?, key(SIRO_KEY)?);
    let all = [
        (of.nhs, ("NHS-IG-1", "NHS-C-12"), ("NHS-CG-1", "Chris Grey"), "caldicott-guardian", Some(&guardian)),
        (of.fire, ("GMFRS-IG-1", "GMFRS-1001"), ("GMFRS-SIRO-1", "Simon Hart"), "siro", Some(&siro)),
        (of.fire, ("GMFRS-IG-1", "GMFRS-1001"), ("GMFRS-DPO-1", "Dara Owens"), "dpo", None),
    ];
    for (by, (asks, confirms), (person, name), role, key) in all {
        let mut body = json!({ "person": person, "name": name, "role": role });
        if let (Some(key), Some(members)) = (key, body.as_object_mut()) {
            members.insert("key".to_owned(), key.clone());
        }
        let asked = by.act(asks, ("/v1/agreement-officers", None), body).await?;
        let id = asked.get("id").and_then(Value::as_str).context("the story's office has no name")?;
        by.act(confirms, (&format!("/v1/agreement-officers/{id}/confirm"), None), Value::Null).await?;
    }
    Ok(())
}

async fn open_signing(of: Parties<'_>) -> anyhow::Result<()> {
    step(
        of.nhs,
        TO_SIGN,
        "NHS-IG-1",
        json!({ "step": "accept", "text": "It is what we need, and no more." }),
    )
    .await?;
    step(
        of.fire,
        TO_SIGN,
        "GMFRS-IG-1",
        json!({ "step": "accept", "text": "It is what we need, and no more." }),
    )
    .await?;
    let advice = json!({ "step": "advise", "favourable": true, "text": "Proportionate, with the age band of version 2." });
    step(of.fire, TO_SIGN, "GMFRS-DPO-1", advice).await?;
    let answer = json!({ "step": "answer-advice", "followed": true, "text": "As advised." });
    step(of.fire, TO_SIGN, "GMFRS-IG-1", answer).await?;
    let assure =
        json!({ "step": "assure", "text": "Legal bases, notices and the assessment were looked at." });
    step(of.fire, TO_SIGN, "GMFRS-IG-1", assure).await?;
    step(of.nhs, TO_SIGN, "NHS-IG-1", json!({ "step": "open-signing", "text": "Everybody has agreed." }))
        .await
}

async fn dispute(of: Parties<'_>) -> anyhow::Result<()> {
    let body = json!({
        "version": 1, "clause": "/flows/0/obligations", "with": ["gmca"], "reason": "retention-too-long",
        "text": "We asked for thirty days and were answered nothing.", "position": "Thirty days",
        "interest": "A list that lies about goes stale.",
    });
    of.nhs.act("NHS-IG-1", (&format!("/v1/agreements/{DISPUTED}/disputes"), None), body).await?;
    for (by, person, kind, reason, text) in [
        (
            of.fire,
            "GMFRS-IG-1",
            "benefit",
            None,
            "Of a hundred homes that were visited, nine had no working alarm and have one now.",
        ),
        (
            of.nhs,
            "NHS-IG-1",
            "harm",
            Some("too-late"),
            "A visit came a week after a fire: the look-up had waited for a number that nobody had checked.",
        ),
    ] {
        let mut body = json!({ "kind": kind, "text": text });
        if let (Some(reason), Some(members)) = (reason, body.as_object_mut()) {
            members.insert("reason".to_owned(), reason.into());
        }
        by.act(person, (&format!("/v1/agreements/{IN_USE}/records"), None), body).await?;
    }
    Ok(())
}

/// A mediator of neither party begins. Nobody has agreed to anything yet.
async fn mediate(of: Parties<'_>) -> anyhow::Result<()> {
    let path = format!("/v1/agreements/{DISPUTED}/disputes");
    let all = of.council.read("TRF-MED-1", &path).await?;
    let dispute = all.pointer("/disputes/0").context("the story's dispute is not there")?;
    let id = dispute.get("id").and_then(Value::as_str).context("the story's dispute has no name")?;
    let revision = dispute.get("revision").and_then(Value::as_i64);
    let path = format!("{path}/{id}/steps");
    let begun = of.council.act("TRF-MED-1", (&path, revision), json!({ "step": "mediate" })).await?;
    ensure!(begun.get("state").and_then(Value::as_str) == Some("mediating"), "nobody mediates in the story");
    let comment =
        json!({ "step": "comment", "text": "What is the list needed for once a home was visited?" });
    of.council.act("TRF-MED-1", (&path, None), comment).await.map(drop)
}
