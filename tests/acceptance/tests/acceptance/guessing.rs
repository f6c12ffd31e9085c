//! Going through identifiers: budgets, throttles, scans and traps.

use std::sync::atomic::{AtomicU64, Ordering};

use acceptance::{Answer, World};
use gateway::alerts::evaluate;
use ledger::entry::Body;
use serde_json::{Value, json};
use sharing::identifier::NhsNumber;

/// Valid NHS numbers that nobody has, in a row.
fn nobodies(count: usize) -> Vec<String> {
    let ten = (999_000_300_u64..).flat_map(|body| (0..10).map(move |check| format!("{body}{check}")));
    ten.filter(|number| number.parse::<NhsNumber>().is_ok()).take(count).collect()
}

/// As many, far from each other.
fn scattered(count: usize) -> Vec<String> {
    nobodies(count * 10).into_iter().step_by(10).collect()
}

async fn ask(world: &World, number: &str) -> Answer {
    world.send(world.prevention(number)).await
}

async fn rules(world: &World, partner: &'static str) -> Vec<String> {
    evaluate::catch_up(&world.app).await.unwrap();
    let purpose = if partner == "fire" { "fire-prevention-targeting" } else { "direct-care" };
    let mut request = world.bare(partner, "GET", "/v1/alerts", purpose);
    request.spoil_context = Some(|claims: &mut Value| {
        claims["sub"] = json!("IG-1");
        claims["requesting_practitioner"] = json!({ "id": "IG-1", "role": "privacy-officer" });
    });
    let answer = world.send(request).await;
    let alerts = answer.body["alerts"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    alerts.iter().map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect()
}

fn refused_with(world: &[ledger::entry::Entry], wanted: &str) -> usize {
    let is = |body: &Body| matches!(body, Body::RequestRefused { code, .. } if code == wanted);
    world.iter().filter(|entry| is(&entry.body)).count()
}

#[tokio::test]
async fn a_budget_of_people_outlives_a_restart_and_is_one_for_all_replicas() {
    let limits = |settings: &mut gateway::config::Settings| {
        settings.limits.caller.subjects_per_practitioner_per_day = 4;
    };
    let world = World::with_settings(limits).await;
    let people = scattered(8);
    for number in &people[..2] {
        assert_eq!(ask(&world, number).await.code(), "no-record-available");
        assert_eq!(
            ask(&world, number).await.code(),
            "no-record-available",
            "the same person again is no other"
        );
    }
    let world = World::start_with(world.stop().await, 1 << 40, limits).await;
    assert_eq!(ask(&world, &people[2]).await.code(), "no-record-available");
    if world.settings.ledger.database.is_shared() {
        let replica = world.replica(1).await;
        let client = world.client("fire");
        let answer = world.send_to(&client, replica.port, &world.prevention(&people[3])).await.unwrap();
        assert_eq!(answer.code(), "no-record-available");
        replica.stop().await;
    } else {
        assert_eq!(ask(&world, &people[3]).await.code(), "no-record-available");
    }
    let asked = world.asked["nhs"].asked().len();
    // Whoever it is: somebody there is, somebody there is not.
    for number in ["9732110317", people[4].as_str()] {
        let refused = ask(&world, number).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "subject-budget-reached"), "{refused:?}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(world.asked["nhs"].asked().len(), asked, "nobody was asked");
    assert_eq!(refused_with(&world.entries().await, "subject-budget-reached"), 2);
    assert_eq!(ask(&world, &people[0]).await.code(), "no-record-available", "known ones can be asked about");
    world.clock.advance_s(24 * 3_600);
    assert_eq!(ask(&world, "9732110317").await.status, 200, "another day");
    world.verify().await;
}

#[tokio::test]
async fn a_systems_budget_is_that_of_all_its_practitioners() {
    let world = World::with_settings(|settings| settings.limits.caller.subjects_per_system_per_day = 2).await;
    let people = scattered(4);
    ask(&world, &people[0]).await;
    let mut other = world.prevention(&people[1]);
    other.spoil_context = Some(|claims: &mut Value| {
        claims["sub"] = json!("GMFRS-2");
        claims["requesting_practitioner"]["id"] = json!("GMFRS-2");
    });
    assert_eq!(world.send(other).await.code(), "no-record-available");
    assert_eq!(ask(&world, &people[2]).await.code(), "subject-budget-reached");
    // Another system has its own.
    let councils = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
    assert_eq!(world.send(councils).await.status, 200);
}

#[tokio::test]
async fn whoever_is_told_of_nobody_too_often_waits_whatever_the_reason() {
    let world = World::with_settings(|settings| {
        settings.limits.caller.no_record_at_least = 4;
        settings.limits.caller.no_record_percent = 80;
    })
    .await;
    // Half of them somebody about whom nothing may be told.
    world.send(world.objection("9732110317")).await;
    let people = scattered(4);
    for number in [people[0].as_str(), "9732110317", people[1].as_str(), "9732110317"] {
        assert_eq!(ask(&world, number).await.code(), "no-record-available");
    }
    let asked = world.asked["nhs"].asked().len();
    for number in ["9732110317", people[2].as_str(), "9736363015"] {
        let refused = ask(&world, number).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "guessing-suspected"), "{refused:?}");
    }
    assert_eq!(world.asked["nhs"].asked().len(), asked, "nobody was asked");
    world.clock.advance_s(3_600);
    assert_eq!(ask(&world, &people[3]).await.code(), "no-record-available", "the next hour");
}

#[tokio::test]
async fn identifiers_in_a_row_are_noticed_and_scattered_ones_are_not() {
    let world = World::with_settings(|settings| settings.limits.caller.run_at_least = 5).await;
    for number in scattered(6) {
        assert_eq!(ask(&world, &number).await.code(), "no-record-available");
    }
    assert!(!rules(&world, "fire").await.contains(&"sequence-scan".to_owned()));
    world.clock.advance_s(3_600);
    let mut row = nobodies(200).split_off(100);
    row.truncate(6);
    row.swap(1, 2); // not quite in order
    for number in &row[..5] {
        assert_eq!(ask(&world, number).await.code(), "no-record-available");
    }
    assert_eq!(ask(&world, &row[5]).await.code(), "guessing-suspected");
    assert_eq!(ask(&world, "9732110317").await.code(), "guessing-suspected", "whoever it is");
    let told = rules(&world, "fire").await;
    assert_eq!(told.iter().filter(|rule| *rule == "sequence-scan").count(), 1, "{told:?}");
    world.clock.advance_s(3_600);
    assert_eq!(ask(&world, "9732110317").await.status, 200);
}

/// As [`ask`], by another practitioner each time, as a system may call them.
async fn ask_as_another(world: &World, number: &str) -> Answer {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut request = world.prevention(number);
    request.spoil_context = Some(|claims: &mut Value| {
        let name = format!("GMFRS-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        claims["sub"] = json!(name);
        claims["requesting_practitioner"]["id"] = json!(name);
    });
    world.send(request).await
}

#[tokio::test]
async fn another_name_for_each_question_hides_no_row_and_stops_one_system_alone() {
    let world = World::with_settings(|settings| settings.limits.caller.run_per_system_at_least = 5).await;
    let row = nobodies(10);
    // The fifth is one too many, and after five such all of the system's wait.
    for number in &row[..9] {
        assert_eq!(ask_as_another(&world, number).await.code(), "no-record-available");
    }
    for number in [row[9].as_str(), "9732110317"] {
        assert_eq!(ask_as_another(&world, number).await.code(), "guessing-suspected", "whoever it is");
    }
    assert!(rules(&world, "fire").await.contains(&"sequence-scan".to_owned()));
    let councils = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
    assert_eq!(world.send(councils).await.status, 200, "another system");
    world.clock.advance_s(3_600);
    assert_eq!(ask_as_another(&world, "9732110317").await.status, 200, "the next hour");
}

#[tokio::test]
async fn another_name_for_each_question_hides_no_guessing() {
    let world =
        World::with_settings(|settings| settings.limits.caller.no_record_per_system_at_least = 4).await;
    let people = scattered(5);
    for number in &people[..4] {
        assert_eq!(ask_as_another(&world, number).await.code(), "no-record-available");
    }
    for number in [people[4].as_str(), "9732110317"] {
        assert_eq!(ask_as_another(&world, number).await.code(), "guessing-suspected");
    }
}

#[tokio::test]
async fn a_name_in_other_letters_is_the_same_name() {
    let world = World::with_settings(|settings| settings.limits.caller.run_at_least = 4).await;
    let row = nobodies(5);
    let mut answers = Vec::new();
    for number in &row {
        let mut request = world.prevention(number);
        request.spoil_context = Some(spelt);
        answers.push(world.send(request).await.code().to_owned());
    }
    assert_eq!(answers[..4], ["no-record-available"; 4]);
    assert_eq!(answers[4], "guessing-suspected");
}

/// One name, spelt otherwise each time.
fn spelt(claims: &mut Value) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let letters = ["gm-7", "GM-7", "Gm-7", "gM-7"];
    let name = letters[usize::try_from(NEXT.fetch_add(1, Ordering::SeqCst)).unwrap() % 4];
    claims["sub"] = json!(name);
    claims["requesting_practitioner"]["id"] = json!(name);
}

#[tokio::test]
async fn no_order_hides_a_row_nor_do_gaps_in_it() {
    let world = World::with_settings(|settings| settings.limits.caller.run_at_least = 6).await;
    let row = nobodies(16);
    // Every other one, from both ends to the middle and back.
    for place in [0, 14, 4, 10, 2, 12] {
        assert_eq!(ask(&world, &row[place]).await.code(), "no-record-available", "{place}");
    }
    assert_eq!(ask(&world, &row[6]).await.code(), "guessing-suspected");
}

#[tokio::test]
async fn a_trap_is_answered_as_nobody_and_its_alerts_are_raised() {
    let trap = "9732110317"; // with a record behind it, as if somebody had laid out one
    let world = World::with_settings(|settings| {
        settings.alerts.honey_records =
            vec![serde_json::from_value(json!({ "scheme": "nhs-number", "value": trap })).unwrap()];
    })
    .await;
    let nobody = ask(&world, "9990000166").await;
    let answer = ask(&world, trap).await;
    assert_eq!(answer.shape(), nobody.shape());
    assert_eq!(rules(&world, "fire").await, ["honey-record"]);
    assert_eq!(rules(&world, "nhs").await, ["honey-record"]);
    let releases = world.entries().await.iter().filter(|entry| entry.body.kind() == "release").count();
    assert_eq!(releases, 0);
    world.verify().await;
}

/// Whoever stands before a burning house gets an answer, whatever their system was asked before.
#[tokio::test]
async fn an_emergency_waits_for_nobodys_guesses() {
    let world = World::with_settings(|settings| {
        settings.limits.caller.no_record_per_system_at_least = 2;
        settings.limits.caller.subjects_per_practitioner_per_day = 2;
    })
    .await;
    for number in scattered(2) {
        assert_eq!(ask(&world, &number).await.code(), "no-record-available");
    }
    assert_eq!(ask(&world, "9732110317").await.code(), "guessing-suspected");
    let person = ("local:trafford-council", "SWR-2041");
    let declaration = json!({
        "reason_code": "immediate-risk-to-life", "cannot_consent": true,
        "statement": "A neighbour reports smoke, and nobody answers the door.",
    });
    let declared = world.post("fire", "/v1/break-glass", "vital-interests", person, declaration);
    let declared = world.send(declared).await;
    assert_eq!(declared.status, 201, "{declared:?}");
    let urgent = |id: &Value| {
        let mut urgent = world.question("fire", "trafford-asc", "vital-interests", person);
        let body = urgent.body.as_mut().unwrap();
        body["items"] = json!(["person.name", "health.home_oxygen"]);
        body["break_glass"] = id.clone();
        world.send(urgent)
    };
    let told = urgent(&declared.body["id"]).await;
    assert_eq!(told.status, 200, "{told:?}");
    // One that nobody declared opens nothing.
    let made_up = urgent(&json!("btg_00000000000000000000000000000000")).await;
    assert_ne!(made_up.status, 200, "{made_up:?}");
    assert_eq!(ask(&world, "9732110317").await.status, 429, "everything else waits");
    world.verify().await;
}
