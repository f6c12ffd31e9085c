//! Forged tokens, some hundreds of them: none is taken. Each is made from a good one by one change; the good one is tried too,
//! so that a table of refusals cannot pass because everything is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use acceptance::{Answer, World, answer};
use ledger::entry::Body;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use crate::{
    forged::{GROUP_ORDER, Good, all, named, own_keys, types},
    signing::base64url,
    token_endpoint,
    wire::{connect, port},
};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Context,
    Assertion,
}

const KINDS: [Kind; 3] = [Kind::Access, Kind::Context, Kind::Assertion];

/// A world, a connection that is kept, and a token of each kind in order.
struct Bench {
    world: World,
    client: reqwest::Client,
    access: Good,
    context: Good,
    assertion: Good,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        let (access, context) = world.headers(&world.prevention("9732110317"));
        let claims = |token: &str| jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
        Self {
            client: world.client("fire"),
            access: Good::of(&world, "issuer", "at+jwt", claims(&access)),
            context: Good::of(&world, "fire-context", "sharing-context+jwt", claims(&context)),
            assertion: Good::of(&world, "fire-token", "JWT", token_endpoint::claims(&world)),
            world,
        }
    }

    fn good(&self, kind: Kind) -> &Good {
        match kind {
            Kind::Access => &self.access,
            Kind::Context => &self.context,
            Kind::Assertion => &self.assertion,
        }
    }

    async fn send(&self, authorization: &str, context: &str) -> Answer {
        self.send_over(&self.client, authorization, context).await.unwrap()
    }

    async fn send_over(
        &self,
        client: &reqwest::Client,
        authorization: &str,
        context: &str,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.world.prevention("9732110317");
        let sent = client.post(format!("{}/v1/disclosures", self.world.settings.public_url));
        let sent = sent.header("Authorization", authorization).header("Sharing-Context", context);
        let sent = sent.header("Content-Type", "application/json").body(request.body.unwrap().to_string());
        Ok(answer(sent.send().await?).await)
    }

    async fn token(&self, kind: Kind, token: &str) -> Answer {
        let bearer = |token: &str| format!("Bearer {token}");
        match kind {
            Kind::Access => self.send(&bearer(token), &self.context.token()).await,
            Kind::Context => self.send(&bearer(&self.access.token()), token).await,
            Kind::Assertion => token_endpoint::ask_with(&self.client, &self.world, token).await,
        }
    }

    /// All of them are refused for what they are, each is in the ledger, nobody was asked, and then the good one is taken. How many
    /// there were.
    async fn none_is_taken(&self, kind: Kind, forged: Vec<(String, String)>) -> usize {
        let codes = match kind {
            Kind::Access => "access-token-",
            Kind::Context => "context-",
            Kind::Assertion => "client-assertion-",
        };
        let before = self.world.entries().await.len();
        for (what, token) in &forged {
            let answer = self.token(kind, token).await;
            // A form without an assertion is none, which is another matter than who it is of.
            let status = if kind == Kind::Assertion && token.is_empty() { 400 } else { 401 };
            assert_eq!(answer.status, status, "{kind:?} {what}: {answer:?}");
            assert!(answer.code().starts_with(codes) || kind == Kind::Assertion, "{what}: {answer:?}");
        }
        let entries = self.world.entries().await.split_off(before);
        assert_eq!(entries.len(), forged.len(), "each is in the ledger, and nothing else");
        for (entry, (what, token)) in entries.iter().zip(&forged) {
            let Body::RequestRefused { code, .. } = &entry.body else { panic!("{kind:?} {what}: {entry:?}") };
            let is_missing = token.is_empty() && code == "token-request-missing-parameter";
            assert!(code.starts_with(codes) || is_missing, "{kind:?} {what}: {code}");
        }
        assert!(self.world.asked["nhs"].asked().is_empty(), "nobody was asked");
        let taken = self.token(kind, &self.good(kind).token()).await;
        assert_eq!(taken.status, 200, "the good one is taken: {taken:?}");
        forged.len()
    }
}

#[tokio::test]
async fn no_forged_access_token_is_taken() {
    none_of_all_is_taken(Kind::Access, 300).await;
}

#[tokio::test]
async fn no_forged_context_is_taken() {
    none_of_all_is_taken(Kind::Context, 300).await;
}

#[tokio::test]
async fn no_forged_assertion_is_taken() {
    none_of_all_is_taken(Kind::Assertion, 280).await;
}

async fn none_of_all_is_taken(kind: Kind, least: usize) {
    let bench = Bench::new().await;
    let count = bench.none_is_taken(kind, all(bench.good(kind))).await;
    assert!(count >= least, "{count}");
}

/// Keys that a token brings along, or says where they are: nothing is fetched, and nothing is believed.
#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for kind in KINDS {
        let bench = Bench::new().await;
        let count = bench.none_is_taken(kind, own_keys(bench.good(kind), port)).await;
        assert!(count >= 60, "{kind:?}: {count}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "nothing was fetched");
}

#[tokio::test]
async fn a_token_of_another_type_is_not_taken() {
    for (kind, taken) in [
        (Kind::Access, &["at+jwt"][..]),
        (Kind::Context, &["sharing-context+jwt"]),
        // Assertions had no type of their own for long, and their two names are taken in any spelling.
        (Kind::Assertion, &["JWT", "jwt", "client-authentication+jwt", "CLIENT-AUTHENTICATION+JWT"]),
    ] {
        let bench = Bench::new().await;
        let count = bench.none_is_taken(kind, types(bench.good(kind), taken)).await;
        assert!(count >= 25, "{kind:?}: {count}");
    }
}

/// Each is good as what it is, and as nothing else: neither its key nor its type is another's.
#[tokio::test]
async fn a_token_of_one_kind_is_none_of_another() {
    for kind in KINDS {
        let bench = Bench::new().await;
        let others = KINDS.into_iter().filter(|other| *other != kind).flat_map(|other| {
            let (own, other) = (bench.good(kind), bench.good(other));
            let headed = |header: &Value| other.signed(&header.to_string(), &own.claims.to_string());
            let mut typed = other.header.clone();
            typed["typ"] = own.header["typ"].clone();
            [other.token(), headed(&own.header), headed(&other.header), headed(&typed)]
        });
        let count = bench.none_is_taken(kind, named("another kind", others)).await;
        assert_eq!(count, 8);
    }
}

/// Types × audiences × issuers: one cell of each table is taken.
#[tokio::test]
async fn types_audiences_and_issuers_are_not_mixed_up() {
    let bench = Bench::new().await;
    let audience = bench.access.claims["aud"].as_str().unwrap().to_owned();
    let issuer = bench.access.claims["iss"].as_str().unwrap().to_owned();
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
        let (mut header, mut claims) = (bench.access.header.clone(), bench.access.claims.clone());
        (header["typ"], claims["aud"], claims["iss"]) = (kind.clone(), aud.clone(), iss.clone());
        bench.access.signed(&header.to_string(), &claims.to_string())
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
    let without = ["typ"]
        .map(|name| bench.access.with_header(|header| drop(header.as_object_mut().unwrap().remove(name))));
    let lacking = ["aud", "iss"]
        .map(|name| bench.access.with_claims(|claims| drop(claims.as_object_mut().unwrap().remove(name))));
    forged.extend(named("without", without.into_iter().chain(lacking)));
    let count = bench.none_is_taken(Kind::Access, forged).await;
    assert!(count >= 500, "{count}");
}

/// Times of other kinds than whole seconds, and at both edges.
#[tokio::test]
async fn times_are_whole_seconds_and_short() {
    let bench = Bench::new().await;
    let now = bench.access.claims["iat"].as_i64().unwrap();
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
            let mut claims = bench.access.claims.clone();
            claims[name] = json!("HERE");
            let text = claims.to_string().replace("\"HERE\"", value);
            forged.push((
                format!("{name} {value}"),
                bench.access.signed(&bench.access.header.to_string(), &text),
            ));
        }
        let whole = format!("{now}.0");
        let mut claims = bench.access.claims.clone();
        claims[name] = json!("HERE");
        let text = claims.to_string().replace("\"HERE\"", &whole);
        forged
            .push((format!("{name} {whole}"), bench.access.signed(&bench.access.header.to_string(), &text)));
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
        (format!("{name} {value}"), bench.access.with_claims(|claims| claims[name] = json!(value)))
    }));
    let count = bench.none_is_taken(Kind::Access, forged).await;
    assert!(count >= 65, "{count}");
    // The other side of each edge.
    let world = &bench.world;
    for (name, value) in
        [("exp", now - 4), ("exp", now + 900), ("iat", now + 5), ("nbf", now + 5), ("nbf", 0)]
    {
        let token = bench.access.with_claims(|claims| claims[name] = json!(value));
        let (_, context) = world.headers(&world.prevention("9732110317"));
        assert_eq!(bench.send(&format!("Bearer {token}"), &context).await.status, 200, "{name} {value}");
    }
}

/// Another text of the same context is the same context: what counts is its `jti`, and texts that are not the one are not taken.
#[tokio::test]
async fn a_copy_of_a_context_is_not_another() {
    let bench = Bench::new().await;
    let context = bench.context.token();
    let good = format!("Bearer {}", bench.access.token());
    assert_eq!(bench.send(&good, &context).await.status, 200);
    let (input, signature) = context.rsplit_once('.').unwrap();
    let decoded = decode(signature);
    let mirrored = [&decoded[..32], &negated(&decoded[32..])].concat(); // ECDSA: (r, n - s) verifies as (r, s) does
    let copy = format!("{input}.{}", base64url(&mirrored));
    assert_ne!(copy, context);
    assert_eq!(bench.send(&good, &copy).await.code(), "context-replayed");
    assert_eq!(bench.send(&good, &context).await.code(), "context-replayed");
    for padded in [format!("{context}="), format!("{context}=="), format!("{context}%3D")] {
        assert_eq!(bench.send(&good, &padded).await.code(), "context-malformed");
    }
    assert_eq!(bench.world.asked["nhs"].asked().len(), 1);
}

/// How the token is sent: one header, one scheme, spelt as the standard has it.
#[tokio::test]
async fn a_token_is_sent_in_one_way() {
    let bench = Bench::new().await;
    let context = bench.context.token();
    let good = bench.access.token();
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
        let answer = bench.send(&spoilt, &context).await;
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
            .header("Sharing-Context", &context)
            .body(body.clone())
    };
    let twice = post(url.clone())
        .header("Authorization", format!("Bearer {good}"))
        .header("Authorization", format!("Bearer {good}"));
    assert_eq!(answer(twice.send().await.unwrap()).await.code(), "access-token-missing");
    let in_address = post(format!("{url}?access_token={good}"));
    assert_eq!(answer(in_address.send().await.unwrap()).await.code(), "access-token-missing");
    assert_eq!(bench.send(&format!("Bearer {good}"), &context).await.status, 200);
}

#[tokio::test]
async fn a_token_of_any_size_is_refused() {
    let bench = Bench::new().await;
    let world = &bench.world;
    let context = bench.context.token();
    let sized = |length| format!("Bearer {}", "A".repeat(length));
    // One that fits into a head is read, and is none. A head beyond the largest is refused unread, and one far beyond it ends the connection.
    for (length, status) in [
        (8 * 1024 + 1, Some(401)),
        (16 * 1024, Some(401)),
        (64 * 1024, Some(431)),
        (256 * 1024, None),
        (1024 * 1024, None),
    ] {
        let client = world.client("fire");
        let said = bench.send_over(&client, &sized(length), &context).await;
        match (status, said) {
            (Some(status), Ok(answer)) => {
                assert_eq!(answer.status, status, "{length}");
                assert_eq!(answer.code(), if status == 401 { "access-token-malformed" } else { "" });
            }
            (None, Err(error)) => {
                assert!(
                    error.is_request() && !error.is_connect() && !error.is_timeout(),
                    "{length}: {error:?}"
                );
            }
            (_, said) => panic!("{length}: {said:?}"),
        }
        assert_eq!(world.send(world.prevention("9732110317")).await.status, 200, "after {length}");
    }
    for (length, status) in [
        (8 * 1024 + 1, "HTTP/1.1 401"),
        (16 * 1024, "HTTP/1.1 401"),
        (64 * 1024, "HTTP/1.1 431"),
        (1024 * 1024, "HTTP/1.1 431"),
    ] {
        let head = format!(
            "POST /v1/disclosures HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\nSharing-Context: {context}\r\nContent-Length: 0\r\n\r\n",
            sized(length)
        );
        let mut stream = connect(world.folder.path(), port(world), "http/1.1").await;
        // What is left unread when the other side closes may keep its answer from arriving.
        let is_unread = stream.write_all(head.as_bytes()).await.is_err() || length > 32 * 1024;
        let mut said = vec![0; 1_024];
        let count = timeout(Duration::from_secs(20), stream.read(&mut said)).await.unwrap().unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..count]).into_owned();
        assert!(said.starts_with(status) || (is_unread && said.is_empty()), "{length}: {said}");
        assert_eq!(world.send(world.prevention("9732110317")).await.status, 200, "after {length}");
    }
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
