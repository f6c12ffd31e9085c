//! Access tokens of our own issuing: who gets one, for what, and every way to be refused.

use std::path::Path;

use acceptance::{Answer, Request, World, answer};
use gateway::{caller::access_token::DETAIL_TYPE, mint::MintingKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::signing::{base64url, ed25519, p256, rsa};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The claims of a good assertion of the fire service's; no two have the same `jti`.
pub(crate) fn claims(world: &World) -> Value {
    use gateway::clock::{Clock as _, SystemEntropy, uuid};
    let now = world.clock.now().as_second();
    json!({
        "iss": "gmca-prevention", "sub": "gmca-prevention", "aud": world.settings.public_url,
        "iat": now, "exp": now + 60, "jti": uuid(&SystemEntropy),
    })
}

pub(crate) fn details(purpose: &str, actions: &[&str]) -> Value {
    json!([{ "type": DETAIL_TYPE, "purpose": purpose, "actions": actions }])
}

fn sign(world: &World, claims: &Value) -> String {
    let pem = std::fs::read_to_string(world.folder.path().join("fire-token.key")).unwrap();
    MintingKey::from_pem(&pem, "token-1").unwrap().sign("JWT", claims).unwrap()
}

/// A form in order, with this assertion.
fn form(assertion: &str) -> Vec<(String, String)> {
    let details = details("fire-prevention-targeting", &["read", "decide"]).to_string();
    [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("authorization_details", &details),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn encoded(form: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

async fn ask_at(world: &World, port: Option<u16>, partner: &str, form: &[(String, String)]) -> Answer {
    let base = port.map_or(world.settings.public_url.clone(), |port| format!("https://localhost:{port}"));
    send(&world.client(partner), &base, form).await
}

async fn send(client: &reqwest::Client, base: &str, form: &[(String, String)]) -> Answer {
    let sent = client.post(format!("{base}/oauth2/token"));
    let sent = sent.header("Content-Type", "application/x-www-form-urlencoded").body(encoded(form));
    answer(sent.send().await.unwrap()).await
}

/// What the fire service's system is answered that asks for a token, all in order, over this client's connection.
pub(crate) async fn ask_over(client: &reqwest::Client, world: &World) -> Answer {
    ask_with(client, world, &sign(world, &claims(world))).await
}

/// As [`ask_over`], with this for its assertion.
pub(crate) async fn ask_with(client: &reqwest::Client, world: &World, assertion: &str) -> Answer {
    send(client, &world.settings.public_url, &form(assertion)).await
}

async fn ask(world: &World, form: &[(String, String)]) -> Answer {
    ask_at(world, None, "fire", form).await
}

/// What was refused, and under which code the ledger has it.
async fn refused(world: &World, answer: &Answer) -> (u16, String, String) {
    assert_eq!(answer.headers["cache-control"], "no-store");
    let described = answer.body["error_description"].as_str().unwrap();
    assert!(
        !described.is_empty() && described.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{described}"
    );
    let Some(Body::RequestRefused { code, route, .. }) = world.entries().await.pop().map(|entry| entry.body)
    else {
        panic!("the refusal is not in the ledger: {answer:?}");
    };
    assert_eq!(route, "/oauth2/token");
    (answer.status.as_u16(), answer.body["error"].as_str().unwrap().to_owned(), code)
}

async fn use_it(world: &World, request: &Request, token: &str) -> Answer {
    let (_, context) = world.headers(request);
    world.send_with(request, Some(token), Some(&context)).await
}

fn payload(token: &str) -> Value {
    use jsonwebtoken::dangerous::insecure_decode;
    insecure_decode::<Value>(token).unwrap().claims
}

#[tokio::test]
async fn a_token_is_for_this_system_certificate_purpose_and_time() {
    let world = World::new().await;
    let got = ask(&world, &form(&sign(&world, &claims(&world)))).await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    assert_eq!((&got.body["token_type"], &got.body["expires_in"]), (&json!("Bearer"), &json!(300)));
    assert_eq!(got.body["authorization_details"], details("fire-prevention-targeting", &["read", "decide"]));
    assert_eq!(got.headers["cache-control"], "no-store");
    let token = got.body["access_token"].as_str().unwrap();
    let said = payload(token);
    assert_eq!(said["iss"], json!(world.settings.public_url));
    assert_eq!((&said["sub"], &said["client_id"]), (&json!("gmca-prevention"), &json!("gmca-prevention")));
    let Some(Body::AccessTokenIssued { token_id, system, purposes, actions, .. }) =
        world.entries().await.pop().map(|entry| entry.body)
    else {
        panic!("the token is not in the ledger");
    };
    assert_eq!((json!(token_id), system.as_str()), (said["jti"].clone(), "gmca-prevention"));
    assert_eq!(
        (purposes, actions),
        (vec!["fire-prevention-targeting".to_owned()], vec!["decide".to_owned(), "read".to_owned()])
    );

    assert_eq!(use_it(&world, &world.prevention("9732110317"), token).await.status, StatusCode::OK);
    // Another system's certificate, another purpose, another time.
    let mut stolen = world.prevention("9732110317");
    (stolen.certificate_of, stolen.tokens_of) = ("council", "council");
    assert_eq!(use_it(&world, &stolen, token).await.code(), "access-token-not-bound");
    assert_eq!(use_it(&world, &world.referral("SWR-2041"), token).await.code(), "not-granted");
    world.clock.advance_s(306);
    assert_eq!(use_it(&world, &world.prevention("9732110317"), token).await.code(), "access-token-expired");
    world.verify().await;
}

#[tokio::test]
async fn every_algorithm_that_is_offered_is_taken_and_no_other() {
    let world = World::new().await;
    let url = format!("{}/.well-known/oauth-authorization-server", world.settings.public_url);
    let offered = answer(world.client("fire").get(url).send().await.unwrap()).await;
    let offered =
        offered.body["token_endpoint_auth_signing_alg_values_supported"].as_array().unwrap().clone();
    let folder = world.folder.path();
    let (small, large) =
        (p256(), rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem());
    let (edwards, rsa) = (ed25519(folder), rsa(folder));
    let ec = |pem: &str| EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    let keys = [
        ("ec", Algorithm::ES256, ec(&small)),
        ("ec-384", Algorithm::ES384, ec(&large)),
        // As NHS CIS2 names its keys.
        (
            "b/O6OvVv1+y+WgrH5Ui9WTioLt0=",
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(edwards.as_bytes()).unwrap(),
        ),
        ("rsa", Algorithm::RS512, EncodingKey::from_rsa_pem(rsa.as_bytes()).unwrap()),
    ];
    let public = keys.iter().map(|(id, algorithm, key)| {
        let mut jwk = Jwk::from_encoding_key(key, *algorithm).unwrap();
        jwk.common.key_id = Some((*id).to_owned());
        jwk.common.key_algorithm = None;
        jwk
    });
    std::fs::write(
        folder.join("fire-token.jwks.json"),
        json!({ "keys": public.collect::<Vec<_>>() }).to_string(),
    )
    .unwrap();
    let settings = world.settings.clone();
    world.app.authenticator.registry.store(gateway::serve::registry(&settings).await.unwrap().into());
    let tried = [
        ("ES256", Algorithm::ES256, 0),
        ("ES384", Algorithm::ES384, 1),
        ("EdDSA", Algorithm::EdDSA, 2),
        ("RS512", Algorithm::RS512, 3),
        ("PS256", Algorithm::PS256, 3),
        ("PS384", Algorithm::PS384, 3),
        ("PS512", Algorithm::PS512, 3),
        ("RS256", Algorithm::RS256, 3),
        ("RS384", Algorithm::RS384, 3),
    ];
    for (name, algorithm, key) in tried {
        let (id, _, key) = &keys[key];
        let mut header = Header::new(algorithm);
        header.kid = Some((*id).to_owned());
        let signed = jsonwebtoken::encode(&header, &claims(&world), key).unwrap();
        let got = ask(&world, &form(&signed)).await;
        let is_offered = offered.contains(&json!(name));
        assert_eq!(got.status == StatusCode::OK, is_offered, "{name} {got:?}");
        if !is_offered {
            assert_eq!(
                refused(&world, &got).await,
                (401, "invalid_client".to_owned(), "client-assertion-algorithm".to_owned())
            );
        }
        // A key of another kind under the same name.
        header.kid = Some(if *id == "rsa" { "ec" } else { "rsa" }.to_owned());
        let crossed = jsonwebtoken::encode(&header, &claims(&world), key).unwrap();
        assert_ne!(ask(&world, &form(&crossed)).await.status, StatusCode::OK, "{name}");
    }
    assert_eq!(offered.len(), 7);
}

#[tokio::test]
async fn each_claim_of_the_assertion_counts() {
    let world = World::new().await;
    let other: fn(&mut Value, &str) = |claims, name| claims[name] = json!("trafford-asc-case");
    let spoilt: &[(fn(&mut Value), &str)] = &[
        (|claims| claims["iss"] = json!("trafford-asc-case"), "client"),
        (|claims| claims["sub"] = json!("trafford-asc-case"), "client"),
        (|claims| claims["sub"] = json!("GMCA-prevention"), "client"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("sub")), "client"),
        (|claims| claims["aud"] = json!("https://gateway.concordat.example"), "audience"),
        (|claims| claims["aud"] = json!(format!("{}/", claims["aud"].as_str().unwrap())), "audience"),
        (
            |claims| claims["aud"] = json!(format!("{}/oauth2/token", claims["aud"].as_str().unwrap())),
            "audience",
        ),
        (|claims| claims["aud"] = json!([claims["aud"]]), "audience"),
        (|claims| claims["aud"] = json!([claims["aud"], "https://other.example"]), "audience"),
        (|claims| claims["aud"] = json!(claims["aud"].as_str().unwrap().to_uppercase()), "audience"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("aud")), "audience"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("exp")), "times"),
        (|claims| claims["exp"] = json!(claims["exp"].to_string()), "times"),
        (|claims| claims["exp"] = json!(1.9e9), "times"),
        (|claims| claims["exp"] = json!(u64::MAX), "times"),
        (|claims| claims["iat"] = json!("now"), "times"),
        (|claims| claims["nbf"] = Value::Null, "times"),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 5), "expired"),
        (|claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 301), "lifetime"),
        (|claims| claims["exp"] = json!(i64::MAX), "lifetime"),
        (|claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 241), "lifetime"),
        (|claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 6), "not-yet-valid"),
        (|claims| claims["nbf"] = json!(claims["iat"].as_i64().unwrap() + 6), "not-yet-valid"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("jti")), "identifier"),
        (|claims| claims["jti"] = json!("../../etc/passwd"), "identifier"),
        (|claims| claims["jti"] = json!("a/b"), "identifier"),
        (|claims| claims["jti"] = json!("j".repeat(65)), "identifier"),
    ];
    for &(spoil, code) in spoilt {
        let mut claims = claims(&world);
        spoil(&mut claims);
        let got = ask(&world, &form(&sign(&world, &claims))).await;
        let expected = (401, "invalid_client".to_owned(), format!("client-assertion-{code}"));
        assert_eq!(refused(&world, &got).await, expected, "{claims}");
    }
    let mut without_iat = claims(&world);
    without_iat.as_object_mut().unwrap().remove("iat");
    assert_eq!(
        ask(&world, &form(&sign(&world, &without_iat))).await.status,
        StatusCode::OK,
        "RFC 7523 asks for no iat"
    );
    without_iat["jti"] = json!("another");
    without_iat["exp"] = json!(without_iat["exp"].as_i64().unwrap() + 246);
    let got = ask(&world, &form(&sign(&world, &without_iat))).await;
    assert_eq!(refused(&world, &got).await.2, "client-assertion-lifetime");
    let mut unlike = claims(&world);
    other(&mut unlike, "iss");
    other(&mut unlike, "sub");
    let got = ask(&world, &form(&sign(&world, &unlike))).await;
    assert_eq!(refused(&world, &got).await.2, "client-assertion-client", "a key speaks for its own system");
}

#[tokio::test]
async fn each_part_of_the_form_counts() {
    let world = World::new().await;
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let wide = details("fire-prevention-targeting", &["record"]).to_string();
    let other = details("curiosity", &["read"]).to_string();
    let unknown =
        json!([{ "type": DETAIL_TYPE, "purpose": "direct-care", "actions": ["read"], "locations": [] }])
            .to_string();
    let twice = format!(
        r#"[{{"type":"{DETAIL_TYPE}","purpose":"direct-care","purpose":"research","actions":["read"]}}]"#
    );
    let many = Value::Array(vec![details("direct-care", &["read"])[0].clone(); 21]).to_string();
    let changes = [
        (set("grant_type", "authorization_code"), "unsupported_grant_type", "token-request-grant-type"),
        (set("grant_type", "refresh_token"), "unsupported_grant_type", "token-request-grant-type"),
        (set("grant_type", ""), "invalid_request", "token-request-missing-parameter"),
        (
            set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
            "invalid_client",
            "client-assertion-type",
        ),
        (set("client_assertion", "a.b.c"), "invalid_client", "client-assertion-malformed"),
        (set("client_assertion", ""), "invalid_request", "token-request-missing-parameter"),
        (set("client_id", "trafford-asc-case"), "invalid_client", "client-assertion-client"),
        (set("client_secret", "hunter2"), "invalid_request", "token-request-second-method"),
        (set("scope", "openid"), "invalid_scope", "token-request-scope"),
        (set("resource", "https://elsewhere.example"), "invalid_target", "token-request-target"),
        (set("authorization_details", ""), "invalid_request", "token-request-missing-parameter"),
        (set("authorization_details", "[]"), "invalid_authorization_details", "token-request-details"),
        (set("authorization_details", "[{}]"), "invalid_authorization_details", "token-request-details"),
        (set("authorization_details", &other), "invalid_authorization_details", "token-request-details"),
        (set("authorization_details", &unknown), "invalid_authorization_details", "token-request-details"),
        (set("authorization_details", &twice), "invalid_authorization_details", "token-request-details"),
        (set("authorization_details", &many), "invalid_authorization_details", "token-request-details"),
        (
            set("authorization_details", &"[".repeat(4_000)),
            "invalid_authorization_details",
            "token-request-details",
        ),
        (
            set("authorization_details", &wide),
            "invalid_authorization_details",
            "token-request-not-registered-for-this",
        ),
    ];
    for ((name, value), error, code) in changes {
        let mut form = form(&sign(&world, &claims(&world)));
        form.retain(|(other, _)| *other != name);
        form.push((name.clone(), value));
        let got = ask(&world, &form).await;
        let status = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(refused(&world, &got).await, (status, error.to_owned(), code.to_owned()), "{name}");
    }
    for name in ["grant_type", "client_assertion", "scope", "authorization_details", "anything"] {
        let mut form = form(&sign(&world, &claims(&world)));
        form.extend([set(name, "x"), set(name, "x")]);
        assert_eq!(refused(&world, &ask(&world, &form).await).await.2, "token-request-repeated-parameter");
    }
    let mut good = form(&sign(&world, &claims(&world)));
    good.extend([
        set("client_id", "gmca-prevention"),
        set("resource", &world.settings.public_url),
        set("unknown", "ignored"),
    ]);
    assert_eq!(ask(&world, &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn how_it_is_sent_counts() {
    let world = World::new().await;
    let url = format!("{}/oauth2/token", world.settings.public_url);
    let (client, kind) = (world.client("fire"), "application/x-www-form-urlencoded");
    let fresh = || encoded(&form(&sign(&world, &claims(&world))));
    let send = |sent: reqwest::RequestBuilder| async { answer(sent.send().await.unwrap()).await };
    let json = send(client.post(&url).header("Content-Type", "application/json").body(fresh())).await;
    assert_eq!(
        refused(&world, &json).await,
        (415, "invalid_request".to_owned(), "unsupported-media-type".to_owned())
    );
    let packed =
        send(client.post(&url).header("Content-Type", kind).header("Content-Encoding", "gzip").body(fresh()))
            .await;
    assert_eq!(refused(&world, &packed).await.2, "unsupported-media-type");
    let large = send(client.post(&url).header("Content-Type", kind).body("x".repeat(33 * 1024))).await;
    assert_eq!(
        refused(&world, &large).await,
        (413, "invalid_request".to_owned(), "body-too-large".to_owned())
    );
    let both = send(
        client.post(&url).header("Content-Type", kind).basic_auth("gmca-prevention", Some("x")).body(fresh()),
    )
    .await;
    assert_eq!(refused(&world, &both).await.2, "token-request-second-method");
    let read = send(client.get(format!("{url}?{}", fresh()))).await;
    assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED);
    // In the address nothing counts: it is what logs keep.
    let in_address = send(client.post(format!("{url}?{}", fresh())).header("Content-Type", kind)).await;
    assert_eq!(refused(&world, &in_address).await.2, "token-request-missing-parameter");
    // The certificate is the first of the two proofs, and the key the second.
    let of_council = ask_at(&world, None, "council", &form(&sign(&world, &claims(&world)))).await;
    assert_eq!(
        refused(&world, &of_council).await,
        (401, "invalid_client".to_owned(), "client-assertion-signature".to_owned())
    );
    let of_nobody = ask_at(&world, None, "gateway", &form(&sign(&world, &claims(&world)))).await;
    assert_eq!(
        refused(&world, &of_nobody).await,
        (401, "invalid_client".to_owned(), "certificate-not-registered".to_owned())
    );
}

#[tokio::test]
async fn hostile_assertion_headers_are_refused() {
    let world = World::new().await;
    let pem = std::fs::read_to_string(world.folder.path().join("fire-token.key")).unwrap();
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    let headers = [
        (json!({ "alg": "none", "kid": "token-1" }), "algorithm"),
        (json!({ "alg": "HS256", "kid": "token-1" }), "algorithm"),
        (json!({ "alg": "EdDSA" }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-2" }), "key"),
        (json!({ "alg": "EdDSA", "kid": "../token-1" }), "malformed"),
        (json!({ "alg": "ES256", "kid": "token-1" }), "key"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "typ": "at+jwt" }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "typ": "sharing-context+jwt" }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "typ": 7 }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "jku": "https://127.0.0.1:1/" }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "x5u": "https://127.0.0.1:1/" }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "jwk": {} }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "x5c": [] }), "malformed"),
        (json!({ "alg": "EdDSA", "kid": "token-1", "crit": ["exp"] }), "malformed"),
    ];
    let signed = |header: &Value| {
        let input = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims(&world).to_string().as_bytes())
        );
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        format!("{input}.{signature}")
    };
    for (header, code) in headers {
        let got = ask(&world, &form(&signed(&header))).await;
        assert_eq!(refused(&world, &got).await.2, format!("client-assertion-{code}"), "{header}");
    }
    for kind in ["JWT", "jwt", "client-authentication+jwt"] {
        let header = json!({ "alg": "EdDSA", "kid": "token-1", "typ": kind });
        assert_eq!(ask(&world, &form(&signed(&header))).await.status, StatusCode::OK, "{kind}");
    }
    // What the system signs for requests is no assertion, whatever it says, and an assertion is no access token.
    let own = std::fs::read_to_string(world.folder.path().join("fire-context.key")).unwrap();
    let own = MintingKey::from_pem(&own, "context-1").unwrap().sign("JWT", &claims(&world)).unwrap();
    assert_eq!(refused(&world, &ask(&world, &form(&own)).await).await.2, "client-assertion-key");
    let answer = use_it(&world, &world.prevention("9732110317"), &sign(&world, &claims(&world))).await;
    assert_eq!(answer.code(), "access-token-malformed");
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let world = World::new().await;
    let assertion = sign(&world, &claims(&world));
    assert_eq!(ask(&world, &form(&assertion)).await.status, StatusCode::OK);
    let expected = (401, "invalid_client".to_owned(), "client-assertion-replayed".to_owned());
    assert_eq!(refused(&world, &ask(&world, &form(&assertion)).await).await, expected);
    // Padding makes another text of the same token: it is not taken at all.
    assert_eq!(
        refused(&world, &ask(&world, &form(&format!("{assertion}=="))).await).await.2,
        "client-assertion-malformed"
    );
    // Signed again with the same jti.
    let mut again = claims(&world);
    again["jti"] = payload(&assertion)["jti"].clone();
    assert_eq!(refused(&world, &ask(&world, &form(&sign(&world, &again))).await).await, expected);
    if world.settings.ledger.database.is_shared() {
        let replica = world.replica(1).await;
        let got = ask_at(&world, Some(replica.port), "fire", &form(&assertion)).await;
        assert_eq!(got.body["error"], "invalid_client", "{got:?}");
        replica.stop().await;
    }
    // A restart forgets nothing.
    let world = World::start(world.stop().await, 1_000).await;
    again["aud"] = json!(world.settings.public_url); // it is at another port
    assert_eq!(refused(&world, &ask(&world, &form(&sign(&world, &again))).await).await, expected);
    again["jti"] = json!("new");
    assert_eq!(ask(&world, &form(&sign(&world, &again))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_take_over_from_each_other() {
    let world = World::new().await;
    let folder = world.folder.path().to_owned();
    let token = |got: Answer| got.body["access_token"].as_str().unwrap().to_owned();
    let (mut settings, client) = (world.settings.clone(), world.client("fire"));
    let first = token(ask(&world, &form(&sign(&world, &claims(&world)))).await);
    std::fs::write(folder.join("second.key"), p256()).unwrap();
    let use_keys = |settings: &gateway::config::Settings| {
        let (settings, app) = (settings.clone(), world.app.clone());
        async move { app.authenticator.registry.store(gateway::serve::registry(&settings).await.unwrap().into()) }
    };
    let published = || async {
        let url = format!("{}/oauth2/jwks.json", world.settings.public_url);
        answer(client.get(url).send().await.unwrap()).await.body["keys"].as_array().unwrap().clone()
    };
    let own = settings.authorization_server.as_mut().unwrap();
    own.signing_keys.push(folder.join("second.key"));
    use_keys(&settings).await;
    assert_eq!(published().await.len(), 2, "published before it signs");
    let still = token(ask(&world, &form(&sign(&world, &claims(&world)))).await);
    assert_eq!(kid(&still), kid(&first));
    settings.authorization_server.as_mut().unwrap().signing_keys.reverse();
    use_keys(&settings).await;
    let second = token(ask(&world, &form(&sign(&world, &claims(&world)))).await);
    assert_ne!(kid(&second), kid(&first));
    for token in [&first, &second] {
        assert_eq!(use_it(&world, &world.prevention("9732110317"), token).await.status, StatusCode::OK);
    }
    settings.authorization_server.as_mut().unwrap().signing_keys.truncate(1);
    use_keys(&settings).await;
    let keys = published().await;
    assert_eq!((keys.len(), &keys[0]["kid"]), (1, &json!(kid(&second))));
    assert!(keys[0].get("d").is_none(), "public keys alone");
    assert_eq!(use_it(&world, &world.prevention("9732110317"), &first).await.code(), "access-token-key");
    assert_eq!(use_it(&world, &world.prevention("9732110317"), &second).await.status, StatusCode::OK);
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn the_metadata_lead_from_a_refusal_to_a_token() {
    let world = World::new().await;
    let client = world.client("fire");
    let base = &world.settings.public_url;
    let get = |url: String| async { answer(client.get(url).send().await.unwrap()).await };
    let request = world.prevention("9732110317");
    let (_, context) = world.headers(&request);
    let refused = world.send_with(&request, None, Some(&context)).await;
    let said = &refused.headers["www-authenticate"];
    let resource = said.split("resource_metadata=\"").nth(1).unwrap().trim_end_matches('"').to_owned();
    let resource = get(resource).await.body;
    assert_eq!(resource["resource"], json!(base));
    assert_eq!(resource["tls_client_certificate_bound_access_tokens"], json!(true));
    let issuers = resource["authorization_servers"].as_array().unwrap();
    assert_eq!(issuers, &[json!("https://issuer.concordat.example"), json!(base)]);
    let server =
        get(format!("{}/.well-known/oauth-authorization-server", issuers[1].as_str().unwrap())).await.body;
    assert_eq!(server["issuer"], issuers[1]);
    assert_eq!(server["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
    assert_eq!(server["token_endpoint"], json!(format!("{base}/oauth2/token")));
    let keys = get(server["jwks_uri"].as_str().unwrap().to_owned()).await.body;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn where_it_is_not_set_up_it_is_not_there() {
    let world = World::with_settings(|settings| {
        settings.authorization_server = None;
        settings.systems.iter_mut().for_each(|system| system.token_keys = None);
    })
    .await;
    let base = &world.settings.public_url;
    for path in ["/oauth2/jwks.json", "/.well-known/oauth-authorization-server"] {
        let got = answer(world.client("fire").get(format!("{base}{path}")).send().await.unwrap()).await;
        assert_eq!((got.status, got.code()), (StatusCode::NOT_FOUND, "no-such-route"));
    }
    let got = ask(&world, &form("a.b.c")).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    let url = format!("{base}/.well-known/oauth-protected-resource");
    let resource = answer(world.client("fire").get(url).send().await.unwrap()).await.body;
    assert_eq!(resource["authorization_servers"], json!(["https://issuer.concordat.example"]));
}

#[tokio::test]
async fn settings_that_contradict_themselves_are_refused() {
    let world = World::new().await;
    let said = |change: fn(&mut gateway::config::Settings, &Path)| {
        let mut settings = world.settings.clone();
        change(&mut settings, world.folder.path());
        async move { gateway::serve::registry(&settings).await.err().map(|error| error.to_string()).unwrap() }
    };
    let without = said(|settings, _| settings.authorization_server = None).await;
    assert!(without.contains("there is no [authorization_server]"), "{without}");
    let long =
        said(|settings, _| settings.authorization_server.as_mut().unwrap().token_lifetime_s = 901).await;
    assert!(long.contains("30 to 900"), "{long}");
    let none = said(|settings, _| settings.authorization_server.as_mut().unwrap().signing_keys.clear()).await;
    assert!(none.contains("no signing_keys"), "{none}");
    let wrong = said(|settings, folder| {
        settings.authorization_server.as_mut().unwrap().signing_keys = vec![folder.join("fire-token.key")];
    })
    .await;
    assert!(wrong.contains("not a P-256 key"), "{wrong}");
    let keyless = said(|settings, _| {
        let own = settings.public_url.clone();
        settings.systems[0].issuer = own;
        settings.systems[0].token_keys = None;
    })
    .await;
    assert!(keyless.contains("no token_keys"), "{keyless}");
}

/// What docs/calling.md says works, as it is written there.
#[tokio::test]
async fn the_lines_in_the_documentation_get_a_token() {
    let world = World::new().await;
    world.clock.be_like(&gateway::clock::SystemClock);
    let text = include_str!("../../../../docs/calling.md");
    for (language, program) in
        [("sh", "bash"), ("python", concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/python"))]
    {
        let lines = text.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
        let lines = lines.replace("https://localhost:8443", &world.settings.public_url);
        let script = if language == "sh" { lines } else { format!("{lines}\nprint(json.dumps(token))") };
        let mut command = tokio::process::Command::new(program);
        command.arg("-c").arg(&script).current_dir(world.folder.path()).stdin(std::process::Stdio::null());
        let ran = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("access_token"), "{language}: {said} {}", String::from_utf8_lossy(&ran.stderr));
        let said: Value = serde_json::from_str(said.trim()).unwrap();
        let token = said["access_token"].as_str().unwrap();
        let answer = use_it(&world, &world.prevention("9732110317"), token).await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{language} {answer:?}");
    }
}
