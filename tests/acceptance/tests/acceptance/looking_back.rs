//! Explaining, replaying and simulating decisions; what was held at an earlier instant; opt-out checks.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use acceptance::World;
use gateway::{opt_outs, replay};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::json;
use store::{Archive, LookupKey};

async fn archive(world: &World) -> Archive {
    Archive::open(&world.settings.ledger.database, None).await.unwrap()
}

fn now(world: &World) -> jiff::Timestamp {
    gateway::clock::Clock::now(&world.clock)
}

#[tokio::test]
async fn a_practitioner_reads_why_and_learns_nothing_more() {
    let world = World::new().await;
    let permitted = world.send(world.prevention("9732110317")).await;
    let restricted = world.send(world.prevention("9000000025")).await;
    let unknown = world.send(world.prevention("9990000166")).await;
    let explain = |answer: &acceptance::Answer, partner, purpose| {
        let receipt = answer.body["receipt"]["decision_id"].as_str().unwrap().to_owned();
        world.bare(partner, "GET", &format!("/v1/decisions/{receipt}/explanation"), purpose)
    };
    let prevention = "fire-prevention-targeting";
    let why = world.send(explain(&permitted, "fire", prevention)).await;
    assert_eq!((why.status, &why.body["result"]), (StatusCode::OK, &json!("permitted")), "{why:?}");
    let agreement =
        "agreement “Over-65s fire prevention, Greater Manchester” (gm-fire-prevention-over-65s), version 2";
    assert!(why.body["in_words"][1].as_str().unwrap().contains(agreement), "{why:?}");
    let one = world.send(explain(&restricted, "fire", prevention)).await;
    let other = world.send(explain(&unknown, "fire", prevention)).await;
    assert_eq!(one.body["result"], "no-record-available");
    assert_eq!(one.shape(), other.shape(), "and so does the fire service's own officer");
    // The record holder's officer reads everything.
    let full = world.send(explain(&restricted, "nhs", "direct-care")).await;
    let reasons = full.body["in_full"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["code"] == "restricted"), "{full:?}");
    assert!(full.body["in_full"]["rules"].as_array().unwrap().len() >= 15);
    // Whoever has nothing to do with it reads nothing.
    let foreign = world.send(explain(&restricted, "council", "direct-care")).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    let nothing = world
        .send(world.bare(
            "fire",
            "GET",
            "/v1/decisions/dec_00000000000000000000000000000000/explanation",
            prevention,
        ))
        .await;
    assert_eq!(nothing.code(), "no-such-entry");
    let read =
        world.entries().await.into_iter().filter(|entry| matches!(entry.body, Body::DecisionRead { .. }));
    assert_eq!(read.count(), 4);
}

#[tokio::test]
async fn what_was_held_then_is_told_as_it_was_known_then() {
    let world = World::new().await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    let id = recorded.body["id"].as_str().unwrap().to_owned();
    world.clock.advance_s(600);
    let path = format!("/v1/consents/{id}/withdraw");
    world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    let search = |as_of: Option<&str>| {
        let mut request = world.consent("SWR-2044");
        "/v1/consents/search".clone_into(&mut request.path);
        let mut body = json!({ "subject": { "scheme": "local:trafford-council", "value": "SWR-2044" } });
        if let Some(as_of) = as_of {
            body["as_of"] = json!(as_of);
        }
        request.body = Some(body);
        request
    };
    let held = |answer: acceptance::Answer| answer.body["consents"][0]["status"].clone();
    assert_eq!(held(world.send(search(None)).await), "withdrawn");
    assert_eq!(held(world.send(search(Some("2026-11-23T12:09:59Z"))).await), "given");
    assert_eq!(held(world.send(search(Some("2026-11-23T12:10:00Z"))).await), "withdrawn");
    let before = world.send(search(Some("2026-11-23T11:59:59Z"))).await;
    assert_eq!(before.body["consents"], json!([]), "it was given in October and recorded at noon");
    let future = world.send(search(Some("2026-11-24T00:00:00Z"))).await;
    assert_eq!((future.status, future.code()), (StatusCode::BAD_REQUEST, "invalid-request"));
}

#[tokio::test]
async fn a_status_follows_only_what_it_can_follow() {
    let world = World::new().await;
    let mut request = world.consent("SWR-2044");
    request.body.as_mut().unwrap()["status"] = json!("requested");
    let recorded = world.send(request).await;
    assert_eq!(recorded.status, StatusCode::CREATED, "{recorded:?}");
    let path = format!("/v1/consents/{}/status", recorded.body["id"].as_str().unwrap());
    let change = |status: &str| {
        let body = json!({ "status": status, "reason": "As the person said today." });
        world.act("council", &path, "safe-and-well-referral", body)
    };
    assert_eq!(world.send(world.referral("SWR-2044")).await.code(), "no-record-available");
    assert_eq!(world.send(change("renewed")).await.code(), "wrong-state");
    assert_eq!(world.send(change("given")).await.body["status"], "given");
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK);
    assert_eq!(world.send(change("refused")).await.code(), "wrong-state");
    assert_eq!(world.send(change("renewed")).await.body["status"], "renewed");
    let invalidated = world.send(change("invalidated")).await;
    assert_eq!(invalidated.body["status"], "invalidated", "{invalidated:?}");
    assert_eq!(world.send(world.referral("SWR-2044")).await.code(), "no-record-available");
    assert_eq!(world.send(change("given")).await.code(), "wrong-state");
    world.verify().await;
}

#[tokio::test]
async fn an_objection_is_answered_and_a_dissent_is_not() {
    let world = World::new().await;
    let number = "9732110317";
    assert_eq!(world.send(world.prevention(number)).await.status, StatusCode::OK);
    let recorded = world.send(world.objection(number)).await;
    let path = |answer: &acceptance::Answer| {
        format!("/v1/objections/{}/answer", answer.body["id"].as_str().unwrap())
    };
    assert_eq!(world.send(world.prevention(number)).await.code(), "no-record-available");
    let purpose = "fire-prevention-targeting";
    let bare_no = json!({ "outcome": "refused", "grounds": "no", "told_of_remedies": true });
    assert_eq!(
        world.send(world.act("council", &path(&recorded), purpose, bare_no)).await.code(),
        "invalid-request"
    );
    let no = json!({
        "outcome": "refused", "grounds": "The fire risk to the neighbours below overrides.", "told_of_remedies": true,
    });
    let refused = world.send(world.act("council", &path(&recorded), purpose, no.clone())).await;
    assert_eq!(refused.body["answer"], "The fire risk to the neighbours below overrides.");
    assert_eq!((refused.status, &refused.body["in_force"]), (StatusCode::OK, &json!(false)), "{refused:?}");
    assert_eq!(world.send(world.prevention(number)).await.status, StatusCode::OK);
    let mut dissent = world.objection(number);
    dissent.body.as_mut().unwrap()["kind"] = json!("dissent");
    let dissent = world.send(dissent).await;
    let answered = world.send(world.act("council", &path(&dissent), purpose, no)).await;
    assert_eq!((answered.status, answered.code()), (StatusCode::CONFLICT, "wrong-state"));
    assert_eq!(world.send(world.prevention(number)).await.code(), "no-record-available");
    world.verify().await;
}

#[tokio::test]
async fn the_controller_that_an_objection_is_about_answers_it() {
    let world = World::new().await;
    let number = "9732110317";
    let mut objection = world.objection(number);
    objection.body.as_mut().unwrap()["controller"] = json!("nhs-england");
    let recorded = world.send(objection).await;
    assert_eq!((recorded.status, &recorded.body["controller"]), (StatusCode::CREATED, &json!("nhs-england")));
    let path = format!("/v1/objections/{}/answer", recorded.body["id"].as_str().unwrap());
    let upheld = json!({ "outcome": "upheld" });
    let refused = world.send(world.act("council", &path, "fire-prevention-targeting", upheld.clone())).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "not-allowed"), "{refused:?}");
    let alerts = world.send(world.bare("nhs", "GET", "/v1/alerts", "direct-care")).await;
    let alert = &alerts.body["alerts"][0];
    assert_eq!(
        (&alert["rule"], &alert["reference"]),
        (&json!("objection-received"), &recorded.body["id"]),
        "{alerts:?}"
    );
    let withdraw = path.replace("/answer", "/withdraw");
    let by_controller = world.send(world.bare("nhs", "POST", &withdraw, "direct-care")).await;
    assert_eq!(
        by_controller.code(),
        "not-allowed",
        "nobody takes back what somebody else was told: {by_controller:?}"
    );
    let answered = world.send(world.act("nhs", &path, "direct-care", upheld)).await;
    assert_eq!(
        (answered.status, &answered.body["status"]),
        (StatusCode::OK, &json!("upheld")),
        "{answered:?}"
    );
    let mut unknown = world.objection(number);
    unknown.body.as_mut().unwrap()["controller"] = json!("nobody");
    assert_eq!(world.send(unknown).await.code(), "invalid-request");
    world.verify().await;
}

#[tokio::test]
async fn why_a_status_changed_is_kept_with_it() {
    let world = World::new().await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    let path = format!("/v1/consents/{}", recorded.body["id"].as_str().unwrap());
    world.clock.advance_s(60);
    let revoke = json!({ "status": "revoked", "reason": "The referral was closed." });
    let purpose = "safe-and-well-referral";
    let revoked = world.send(world.act("council", &format!("{path}/status"), purpose, revoke)).await;
    assert_eq!(revoked.body["status_reason"], "The referral was closed.", "{revoked:?}");
    let held = world.send(world.bare("council", "GET", &path, purpose)).await;
    assert_eq!(held.body["status_reason"], "The referral was closed.");
    let mut before = world.consent("SWR-2044");
    "/v1/consents/search".clone_into(&mut before.path);
    let subject = json!({ "scheme": "local:trafford-council", "value": "SWR-2044" });
    before.body = Some(json!({ "subject": subject, "as_of": "2026-11-23T12:00:30Z" }));
    let before = world.send(before).await;
    assert_eq!(before.body["consents"][0]["status"], "given");
    assert!(before.body["consents"][0].get("status_reason").is_none(), "{before:?}");
}

#[tokio::test]
async fn a_decision_is_decided_again_as_it_was() {
    let world = World::new().await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    world.clock.advance_s(60);
    let permitted = world.send(world.referral("SWR-2044")).await;
    let id = permitted.body["receipt"]["decision_id"].as_str().unwrap().to_owned();
    let refused = world.send(world.referral("SWR-2042")).await;
    world.clock.advance_s(60);
    let path = format!("/v1/consents/{}/withdraw", recorded.body["id"].as_str().unwrap());
    world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    world.clock.advance_s(60);
    let archive = archive(&world).await;
    let again = replay::replay(&archive, &id, now(&world)).await.unwrap();
    assert!(again.agrees(), "{again:?}");
    assert_eq!((again.again.decision, again.today.decision), ("permit", "deny"));
    assert_eq!(again.today.reasons, ["consent-ended"]);
    assert_eq!(again.differences, ["what is held about the person has changed"]);
    assert!(again.ended.starts_with("released person.name:as-is"), "{}", again.ended);
    let id = refused.body["decision_id"].as_str().unwrap().to_owned();
    let other = replay::replay(&archive, &id, now(&world)).await.unwrap();
    assert!(other.agrees() && other.differences.is_empty(), "{other:?}");
    assert!(replay::replay(&archive, "dec_00000000000000000000000000000000", now(&world)).await.is_err());
}

#[tokio::test]
async fn a_proposal_is_tried_on_past_questions() {
    let world = World::new().await;
    world.send(world.prevention("9732110317")).await;
    world.send(world.prevention("9732110317")).await;
    world.send(world.referral("SWR-2044")).await;
    world.clock.advance_s(60);
    let archive = archive(&world).await;
    let over = ("2026-11-23T00:00:00Z".parse().unwrap(), now(&world));
    let folder = world.folder.path().join("policies");
    let same = gateway::policies::load(&folder).unwrap();
    let nothing = replay::simulate(&archive, &same, over).await.unwrap();
    assert_eq!((nothing.questions, nothing.changes.len()), (3, 0), "{nothing:?}");
    // A draft that has not been signed and begins next year: what if it were in force?
    let path = folder.join("agreements/gm-fire-prevention-over-65s.toml");
    let text = fs::read_to_string(&path).unwrap();
    let block =
        text.split("[[flows.items]]").find(|block| block.contains("item = \"person.address\"")).unwrap();
    let draft = text
        .replace(&format!("[[flows.items]]{block}"), "")
        .replacen("status = \"active\"", "status = \"draft\"", 1)
        .replacen("effective_on = \"2026", "effective_on = \"2027", 1);
    fs::write(&path, draft).unwrap();
    let proposed = gateway::policies::load(&folder).unwrap();
    let simulation = replay::simulate(&archive, &proposed, over).await.unwrap();
    assert_eq!((simulation.in_force["permit"], simulation.proposed["permit"]), (2, 2), "{simulation:?}");
    let change = &simulation.changes[0];
    assert_eq!((change.questions, change.people), (2, 1), "{change:?}");
    assert!(change.from.contains("person.address") && !change.to.contains("person.address"));
    assert_eq!(simulation.items["person.address:as-is"], (2, 0));
    let usage = replay::usage(&archive, over.0, over.1).await.unwrap();
    assert_eq!(usage.releases.values().copied().collect::<Vec<_>>(), [2]);
}

/// The over-65s flow, as case finding with a health item: the opt-out comes into play.
async fn planning() -> World {
    let agreement = "agreements/trafford-asc-nhs-direct-care.toml";
    let edits = [
        (
            "organisations/nhs-england.toml",
            "purposes = [\"direct-care\",",
            "purposes = [\"planning-commissioning\", \"direct-care\",",
        ),
        (
            agreement,
            "recipient = \"nhs-england\"\npurpose = \"direct-care\"",
            "recipient = \"nhs-england\"\npurpose = \"planning-commissioning\"",
        ),
        (
            agreement,
            "roles = [\"clinician\"]\nconfidentiality = { basis = \"implied-consent\" }",
            "roles = [\"clinician\"]\nconfidentiality = { basis = \"section251\", reference = \"26/CAG/1\", expires_on = \"2027-04-01\" }",
        ),
    ];
    World::with_policies(&edits).await
}

fn ask_for_planning(world: &World, number: &'static str) -> acceptance::Request {
    let mut request = world.question("nhs", "trafford-asc", "planning-commissioning", ("nhs-number", number));
    request.body.as_mut().unwrap()["items"] = json!(["health.home_oxygen"]);
    request.spoil_access =
        Some(|claims| claims["authorization_details"][0]["purpose"] = json!("planning-commissioning"));
    request
}

/// A check as `ndo import` leaves it, about whom it left in and whom it took out.
fn check(world: &World, id: &str, clear: &[&str], opted_out: &[&str]) -> opt_outs::Spooled {
    let key = LookupKey::new(*gateway::config::read_key(&world.settings.ledger.lookup_key).unwrap());
    let purpose = sharing::PurposeClass::PlanningCommissioning;
    let hash = |number: &&str| opt_outs::hex(&key.opt_out_hash(purpose, &number.parse().unwrap()));
    opt_outs::Spooled {
        id: id.to_owned(),
        purpose,
        key: key.check_value(),
        expires_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        clear: clear.iter().map(hash).collect(),
        opted_out: opted_out.iter().map(hash).collect(),
    }
}

fn spool(world: &World, batch: &opt_outs::Spooled) -> PathBuf {
    let folder = opt_outs::folder(&world.settings.ledger.beside());
    fs::create_dir_all(&folder).unwrap();
    let (path, next) = (folder.join(format!("{}.json", batch.id)), folder.join(format!("{}.next", batch.id)));
    fs::write(&next, serde_json::to_vec(batch).unwrap()).unwrap();
    fs::rename(&next, &path).unwrap();
    path
}

/// Takes in what waits, unless the gateway itself was faster.
async fn taken_in(world: &World, file: &Path) {
    opt_outs::take_in(&world.app, file.parent().unwrap()).await.unwrap();
    for _ in 0..1_000 {
        if !file.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was not taken in", file.display());
}

#[tokio::test]
async fn an_opt_out_check_is_taken_in_used_and_forgotten() {
    let world = planning().await;
    let (one, other, third) = ("9732110317", "9733162043", "9736363015");
    let ask = |number| ask_for_planning(&world, number);
    let unknown = world.send(ask("9990000166")).await;
    let unchecked = world.send(ask(one)).await;
    assert_eq!(
        (unchecked.status, unchecked.code()),
        (StatusCode::NOT_FOUND, "no-record-available"),
        "{unchecked:?}"
    );
    let file = spool(&world, &check(&world, "ndo_1", &[one], &[other]));
    let folder = file.parent().unwrap();
    fs::write(folder.join("broken.json"), b"{}").unwrap();
    let with_another_key = opt_outs::Spooled { key: "0".repeat(32), ..check(&world, "ndo_2", &[other], &[]) };
    spool(&world, &with_another_key);
    taken_in(&world, &file).await;
    for refused in ["broken.refused", "ndo_2.refused"] {
        assert!(folder.join(refused).exists(), "{refused}");
    }
    // A gateway may stop after it was committed and before the file is gone: it is taken in once, and holds nobody up.
    taken_in(&world, &spool(&world, &check(&world, "ndo_1", &[one], &[other]))).await;
    let permitted = world.send(ask(one)).await;
    assert_eq!(permitted.status, StatusCode::OK, "{permitted:?}");
    for number in [other, third] {
        let refused = world.send(ask(number)).await;
        assert_eq!(refused.shape(), unknown.shape(), "opted out and not checked look like nobody");
    }
    let reasons: Vec<_> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::Refusal(decided) => Some(decided.reasons),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.iter().filter(|reasons| **reasons == ["opted-out"]).count(), 1);
    // It expires.
    world.clock.advance_s(24 * 3_600);
    assert_eq!(world.send(ask(one)).await.code(), "no-record-available");
    world.verify().await;
}

/// Whom a check is about is known from its hashes alone: what was decided beside others is decided again.
#[tokio::test]
async fn an_opt_out_that_comes_while_the_record_is_on_its_way_stops_it() {
    let world = planning().await;
    let number = "9732110317";
    let ask = || world.send(ask_for_planning(&world, number));
    taken_in(&world, &spool(&world, &check(&world, "ndo_1", &[number], &[]))).await;
    for (id, opted_out, expected) in [("ndo_2", "9733162043", 200), ("ndo_3", number, 404)] {
        let holder = &world.asked["council"];
        let asked = holder.asked().len();
        holder.wait();
        let import = async {
            while holder.asked().len() == asked {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            taken_in(&world, &spool(&world, &check(&world, id, &[], &[opted_out]))).await;
            holder.go_on();
        };
        let ((), answer) = tokio::join!(import, ask());
        assert_eq!(answer.status.as_u16(), expected, "{id}: {answer:?}");
    }
    assert_eq!(world.last_kinds(3).await, ["intent", "opt_outs_imported", "closure"]);
    world.verify().await;
}

#[tokio::test]
async fn a_consent_is_told_as_a_receipt() {
    let world = World::new().await;
    let mut request = world.consent("SWR-2044");
    request.body.as_mut().unwrap()["given_by"] = json!({
        "who": "proxy", "authority": "health-and-welfare-attorney", "capacity_statement": "Assessed on 3 October 2026.",
    });
    let recorded = world.send(request).await;
    let id = recorded.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/consents/{id}/receipt");
    let read = world.send(world.bare("council", "GET", &path, "direct-care")).await;
    assert_eq!((read.status, read.headers["content-type"].as_str()), (StatusCode::OK, "application/ld+json"));
    assert_eq!(read.body["dpv:hasConsentStatus"]["@id"], "dpv:ConsentGiven");
    assert_eq!(read.body["dct:hasPart"][0]["dpv:isIndicatedBy"]["authority"], "health-and-welfare-attorney");
    let basis = read.body["dpv:hasLegalBasis"]["dct:description"].as_str().unwrap();
    assert!(basis.contains("no legal basis of the UK GDPR"), "{basis}");
    assert!(!read.body.to_string().contains("SWR-2044"), "a receipt identifies nobody");
    let withdraw = format!("/v1/consents/{id}/withdraw");
    world.send(world.bare("council", "POST", &withdraw, "direct-care")).await;
    let after = world.send(world.bare("council", "GET", &path, "direct-care")).await;
    assert_eq!(after.body["dpv:hasConsentStatus"]["@id"], "dpv:ConsentWithdrawn");
    assert_eq!(after.body["dct:hasPart"][0]["dpv:hasConsentStatus"]["@id"], "dpv:ConsentGiven");
    let foreign = world.send(world.bare("nhs", "GET", &path, "direct-care")).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
}
