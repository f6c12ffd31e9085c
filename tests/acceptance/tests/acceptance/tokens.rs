//! Forged tokens, some hundreds of them: none is taken. Each is made from a good one by one change; the good one is tried too,
//! so that a table of refusals cannot pass because everything is refused.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use acceptance::{Answer, World, answer};
use gateway::mint::MintingKey;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::signing::{base64url, p256};

/// A world, a connection that is kept, and a token in order.
struct Bench {
    world: World,
    client: reqwest::Client,
    header: Value,
    claims: Value,
    issuer_pem: String,
    issuer_jwk: Value,
    context: String,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        let request = world.prevention("9732110317");
        let (access, context) = world.headers(&request);
        let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
        let jwks: Value = serde_json::from_str(&read("issuer.jwks.json")).unwrap();
        let claims = jsonwebtoken::dangerous::insecure_decode(&access).unwrap().claims;
        Self {
            client: world.client("fire"),
            header: json!({ "typ": "at+jwt", "alg": "ES256", "kid": "issuer-1" }),
            claims,
            issuer_pem: read("issuer.key"),
            issuer_jwk: jwks["keys"][0].clone(),
            context,
            world,
        }
    }

    /// Signed by the issuer's own key, whatever header and claims say.
    fn signed(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let key = EncodingKey::from_ec_pem(self.issuer_pem.as_bytes()).unwrap();
        format!("{input}.{}", crypto::sign(input.as_bytes(), &key, Algorithm::ES256).unwrap())
    }

    fn good(&self) -> String {
        self.signed(&self.header.to_string(), &self.claims.to_string())
    }

    fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header.clone();
        change(&mut header);
        self.signed(&header.to_string(), &self.claims.to_string())
    }

    fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        self.signed(&self.header.to_string(), &claims.to_string())
    }

    async fn send(&self, authorization: &str, context: &str) -> Answer {
        let request = self.world.prevention("9732110317");
        let sent = self.client.post(format!("{}/v1/disclosures", self.world.settings.public_url));
        let sent = sent.header("Authorization", authorization).header("Sharing-Context", context);
        let sent = sent.header("Content-Type", "application/json").body(request.body.unwrap().to_string());
        answer(sent.send().await.unwrap()).await
    }

    async fn token(&self, token: &str) -> Answer {
        self.send(&format!("Bearer {token}"), &self.context).await
    }

    /// All of them are refused, nobody was asked, and then the good one is taken. How many there were.
    async fn none_is_taken(&self, forged: Vec<(String, String)>) -> usize {
        let mut codes = BTreeMap::<String, usize>::new();
        for (what, token) in &forged {
            let answer = self.token(token).await;
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
            assert!(answer.code().starts_with("access-token-"), "{what}: {answer:?}");
            *codes.entry(answer.code().to_owned()).or_default() += 1;
        }
        assert!(self.world.asked["nhs"].asked().is_empty(), "nobody was asked");
        assert_eq!(self.token(&self.good()).await.status, 200, "the good one is taken");
        assert!(!codes.is_empty(), "{codes:?}");
        forged.len()
    }
}

fn named(name: &str, tokens: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    tokens.into_iter().enumerate().map(|(place, token)| (format!("{name} {place}"), token)).collect()
}

/// The algorithm that the token names, and what a verifier that believes it would take for the key.
fn algorithms(bench: &Bench) -> Vec<(String, String)> {
    let names = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(256),
        json!(["ES256"]),
        json!({}),
        json!("es256"),
        json!("ES256K"),
        json!("ES256\u{0}"),
        json!(" ES256"),
        json!("ES512"),
        json!("ES384"),
        json!("EdDSA"),
        json!("RS256"),
        json!("RS512"),
        json!("PS256"),
        json!("HS256"),
        json!("HS384"),
        json!("HS512"),
        json!("dir"),
        json!("RSA-OAEP"),
        json!("A128KW"),
    ];
    let mut forged = Vec::new();
    for name in &names {
        let token = bench.with_header(|header| header["alg"] = name.clone());
        let (input, _) = token.rsplit_once('.').unwrap();
        forged.push(token.clone());
        forged.push(format!("{input}."));
    }
    let without = bench.with_header(|header| drop(header.as_object_mut().unwrap().remove("alg")));
    forged.push(without);
    // The public key as an HMAC secret, in every form that a verifier might have it in.
    let part = |name: &str| {
        use jsonwebtoken::jwk::Jwk;
        let _: Jwk = serde_json::from_value(bench.issuer_jwk.clone()).unwrap();
        bench.issuer_jwk[name].as_str().unwrap().to_owned()
    };
    let key = rcgen::KeyPair::from_pem(&bench.issuer_pem).unwrap();
    let jwks = std::fs::read(bench.world.folder.path().join("issuer.jwks.json")).unwrap();
    let (der, raw) =
        (rcgen::PublicKeyData::subject_public_key_info(&key), rcgen::PublicKeyData::der_bytes(&key).to_vec());
    let (pem, x, id) = (key.public_key_pem(), part("x"), part("kid"));
    let secrets: &[&[u8]] = &[
        pem.as_bytes(),
        pem.trim().as_bytes(),
        &der,
        &raw,
        &raw[1..],
        &jwks,
        x.as_bytes(),
        id.as_bytes(),
        b"",
    ];
    for (name, algorithm) in
        [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
    {
        for secret in secrets {
            let token = bench.with_header(|header| header["alg"] = json!(name));
            let (input, _) = token.rsplit_once('.').unwrap();
            let signature = crypto::sign(input.as_bytes(), &EncodingKey::from_secret(secret), algorithm);
            forged.push(format!("{input}.{}", signature.unwrap_or_default()));
        }
    }
    named("algorithm", forged)
}

/// What a key id might be used for by somebody who looks it up carelessly.
fn key_ids() -> Vec<Value> {
    let texts = [
        "",
        " ",
        ".",
        "..",
        "/",
        "../issuer-1",
        "..\\issuer-1",
        "./issuer-1",
        "issuer-1/../issuer-1",
        "/dev/null",
        "/etc/passwd",
        "file:///dev/null",
        "https://127.0.0.1:1/",
        "//127.0.0.1/",
        "%2e%2e%2fissuer-1",
        "..%252fissuer-1",
        "issuer-1\u{0}",
        "issuer-1\u{0}.pem",
        "\u{0}",
        "issuer-1\n",
        "\nissuer-1",
        "issuer-1\r\nX: y",
        "issuer-1;ls",
        "$(id)",
        "`id`",
        "| id",
        "&& id",
        "' OR '1'='1",
        "' OR 1=1 --",
        "\" OR \"\"=\"",
        "'; DROP TABLE ledger_entry; --",
        "1' UNION SELECT 'x' --",
        "issuer-1' AND '1'='1",
        "*",
        "?",
        "%",
        "_%",
        "*)(kid=*",
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
        "<%= 7 %>",
        "${jndi:ldap://127.0.0.1:1/}",
        "%s%s%n",
        "{}",
        "[]",
        "null",
        "undefined",
        "NaN",
        "true",
        "0",
        "-1",
        "<script>",
        "\u{202e}1-reussi",
        "issuer\u{2011}1",
        "іssuer-1",
        "ISSUER-1",
        "issuer-1 ",
        "issuer-1\u{200b}",
        "ｉssuer-1",
        "e\u{301}",
        "\u{feff}issuer-1",
        "😀",
        "\u{7f}",
        "\u{1b}[31m",
        "issuer-2",
        "context-1",
        "token-1",
        "constructor",
        "__proto__",
    ];
    let mut ids: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    ids.extend([
        json!(null),
        json!(1),
        json!(true),
        json!([]),
        json!(["issuer-1"]),
        json!({ "kid": "issuer-1" }),
    ]);
    ids.extend([json!("i".repeat(65)), json!("issuer-1".repeat(500))]);
    ids
}

fn structure(bench: &Bench) -> Vec<(String, String)> {
    let good = bench.good();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let flipped = |place: usize| {
        let mut bytes: Vec<u8> = signature.bytes().collect();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        format!("{header}.{claims}.{}", String::from_utf8(bytes).unwrap())
    };
    let mut forged = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{good}.{signature}"),
        format!("{good}.."),
        format!(".{good}"),
        format!("{header}.{header}.{signature}"),
        format!("{claims}.{claims}.{signature}"),
        format!("{good}{good}"),
        format!("{good},{good}"),
        format!("{good} {good}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{header}%3d.{claims}.{signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}\t.{signature}"),
        format!("\"{good}\""),
        format!("{good}A"),
        good.replace('.', "%2e"),
        good.replace('.', ","),
        good.to_uppercase(),
        base64url(good.as_bytes()),
        format!("{}.{}.{}", base64url(good.as_bytes()), claims, signature),
        json!({ "payload": claims, "protected": header, "signature": signature }).to_string(),
        json!({ "payload": claims, "signatures": [{ "protected": header, "signature": signature }] })
            .to_string(),
        format!("{header}.{claims}.{}", base64url(&[0; 64])),
        format!("{header}.{claims}.{}", base64url(&[0; 72])),
        format!("{header}.{claims}.{}", base64url(&[0xff; 64])),
        format!("{header}.{claims}.{}", base64url(&[1; 64])),
        format!("{header}.{claims}.{}", base64url(&GROUP_ORDER.repeat(2))), // r = s = n
        format!("{header}.{claims}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{}{}", &signature[43..], &signature[..43]),
        "x".repeat(8 * 1024),
        format!("{good}{}", "A".repeat(8 * 1024)),
    ];
    // The last letter has four bits that a forgiving reader drops.
    let last = signature.chars().last().unwrap();
    let alike = ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|letter| *letter != last);
    forged.extend(
        alike.map(|letter| format!("{header}.{claims}.{}{letter}", &signature[..signature.len() - 1])),
    );
    forged.extend((0..signature.len()).step_by(3).map(flipped));
    named("structure", forged)
}

/// The order of P-256's group.
const GROUP_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Header and claims whose text is not that of one JSON object in order.
fn texts(bench: &Bench) -> Vec<(String, String)> {
    let (header, claims) = (bench.header.to_string(), bench.claims.to_string());
    let spoil: &[fn(&str) -> String] = &[
        |text| format!("\u{feff}{text}"),
        |text| format!("{text}{text}"),
        |text| format!("{text}x"),
        |text| format!("[{text}]"),
        |text| text[..text.len() - 1].to_owned(),
        |text| text.replacen('{', "{\"a\":NaN,", 1),
        |text| text.replacen('{', "{\"a\":01,", 1),
        |text| text.replacen('{', "{\"a\":\"\\ud800\",", 1),
        |text| text.replacen('{', "{\"a\":\"\t\",", 1),
        |text| text.replacen('{', "{'a':1,", 1),
        |text| text.replacen('{', "{/**/", 1),
        |text| text.replacen('{', "{\"a\":1,\"a\":2,", 1),
        |text| text.replacen('{', "{\"a\":1,\"\\u0061\":2,", 1),
        |text| text.replacen('{', &format!("{{\"a\":{}1{},", "[".repeat(40), "]".repeat(40)), 1),
        |_| "\"\"".to_owned(),
        |_| "null".to_owned(),
    ];
    let mut forged = Vec::new();
    for spoil in spoil {
        forged.push(bench.signed(&spoil(&header), &claims));
        forged.push(bench.signed(&header, &spoil(&claims)));
    }
    for name in ["iss", "aud", "exp", "client_id", "cnf", "sub"] {
        let first = claims.replacen('{', &format!("{{\"{name}\":{},", bench.claims[name]), 1);
        let last = format!("{},\"{name}\":{}}}", &claims[..claims.len() - 1], bench.claims[name]);
        forged.extend([bench.signed(&header, &first), bench.signed(&header, &last)]);
    }
    named("text", forged)
}

#[tokio::test]
async fn no_forged_token_is_taken() {
    let bench = Bench::new().await;
    let ids = key_ids();
    let ids = ids.into_iter().map(|id| bench.with_header(|header| header["kid"] = id));
    let forged = [algorithms(&bench), named("key id", ids), structure(&bench), texts(&bench)].concat();
    let count = bench.none_is_taken(forged).await;
    assert!(count >= 300, "{count}");
    let refused =
        bench.world.entries().await.iter().filter(|entry| entry.body.kind() == "request_refused").count();
    assert_eq!(refused, count, "each is in the ledger");
}

/// Keys that a token brings along, or says where they are: nothing is fetched, and nothing is believed.
#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let own = p256();
    let key = EncodingKey::from_ec_pem(own.as_bytes()).unwrap();
    let own_jwk = MintingKey::from_pem(&own, "issuer-1").unwrap().jwks().unwrap()["keys"][0].clone();
    let mut forged = Vec::new();
    for address in [
        "https://127.0.0.1",
        "http://127.0.0.1",
        "https://localhost",
        "http://2130706433",
        "https://[::ffff:127.0.0.1]",
    ] {
        for name in ["jku", "x5u", "JKU", "jwk_uri", "x5t_url"] {
            forged.push((name.to_owned(), json!(format!("{address}:{port}/jwks.json"))));
        }
    }
    for value in
        [own_jwk.clone(), bench.issuer_jwk.clone(), json!({}), json!(null), json!(own_jwk.to_string())]
    {
        forged.push(("jwk".to_owned(), value));
    }
    for value in [json!(["exp"]), json!([]), json!(["b64"]), json!("exp"), json!(null)] {
        forged.push(("crit".to_owned(), value));
    }
    forged.extend([
        ("x5c".to_owned(), json!(["MIIB"])),
        ("b64".to_owned(), json!(false)),
        ("jwks".to_owned(), json!({ "keys": [own_jwk] })),
    ]);
    let mut tokens = Vec::new();
    for (name, value) in &forged {
        let mut header = bench.header.clone();
        header[name] = value.clone();
        let input = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(bench.claims.to_string().as_bytes())
        );
        let signature = crypto::sign(input.as_bytes(), &key, Algorithm::ES256).unwrap();
        tokens.push((format!("{name} {value}"), format!("{input}.{signature}")));
        // Even where the issuer itself signed it, what tells a verifier to look elsewhere is not taken.
        if ["jku", "x5u", "jwk", "x5c", "crit", "b64"].contains(&name.as_str()) {
            tokens.push((
                format!("signed {name} {value}"),
                bench.with_header(|header| header[name] = value.clone()),
            ));
        }
    }
    let count = bench.none_is_taken(tokens).await;
    assert!(count >= 60, "{count}");
    assert_eq!(connections.load(Ordering::SeqCst), 0, "nothing was fetched");
}

/// Types × audiences × issuers: one cell of each table is taken.
#[tokio::test]
async fn types_audiences_and_issuers_are_not_mixed_up() {
    let bench = Bench::new().await;
    let audience = bench.claims["aud"].as_str().unwrap().to_owned();
    let issuer = bench.claims["iss"].as_str().unwrap().to_owned();
    let types = [
        json!("at+jwt"),
        json!("JWT"),
        json!("jwt"),
        json!("AT+JWT"),
        json!("at+jwt "),
        json!("at-jwt"),
        json!("id+jwt"),
        json!("sharing-context+jwt"),
        json!("client-authentication+jwt"),
        json!("dpop+jwt"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("application/jwt"),
        json!(null),
        json!(1),
        json!(["at+jwt"]),
    ];
    let audiences = [
        json!(audience),
        json!(format!("{audience}/")),
        json!(&audience[..audience.len() - 1]),
        json!(audience.to_uppercase()),
        json!([audience]),
        json!([audience, audience]),
        json!([audience, "https://other.example"]),
        json!(format!("{audience} ")),
        json!(format!("{audience}\u{0}")),
        json!(audience.replace("https", "http")),
        json!(format!("{audience}:443")),
        json!(format!("{audience}#x")),
        json!(format!("{audience}?x")),
        json!(format!("{audience}.evil.example")),
        json!(audience.replace('.', "%2e")),
        json!(audience.replace('o', "о")),
        json!(null),
        json!(1),
        json!({ "aud": audience }),
        json!(""),
        json!("*"),
        json!(bench.world.settings.public_url),
    ];
    let issuers = [
        json!(issuer),
        json!(format!("{issuer}/")),
        json!(bench.world.settings.public_url),
        json!("gmca-prevention"),
        json!([issuer]),
        json!(null),
        json!(""),
    ];
    let token = |kind: &Value, aud: &Value, iss: &Value| {
        let (mut header, mut claims) = (bench.header.clone(), bench.claims.clone());
        (header["typ"], claims["aud"], claims["iss"]) = (kind.clone(), aud.clone(), iss.clone());
        bench.signed(&header.to_string(), &claims.to_string())
    };
    let mut forged = Vec::new();
    for (k, kind) in types.iter().enumerate() {
        for (a, aud) in audiences.iter().enumerate() {
            // The whole of the first two dimensions; of the third, all for the good audience and type.
            for (i, iss) in issuers.iter().enumerate().filter(|(i, _)| *i == 0 || k == 0 || a == 0) {
                if (k, a, i) != (0, 0, 0) {
                    forged.push((format!("{kind} {aud} {iss}"), token(kind, aud, iss)));
                }
            }
        }
    }
    let without =
        ["typ"].map(|name| bench.with_header(|header| drop(header.as_object_mut().unwrap().remove(name))));
    let lacking = ["aud", "iss"]
        .map(|name| bench.with_claims(|claims| drop(claims.as_object_mut().unwrap().remove(name))));
    forged.extend(named("without", without.into_iter().chain(lacking)));
    let count = bench.none_is_taken(forged).await;
    assert!(count >= 500, "{count}");
}

/// Times of other kinds than whole seconds, and at both edges.
#[tokio::test]
async fn times_are_whole_seconds_and_short() {
    let bench = Bench::new().await;
    let now = bench.claims["iat"].as_i64().unwrap();
    let raw = [
        "\"1\"",
        "1.5",
        "1e3",
        "1E+9",
        "-0.0",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "1e999",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"9999999999\"",
        "[1]",
        "{\"$date\":1}",
    ];
    let mut forged = Vec::new();
    for name in ["exp", "iat", "nbf"] {
        for value in raw {
            let mut claims = bench.claims.clone();
            claims[name] = json!("HERE");
            let text = claims.to_string().replace("\"HERE\"", value);
            forged.push((format!("{name} {value}"), bench.signed(&bench.header.to_string(), &text)));
        }
        let whole = format!("{now}.0");
        let mut claims = bench.claims.clone();
        claims[name] = json!("HERE");
        let text = claims.to_string().replace("\"HERE\"", &whole);
        forged.push((format!("{name} {whole}"), bench.signed(&bench.header.to_string(), &text)));
    }
    let sets: &[(&str, i64)] = &[
        ("exp", 0),
        ("exp", -1),
        ("exp", i64::MIN),
        ("exp", i64::MAX),
        ("exp", now - 5),
        ("exp", now - 6),
        ("exp", now + 901),
        ("exp", now * 1_000),
        ("iat", now + 6),
        ("iat", i64::MAX),
        ("iat", i64::MIN),
        ("iat", 0),
        ("nbf", now + 6),
        ("nbf", i64::MAX),
    ];
    forged.extend(sets.iter().map(|&(name, value)| {
        (format!("{name} {value}"), bench.with_claims(|claims| claims[name] = json!(value)))
    }));
    let count = bench.none_is_taken(forged).await;
    assert!(count >= 65, "{count}");
    // The other side of each edge.
    let world = &bench.world;
    for (name, value) in
        [("exp", now - 4), ("exp", now + 900), ("iat", now + 5), ("nbf", now + 5), ("nbf", 0)]
    {
        let token = bench.with_claims(|claims| claims[name] = json!(value));
        let (_, context) = world.headers(&world.prevention("9732110317"));
        assert_eq!(bench.send(&format!("Bearer {token}"), &context).await.status, 200, "{name} {value}");
    }
}

/// Another text of the same context is the same context: what counts is its `jti`, and texts that are not the one are not taken.
#[tokio::test]
async fn a_copy_of_a_context_is_not_another() {
    let bench = Bench::new().await;
    let good = format!("Bearer {}", bench.good());
    assert_eq!(bench.send(&good, &bench.context).await.status, 200);
    let (input, signature) = bench.context.rsplit_once('.').unwrap();
    let decoded = decode(signature);
    let mirrored = [&decoded[..32], &negated(&decoded[32..])].concat(); // ECDSA: (r, n - s) verifies as (r, s) does
    let copy = format!("{input}.{}", base64url(&mirrored));
    assert_ne!(copy, bench.context);
    assert_eq!(bench.send(&good, &copy).await.code(), "context-replayed");
    assert_eq!(bench.send(&good, &bench.context).await.code(), "context-replayed");
    for padded in [
        format!("{}=", bench.context),
        format!("{}==", bench.context),
        format!("{} ", bench.context).replace(' ', "%3D"),
    ] {
        assert_eq!(bench.send(&good, &padded).await.code(), "context-malformed");
    }
    assert_eq!(bench.world.asked["nhs"].asked().len(), 1);
}

/// How the token is sent: one header, one scheme, spelt as the standard has it.
#[tokio::test]
async fn a_token_is_sent_in_one_way() {
    let bench = Bench::new().await;
    let good = bench.good();
    for spoilt in [
        good.clone(),
        format!("Basic {good}"),
        format!("DPoP {good}"),
        format!("Token {good}"),
        format!("Bearer{good}"),
        format!("Bearer  {good}"),
        format!("Bearer\t{good}"),
        format!("Bearer {good}, Bearer {good}"),
        format!("Bearer token={good}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        let answer = bench.send(&spoilt, &bench.context).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let request = bench.world.prevention("9732110317");
    let url = format!("{}/v1/disclosures", bench.world.settings.public_url);
    let body = request.body.as_ref().unwrap().to_string();
    let post = |url: String| {
        bench
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .header("Sharing-Context", &bench.context)
            .body(body.clone())
    };
    let twice = post(url.clone())
        .header("Authorization", format!("Bearer {good}"))
        .header("Authorization", format!("Bearer {good}"));
    assert_eq!(answer(twice.send().await.unwrap()).await.code(), "access-token-missing");
    let in_address = post(format!("{url}?access_token={good}"));
    assert_eq!(answer(in_address.send().await.unwrap()).await.code(), "access-token-missing");
    for length in [16 * 1024, 64 * 1024, 1024 * 1024] {
        // Too large for any header: refused, or the connection is closed.
        let sent =
            post(url.clone()).header("Authorization", format!("Bearer {}", "A".repeat(length))).send().await;
        assert!(sent.is_err() || sent.unwrap().status().is_client_error(), "{length}");
    }
    assert_eq!(bench.send(&format!("Bearer {good}"), &bench.context).await.status, 200);
}

fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for letter in text.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(letter).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

/// The group's order less this number.
fn negated(number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut out: Vec<u8> = GROUP_ORDER
        .iter()
        .zip(number)
        .rev()
        .map(|(order, digit)| {
            let difference = i32::from(*order) - i32::from(*digit) - borrow;
            borrow = i32::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).unwrap()
        })
        .collect();
    out.reverse();
    out
}
