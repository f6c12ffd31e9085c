//! What several people do at once, and what one does who should be two.

use futures_util::future::join_all;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn many_switch_off_at_once_and_each_is_recorded() {
    let world = in_force().await;
    let off = async |number: usize| {
        let text = format!("Laptop {number} is lost.");
        let suspend =
            json!({ "step": "suspend", "scope": { "flow": "at-risk" }, "reason": "breach", "text": text });
        let partner = ["fire", "nhs"][number % 2];
        world.send(step(&world, partner, lead, suspend)).await
    };
    let answers = join_all((0..12).map(off)).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "a kill switch waits for nobody: {answer:?}");
    }
    let seen = shown(&world, "fire").await;
    assert_eq!(seen.body["stops"].as_array().unwrap().len(), 12, "{seen:?}");
    world.verify().await;
}

/// The folder's policies are read again, as for a new certificate, while somebody switches off what is managed over the API. The new
/// revision is made from what was in force before, and does not take the place of the one that came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_while_policies_are_read_again_stays_off() {
    let world = in_force().await;
    let file = world.settings.policies.join("retention.toml");
    let scope = json!({ "flow": "at-risk" });
    let mut took = std::time::Duration::ZERO;
    for round in 0..24 {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}# {round}\n")).unwrap();
        let suspend =
            json!({ "step": "suspend", "scope": scope, "reason": "breach", "text": "A laptop is lost." });
        // At another moment of the reading each time.
        let switched_off = async {
            tokio::time::sleep(took * (round * 7 % 24) / 24).await;
            world.send(step(&world, "fire", lead, suspend)).await
        };
        let (app, folder) = (world.app.clone(), world.settings.policies.clone());
        let read = tokio::spawn(async move {
            let begun = std::time::Instant::now();
            let read = gateway::policies::reload(&app, &folder, gateway::policies::Put::IfChanged).await;
            (read, begun.elapsed())
        });
        let (switched_off, read) = tokio::join!(switched_off, read);
        let (read, lasted) = read.unwrap();
        took = lasted;
        assert_eq!(switched_off.status, StatusCode::OK, "{switched_off:?}");
        assert!(read.unwrap(), "both are done");
        assert_ne!(world.send(question(&world)).await.status, StatusCode::OK, "round {round}");
        let set = gateway::policies::load(&world.settings.policies).unwrap();
        let in_force = world.app.policies().set;
        let is_there = |one: &sharing::policy::PolicyFile| in_force.files().contains(one);
        assert!(set.files().iter().all(is_there), "nor is what the folder says lost");
        let resume = json!({ "step": "resume", "scope": scope, "text": "It was found." });
        taken(&world, "fire", other, resume).await;
        assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    }
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_twice_at_once_is_done_once_and_answered_alike() {
    let world = deployment().await;
    let body = json!({ "id": "pilot", "terms": terms() });
    let sent = async |_| {
        let mut request = begin(&world, &body);
        request.request_key = Some("begin-1");
        world.send(request).await
    };
    let codes = |answers: &[Answer]| answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    let begun = join_all((0..6).map(sent)).await;
    let made = begun.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let again = begun.iter().filter(|answer| answer.headers.contains_key("idempotency-replayed")).count();
    assert_eq!((made, again), (1, 5), "{:?}", codes(&begun));
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let comment = json!({ "version": 1, "clause": "/title", "text": "Too long." });
    let said = async |_| {
        let path = "/v1/agreements/pilot/comments";
        let mut request = by(world.act("fire", path, PURPOSE, comment.clone()), lead);
        request.request_key = Some("comment-1");
        world.send(request).await
    };
    let answers = join_all((0..6).map(said)).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let again = answers.iter().filter(|answer| answer.headers.contains_key("idempotency-replayed")).count();
    assert_eq!((made, again), (1, 5), "{:?}", codes(&answers));
    // So is what is done with a comment, in a dispute, and what is recorded about an agreement.
    let comment = answers[0].body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/agreements/pilot/comments/{comment}/steps");
    six_at_once(&world, ("reply-1", &path), json!({ "step": "reply", "text": "Shorter, then." }), None).await;
    let path = format!("disputes/{}", talks::disputed(&world).await);
    let tag = talks::read(&world, "fire", &format!("pilot/{path}")).await.headers["etag"].clone();
    let path = format!("/v1/agreements/pilot/{path}/steps");
    six_at_once(
        &world,
        ("escalate-1", &path),
        json!({ "step": "escalate", "text": "Nobody answers." }),
        Some(tag),
    )
    .await;
    let path = "/v1/agreements/gm-fire-prevention-over-65s/records";
    six_at_once(&world, ("benefit-1", path), json!({ "kind": "benefit", "text": "Forty visits." }), None)
        .await;
    world.verify().await;
}

/// One request six times at once: done once, and answered alike.
async fn six_at_once(world: &World, (key, path): (&'static str, &str), body: Value, tag: Option<String>) {
    let sent = async |_| {
        let mut request = by(world.act("fire", path, PURPOSE, body.clone()), lead);
        request.request_key = Some(key);
        request.if_match.clone_from(&tag);
        world.send(request).await
    };
    let answers = join_all((0..6).map(sent)).await;
    let codes: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(codes.iter().all(StatusCode::is_success), "{path}: {codes:?}");
    let again = answers.iter().filter(|answer| answer.headers.contains_key("idempotency-replayed")).count();
    assert_eq!(again, 5, "{path}: {codes:?}");
}

#[tokio::test]
async fn nobody_puts_themselves_in_office() {
    let world = World::new().await;
    let body = json!({ "person": "lead", "name": "Lea Dee", "role": "governance-lead" });
    let itself =
        world.send(by(world.act("fire", "/v1/agreement-officers", PURPOSE, body.clone()), lead)).await;
    assert_eq!(itself.code(), "not-allowed", "{itself:?}");
    let asked = world.send(by(world.act("fire", "/v1/agreement-officers", PURPOSE, body), other)).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{asked:?}");
}

#[tokio::test]
async fn what_signing_waits_for_the_beginning_waits_for_too() {
    let world = signed().await;
    let comment = json!({
        "version": 1, "clause": "/title", "text": "Who is meant?", "owner": { "organisation": "nhs-england" }, "blocking": true,
    });
    let path = "/v1/agreements/pilot/comments";
    let made = world.send(by(world.act("fire", path, PURPOSE, comment), lead)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let activate = json!({ "step": "activate", "text": "Everybody has signed." });
    assert_eq!(take(&world, "nhs", lead, activate).await.code(), "step-comments-open");
    let path = format!("{path}/{}/steps", made.body["id"].as_str().unwrap());
    let resolve = json!({ "step": "resolve", "text": "Adults who live alone." });
    let resolved = world.send(by(world.act("fire", &path, PURPOSE, resolve), lead)).await;
    assert_eq!(resolved.status, StatusCode::OK, "{resolved:?}");
    put_in_force(&world).await;
    world.verify().await;
}

#[tokio::test]
async fn whoever_confirms_knows_what_and_whoever_says_no_is_heard() {
    let world = in_force().await;
    let end = json!({ "step": "terminate", "text": "Another service does it now." });
    taken(&world, "nhs", lead, end.clone()).await;
    let place = json!({ "step": "succeed", "of": "gmca", "by": "trafford-council", "text": "It has moved." });
    assert_eq!(take(&world, "fire", lead, place.clone()).await.code(), "step-other-asked");
    assert_eq!(shown(&world, "fire").await.body["waits_for_confirmation"], "termination");
    taken(&world, "fire", lead, json!({ "step": "reject", "text": "It does not." })).await;
    assert_eq!(shown(&world, "fire").await.body["waits_for_confirmation"], Value::Null);
    let confirm = json!({ "step": "confirm", "text": "So it does." });
    assert_eq!(take(&world, "fire", lead, confirm).await.code(), "step-nothing-asked");
    let asked = take(&world, "fire", lead, place).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    let answer = json!({ "step": "answer-advice", "followed": true, "text": "As advised." });
    let unread = world.send(step(&world, "nhs", lead, answer)).await;
    assert_eq!(unread.code(), "version-missing", "an answer is to the advice that was read");
    world.verify().await;
}

#[tokio::test]
async fn a_variation_that_begins_later_does_not_end_what_runs_before_it() {
    let world = in_force().await;
    let mut later = terms();
    later["effective_on"] = json!("2027-04-01");
    let vary = json!({ "step": "vary", "terms": later, "reason": "changed", "text": "From April on." });
    taken(&world, "fire", author, vary).await;
    taken(&world, "fire", author, json!({ "step": "propose", "text": "From April on." })).await;
    for (partner, person, step) in [
        ("nhs", lead as Person, "accept"),
        ("fire", lead, "accept"),
        ("fire", other, "assure"),
        ("nhs", lead, "open-signing"),
    ] {
        taken(&world, partner, person, json!({ "step": step, "text": "It is in order." })).await;
    }
    all_sign(&world, 2).await;
    let activate = json!({ "step": "activate", "text": "Everybody has signed." });
    assert_eq!(take(&world, "nhs", lead, activate.clone()).await.code(), "step-begins-later");
    assert_eq!(world.send(question(&world)).await.status, StatusCode::OK, "what is in force goes on");
    world.clock.advance_s(130 * 86_400);
    let asked = take(&world, "nhs", lead, activate).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    world.verify().await;
}
