//! What residents agree to for themselves in the console.

use ::console::person::{Person, Role, Vouched};
use acceptance::World;
use gateway::{clock::Clock as _, serve};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

const PERSON: &str = "9732110317";
const AGREEMENT: &str = "gm-fire-prevention-over-65s";

/// Where the console asks the API for somebody whom it has signed in.
pub async fn desk_for(world: &World, role: Role, (organisation, number): (&str, &str), once: u32) -> String {
    let vouched = Vouched {
        person: Person {
            organisation: organisation.parse().unwrap(),
            id: "resident-1".to_owned(),
            name: "Somebody".to_owned(),
            roles: [role].into(),
            nhs_number: Some(number.to_owned()),
            identity_check: None,
        },
        purpose: "subject-access".parse().unwrap(),
        case_reference: "own-request".parse().unwrap(),
        record: sharing::SubjectIdentifier::parse("nhs-number".parse().unwrap(), number).ok(),
        once: format!("once-{once}"),
        session: "0".repeat(64),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let desk = gateway::routes::desk(world.app.clone()).layer(axum::Extension(vouched));
    tokio::spawn(async move { axum::serve(listener, desk).await.unwrap() });
    address
}

/// What the page of a flow says that a yes is a yes to.
fn shown(world: &World, agreement: &str, flow: &str) -> Option<sharing::subject::Shown> {
    let (set, at) = (world.app.policies().set, world.app.clock.now());
    let scheme = sharing::SubjectScheme::NhsNumber;
    let organisations = set.organisations().map(|one| one.id.get_ref().clone()).collect::<Vec<_>>();
    organisations.iter().find_map(|organisation| {
        let questions = sharing::consenting::questions(&set, &scheme, organisation, at);
        let it = questions
            .iter()
            .find(|one| one.agreement.id().as_str() == agreement && one.flow.id.get_ref().as_str() == flow);
        it.map(sharing::consenting::ConsentQuestion::shown)
    })
}

async fn says(
    world: &World,
    role: Role,
    organisation: &str,
    once: u32,
    change: Value,
) -> (StatusCode, Value) {
    let desk = desk_for(world, role, (organisation, PERSON), once).await;
    let mut body = json!({
        "subject": { "scheme": "nhs-number", "value": PERSON },
        "agreement": AGREEMENT, "version": 2, "flow": "single-look-up", "answer": "given",
        "shown": shown(world, AGREEMENT, "single-look-up").map(|shown| shown.sha256()).unwrap_or_default(),
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{desk}/v1/own-consents")).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Sharing in which one item is confidential, and leaves only if the person agrees.
async fn by_consent() -> World {
    let item = "title = \"Gender\"\ncategory = \"ordinary\"\nconfidential = false";
    let agreement = "agreements/gm-fire-prevention-over-65s.toml";
    World::with_policies(&[
        ("catalogue/nhs-pds.toml", item, &item.replace("false", "true")),
        (agreement, "basis = \"not-confidential\"", "basis = \"explicit-consent\""),
    ])
    .await
}

#[tokio::test]
async fn a_resident_agrees_and_it_is_shared_until_they_take_it_back() {
    let world = by_consent().await;
    let asks = async || world.send(world.prevention(PERSON)).await;
    assert_ne!(asks().await.status, StatusCode::OK, "nobody agreed");
    let (status, made) = says(&world, Role::Citizen, "nhs-england", 1, json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let answer = asks().await;
    assert_eq!(answer.status, StatusCode::OK, "the person agreed: {answer:?}");
    let entries = world.entries().await;
    let recorded = entries.iter().find(|entry| entry.body.kind() == "consent_recorded").unwrap();
    let recorded = serde_json::to_value(&recorded.body).unwrap().to_string();
    for said in ["\"given\"", "confidentiality-consent", "resident-1", "citizen", "\"console\"", "gmca"] {
        assert!(recorded.contains(said), "{said}: {recorded}");
    }
    let id = made["consents"][0].as_str().unwrap();
    let held = world.app.store.consent(&id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(held.record.given_by, sharing::subject::GivenBy::Person);
    let details: Value = serde_json::from_str(&held.details).unwrap();
    assert_eq!(details["method"], "online");
    assert!(details["notice_version"].as_str().unwrap().contains("version 2"), "{details}");
    // Of five items one needs their yes. The page says that the others leave without it, and so they do.
    assert_eq!(details["data_categories"], json!(["Gender"]), "what they said yes to: {details}");
    let said = held.record.shown.as_deref().unwrap();
    assert_eq!(said.items.iter().map(ToString::to_string).collect::<Vec<_>>(), ["person.gender:as-is"]);
    let stated = entries.iter().find_map(|entry| match &entry.body {
        Body::ConsentRecorded { shown, .. } => shown.as_deref(),
        _ => None,
    });
    let stated = stated.expect("the entry says what was agreed to");
    assert_eq!(stated.items, ["person.gender:as-is"]);
    let stamped = entries.iter().find_map(|entry| match &entry.body {
        Body::PolicySetActivated { agreements, .. } => {
            agreements.iter().find(|one| one.agreement == AGREEMENT)
        }
        _ => None,
    });
    assert_eq!(stated.agreement.digest, stamped.unwrap().digest, "of the very file that was in force");
    let year = held.record.expires_at.unwrap().duration_since(held.record.given_at);
    assert_eq!(year.as_hours(), 365 * 24, "it ends by itself");
    // A no is a record of its own, and outweighs the yes.
    let (status, said) = says(&world, Role::Citizen, "nhs-england", 2, json!({ "answer": "refused" })).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    assert_ne!(asks().await.status, StatusCode::OK, "the person said no");
}

#[tokio::test]
async fn a_no_is_taken_although_the_agreement_changed_meanwhile_and_a_yes_is_not() {
    let world = by_consent().await;
    let asks = async || world.send(world.prevention(PERSON)).await;
    let (status, _) = says(&world, Role::Citizen, "nhs-england", 0, json!({})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(asks().await.status, StatusCode::OK);
    world.clock.advance_s(1);
    let old = |answer: &str| json!({ "version": 1, "shown": "0".repeat(64), "answer": answer });
    let (status, said) = says(&world, Role::Citizen, "nhs-england", 1, old("given")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let (status, said) = says(&world, Role::Citizen, "nhs-england", 2, old("refused")).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    assert_ne!(asks().await.status, StatusCode::OK, "the person said no");
    let consents = held(&world).await;
    let found: Vec<_> = consents.iter().map(|one| (one["status"].clone(), one["holds"].clone())).collect();
    assert!(found.contains(&(json!("given"), json!(false))), "the yes counts no more: {consents:?}");
    assert!(found.contains(&(json!("refused"), json!(false))), "{consents:?}");
    let no = consents.iter().find(|one| one["status"] == "refused").unwrap();
    assert!(no.get("shown").is_none(), "nobody knows what they were shown");
    world.verify().await;
}

#[tokio::test]
async fn looks_of_a_persons_own_crowd_out_nobodys() {
    let world = World::new().await;
    held(&world).await;
    let own =
        world.entries().await.into_iter().rev().find(|entry| entry.body.kind() == "subject_record_read");
    let own = own.unwrap().body;
    let mut officers = own.clone();
    let ledger::entry::Body::SubjectRecordRead { what, by, .. } = &mut officers else { panic!("no read") };
    *what = "consent".to_owned();
    (by.role, by.practitioner) = (Some("privacy-officer".to_owned()), Some("NHS-PO-1".to_owned()));
    let bodies = std::iter::once(officers).chain(vec![own; 600]).collect();
    world.app.store.commit(store::Submission::of(world.clock.now(), bodies)).await.unwrap();
    let desk = desk_for(&world, Role::Citizen, ("nhs-england", PERSON), 91).await;
    let asked =
        json!({ "subject": { "scheme": "nhs-number", "value": PERSON }, "identity_check": "sign-in" });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{desk}/v1/subject-access")).json(&asked).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let looks = answer["looks"].as_array().unwrap();
    let others: Vec<_> = looks.iter().filter(|look| look["own"] == false).collect();
    assert_eq!(others.len(), 1, "{answer}");
    assert!(others[0]["in_words"].as_str().unwrap().contains("privacy officer) read your consent"));
    let mine = looks.iter().find(|look| look["own"] == true).unwrap();
    let words = mine["in_words"].as_str().unwrap();
    assert!(words.ends_with("you looked here yourself (the sign-in service said who asked)."), "{words}");
    assert!(looks.len() <= 501 && answer["more"] == false, "{}", looks.len());
}

/// What is held about the person, as they are told.
async fn held(world: &World) -> Vec<Value> {
    let desk = desk_for(world, Role::Citizen, ("nhs-england", PERSON), 90).await;
    let asked = json!({ "subject": { "scheme": "nhs-number", "value": PERSON }, "identity_check": "sign-in", "held_only": true });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{desk}/v1/subject-access")).json(&asked).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["held"]["consents"].as_array().unwrap().clone()
}

#[tokio::test]
async fn nobody_is_asked_for_what_no_decision_rests_on_and_nobody_answers_for_another() {
    let world = by_consent().await;
    let cases = [
        (Role::Citizen, "nhs-england", json!({ "version": 1 }), StatusCode::CONFLICT, "another version"),
        (
            Role::Citizen,
            "nhs-england",
            json!({ "shown": "0".repeat(64) }),
            StatusCode::CONFLICT,
            "other items",
        ),
        (Role::Citizen, "nhs-england", json!({ "flow": "other" }), StatusCode::NOT_FOUND, "no such flow"),
        (
            Role::Citizen,
            "nhs-england",
            json!({ "agreement": "gm-safe-and-well-referral", "version": 1, "flow": "referral" }),
            StatusCode::NOT_FOUND,
            "of others, who ask by another number",
        ),
        (
            Role::Citizen,
            "trafford-council",
            json!({ "agreement": "gm-safe-and-well-referral", "version": 1, "flow": "referral" }),
            StatusCode::NOT_FOUND,
            "no question of it is about an nhs number",
        ),
        (
            Role::Citizen,
            "nhs-england",
            json!({ "answer": "requested" }),
            StatusCode::BAD_REQUEST,
            "no answer",
        ),
        (
            Role::Citizen,
            "nhs-england",
            json!({ "expires_at": "2099-01-01T00:00:00Z" }),
            StatusCode::BAD_REQUEST,
            "their own terms",
        ),
        (
            Role::Citizen,
            "nhs-england",
            json!({ "subject": { "scheme": "nhs-number", "value": "9736363023" } }),
            StatusCode::FORBIDDEN,
            "somebody else",
        ),
        (Role::PrivacyOfficer, "nhs-england", json!({}), StatusCode::FORBIDDEN, "an officer"),
        (Role::Auditor, "nhs-england", json!({}), StatusCode::FORBIDDEN, "an auditor"),
    ];
    for (number, (role, organisation, change, expected, what)) in cases.into_iter().enumerate() {
        let (status, said) = says(&world, role, organisation, u32::try_from(number).unwrap(), change).await;
        assert_eq!(status, expected, "{what}: {said}");
    }
    let consents = world.entries().await.into_iter().filter(|entry| entry.body.kind() == "consent_recorded");
    assert_eq!(consents.count(), 0);
    // Where the flow rests on something else, there is nothing to agree to.
    let plain = World::new().await;
    let (status, said) = says(&plain, Role::Citizen, "nhs-england", 1, json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{said}");
    // And it is no route of the public interface.
    let public = plain.send(plain.act("nhs", "/v1/own-consents", "subject-access", json!({}))).await;
    assert_eq!(public.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_later_version_tells_no_more_than_a_resident_was_shown_until_they_are_asked_again() {
    let world = by_consent().await;
    let asks = async || world.send(world.prevention(PERSON)).await;
    let (status, made) = says(&world, Role::Citizen, "nhs-england", 1, json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(asks().await.body["withheld"], json!([]));
    let folder = &world.settings.policies;
    let edit = |path: &str, find: &str, replace: &str| {
        let path = folder.join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(find), "{find}");
        std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
    };
    let agreement = "agreements/gm-fire-prevention-over-65s.toml";
    let first = "[[flows.items]]\nitem = \"person.family_name\"";
    let more =
        "[[flows.items]]\nitem = \"person.postcode\"\nform = \"as-is\"\njustification = \"Whom to ask.\"\n\n";
    let postcode = "title = \"Postcode of the home address\"\ncategory = \"ordinary\"\nconfidential = ";
    edit("catalogue/nhs-pds.toml", &format!("{postcode}false"), &format!("{postcode}true"));
    edit(agreement, first, &format!("{more}{first}"));
    edit(agreement, "version = 2", "version = 3");
    serve::reload_policies(&world.app, folder, gateway::policies::Put::InAnyCase).await;
    let answer = asks().await;
    assert_eq!(answer.status, StatusCode::OK, "what they agreed to goes on: {answer:?}");
    let withheld = json!([{ "item": "person.postcode", "reason_code": "not_available" }]);
    assert_eq!(answer.body["withheld"], withheld, "{answer:?}");
    let mut alone = world.prevention(PERSON);
    alone.body.as_mut().unwrap()["items"] = json!(["person.postcode"]);
    let refused = world.send(alone).await;
    let mut nobody = world.prevention("9999999468");
    nobody.body.as_mut().unwrap()["items"] = json!(["person.postcode"]);
    let nobody = world.send(nobody).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (nobody.status, &nobody.body["code"]),
        "as for nobody"
    );
    let entries = world.entries().await;
    let reasons = entries.iter().filter_map(|entry| match &entry.body {
        Body::Refusal(decided) if decided.asked == ["person.postcode"] => Some(decided.reasons.concat()),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["consent-for-other", "consent-absent"], "the trail says why");
    let (status, made) = says(&world, Role::Citizen, "nhs-england", 2, json!({ "version": 3 })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(asks().await.body["withheld"], json!([]), "they were asked again, and agreed");
    world.verify().await;
    // A no is to both, whatever each was shown.
    let no = json!({ "version": 3, "answer": "refused" });
    assert_eq!(says(&world, Role::Citizen, "nhs-england", 3, no).await.0, StatusCode::CREATED);
    assert_ne!(asks().await.status, StatusCode::OK);
    // Kept for longer, it is something else.
    world.clock.advance_s(1);
    let (status, _) = says(&world, Role::Citizen, "nhs-england", 4, json!({ "version": 3 })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(asks().await.status, StatusCode::OK, "they agreed again");
    edit(agreement, "retain_days = 180", "retain_days = 365");
    edit(agreement, "version = 3", "version = 4");
    serve::reload_policies(&world.app, folder, gateway::policies::Put::InAnyCase).await;
    assert_ne!(asks().await.status, StatusCode::OK, "they were told of 180 days");
}
