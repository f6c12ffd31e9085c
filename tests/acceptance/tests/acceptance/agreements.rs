//! An agreement from its first draft to the next request: negotiated, signed, put in force by two people, switched off and
//! on again, and shown offline to be what was signed.

use acceptance::{Answer, Request, World};
use gateway::agreements::{
    bundle::{self, Bundle},
    signature::{self, Statement},
    watch,
};
use ledger::{
    entry::{Actor, Body},
    note::NoteVerifier,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

mod command_line;
mod dataspace;
mod frameworks;
mod living;
mod offices;
mod races;
mod readable;
mod steps;
mod talks;

const NUMBER: &str = "9732110317";
const PURPOSE: &str = "safeguarding-adult";

pub(crate) type Person = fn(&mut Value);
type Tampering = fn(&mut Bundle);

macro_rules! people {
    ($($name:ident),+) => {
        $(pub(crate) fn $name(claims: &mut Value) {
            claims["sub"] = json!(stringify!($name));
            claims["requesting_practitioner"]["id"] = json!(stringify!($name));
        })+
    };
}

people!(author, lead, other, siro, guardian, assets, dpo, mediator, keeper, chair);

/// The NHS lets the fire service ask who lives with somebody at risk, and for whom to visit.
pub(crate) fn terms() -> Value {
    let basis = json!({ "article_6": "6(1)(e)" });
    let item = |item: &str, form: &str| json!({ "item": item, "form": form, "justification": "The crew has to find them." });
    let flow = |id: &str, purpose: &str| {
        json!({
            "id": id, "provider": "nhs-pds", "recipient": "gmca", "purpose": purpose,
            "identifiers": ["nhs-number"], "roles": ["prevention-officer"],
            "provider_basis": basis, "recipient_basis": basis, "confidentiality": { "basis": "not-confidential" },
            "obligations": { "retain_days": 30, "onward_sharing": false },
            "items": [item("person.family_name", "as-is"), item("person.birth_date", "age-band")],
        })
    };
    let party = |name: &str| json!({ "organisation": name, "controller": "separate", "privacy_notice": "https://example.org/notice" });
    json!({
        "title": "Adults at risk of fire, pilot", "framework": "Greater Manchester Information Sharing Accord",
        "effective_on": "2026-11-01", "ends_on": "2028-11-01", "review_on": "2027-06-01",
        "owner": "Head of Prevention, GMFRS", "breach_contact": "breach@gmfrs.example.org",
        "dpia": { "reference": "DPIA-9", "outcome": "accepted", "completed_on": "2026-10-01", "current_until": "2028-12-01" },
        "parties": [party("nhs-england"), party("gmca")],
        "flows": [flow("at-risk", PURPOSE), flow("visits", "fire-prevention-targeting")],
    })
}

pub(crate) fn by(mut request: Request, person: Person) -> Request {
    request.spoil_context = Some(person);
    request
}

pub(crate) fn begin(world: &World, body: &Value) -> Request {
    by(world.act("nhs", "/v1/agreements", PURPOSE, body.clone()), author)
}

async fn shown(world: &World, partner: &'static str) -> Answer {
    world.send(by(world.bare(partner, "GET", "/v1/agreements/pilot", PURPOSE), lead)).await
}

fn step(world: &World, partner: &'static str, person: Person, body: Value) -> Request {
    by(world.act(partner, "/v1/agreements/pilot/steps", PURPOSE, body), person)
}

/// Takes a step of the agreement as it is now.
async fn take(world: &World, partner: &'static str, person: Person, body: Value) -> Answer {
    let seen = shown(world, partner).await;
    let mut request = step(world, partner, person, body);
    request.if_match = seen.headers.get("etag").cloned();
    world.send(request).await
}

pub(crate) async fn taken(world: &World, partner: &'static str, person: Person, body: Value) -> String {
    let answer = take(world, partner, person, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {answer:?}");
    answer.body["state"].as_str().unwrap().to_owned()
}

/// The file of somebody's own key.
fn key_file(world: &World, partner: &str, person: &str) -> std::path::PathBuf {
    let path = world.folder.path().join(format!("{partner}-{person}.key"));
    if !path.exists() {
        std::fs::write(&path, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    }
    path
}

fn key(world: &World, partner: &str, person: &str) -> String {
    std::fs::read_to_string(key_file(world, partner, person)).unwrap()
}

/// Puts somebody in office, with two hands.
pub(crate) async fn office(world: &World, partner: &'static str, person: &str, role: &str) -> String {
    let mut body = json!({ "person": person, "name": format!("{person} of {partner}"), "role": role });
    if role != "dpo" {
        body["key"] = signature::public_key(&key(world, partner, person)).unwrap();
    }
    let asked = world.send(by(world.act(partner, "/v1/agreement-officers", PURPOSE, body), lead)).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{asked:?}");
    let id = asked.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/agreement-officers/{id}/confirm");
    let alone = world.send(by(world.bare(partner, "POST", &path, PURPOSE), lead)).await;
    assert_eq!(alone.code(), "not-allowed", "one person is not enough");
    let confirmed = world.send(by(world.bare(partner, "POST", &path, PURPOSE), other)).await;
    assert_eq!(confirmed.status, StatusCode::OK, "{confirmed:?}");
    id
}

fn organisation(partner: &str) -> &'static str {
    if partner == "nhs" { "nhs-england" } else { "gmca" }
}

pub(crate) async fn signature_over(
    world: &World,
    partner: &'static str,
    person: &str,
    role: &str,
    version: u32,
) -> String {
    let path = format!("/v1/agreements/pilot/versions/{version}");
    let terms = world.send(by(world.bare(partner, "GET", &path, PURPOSE), lead)).await;
    assert_eq!(terms.status, StatusCode::OK, "{terms:?}");
    let statement = Statement {
        agreement: "pilot".to_owned(),
        version,
        terms_sha256: terms.headers["etag"].trim_matches('"').to_owned(),
        organisation: organisation(partner).to_owned(),
        signatory: person.to_owned(),
        role: role.to_owned(),
        signed_at: gateway::clock::Clock::now(&world.clock).as_second(),
    };
    signature::sign(&key(world, partner, person), &terms.text, &statement).unwrap()
}

async fn sign(
    world: &World,
    partner: &'static str,
    (person, name): (Person, &str),
    role: &str,
    version: u32,
) -> Answer {
    let signature = signature_over(world, partner, name, role, version).await;
    world.send(step(world, partner, person, json!({ "step": "sign", "signature": signature }))).await
}

/// A deployment whose guardrail lets a fire service ask by an NHS number for safeguarding too: the record holder of these
/// tests is asked by nothing else.
async fn deployment() -> World {
    const GUARDRAIL: &str = include_str!("../../../../policies/guardrails/recipient.cedar");
    let ours = r#"[Purpose::"fire-prevention-targeting", Purpose::"vital-interests"]"#;
    let theirs = r#"[Purpose::"fire-prevention-targeting", Purpose::"safeguarding-adult", Purpose::"vital-interests"]"#;
    let edited = GUARDRAIL.replace(ours, theirs);
    assert_ne!(edited, GUARDRAIL);
    World::with_files(&[("guardrails/recipient.cedar", &edited)]).await
}

/// Everybody in office.
async fn offices(world: &World) {
    for (person, role) in
        [("siro", "siro"), ("guardian", "caldicott-guardian"), ("assets", "iao"), ("dpo", "dpo")]
    {
        office(world, "nhs", person, role).await;
    }
    for role in ["siro", "dpo"] {
        office(world, "fire", role, role).await;
    }
}

/// An agreement that is proposed.
async fn proposed(world: &World, terms: &Value) {
    let begun = world.send(begin(world, &json!({ "id": "pilot", "terms": terms }))).await;
    assert_eq!((begun.status, begun.headers["etag"].as_str()), (StatusCode::CREATED, "\"1\""), "{begun:?}");
    assert_eq!(shown(world, "fire").await.code(), "no-such-entry", "a draft is its authors'");
    assert_eq!(
        taken(world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
            .await,
        "proposed"
    );
    assert_eq!(
        take(world, "nhs", author, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await
            .code(),
        "step-author-approves"
    );
}

/// It is agreed, and waits for signatures.
async fn agreed(world: &World) {
    taken(world, "nhs", lead, json!({ "step": "accept", "text": "It is what we need, and no more." })).await;
    assert_eq!(
        taken(world, "fire", lead, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await,
        "agreed-in-principle"
    );
    let assure = json!({ "step": "assure", "text": "Bases, notices and the assessment were looked at." });
    assert_eq!(taken(world, "fire", other, assure).await, "quality-assured");
    assert_eq!(
        taken(world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await,
        "awaiting-signature"
    );
}

/// Everybody has advised and signed this version.
async fn all_sign(world: &World, version: u32) {
    for partner in ["nhs", "fire"] {
        let advice = json!({ "step": "advise", "favourable": true, "text": "Proportionate." });
        taken(world, partner, dpo, advice).await;
        let answer = json!({ "step": "answer-advice", "followed": true, "text": "As advised." });
        taken(world, partner, lead, answer).await;
    }
    let all: [(&'static str, (Person, &str), &str); 4] = [
        ("nhs", (siro, "siro"), "siro"),
        ("nhs", (guardian, "guardian"), "caldicott-guardian"),
        ("nhs", (assets, "assets"), "iao"),
        ("fire", (siro, "siro"), "siro"),
    ];
    for (partner, person, role) in all {
        let answer = sign(world, partner, person, role, version).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}

/// Two people put it in force.
async fn put_in_force(world: &World) {
    assert_eq!(
        taken(world, "nhs", lead, json!({ "step": "activate", "text": "Everybody has signed." })).await,
        "awaiting-signature"
    );
    assert_eq!(
        take(world, "nhs", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await.code(),
        "step-same-person"
    );
    assert_eq!(
        taken(world, "fire", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await,
        "active"
    );
}

/// A deployment where the agreement waits for signatures, with everybody in office.
async fn to_be_signed() -> World {
    let world = deployment().await;
    comes_to_be_signed(&world).await;
    world
}

async fn comes_to_be_signed(world: &World) {
    offices(world).await;
    proposed(world, &terms()).await;
    agreed(world).await;
}

async fn signed() -> World {
    let world = to_be_signed().await;
    all_sign(&world, 1).await;
    world
}

pub(crate) async fn in_force() -> World {
    let world = deployment().await;
    comes_in_force(&world).await;
    world
}

/// The agreement comes to be in force in this deployment.
pub(crate) async fn comes_in_force(world: &World) {
    comes_to_be_signed(world).await;
    all_sign(world, 1).await;
    put_in_force(world).await;
}

fn question(world: &World) -> Request {
    world.question("fire", "nhs-pds", PURPOSE, ("nhs-number", NUMBER))
}

#[tokio::test]
async fn what_is_signed_is_enforced_from_the_next_request_on() {
    let world = signed().await;
    assert_eq!(world.send(question(&world)).await.code(), "referred-to-a-person", "signed, and not in force");
    taken(&world, "nhs", lead, json!({ "step": "activate", "text": "Everybody has signed." })).await;
    taken(&world, "fire", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await;
    let released = world.send(question(&world)).await;
    assert_eq!(released.status, StatusCode::OK, "{released:?}");
    assert!(released.text.contains("pilot"), "under this agreement: {}", released.text);
    // Switched off by one person, at once; on again by a second of the same organisation.
    let digest =
        |world: &World| world.app.policies().set.agreement_digest(&"pilot".parse().unwrap()).to_owned();
    let before = digest(&world);
    let scope = json!({ "flow": "at-risk" });
    let suspend =
        json!({ "step": "suspend", "scope": scope, "reason": "breach", "text": "A laptop is lost." });
    let stopped = world.send(step(&world, "fire", lead, suspend)).await;
    assert_eq!(stopped.status, StatusCode::OK, "no If-Match is asked for: {stopped:?}");
    assert_ne!(before, digest(&world), "a release that was decided before is decided again");
    let refused = world.send(question(&world)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    // Whoever decides whether it is disclosed all the same knows that it is switched off, and why.
    let referral = format!("/v1/referrals/{}", refused.body["decision_id"].as_str().unwrap());
    let decider = world.send(world.bare("nhs", "GET", &referral, PURPOSE)).await;
    assert_eq!(
        decider.body["not_in_force"],
        json!([{ "agreement": "pilot", "flow": "at-risk", "stops": [{ "scope": scope, "reason": "breach", "by": "gmca" }] }]),
        "{decider:?}"
    );
    let resume = json!({ "step": "resume", "scope": scope, "text": "It was found." });
    assert_eq!(take(&world, "fire", lead, resume.clone()).await.code(), "step-same-person");
    assert_eq!(take(&world, "nhs", lead, resume.clone()).await.code(), "step-stop-is-theirs");
    taken(&world, "fire", other, resume).await;
    assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    // It stays through a restart and a change of the folder's policies.
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    world.verify().await;
    let folder = world.stop().await;
    let world = World::start(folder, 1 << 40).await;
    assert_eq!(world.send(question(&world)).await.status, StatusCode::OK, "and a restart");
    let exit = json!({ "step": "exit", "text": "The pilot is over for us." });
    taken(&world, "fire", lead, exit).await;
    assert_eq!(world.send(question(&world)).await.status, StatusCode::FORBIDDEN, "whoever leaves has left");
    world.verify().await;
}

#[tokio::test]
async fn another_replica_enforces_it_too() {
    let world = in_force().await;
    if !world.settings.ledger.database.is_shared() {
        return;
    }
    let replica = world.replica(1).await;
    let client = world.client("fire");
    let ask = || question(&world);
    let answer = world.send_to(&client, replica.port, &ask()).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let suspend =
        json!({ "step": "suspend", "scope": "agreement", "reason": "regulator", "text": "By order." });
    world.send(step(&world, "nhs", lead, suspend)).await;
    let answer = world.send_to(&client, replica.port, &ask()).await.unwrap();
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_bundle_shows_offline_who_signed_what() {
    let world = in_force().await;
    let path = "/v1/agreements/pilot/versions/1/bundle";
    let exported = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    assert_eq!(exported.status, StatusCode::OK, "{exported:?}");
    let made: Bundle = serde_json::from_str(&exported.text).unwrap();
    let keys = [NoteVerifier::parse(&world.app.store.verifiers()[0].to_string()).unwrap()];
    let holds = bundle::verify(&made, &keys).unwrap();
    assert_eq!((holds.signed.len(), holds.put_in_force), (4, true));
    let edits: [(&str, Tampering); 11] = [
        ("other terms", |made| made.terms = made.terms.replace("\"retain_days\":30", "\"retain_days\":31")),
        ("another spelling", |made| made.terms.push(' ')),
        ("another version", |made| made.version = 2),
        ("another key", |made| made.signatures[0].jwk = made.signatures[3].jwk.clone()),
        ("another office", |made| made.signatures[0].officer_id = made.signatures[1].officer_id.clone()),
        ("a signature that the ledger has not", |made| made.signatures[0].signature.push('A')),
        ("an entry less", |made| drop(made.entries.remove(1))),
        ("an entry that was changed", |made| made.entries[0].leaf.insert(0, 'A')),
        ("a signature less", |made| drop(made.signatures.remove(1))),
        ("no signature", |made| made.signatures.clear()),
        ("a signature twice", |made| made.signatures.push(made.signatures[0].clone())),
    ];
    for (what, edit) in edits {
        let mut edited = made.clone();
        edit(&mut edited);
        // An entry less shows less: nobody is shown to be in office.
        assert!(bundle::verify(&edited, &keys).is_err(), "{what}");
    }
    // With its entry gone too, and whoever else signed for that end, it shows that it is not whole.
    let mut one_end = made.clone();
    let is_of = |organisation: &str, one: &bundle::BundledSignature| {
        signature::statement(&one.signature).unwrap().organisation == organisation
    };
    let gone: Vec<_> = made.signatures.iter().filter(|one| is_of("nhs-england", one)).cloned().collect();
    one_end.signatures.retain(|one| is_of("gmca", one));
    let kept = recorded(&world, &made).await.into_iter().map(|body| match body {
        Body::AgreementSigned { signature, .. } => gone.iter().all(|one| one.signature != signature),
        _ => true,
    });
    let mut kept = kept.collect::<Vec<_>>().into_iter();
    one_end.entries.retain(|_| kept.next().unwrap());
    assert_eq!(one_end.entries.len(), made.entries.len() - 3);
    let fault = bundle::verify(&one_end, &keys).unwrap_err().to_string();
    assert!(fault.contains("both ends"), "{fault}");
    let stranger = ledger::note::NoteSigner::from_seed("concordat.example/demo", &[9; 32]).verifier_key();
    assert!(bundle::verify(&made, &[NoteVerifier::parse(&stranger).unwrap()]).is_err(), "another ledger");
    // The program says the same.
    let file = world.folder.path().join("bundle.json");
    std::fs::write(&file, &exported.text).unwrap();
    let mut command = std::process::Command::new(acceptance::program());
    let ran = command
        .args(["agreement", "verify", "--key", &world.app.store.verifiers()[0].to_string()])
        .arg(&file);
    let ran = ran.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("put in force by two people"), "{ran:?}");
    let mut emptied = made.clone();
    emptied.signatures.clear();
    emptied.entries.clear();
    std::fs::write(&file, serde_json::to_string(&emptied).unwrap()).unwrap();
    let mut command = std::process::Command::new(acceptance::program());
    let ran = command
        .args(["agreement", "verify", "--key", &world.app.store.verifiers()[0].to_string()])
        .arg(&file);
    let ran = ran.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("nobody has signed it"), "{ran:?}");
    // And people read it, with the hash of what was signed.
    let path = "/v1/agreements/pilot/versions/1/document";
    let page = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    assert!(page.text.contains(&holds.terms_sha256) && page.text.contains("siro of fire"), "{}", page.text);
}

#[tokio::test]
async fn what_was_signed_in_an_office_that_is_over_is_signed_again() {
    let world = to_be_signed().await;
    let signature = signature_over(&world, "fire", "siro", "siro", 1).await;
    let listed = world.send(by(world.bare("fire", "GET", "/v1/agreement-officers", PURPOSE), lead)).await;
    let officers = listed.body["officers"].as_array().unwrap();
    let held = officers.iter().find(|officer| officer["role"] == "siro" && officer["organisation"] == "gmca");
    let path = format!("/v1/agreement-officers/{}/end", held.unwrap()["id"].as_str().unwrap());
    let ended = world.send(by(world.bare("fire", "POST", &path, PURPOSE), lead)).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    world.clock.advance_s(3_600);
    office(&world, "fire", "siro", "siro").await;
    let old = json!({ "step": "sign", "signature": signature });
    let refused = world.send(step(&world, "fire", siro, old)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    assert!(refused.text.contains("before your office was registered"), "{}", refused.text);
    let anew = sign(&world, "fire", (siro, "siro"), "siro", 1).await;
    assert_eq!(anew.status, StatusCode::OK, "{anew:?}");
}

#[tokio::test]
async fn a_bundle_has_nothing_of_other_agreements() {
    let world = in_force().await;
    // The same officer signs another one, between others.
    let path = "/v1/agreements/pilot/versions/1/bundle";
    let bundle = async || {
        let exported = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
        serde_json::from_str::<Bundle>(&exported.text).unwrap()
    };
    let before = bundle().await;
    let siro = before.signatures.iter().find(|one| {
        let said = signature::statement(&one.signature).unwrap();
        (said.organisation.as_str(), said.role.as_str()) == ("nhs-england", "siro")
    });
    let siro = siro.unwrap().officer_id.clone();
    let actor: Actor = serde_json::from_value(json!({
        "organisation": "nhs-england", "system": "nhs-system", "practitioner": "siro",
        "certificate_sha256": "00".repeat(32),
    }))
    .unwrap();
    let written = |agreement: &str, version| Body::AgreementSigned {
        agreement: agreement.to_owned(),
        revision: 1,
        version,
        terms_sha256: "00".repeat(32),
        state: "awaiting-signature".to_owned(),
        role: "siro".to_owned(),
        officer_id: siro.clone(),
        signature: "e30..AA".to_owned(),
        by: actor.clone(),
    };
    let moved = Body::AgreementMoved {
        agreement: "pilot".to_owned(),
        revision: 99,
        version: 2,
        terms_sha256: "00".repeat(32),
        action: "drafted".to_owned(),
        state: "active".to_owned(),
        scope: None,
        reason: None,
        text_sha256: None,
        by: Some(actor.clone()),
    };
    let bodies = vec![written("secret", 1), written("pilot", 2), moved];
    let submission = store::Submission::of(gateway::clock::Clock::now(&world.clock), bodies);
    world.app.store.commit(submission).await.unwrap();
    let after = bundle().await;
    let leaves = |made: &Bundle| made.entries.iter().map(|entry| entry.leaf.clone()).collect::<Vec<_>>();
    assert_eq!(leaves(&before), leaves(&after), "neither of another agreement nor of another version");
    let bodies = recorded(&world, &after).await;
    let count = |kind: &str| bodies.iter().filter(|body| body.kind() == kind).count();
    assert_eq!((count("agreement_officer_moved"), count("agreement_signed")), (4, 4), "{bodies:?}");
}

/// What its entries say.
async fn recorded(world: &World, bundle: &Bundle) -> Vec<Body> {
    let mut bodies = Vec::new();
    for entry in &bundle.entries {
        let place = ledger::proof::TlogProof::parse(&entry.proof).unwrap().index;
        let leaves = world.app.store.leaves(place, 1).await.unwrap();
        bodies.push(ledger::entry::Entry::decode(&leaves[0].bytes).unwrap().body);
    }
    bodies
}

#[tokio::test]
async fn two_who_change_it_at_once_do_not_lose_each_others_change() {
    let world = World::new().await;
    let body = json!({ "id": "pilot", "terms": terms() });
    world.send(begin(&world, &body)).await;
    let revise = |title: &str| {
        let mut terms = terms();
        terms["title"] = json!(title);
        json!({ "step": "revise", "terms": terms })
    };
    let unsaid = world.send(step(&world, "nhs", author, revise("one"))).await;
    assert_eq!((unsaid.status, unsaid.code()), (StatusCode::PRECONDITION_REQUIRED, "version-missing"));
    let made_to = |title: &str, revision: &str| {
        let mut request = step(&world, "nhs", author, revise(title));
        request.if_match = Some(revision.to_owned());
        request
    };
    let first = world.send(made_to("one", "\"1\"")).await;
    assert_eq!((first.status, first.headers["etag"].as_str()), (StatusCode::OK, "\"2\""));
    let second = world.send(made_to("two", "\"1\"")).await;
    assert_eq!((second.status, second.code()), (StatusCode::PRECONDITION_FAILED, "version-mismatch"));
    assert_eq!(world.send(made_to("two", "\"2\"")).await.status, StatusCode::OK);
    // Sent again, a request does nothing again; with another content its key is refused.
    let mut again = made_to("three", "\"3\"");
    again.request_key = Some("key-1");
    let done = world.send(again).await;
    assert_eq!((done.status, done.body["revision"].as_i64()), (StatusCode::OK, Some(4)), "{done:?}");
    let mut again = made_to("three", "\"3\"");
    again.request_key = Some("key-1");
    let replayed = world.send(again).await;
    assert_eq!((replayed.status, replayed.body["revision"].as_i64()), (StatusCode::OK, Some(4)));
    assert_eq!(replayed.headers["idempotency-replayed"], "true");
    let mut reused = made_to("four", "\"4\"");
    reused.request_key = Some("key-1");
    assert_eq!(world.send(reused).await.code(), "request-key-reused");
    let steps = world.send(by(world.bare("nhs", "GET", "/v1/agreements/pilot/steps", PURPOSE), lead)).await;
    let actions: Vec<_> =
        steps.body["steps"].as_array().unwrap().iter().map(|step| step["action"].clone()).collect();
    assert_eq!(actions, ["drafted", "revised", "revised", "revised"]);
}

#[tokio::test]
async fn a_counter_proposal_names_what_it_widens_and_older_signatures_are_refused() {
    let world = to_be_signed().await;
    let early = signature_over(&world, "fire", "siro", "siro", 1).await;
    // The terms have to change once more: the proposal is taken back, and a new draft takes its place.
    let withdraw = json!({ "step": "withdraw", "text": "The telephone number was left out." });
    assert_eq!(taken(&world, "nhs", lead, withdraw).await, "withdrawn");
    assert_eq!(
        take(&world, "nhs", lead, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await
            .code(),
        "step-not-in-this-state"
    );
    let signed = world.send(step(&world, "fire", siro, json!({ "step": "sign", "signature": early }))).await;
    assert_eq!(signed.code(), "step-not-in-this-state", "{signed:?}");
    // Another agreement, countered while it is proposed.
    let world = World::new().await;
    office(&world, "fire", "siro", "siro").await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let early = signature_over(&world, "fire", "siro", "siro", 1).await;
    let mut wider = terms();
    let item =
        json!({ "item": "person.telephone", "form": "as-is", "justification": "To ring before a visit." });
    wider["flows"][0]["items"].as_array_mut().unwrap().push(item);
    wider["title"] = json!("Adults at risk of fire");
    let counter = |terms: &Value| json!({ "step": "counter", "terms": terms, "reason": "not-enough", "text": "Crews ring." });
    assert_eq!(take(&world, "fire", lead, counter(&terms())).await.code(), "step-same-terms");
    assert_eq!(taken(&world, "fire", lead, counter(&wider)).await, "counter-proposed");
    let path = "/v1/agreements/pilot/diff?from=1&to=2";
    let diff = world.send(by(world.bare("nhs", "GET", path, PURPOSE), lead)).await;
    let places: Vec<_> = diff.body["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["direction"].as_str().unwrap(), found["place"].as_str().unwrap()))
        .collect();
    assert_eq!(places, [("widens", "flows[at-risk].items[person.telephone]"), ("alters", "title")]);
    for (partner, person) in [("nhs", lead as Person), ("fire", other)] {
        taken(
            &world,
            partner,
            person,
            json!({ "step": "accept", "text": "It is what we need, and no more." }),
        )
        .await;
    }
    taken(&world, "nhs", other, json!({ "step": "assure", "text": "In order." })).await;
    taken(&world, "nhs", other, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await;
    let older = world.send(step(&world, "fire", siro, json!({ "step": "sign", "signature": early }))).await;
    assert_eq!(older.code(), "step-other-version", "{older:?}");
    assert_eq!(sign(&world, "fire", (siro, "siro"), "siro", 2).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_to_look_at_before_agreeing_is_worked_out() {
    let world = World::new().await;
    let mut body = json!({ "id": "pilot", "terms": terms() });
    body["terms"]["flows"][0]["statutory_gateway"] = json!("Digital Economy Act 2017, s35");
    body["terms"]["dpia"]["outcome"] = json!("open");
    world.send(begin(&world, &body)).await;
    let path = "/v1/agreements/pilot/versions/1/checks";
    let unseen = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    assert_eq!(unseen.code(), "no-such-entry", "a draft is its authors'");
    let checks = world.send(by(world.bare("nhs", "GET", path, PURPOSE), lead)).await;
    assert_eq!(checks.status, StatusCode::OK, "{checks:?}");
    let lesser = checks.body["lesser"].as_array().unwrap();
    let initial = json!({
        "place": "at-risk/person.family_name", "how": "band", "form": "initial",
        "cost": "the recipient would know the initial, and not the name; it asks because: The crew has to find them.",
    });
    assert!(lesser.contains(&initial), "{lesser:?}");
    assert_eq!(checks.body["bases"][0]["provider"]["article_6"], "6(1)(e)");
    assert_eq!(checks.body["bases"][0]["gaps"].as_array().unwrap().len(), 1, "{checks:?}");
    let codes: Vec<_> = checks.body["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"dpia-open") && codes.contains(&"gateway"), "{codes:?}");
    assert!(!codes.contains(&"not-signed"), "{codes:?}");
}

#[tokio::test]
async fn whoever_has_left_the_office_or_is_somebody_else_does_not_sign() {
    let world = to_be_signed().await;
    let signature = signature_over(&world, "fire", "siro", "siro", 1).await;
    let body = json!({ "step": "sign", "signature": signature });
    assert_eq!(
        world.send(step(&world, "fire", lead, body.clone())).await.code(),
        "not-allowed",
        "another person"
    );
    assert_eq!(
        world.send(step(&world, "nhs", siro, body.clone())).await.code(),
        "invalid-request",
        "another organisation"
    );
    let listed = world.send(by(world.bare("fire", "GET", "/v1/agreement-officers", PURPOSE), lead)).await;
    let officer =
        listed.body["officers"].as_array().unwrap().iter().find(|officer| officer["role"] == "siro").unwrap();
    let end = format!("/v1/agreement-officers/{}/end", officer["id"].as_str().unwrap());
    assert_eq!(world.send(by(world.bare("nhs", "POST", &end, PURPOSE), lead)).await.code(), "no-such-entry");
    assert_eq!(world.send(by(world.bare("fire", "POST", &end, PURPOSE), lead)).await.status, StatusCode::OK);
    let left = world.send(step(&world, "fire", siro, body)).await;
    assert_eq!(left.code(), "not-allowed", "{left:?}");
    let signed = world
        .entries()
        .await
        .iter()
        .filter(|entry| matches!(entry.body, Body::AgreementSigned { .. }))
        .count();
    assert_eq!(signed, 0);
}

#[tokio::test]
async fn terms_that_do_not_fit_are_refused_with_what_to_do() {
    let world = World::new().await;
    let edits: [(Person, &str); 17] = [
        (|body| body["id"] = json!("gm-fire-prevention-over-65s"), "operator's files"),
        (|body| body["id"] = json!("Not A Name"), "id"),
        (|body| body["terms"]["review_on"] = json!("2026-10-01"), "review_on"),
        (|body| body["terms"]["ends_on"] = json!("2026-10-01"), "effective_on"),
        (|body| body["terms"]["flows"][0]["items"][0]["item"] = json!("person.blood_group"), "no item"),
        (|body| body["terms"]["flows"][0]["provider"] = json!("nobody"), "nobody"),
        (|body| drop(body["terms"]["parties"].as_array_mut().unwrap().remove(0)), "not a party"),
        (|body| body["terms"]["status"] = json!("active"), "status"),
        (
            |body| {
                let mut twice = body["terms"]["parties"][0].clone();
                twice["controller"] = json!("processor");
                body["terms"]["parties"].as_array_mut().unwrap().push(twice);
            },
            "is a party twice",
        ),
        (|body| body["terms"]["flows"][0]["recipient"] = json!("nhs-england"), "at both ends"),
        (|body| body["terms"]["flows"] = json!([]), "flows: one at least"),
        (|body| body["terms"]["title"] = json!("  "), "title"),
        (|body| body["terms"]["title"] = json!("\u{202e}=x"), "title"),
        (|body| body["terms"]["owner"] = json!("x\n=1+1"), "owner"),
        (|body| body["terms"]["review_on"] = body["terms"]["effective_on"].clone(), "review_on"),
        (|body| body["terms"]["grace_days"] = json!(65_535), "grace_days"),
        (|body| body["terms"]["flows"][0]["suspended"] = json!(false), "suspended"),
    ];
    for (edit, said) in edits {
        let mut body = json!({ "id": "pilot", "terms": terms() });
        edit(&mut body);
        let answer = world.send(begin(&world, &body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{said}: {answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(said), "{answer:?}");
    }
    // Systems that are not registered for it, and jobs, do nothing.
    let body = json!({ "id": "pilot", "terms": terms() });
    let auditor =
        world.send(world.act("auditor", "/v1/agreements", "service-improvement", body.clone())).await;
    assert_eq!(auditor.code(), "step-no-authority");
    let desk = world.send(world.act("desk", "/v1/agreements", "subject-access", body)).await;
    assert_eq!(desk.code(), "not-registered-for-this");
}

#[tokio::test]
async fn sixty_parties_are_parties() {
    let files: Vec<(String, String)> = (0..58)
        .map(|number| {
            let text = format!(
                "id = \"partner-{number}\"\nname = \"Partner {number}\"\nkind = \"council\"\npurposes = [\"safeguarding-adult\"]\ncontact = \"ig@partner-{number}.example.org\"\n"
            );
            (format!("organisations/partner-{number}.toml"), text)
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::with_files(&files).await;
    let mut many = terms();
    for number in 0..58 {
        let mut party = many["parties"][0].clone();
        party["organisation"] = json!(format!("partner-{number}"));
        many["parties"].as_array_mut().unwrap().push(party);
        let mut flow = many["flows"][0].clone();
        flow["id"] = json!(format!("to-{number}"));
        flow["recipient"] = json!(format!("partner-{number}"));
        for item in flow["items"].as_array_mut().unwrap() {
            item["justification"] = json!("The crew has to find them. ".repeat(20).trim());
        }
        many["flows"].as_array_mut().unwrap().push(flow);
    }
    let body = json!({ "id": "pilot", "terms": many });
    assert!(body.to_string().len() > 64 * 1024, "more than other requests may have");
    let begun = world.send(begin(&world, &body)).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let seen = shown(&world, "fire").await;
    assert_eq!(seen.body["negotiated"]["parties"].as_array().unwrap().len(), 60);
    // Two have agreed and go on; fifty-eight can still come.
    for partner in ["nhs", "fire"] {
        taken(&world, partner, lead, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await;
    }
    let proceed = json!({ "step": "proceed", "text": "The others follow." });
    assert_eq!(taken(&world, "nhs", lead, proceed).await, "agreed-in-principle");
    world.verify().await;
}

#[tokio::test]
async fn a_missed_review_is_told_and_cuts_no_safeguarding() {
    let world = in_force().await;
    let day = 86_400;
    world.clock.advance_s(300 * day);
    // Due, overdue, and what can wait suspended. The gateway looks by itself too.
    while !world.app.store.managed_due(gateway::clock::Clock::now(&world.clock)).await.unwrap().is_empty() {
        watch::pass(&world.app).await.unwrap();
    }
    let seen = shown(&world, "fire").await;
    assert_eq!(seen.body["state"], "suspended");
    assert_eq!(seen.body["stops"], json!([{ "scope": { "flow": "visits" }, "reason": "review-missed" }]));
    let answer = world.send(question(&world)).await;
    assert_eq!(answer.status, StatusCode::OK, "somebody's safety may depend on it: {answer:?}");
    let told = world.send(world.bare("nhs", "GET", "/v1/alerts", PURPOSE)).await;
    assert!(told.text.contains("agreement-overdue") && told.text.contains("agreement-suspended"), "{told:?}");
    assert_eq!(watch::pass(&world.app).await.unwrap(), 0);
    let by_time = world
        .entries()
        .await
        .into_iter()
        .filter(|entry| matches!(&entry.body, Body::AgreementMoved { by: None, .. }));
    assert_eq!(by_time.count(), 3);
    let reviewed = json!({ "step": "reviewed", "next_on": "2028-06-01", "text": "It is used and it helps." });
    assert_eq!(taken(&world, "nhs", lead, reviewed).await, "active");
    world.verify().await;
}
