//! What callers can make a gateway hold in memory: as much as it allows them, however much they send.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use acceptance::{Request, tls};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use upstreams::nhs::Crowd;

use crate::{
    deployment::{Deployment, Replica, Store},
    load::{Account, Ports, STEADY, open_loop},
    scenarios::Length,
    usage::Usage,
};

/// How many connections one partner has open, each of which sends as much as it can.
const CONNECTIONS: u64 = 200;
/// How much each of them would send.
const SENT_MAX: usize = 1 << 20;
/// What one of them may take, of which the settings allow 64 KiB of a body and 32 KiB of a head: an eighth of what it would send.
const HELD_MAX_KIB: u64 = 128;

/// What a partner sends without an end: what comes first, and what follows again and again.
struct Push {
    name: &'static str,
    protocol: &'static str,
    first: Vec<u8>,
    then: Vec<u8>,
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection of HTTP/2, and of a request's head there that its owner does not end.
fn unended_head() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let get = [&[0x82, 0x87, 0x84, 0x41, 9], &b"localhost"[..]].concat();
    [preface, &frame(4, 0, 0, &[])[..], &frame(1, 1, 1, &get)].concat()
}

/// More of such a head: names that are not to be remembered, of 16 KB together.
fn more_of_a_head() -> Vec<u8> {
    let one = [&[0x10, 3], &b"x-y"[..], &[100], &[b'z'; 100]].concat();
    frame(9, 0, 1, &one.repeat(150))
}

fn pushes(deployment: &Deployment) -> Vec<Push> {
    let question =
        Request { certificate_of: "council", tokens_of: "council", ..deployment.partners.prevention(STEADY) };
    let (access, context) = deployment.partners.headers(&question);
    let head = format!(
        "POST /v1/disclosures HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {access}\r\nSharing-Context: {context}\r\n\
         Content-Type: application/json\r\n"
    );
    let http = |name, first: String, then: String| {
        let (first, then) = (first.into_bytes(), then.into_bytes());
        Push { name, protocol: "http/1.1", first, then }
    };
    let header = format!("X-More: {}\r\n", "z".repeat(1_000));
    let get = "GET /v1/disclosures HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    let (first, then) = (unended_head(), more_of_a_head());
    vec![
        http("heads that do not end", get.clone(), header),
        http("one header that does not end", format!("{get}X-More: "), "z".repeat(4_096)),
        http("bodies that do not end", format!("{head}Content-Length: 65536\r\n\r\n{{"), " ".repeat(4_096)),
        http(
            "bodies that are too long",
            format!("{head}Content-Length: 1048576\r\n\r\n{{"),
            " ".repeat(4_096),
        ),
        Push { name: "heads of HTTP/2 that do not end", protocol: "h2", first, then },
    ]
}

/// Opens a connection and sends until as much was sent or nothing is taken any more; holds it then. How much was taken.
async fn push(connector: TlsConnector, port: u16, push: Arc<Push>, until: CancellationToken) -> usize {
    let Ok(mut stream) = tls::connect(&connector, port).await else { return 0 };
    let sent = until.run_until_cancelled(send(&mut stream, &push)).await.unwrap_or_default();
    // What it is answered is read, so that nothing that it says is lost for want of room.
    let _ = until.run_until_cancelled(stream.read_to_end(&mut Vec::new())).await;
    sent
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, push: &Push) -> usize {
    let mut sent = 0;
    let mut next = &push.first;
    while sent < SENT_MAX {
        match timeout(Duration::from_secs(2), stream.write_all(next)).await {
            Ok(Ok(())) => sent += next.len(),
            _ => break,
        }
        next = &push.then;
    }
    let _ = timeout(Duration::from_secs(1), stream.flush()).await;
    sent
}

/// One partner opens as many connections as it may, and sends over each what does not end: no more is held than is allowed, and another
/// is answered.
pub async fn unended(length: Length) -> Value {
    let seconds = length.or(3, 20);
    let deployment = Deployment::start(Store::File, 1, |_, _| {}).await;
    let account = Arc::new(Account::new(&deployment.folder().join("account.jsonl")));
    let ports: Ports = Arc::new(Mutex::new(vec![deployment.replicas[0].port]));
    let partners = deployment.partners.clone();
    let load = (&partners, &account, &ports);
    let ask = || open_loop(load, ("fire", STEADY), (5, seconds));
    assert_eq!(ask().await.records(), 5 * seconds);
    let (process, port) = (deployment.replicas[0].process(), deployment.replicas[0].port);
    let memory = || Usage::of(process).unwrap().memory_kib;
    let rest = memory();
    let mut held = serde_json::Map::new();
    for one in pushes(&deployment) {
        let one = Arc::new(one);
        let connector = tls::connector(deployment.folder(), "council", one.protocol);
        let until = CancellationToken::new();
        let pushing: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(push(connector.clone(), port, one.clone(), until.clone())))
            .collect();
        let most = async {
            let mut most = memory();
            for _ in 0..seconds * 20 {
                sleep(Duration::from_millis(50)).await;
                most = most.max(memory());
            }
            most
        };
        let (kept, most) = tokio::join!(ask(), most);
        until.cancel();
        let sent: usize = join_all(pushing).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(
            kept.records(),
            5 * seconds,
            "{}: another was not answered: {:?}",
            one.name,
            kept.statuses
        );
        // Or it was not tried.
        assert!(
            sent > 20_000 * usize::try_from(CONNECTIONS).unwrap(),
            "{}: only {sent} bytes were taken",
            one.name
        );
        let grown = most.saturating_sub(rest);
        assert!(grown < CONNECTIONS * HELD_MAX_KIB, "{}: {grown} KiB are held", one.name);
        held.insert(
            one.name.to_owned(),
            json!({ "kib_a_connection": grown / CONNECTIONS, "kib_sent": sent / 1_024 }),
        );
    }
    // What was broken off is counted within a second.
    sleep(Duration::from_millis(1_500)).await;
    json!({ "connections": CONNECTIONS, "held": held, "checked": deployment.check().await })
}

/// A list of many people takes little more memory than one of a tenth of them: what was asked has to be held, what is answered has not.
pub async fn long_list(_: Length) -> Value {
    let with_lists = |_: usize, replica: &mut Replica| {
        let file = replica.folder().join("policies/agreements/gm-fire-prevention-over-65s.toml");
        let text = fs::read_to_string(&file).unwrap();
        let changed = text.replacen("roles = [", "list_people_max = 100000\nroles = [", 1);
        assert_ne!(changed, text);
        fs::write(&file, changed).unwrap();
        // Which go on with what is counted of callers.
        replica.append_settings(
            "subjects_per_practitioner_per_day = 1000000\nsubjects_per_system_per_day = 1000000\n",
        );
    };
    let deployment = Deployment::start(Store::File, 1, with_lists).await;
    let (process, port) = (deployment.replicas[0].process(), deployment.replicas[0].port);
    let people: Vec<_> = Crowd::Old.numbers().take(55_000).collect();
    let (short, long) = people.split_at(5_000);
    let (mut most, mut answered) = ([0, 0], 0);
    for (most, numbers) in most.iter_mut().zip([short, long]) {
        let (asked, is_over) = (ask_all(&deployment, port, numbers), CancellationToken::new());
        let watch = async {
            while is_over.run_until_cancelled(sleep(Duration::from_millis(50))).await.is_some() {
                *most = Usage::of(process).unwrap().memory_kib.max(*most);
            }
        };
        let ask = async {
            let released = asked.await;
            is_over.cancel();
            released
        };
        let ((released, bytes), ()) = tokio::join!(ask, watch);
        assert_eq!(released, numbers.len(), "somebody was not told of");
        answered = bytes / 1_024;
    }
    let grown = most[1].saturating_sub(most[0]);
    assert!(2 * grown < answered, "a longer list takes {grown} KiB more, and its answer has {answered}");
    let people = [short.len(), long.len()];
    // Nobody keeps an account of these.
    json!({ "people": people, "most_kib": most, "answered_kib": answered })
}

/// Asks for a list and reads the answer as it comes, slowly at first. How many records came, and how many bytes.
async fn ask_all(deployment: &Deployment, port: u16, numbers: &[String]) -> (usize, u64) {
    let mut lines = vec![json!({
        "provider": "nhs-pds", "purpose": "fire-prevention-targeting", "case_reference": "CASE-1",
    })];
    lines.extend(numbers.iter().map(|number| json!({ "scheme": "nhs-number", "value": number })));
    let text: String = lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
    let mut request =
        deployment.partners.bare("fire", "POST", "/v1/disclosures/list", "fire-prevention-targeting");
    request.content_type = Some("application/x-ndjson");
    request.text = Some(text);
    let (access, context) = deployment.partners.headers(&request);
    let client = deployment.partners.client("fire");
    let asked = client
        .post(format!("https://localhost:{port}/v1/disclosures/list"))
        .bearer_auth(access)
        .header("sharing-context", context)
        .header("content-type", "application/x-ndjson")
        .body(request.text.unwrap());
    let mut answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Whoever does not read for a while is not read ahead for.
    sleep(Duration::from_secs(5)).await;
    let (mut released, mut bytes, mut line) = (0, 0, Vec::new());
    while let Some(part) = answer.chunk().await.unwrap() {
        bytes += part.len() as u64;
        for byte in part {
            if byte == b'\n' {
                let said: Value = serde_json::from_slice(&line).unwrap();
                released += usize::from(said["answer"] == "released");
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    (released, bytes)
}
