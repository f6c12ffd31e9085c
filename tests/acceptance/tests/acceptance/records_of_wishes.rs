//! Consents and objections: recorded, read, withdrawn, and felt by the next question.

use acceptance::World;
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_withdrawal_stops_the_next_question() {
    let world = World::new().await;
    let before = world.send(world.referral("SWR-2044")).await;
    assert_eq!((before.status, before.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    let recorded = world.send(world.consent("SWR-2044")).await;
    assert_eq!((recorded.status, &recorded.body["status"]), (StatusCode::CREATED, &json!("given")));
    let permitted = world.send(world.referral("SWR-2044")).await;
    assert_eq!(permitted.status, StatusCode::OK);
    assert_eq!(permitted.body["record"]["referral.outcome_wanted"], "An alarm that I can feel or see");
    assert_eq!(permitted.body["obligations"]["obtain_consent_to_visit"], true);
    let path = format!("/v1/consents/{}/withdraw", recorded.body["id"].as_str().unwrap());
    let withdrawn = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    assert_eq!(
        (withdrawn.status, &withdrawn.body["status"]),
        (StatusCode::OK, &json!("withdrawn")),
        "{withdrawn:?}"
    );
    let after = world.send(world.referral("SWR-2044")).await;
    assert_eq!(after.shape(), before.shape());
    let again = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "wrong-state"));
    world.verify().await;
}

/// Case systems keep minutes and days, and clocks differ.
#[tokio::test]
async fn a_refusal_to_the_day_outweighs_what_was_recorded_before_it() {
    let world = World::new().await;
    let yes = || {
        let mut yes = world.consent("SWR-2044");
        yes.body.as_mut().unwrap().as_object_mut().unwrap().remove("given_at");
        yes
    };
    assert_eq!(world.send(yes()).await.status, StatusCode::CREATED);
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK);
    let mut no = world.consent("SWR-2044");
    let body = no.body.as_mut().unwrap();
    body["status"] = "refused".into();
    body["given_at"] = format!("{}T00:00:00Z", &acceptance::NOW[..10]).into();
    assert_eq!(world.send(no).await.status, StatusCode::CREATED);
    let refused = world.send(world.referral("SWR-2044")).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    // Whoever says yes after that has said it.
    world.clock.advance_s(60);
    assert_eq!(world.send(yes()).await.status, StatusCode::CREATED);
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK);
    world.verify().await;
}

/// All that is held about somebody is read for each question about them.
#[tokio::test]
async fn who_records_without_end_about_one_person_is_stopped_and_takes_nothing_from_others() {
    let world = World::with_settings(|settings| {
        settings.limits.caller.records_about_one_per_day = 3.try_into().unwrap()
    })
    .await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    assert_eq!(recorded.status, StatusCode::CREATED);
    for _ in 0..2 {
        assert_eq!(world.send(world.consent("SWR-2044")).await.status, StatusCode::CREATED);
    }
    let refused = world.send(world.consent("SWR-2044")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too-many-records"), "{refused:?}");
    assert_eq!(refused.headers["retry-after"], "3600");
    assert_eq!(world.last_kinds(1).await, ["request_refused"]);
    let objection = json!({ "subject": { "scheme": "local:trafford-council", "value": "SWR-2044" } });
    let mut objecting = world.objection("9732110317");
    objecting.record = Some(("local:trafford-council".to_owned(), "SWR-2044".to_owned()));
    objecting.body = Some(objection);
    let refusing = || {
        let mut refusing = world.consent("SWR-2044");
        refusing.body.as_mut().unwrap()["status"] = "refused".into();
        refusing
    };
    // Whatever was said of emergencies, which may be said more often: a no has room, twice as much as a yes.
    let person = ("local:trafford-council", "SWR-2044");
    let declaration = json!({
        "reason_code": "immediate-risk-to-life", "cannot_consent": true,
        "statement": "A neighbour reports smoke, and nobody answers the door.",
    });
    for number in 0..16 {
        let declared = world.post("council", "/v1/break-glass", "direct-care", person, declaration.clone());
        let wanted = if number < 15 { StatusCode::CREATED } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(world.send(declared).await.status, wanted);
    }
    for _ in 0..6 {
        assert_eq!(world.send(refusing()).await.status, StatusCode::CREATED);
    }
    for no in [objecting, refusing()] {
        assert_eq!(world.send(no).await.code(), "too-many-records", "whatever it is");
    }
    // Somebody else's records, and taking back.
    assert_eq!(world.send(world.consent("SWR-2041")).await.status, StatusCode::CREATED);
    let path = format!("/v1/consents/{}/withdraw", recorded.body["id"].as_str().unwrap());
    let withdrawn = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    assert_eq!(withdrawn.status, StatusCode::OK, "{withdrawn:?}");
    world.clock.advance_s(86_401);
    assert_eq!(world.send(world.consent("SWR-2044")).await.status, StatusCode::CREATED);
    world.verify().await;
}

#[tokio::test]
async fn who_may_read_a_consent() {
    let world = World::new().await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    let path = format!("/v1/consents/{}", recorded.body["id"].as_str().unwrap());
    let read = world.send(world.bare("council", "GET", &path, "direct-care")).await;
    assert_eq!((read.status, &read.body["details"]["notice_version"]), (StatusCode::OK, &json!("SW-2")));
    assert_eq!(world.last_kinds(1).await, ["subject_record_read"]);
    // The NHS has nothing to do with it: for it there is no such consent.
    let elsewhere = world.send(world.bare("nhs", "GET", &path, "direct-care")).await;
    let nothing = world
        .send(world.bare("nhs", "GET", "/v1/consents/con_00000000000000000000000000000000", "direct-care"))
        .await;
    assert_eq!((elsewhere.status, elsewhere.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    assert_eq!(elsewhere.shape(), nothing.shape());
    // The fire service's system is not registered for records of wishes at all.
    let fire = world.send(world.bare("fire", "GET", &path, "safe-and-well-referral")).await;
    assert_eq!((fire.status, fire.code()), (StatusCode::FORBIDDEN, "not-registered-for-this"));
    let mut search = world.consent("SWR-2044");
    search.path = "/v1/consents/search".to_owned();
    search.body = Some(json!({ "subject": { "scheme": "local:trafford-council", "value": "SWR-2044" } }));
    let found = world.send(search).await;
    assert_eq!(found.body["consents"].as_array().map(Vec::len), Some(1), "{found:?}");
}

#[tokio::test]
async fn consents_that_cannot_be_are_refused() {
    let world = World::new().await;
    let cases = [
        ("given_by", json!({ "who": "next-of-kin" })),
        (
            "given_by",
            json!({ "who": "proxy", "authority": "property-attorney", "capacity_statement": "lacks capacity" }),
        ),
        ("consent_type", json!("consent")),
        ("status", json!("withdrawn")),
        ("purposes", json!(["marketing"])),
        ("recipients", json!([])),
        ("recipients", json!(["somebody-else"])),
        ("given_at", json!("2026-11-23T12:00:01Z")),
        ("expires_at", json!("2026-10-12T10:00:00Z")),
        ("subject", json!({ "scheme": "nhs-number", "value": "9000000000" })),
    ];
    for (member, value) in cases {
        let mut request = world.consent("SWR-2044");
        request.body.as_mut().unwrap()[member] = value.clone();
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "invalid-request"),
            "{member} {value}"
        );
        assert!(!answer.body["detail"].as_str().unwrap().contains("9000000000"));
    }
    let mut about_another = world.consent("SWR-2044");
    about_another.record = Some(("local:trafford-council".to_owned(), "SWR-2041".to_owned()));
    assert_eq!(world.send(about_another).await.code(), "context-mismatch");
}

#[tokio::test]
async fn an_objection_can_be_taken_back() {
    let world = World::new().await;
    let objected = world.send(world.objection("9732110317")).await;
    assert_eq!(objected.body["answer_due"], "2026-12-23T12:00:00Z", "one calendar month");
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::NOT_FOUND);
    let path = format!("/v1/objections/{}", objected.body["id"].as_str().unwrap());
    let read = world.send(world.bare("council", "GET", &path, "direct-care")).await;
    assert_eq!(read.body["status"], "received");
    // Callers that name a type and send nothing are those of before.
    let mut taken_back = world.bare("council", "POST", &format!("{path}/withdraw"), "direct-care");
    taken_back.text = Some(String::new());
    let taken_back = world.send(taken_back).await;
    assert_eq!(taken_back.body["status"], "withdrawn");
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    world.verify().await;
}

#[tokio::test]
async fn an_objection_cannot_stop_safeguarding() {
    let world = World::new().await;
    let mut request = world.objection("9732110317");
    request.body.as_mut().unwrap()["purposes"] = json!(["safeguarding-adult"]);
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body["detail"].as_str().unwrap().contains("does not stop safeguarding-adult"));
}

#[tokio::test]
async fn somebody_with_authority_speaks_for_a_person_and_nobody_else_does() {
    let world = World::new().await;
    let recorded = world.send(world.consent("SWR-2044")).await;
    let path = format!("/v1/consents/{}/withdraw", recorded.body["id"].as_str().unwrap());
    let said = |by: serde_json::Value, evidence: serde_json::Value| json!({ "said": { "by": by, "method": "in-writing", "evidence_reference": evidence } });
    let deputy = json!({ "who": "proxy", "authority": "court-deputy", "capacity_statement": "Found to lack capacity in May." });
    for wrong in [
        said(
            json!({ "who": "proxy", "authority": "next-of-kin", "capacity_statement": "She is my mother." }),
            json!("x"),
        ),
        said(
            json!({ "who": "proxy", "authority": "court-deputy", "capacity_statement": "short" }),
            json!("Order 12"),
        ),
        said(deputy.clone(), json!(null)),
        said(deputy.clone(), json!("   ")),
    ] {
        let answer = world.send(world.act("council", &path, "direct-care", wrong.clone())).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid-request"), "{wrong}");
    }
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK, "it is in force");
    let withdrawn = world
        .send(world.act("council", &path, "direct-care", said(deputy.clone(), json!("Order 12 of 2026"))))
        .await;
    assert_eq!(withdrawn.body["status"], "withdrawn", "{withdrawn:?}");
    let reason = withdrawn.body["status_reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "withdrawn by court deputy (Found to lack capacity in May.), in writing; evidence: Order 12 of 2026"
    );
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::NOT_FOUND);
    // As with an objection: who said so is kept with it.
    let mut objection = world.objection("9732110317");
    let body = objection.body.as_mut().unwrap();
    body["said"] = said(deputy, json!("Order 12 of 2026"))["said"].clone();
    body["grounds"] = json!("Strangers at the door frighten her.");
    let objected = world.send(objection).await;
    assert_eq!(objected.status, StatusCode::CREATED, "{objected:?}");
    assert_eq!(objected.body["said"]["by"]["authority"], "court-deputy");
    assert_eq!(objected.body["grounds"], "Strangers at the door frighten her.");
    world.verify().await;
}

#[tokio::test]
async fn a_restriction_holds_until_the_controller_lifts_it() {
    let world = World::new().await;
    let mut request = world.objection("9732110317");
    request.body.as_mut().unwrap()["kind"] = json!("restriction");
    let restricted = world.send(request).await;
    assert_eq!(
        (&restricted.body["kind"], &restricted.body["in_force"]),
        (&json!("restriction"), &json!(true))
    );
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::NOT_FOUND);
    let path = format!("/v1/objections/{}/answer", restricted.body["id"].as_str().unwrap());
    let upheld = world.send(world.act("council", &path, "direct-care", json!({ "outcome": "upheld" }))).await;
    assert_eq!(
        (upheld.status, upheld.code()),
        (StatusCode::CONFLICT, "wrong-state"),
        "it is in force already"
    );
    let untold = json!({ "outcome": "refused", "grounds": "The address was found to be right.", "told_of_remedies": false });
    assert_eq!(
        world.send(world.act("council", &path, "direct-care", untold)).await.status,
        StatusCode::BAD_REQUEST
    );
    let lifted = json!({ "outcome": "refused", "grounds": "The address was found to be right.", "told_of_remedies": true });
    let lifted = world.send(world.act("council", &path, "direct-care", lifted)).await;
    assert_eq!((lifted.status, &lifted.body["in_force"]), (StatusCode::OK, &json!(false)), "{lifted:?}");
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    assert_eq!(world.last_kinds(3).await[0], "objection_ended");
    world.verify().await;
}
