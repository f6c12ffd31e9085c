//! Bad input, from callers and from record holders: a clear error, nothing lost, nothing leaked.

use acceptance::{World, answer};
use reqwest::StatusCode;
use serde_json::json;
use upstreams::faults::{CANARY, Fault, nhs_number};

#[tokio::test]
async fn bad_requests_say_what_to_do_and_repeat_nothing() {
    let world = World::new().await;
    let cases = [
        (
            "subject",
            json!({ "scheme": "nhs-number", "value": "9732110318" }),
            "subject: the nhs number's check digit is wrong",
        ),
        ("subject", json!({ "scheme": "passport", "value": "1" }), "subject: the identifier scheme"),
        ("purpose", json!("curiosity"), "purpose: unknown purpose"),
        ("items", json!(["person.shoe_size"]), "items[0] is not an item of the catalogue"),
        ("items", json!([]), "items: name 1 to 100 items"),
        ("provider", json!("NHS PDS"), "provider: an identifier"),
        ("priority", json!("high"), "the body has a member that is not known here"),
        ("case_reference", json!(7), "`case_reference` is not of the kind"),
    ];
    for (member, value, says) in cases {
        let mut request = world.prevention("9732110317");
        request.body.as_mut().unwrap()[member] = value;
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid-request"), "{member}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.starts_with(says), "{detail}");
        assert!(!answer.body.to_string().contains("973211031"));
        assert_eq!(answer.body["type"], "https://concordat.example/problems/invalid-request");
        assert_eq!(world.last_kinds(1).await, ["request_refused"]);
    }
    assert!(world.asked["nhs"].asked().is_empty());
}

#[tokio::test]
async fn bodies_and_routes_have_limits() {
    let world = World::new().await;
    let request = world.prevention("9732110317");
    let client = world.client("fire");
    let url = format!("{}/v1/disclosures", world.settings.public_url);
    let send = |kind: &'static str, body: String| {
        let (access, context) = world.headers(&request);
        let sent = client
            .post(&url)
            .bearer_auth(access)
            .header("Sharing-Context", context)
            .header("Content-Type", kind)
            .body(body);
        async move { answer(sent.send().await.unwrap()).await }
    };
    assert_eq!(send("application/json", " ".repeat(65 * 1024)).await.code(), "body-too-large");
    assert_eq!(send("text/plain", "{}".to_owned()).await.code(), "unsupported-media-type");
    assert_eq!(send("application/json", "[".repeat(30_000)).await.code(), "invalid-request");
    assert_eq!(
        send("application/json", "{\"purpose\":1,\"purpose\":2}".to_owned()).await.code(),
        "invalid-request"
    );
    assert_eq!(send("application/json", "\u{feff}{}".to_owned()).await.code(), "invalid-request");
    let missing =
        answer(client.get(format!("{}/nowhere", world.settings.public_url)).send().await.unwrap()).await;
    assert_eq!((missing.status, missing.code()), (StatusCode::NOT_FOUND, "no-such-route"));
    let wrong = answer(client.delete(&url).send().await.unwrap()).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"));
}

#[tokio::test]
async fn faults_of_a_record_holder_release_nothing() {
    let world = World::new().await;
    let cases = [
        (Fault::Html, "provider-answer-refused"),
        (Fault::Large, "provider-answer-refused"),
        (Fault::Invalid, "provider-answer-refused"),
        (Fault::Redirect, "provider-answer-refused"),
        (Fault::Failing, "provider-unavailable"),
        (Fault::Busy, "provider-unavailable"),
        (Fault::Duplicate, "provider-answer-refused"),
        (Fault::Deep, "provider-answer-refused"),
        (Fault::HangUp, "provider-unavailable"),
    ];
    for (fault, code) in cases {
        let number = nhs_number(fault);
        let answer = world.send(world.prevention(number)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_GATEWAY, code), "{fault:?}");
        assert!(
            !answer.body.to_string().contains(CANARY) && !answer.body.to_string().contains(number),
            "{fault:?}"
        );
        assert_eq!(world.last_kinds(2).await, ["intent", "closure"], "{fault:?}");
    }
    // The same for a source that does not speak FHIR.
    for fault in [Fault::Invalid, Fault::Html] {
        let answer = world
            .send(world.question("nhs", "trafford-asc", "direct-care", ("nhs-number", nhs_number(fault))))
            .await;
        assert_eq!(answer.code(), "provider-answer-refused", "{fault:?}");
    }
    let extras = world
        .send(world.question("nhs", "trafford-asc", "direct-care", ("nhs-number", nhs_number(Fault::Extras))))
        .await;
    assert_eq!(extras.status, StatusCode::OK);
    assert!(!extras.body.to_string().contains(CANARY), "{}", extras.body);
    world.verify().await;
}

/// That a number has a record under another number, or one that is not to be relied on, is something about its person.
#[tokio::test]
async fn a_record_that_is_not_the_persons_is_answered_as_nobodys_and_recorded_as_what_it_is() {
    let world = World::new().await;
    let shape = |answer: &acceptance::Answer| {
        let mut body = answer.body.clone();
        let members = body.as_object_mut().unwrap();
        let names: Vec<_> = members.keys().cloned().collect();
        (answer.status, names, ["type", "title", "detail", "code"].map(|name| members.remove(name)))
    };
    let nobody = world.send(world.prevention("9990000166")).await;
    assert_eq!((nobody.status, nobody.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    for fault in [Fault::Another, Fault::WrongIdentifier, Fault::Superseded] {
        let number = nhs_number(fault);
        let nhs = world.prevention(number);
        let council = world.question("nhs", "trafford-asc", "direct-care", ("nhs-number", number));
        for request in [nhs, council] {
            let answer = world.send(request).await;
            assert_eq!(shape(&answer), shape(&nobody), "{fault:?}");
            assert!(!answer.text.contains(CANARY) && !answer.text.contains(number), "{fault:?}");
            let entries = world.entries().await;
            let closure = format!("{:?}", entries.last().unwrap());
            assert!(
                closure.contains("subject_mismatch") && closure.contains("subject-mismatch"),
                "{closure}"
            );
        }
        // Nor does it tell whether they object.
        world.send(world.objection(number)).await;
        let objecting = world.send(world.prevention(number)).await;
        assert_eq!(shape(&objecting), shape(&nobody), "{fault:?}");
    }
    world.verify().await;
}

#[tokio::test]
async fn a_slow_record_holder_is_given_up() {
    let world = World::new().await;
    let answer = world.send(world.prevention(nhs_number(Fault::Slow))).await;
    assert_eq!(answer.code(), "provider-unavailable");
    assert_eq!(world.last_kinds(2).await, ["intent", "closure"]);
}

#[tokio::test]
async fn a_record_holder_that_is_down_is_down_for_everybody() {
    let folder = World::new().await.stop().await;
    // Started over the same folder, with the NHS's port pointing at nothing.
    let world = World::start(folder, 1_000).await;
    world.send(world.objection("9736363015")).await;
    let healthy = world.send(world.prevention("9736363015")).await;
    assert_eq!(healthy.code(), "no-record-available");
    let folder = world.stop().await;
    let catalogue = folder.path().join("policies/catalogue/nhs-pds.toml");
    let text = std::fs::read_to_string(&catalogue).unwrap();
    // The decoy now triggers the simulator's failure, as the person would.
    let failing = nhs_number(Fault::Failing);
    std::fs::write(&catalogue, text.replace(upstreams::UNKNOWN_NHS_NUMBER, failing)).unwrap();
    let world = World::start(folder, 2_000).await;
    let objected = world.send(world.prevention("9736363015")).await;
    let anybody = world.send(world.prevention(failing)).await;
    assert_eq!(objected.code(), "provider-unavailable");
    assert_eq!(objected.shape(), anybody.shape());
}

#[tokio::test]
async fn request_ids_are_mirrored_only_when_they_are_ids() {
    let world = World::new().await;
    let client = world.client("fire");
    let url = format!("{}/healthz", world.settings.public_url);
    let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let mirrored = answer(client.get(&url).header("X-Request-ID", id).send().await.unwrap()).await;
    assert_eq!(mirrored.headers["x-request-id"], id);
    let dropped = answer(client.get(&url).header("X-Request-ID", "9732110317").send().await.unwrap()).await;
    assert!(!dropped.headers.contains_key("x-request-id"));
}
