//! Who is calling: every layer, and every way to get one wrong.

use std::sync::Mutex;

use acceptance::{Request, World};
use gateway::{caller::Capability, mint::MintingKey};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn refused(world: &World, change: impl FnOnce(&mut Request)) -> (u16, String) {
    let mut request = world.prevention("9732110317");
    change(&mut request);
    let answer = world.send(request).await;
    assert!(!answer.body.to_string().contains("9732110317"));
    (answer.status.as_u16(), answer.code().to_owned())
}

#[tokio::test]
async fn no_certificate_and_another_authority_are_refused_and_recorded() {
    let world = World::new().await;
    let url = format!("{}/healthz", world.settings.public_url);
    assert!(world.client("").get(&url).send().await.is_err());
    let other = World::new().await;
    assert!(other.client("fire").get(&url).send().await.is_err());
    for _ in 0..100 {
        let entries = world.entries().await;
        let recorded =
            |reason: &str| entries.iter().any(|entry| format!("{:?}", entry.body).contains(reason));
        if recorded("no-certificate") && (recorded("unknown-issuer") || recorded("broken-off")) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("refused handshakes were not recorded");
}

#[tokio::test]
async fn a_partner_cannot_use_anothers_token() {
    let world = World::new().await;
    for certificate_of in ["fire", "council", "nhs"] {
        for tokens_of in ["fire", "council", "nhs"] {
            let mut request = world.prevention("9732110317");
            (request.certificate_of, request.tokens_of) = (certificate_of, tokens_of);
            let answer = world.send(request).await;
            let accepted = answer.status != StatusCode::UNAUTHORIZED;
            assert_eq!(accepted, certificate_of == tokens_of, "{certificate_of} {tokens_of} {answer:?}");
            if !accepted {
                assert_eq!(answer.code(), "access-token-not-bound");
            }
        }
    }
    assert_eq!(world.asked["nhs"].asked().len(), 1, "fire's own question alone");
}

#[tokio::test]
async fn an_unregistered_certificate_of_the_right_authority_is_refused() {
    let world = World::new().await;
    let mut request = world.prevention("9732110317");
    request.certificate_of = "gateway";
    let answer = world.send(request).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "certificate-not-registered"));
    assert_eq!(world.last_kinds(1).await, ["request_refused"]);
}

#[tokio::test]
async fn each_claim_of_the_access_token_counts() {
    let world = World::new().await;
    let spoilt: [(fn(&mut Value), &str); 20] = [
        (|claims| claims["iss"] = json!("https://elsewhere.example"), "access-token-issuer"),
        (|claims| claims["aud"] = json!("https://gateway.concordat.example/"), "access-token-audience"),
        (
            |claims| claims["aud"] = json!(["https://gateway.concordat.example", "https://other.example"]),
            "access-token-audience",
        ),
        (|claims| claims["aud"] = Value::Null, "access-token-audience"),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 5), "access-token-expired"),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 901), "access-token-lifetime"),
        (|claims| claims["exp"] = json!(format!("{}", claims["exp"])), "access-token-malformed"),
        (|claims| claims["exp"] = json!(1.9e9), "access-token-malformed"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("exp")), "access-token-malformed"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("iat")), "access-token-malformed"),
        (|claims| claims["nbf"] = json!(claims["iat"].as_i64().unwrap() + 6), "access-token-not-yet-valid"),
        (|claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 6), "access-token-not-yet-valid"),
        (|claims| claims["cnf"] = json!({}), "access-token-not-bound"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("cnf")), "access-token-not-bound"),
        (|claims| claims["client_id"] = json!("trafford-asc-case"), "access-token-client"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("jti")), "access-token-malformed"),
        (|claims| claims["authorization_details"] = json!([]), "access-token-details"),
        (
            |claims| claims["authorization_details"][0]["type"] = json!("something-else"),
            "access-token-details",
        ),
        (|claims| claims["authorization_details"][0]["locations"] = json!(["x"]), "access-token-details"),
        (|claims| claims["authorization_details"][0]["actions"] = json!(["write"]), "access-token-details"),
    ];
    for (spoil, code) in spoilt {
        assert_eq!(
            refused(&world, |request| request.spoil_access = Some(spoil)).await,
            (401, code.to_owned())
        );
    }
    let on_the_edge: fn(&mut Value) = |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 4);
    let mut request = world.prevention("9732110317");
    request.spoil_access = Some(on_the_edge);
    assert_eq!(world.send(request).await.status, StatusCode::OK, "five seconds of leeway");
    let not_granted: fn(&mut Value) =
        |claims| drop(claims["authorization_details"].as_array_mut().unwrap().remove(0));
    let code = refused(&world, |request| request.spoil_access = Some(not_granted)).await;
    assert_eq!(code, (403, "not-granted".to_owned()));
}

#[tokio::test]
async fn each_claim_of_the_context_counts() {
    let world = World::new().await;
    let spoilt: [(fn(&mut Value), &str); 21] = [
        (|claims| claims["iss"] = json!("trafford-asc-case"), "context-system"),
        (
            |claims| claims["requesting_organization"]["identifier"] = json!("trafford-council"),
            "context-system",
        ),
        (|claims| drop(claims.as_object_mut().unwrap().remove("requesting_device")), "context-system"),
        (|claims| claims["aud"] = json!("https://elsewhere.example"), "context-target"),
        (|claims| claims["htm"] = json!("GET"), "context-target"),
        (
            |claims| {
                claims["htu"] = json!(claims["htu"].as_str().unwrap().replace("disclosures", "decisions"))
            },
            "context-target",
        ),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 301), "context-lifetime"),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 5), "context-expired"),
        (|claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 6), "context-not-yet-valid"),
        (|claims| claims["purpose"] = json!("because"), "context-purpose"),
        (|claims| claims["reason_for_request"] = json!("direct-care"), "context-purpose"),
        (|claims| claims["case_reference"] = json!("about 9732110317"), "context-case"),
        (|claims| claims["case_reference"] = json!("9732110317"), "context-case"),
        (|claims| claims["requested_record"]["value"] = json!("9732110318"), "context-record"),
        (|claims| claims["sub"] = json!("somebody-else"), "context-practitioner"),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("requesting_practitioner")),
            "context-practitioner",
        ),
        (
            |claims| claims["unattended_job"] = json!({ "id": "j", "owner": { "id": "GMFRS-1001" } }),
            "context-practitioner",
        ),
        (|claims| claims["requesting_practitioner"]["local_login"] = json!("Admin"), "context-default-user"),
        (|claims| claims["override"] = json!(true), "context-malformed"),
        (|claims| claims["jti"] = json!("a/b"), "context-malformed"),
        (|claims| claims["jti"] = json!("j".repeat(65)), "context-malformed"),
    ];
    for (spoil, code) in spoilt {
        assert_eq!(
            refused(&world, |request| request.spoil_context = Some(spoil)).await,
            (401, code.to_owned())
        );
    }
    let another: fn(&mut Value) = |claims| claims["requested_record"]["value"] = json!("9733162043");
    let code = refused(&world, |request| request.spoil_context = Some(another)).await;
    assert_eq!(code, (403, "context-mismatch".to_owned()));
    assert!(world.asked["nhs"].asked().is_empty(), "nobody was asked");
}

/// However it is written. Fewer digits than these are in some digest every now and then.
fn says_the_number(text: &str) -> bool {
    text.replace(['-', '.', '_', ' '], "").contains("9434765919")
}

/// The ledger is never erased: whoever is in it by name is in it for good.
#[tokio::test]
async fn nobodys_number_gets_into_the_ledger_as_a_practitioner_a_role_a_job_or_a_case() {
    static SAID: Mutex<&str> = Mutex::new("");
    let world = World::with_settings(|settings| {
        settings.systems.iter_mut().for_each(|system| system.may.push(Capability::Unattended));
    })
    .await;
    let name: fn(&mut Value) = |claims| {
        let id = *SAID.lock().unwrap();
        claims["sub"] = json!(id);
        claims["requesting_practitioner"]["id"] = json!(id);
    };
    let job: fn(&mut Value) = |claims| {
        let id = *SAID.lock().unwrap();
        claims["sub"] = json!(id);
        claims.as_object_mut().unwrap().remove("requesting_practitioner");
        claims["unattended_job"] = json!({ "id": "j", "owner": { "id": id } });
    };
    let role: fn(&mut Value) =
        |claims| claims["requesting_practitioner"]["role"] = json!(*SAID.lock().unwrap());
    let case: fn(&mut Value) = |claims| claims["case_reference"] = json!(*SAID.lock().unwrap());
    let numbers =
        ["9434765919", "943-476-5919", "943.476.5919", "943_476_5919", "9434-765919", "u9434765919x"];
    for (change, code) in [
        (name, "context-names-person"),
        (job, "context-names-person"),
        (role, "context-names-person"),
        (case, "context-case"),
    ] {
        for number in numbers {
            *SAID.lock().unwrap() = number;
            let mut request = world.prevention("9732110317");
            request.spoil_context = Some(change);
            let refused = world.send(request).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (401, code), "{number}");
            assert!(!says_the_number(&refused.text), "it is not repeated: {}", refused.text);
        }
    }
    let entries = format!("{:?}", world.entries().await);
    assert!(!says_the_number(&entries), "{entries}");
    // A smart card's number has twelve digits.
    *SAID.lock().unwrap() = "555009434765";
    let mut request = world.prevention("9732110317");
    request.spoil_context = Some(name);
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn a_context_is_good_once() {
    let world = World::new().await;
    let request = world.prevention("9732110317");
    let (access, context) = world.headers(&request);
    assert_eq!(world.send_with(&request, Some(&access), Some(&context)).await.status, StatusCode::OK);
    let again = world.send_with(&request, Some(&access), Some(&context)).await;
    assert_eq!((again.status, again.code()), (StatusCode::UNAUTHORIZED, "context-replayed"));
    // A restart forgets nothing.
    let world = World::start(world.stop().await, 1_000).await;
    let mut request = world.prevention("9732110317");
    request.spoil_context = Some(|claims| claims["jti"] = json!("c-0"));
    assert_eq!(world.send(request).await.code(), "context-replayed");
}

/// The registration is looked at for every request, not for every connection.
#[tokio::test]
async fn a_system_that_is_struck_off_is_refused_on_the_connection_that_it_has() {
    let world = World::new().await;
    let port = world.settings.public_url.rsplit(':').next().unwrap().parse().unwrap();
    let client = world.client("fire");
    let ask = || world.prevention("9732110317");
    assert_eq!(world.send_to(&client, port, &ask()).await.unwrap().status, StatusCode::OK);
    let mut settings = world.settings.clone();
    settings.systems.retain(|system| system.client_id != "gmca-prevention");
    world.app.authenticator.registry.store(gateway::serve::registry(&settings).await.unwrap().into());
    let refused = world.send_to(&client, port, &ask()).await.unwrap();
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "certificate-not-registered"));
    assert_eq!(world.asked["nhs"].asked().len(), 1);
}

#[tokio::test]
async fn missing_and_malformed_headers_are_told_apart() {
    let world = World::new().await;
    let request = world.prevention("9732110317");
    let (access, context) = world.headers(&request);
    let code = |answer: acceptance::Answer| answer.code().to_owned();
    assert_eq!(code(world.send_with(&request, None, Some(&context)).await), "access-token-missing");
    assert_eq!(code(world.send_with(&request, Some(&access), None).await), "context-missing");
    assert_eq!(
        code(world.send_with(&request, Some(&context), Some(&access)).await),
        "access-token-malformed"
    );
    assert_eq!(code(world.send_with(&request, Some(&access), Some(&access)).await), "context-malformed");
    for spoilt in [
        format!("{access}="),
        format!("{access}."),
        access.replace('.', ""),
        format!(" {access}"),
        "a.b.c".to_owned(),
        "x".repeat(9_000),
    ] {
        let said = code(world.send_with(&request, Some(&spoilt), Some(&context)).await);
        assert!(["access-token-malformed", "access-token-signature"].contains(&said.as_str()), "{said}");
    }
    let (rest, signature) = access.rsplit_once('.').unwrap();
    let flipped = format!(
        "{rest}.{}{}",
        if signature.starts_with('A') { "B" } else { "A" },
        signature.get(1..).unwrap()
    );
    assert_eq!(
        code(world.send_with(&request, Some(&flipped), Some(&context)).await),
        "access-token-signature"
    );
}

/// Header attacks: the algorithm, the key id, and keys that the token brings along.
#[tokio::test]
async fn hostile_token_headers_are_refused() {
    use base64_url::encode;
    let world = World::new().await;
    let request = world.prevention("9732110317");
    let (access, context) = world.headers(&request);
    let mut parts = access.split('.');
    let (_, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let headers = [
        (r#"{"typ":"at+jwt","alg":"none","kid":"issuer-1"}"#, "access-token-algorithm"),
        (r#"{"typ":"at+jwt","alg":"HS256","kid":"issuer-1"}"#, "access-token-algorithm"),
        (r#"{"typ":"at+jwt","alg":"ES384","kid":"issuer-1"}"#, "access-token-algorithm"),
        (r#"{"typ":"JWT","alg":"ES256","kid":"issuer-1"}"#, "access-token-malformed"),
        (r#"{"alg":"ES256","kid":"issuer-1"}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256"}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-2"}"#, "access-token-key"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"../issuer-1"}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"x' or '1'='1"}"#, "access-token-malformed"),
        (
            r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","jku":"https://127.0.0.1:1/"}"#,
            "access-token-malformed",
        ),
        (
            r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","x5u":"https://127.0.0.1:1/"}"#,
            "access-token-malformed",
        ),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","jwk":{}}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","crit":["exp"]}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","kid":"issuer-1"}"#, "access-token-malformed"),
        (r#"{"typ":"at+jwt","alg":"ES256","kid":"issuer-1","extra":1}"#, "access-token-signature"),
    ];
    for (header, code) in headers {
        let token = format!("{}.{claims}.{signature}", encode(header));
        let answer = world.send_with(&request, Some(&token), Some(&context)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, code), "{header}");
        assert_eq!(world.last_kinds(1).await, ["request_refused"]);
    }
    // The issuer's key does not sign contexts, nor a partner's key access tokens.
    let own = MintingKey::from_pem(
        &std::fs::read_to_string(world.folder.path().join("fire-context.key")).unwrap(),
        "issuer-1",
    )
    .unwrap();
    let forged = own.sign("at+jwt", &json!({ "iss": "https://issuer.concordat.example" })).unwrap();
    assert_eq!(
        world.send_with(&request, Some(&forged), Some(&context)).await.code(),
        "access-token-signature"
    );
}

mod base64_url {
    /// Base64url without padding.
    pub(super) fn encode(text: &str) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut out = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..=chunk.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
            }
        }
        out
    }
}
