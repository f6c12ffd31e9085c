//! What callers say makes no line of the log and breaks none: each line is one JSON object that the gateway wrote, whatever was in the
//! headers, the address, the body and the tokens of a request.

use std::{path::Path, sync::Mutex};

use acceptance::{Request, World};
use gateway::telemetry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    http2::{self, Question},
    wire::{connect, port},
};

/// What is in everything that callers say here, and where a forged line says that it is from.
const FORGED: &str = "FORGED";

/// What callers say: the beginnings and ends of lines in every spelling, and a line behind them.
fn said() -> Vec<String> {
    let line = json!({
        "timestamp": "2026-11-23T12:00:00.000000Z", "level": "ERROR", "target": FORGED,
        "fields": { "message": "the ledger was tampered with" },
    });
    let ends = ["\r\n", "\n", "\r", "\u{2028}", "\u{85}", "%0d%0a", "\0"];
    let mut said = ends.map(|end| format!("{FORGED}{end}{line}{end}")).to_vec();
    said.extend([
        format!("\u{1b}[2J\u{1b}]0;{FORGED}\u{7}"),
        format!("\u{9b}31m{FORGED}"),
        format!("{FORGED}\u{8}\u{7f}"),
        format!("\u{202e}{FORGED}"),
        format!("{FORGED}\",\"level\":\"ERROR\",\"x\":\""),
        format!("{FORGED}\"}}}}\n{line}"),
        format!("{FORGED}\\"),
    ]);
    said
}

/// The headers that somebody reads, and some that nobody does.
const HEADERS: [&str; 18] = [
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "tracestate",
    "baggage",
    "user-agent",
    "referer",
    "forwarded",
    "x-forwarded-for",
    "authorization",
    "sharing-context",
    "content-type",
    "content-encoding",
    "idempotency-key",
    "if-match",
    "accept",
    "host",
    "x-anything",
];

/// Says these very bytes over a connection of its own, and waits for whatever the answer is.
async fn say(world: &World, bytes: &[u8]) {
    let mut stream = connect(world.folder.path(), port(world), "http/1.1").await;
    let _ = stream.write_all(bytes).await; // it may be closed already
    let _ = stream.read(&mut [0; 1_024]).await;
}

async fn in_heads_of_http1(world: &World, said: &str) {
    let host = format!("Host: localhost:{}\r\n", port(world));
    for name in HEADERS {
        let own = if name == "host" { "" } else { host.as_str() };
        say(
            world,
            format!("GET /healthz HTTP/1.1\r\n{own}{name}: {said}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
    }
    for line in [
        format!("GET /{said} HTTP/1.1"),
        format!("GET /fhir/nhs-pds/Patient/{said} HTTP/1.1"),
        format!("GET /healthz?{said} HTTP/1.1"),
        format!("GET /healthz?{said}={said} HTTP/1.1"),
        format!("{said} /healthz HTTP/1.1"),
        format!("GET /healthz {said}"),
        said.to_owned(),
    ] {
        say(world, format!("{line}\r\n{host}Connection: close\r\n\r\n").as_bytes()).await;
    }
    say(world, format!("GET /healthz HTTP/1.1\r\n{host}{said}: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await;
}

async fn in_heads_of_http2(world: &World, said: &str) {
    for name in ["x-request-id", "x-correlation-id", "traceparent", "user-agent", "content-type"] {
        let mut question = Question::of(world);
        question.add(name, said);
        http2::exchange(world, &question.bytes()).await;
    }
    for name in [":path", ":method", ":authority", ":scheme"] {
        let mut question = Question::of(world);
        question.set(name, format!("/{said}"));
        http2::exchange(world, &question.bytes()).await;
    }
    let mut question = Question::of(world);
    question.add(said, "x");
    http2::exchange(world, &question.bytes()).await;
}

/// Where a claim is, and what it is to say.
static CLAIM: Mutex<(&str, String)> = Mutex::new(("", String::new()));

fn change(claims: &mut Value) {
    let (place, said) = &*CLAIM.lock().unwrap();
    if place.is_empty() {
        claims[said] = json!(said);
    } else {
        *claims.pointer_mut(place).unwrap() = json!(said);
    }
}

async fn in_tokens(world: &World, client: &reqwest::Client, said: &str) {
    let of_access = [
        "",
        "/iss",
        "/sub",
        "/aud",
        "/client_id",
        "/jti",
        "/exp",
        "/cnf/x5t#S256",
        "/authorization_details/0/type",
        "/authorization_details/0/purpose",
        "/authorization_details/0/actions/0",
    ];
    let of_context = [
        "",
        "/iss",
        "/sub",
        "/aud",
        "/htm",
        "/htu",
        "/jti",
        "/iat",
        "/purpose",
        "/reason_for_request",
        "/case_reference",
        "/requested_record/scheme",
        "/requested_record/value",
        "/requesting_device/identifier",
        "/requesting_organization/identifier",
        "/requesting_practitioner/id",
        "/requesting_practitioner/role",
    ];
    let places =
        of_access.map(|place| (true, place)).into_iter().chain(of_context.map(|place| (false, place)));
    for (is_access, place) in places {
        *CLAIM.lock().unwrap() = (place, said.to_owned());
        let mut request = world.prevention("9732110317");
        let spoil = if is_access { &mut request.spoil_access } else { &mut request.spoil_context };
        *spoil = Some(change);
        send(world, client, &request).await;
    }
}

async fn send(world: &World, client: &reqwest::Client, request: &Request) {
    let answer = world.send_to(client, port(world), request).await.unwrap();
    assert!(!answer.status.is_server_error(), "{answer:?}");
}

async fn in_bodies(world: &World, (client, council): (&reqwest::Client, &reqwest::Client), said: &str) {
    for name in ["", "provider", "purpose", "case_reference", "subject"] {
        let mut request = world.prevention("9732110317");
        request.body.as_mut().unwrap()[if name.is_empty() { said } else { name }] = json!(said);
        send(world, client, &request).await;
    }
    for name in ["scheme", "value"] {
        let mut request = world.prevention("9732110317");
        request.body.as_mut().unwrap()["subject"][name] = json!(said);
        send(world, client, &request).await;
    }
    for name in ["controller", "method", "notice_version", "given_at", "consent_type", "status"] {
        let mut request = world.consent("SWR-2044");
        request.body.as_mut().unwrap()[name] = json!(said);
        send(world, council, &request).await;
    }
    let mut request = world.prevention("9732110317");
    request.text = Some(said.to_owned());
    send(world, client, &request).await;
    let form = client.post(format!("{}/oauth2/token", world.settings.public_url));
    let fields =
        ["grant_type", "client_assertion_type", "client_assertion", "client_id", "scope", "resource", said];
    let fields = fields.map(|name| (name, said));
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    assert!(form.body(body).send().await.unwrap().status().is_client_error());
}

/// Where words of callers are from that the test logs.
const PLANTED: &str = "planted";

/// Of a line, nothing that ends it or that a terminal obeys.
fn is_plain(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}')
}

/// What JSON writes in other letters, or need not.
fn is_escaped_or_plain(letter: char) -> bool {
    letter < ' ' || is_plain(letter)
}

/// The lines of the log, each of which is one object and on one line for whoever shows or splits it.
fn lines(log: &Path) -> Vec<Value> {
    let text = String::from_utf8(std::fs::read(log).unwrap()).unwrap();
    assert!(text.ends_with('\n'));
    let read = |line: &str| {
        assert!(line.chars().all(is_plain), "{line:?}");
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        for name in ["timestamp", "level", "target"] {
            assert!(line[name].is_string(), "{line}");
        }
        assert!(line["fields"].is_object(), "{line}");
        line
    };
    text.strip_suffix('\n').unwrap().split('\n').map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_callers_say_is_a_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway.log");
    // Everything that there is to say, of the libraries too.
    let settings = gateway::config::TelemetrySettings {
        log_filter: Some("trace".to_owned()),
        ..gateway::config::TelemetrySettings::default()
    };
    let telemetry = telemetry::start_to_file(&settings, std::fs::File::create(&log).unwrap()).unwrap();
    let world = World::new().await;
    let (client, council) = (world.client("fire"), world.client("council"));
    for said in said() {
        in_heads_of_http1(&world, &said).await;
        in_heads_of_http2(&world, &said).await;
        in_tokens(&world, &client, &said).await;
        in_bodies(&world, (&client, &council), &said).await;
    }
    // As if somebody logged a caller's words after all: what ends a line or a text of JSON is none here.
    let planted: Vec<_> = said().into_iter().filter(|said| said.chars().all(is_escaped_or_plain)).collect();
    planted.iter().for_each(|said| tracing::error!(target: PLANTED, said, "{said}"));
    drop(world.stop().await);
    drop(telemetry);
    let lines = lines(&log);
    let of_planted = lines.iter().filter(|line| line["target"] == PLANTED).map(|line| &line["fields"]);
    let expected = planted.iter().map(|said| json!({ "message": said, "said": said }));
    assert!(of_planted.cloned().eq(expected));
    assert!(planted.len() >= 9, "{}", planted.len());
    let ours = ["gateway", "store", "sharing", "ledger", "connectors", "console", "blocks", "exports"];
    let mut answered = 0;
    for line in &lines {
        let target = line["target"].as_str().unwrap();
        assert_ne!(target, FORGED, "{line}");
        if ours.contains(&target.split(':').next().unwrap()) {
            assert!(!line.to_string().contains(FORGED), "{line}");
            answered += usize::from(line["fields"]["message"] == "answered");
        }
    }
    assert!(answered > 500, "{answered}");
}
