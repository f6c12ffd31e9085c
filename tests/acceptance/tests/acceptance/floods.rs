//! Floods and stalls below a request: whatever one connection does, others are answered, and it ends.

use std::time::Duration;

use acceptance::World;
use futures_util::StreamExt as _;
use gateway::{listener, tls::server_config};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::wire::{connect, port};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET / HTTP/2` for localhost, by HPACK's static table.
fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 9];
    block.extend(b"localhost");
    block
}

/// The frames of an attack, one round of it.
fn round(attack: &str, number: u32) -> Vec<u8> {
    let stream = number * 2 + 1;
    match attack {
        "rapid reset" => {
            let mut frames = frame(HEADERS, 0x5, stream, &get());
            frames.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
            frames
        }
        "resets that we are made to send" => {
            // A window of nothing: an error of the stream, which the server answers with a reset.
            let mut frames = frame(HEADERS, 0x4, stream, &get());
            frames.extend(frame(8, 0, stream, &0_u32.to_be_bytes()));
            frames
        }
        "continuations without end" | "empty continuations" if number == 0 => frame(HEADERS, 0x1, 1, &get()),
        "continuations without end" => {
            let mut block = vec![0x40, 3];
            block.extend(b"x-y");
            block.push(100);
            block.extend([b'z'; 100]);
            frame(CONTINUATION, 0, 1, &block)
        }
        "empty continuations" => frame(CONTINUATION, 0, 1, &[]),
        "pings" => frame(PING, 0, 0, &u64::from(number).to_be_bytes()),
        "settings" => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        "empty data" if number == 0 => frame(HEADERS, 0x4, 1, &get()),
        "empty data" => frame(DATA, 0, 1, &[]),
        other => panic!("{other}"),
    }
}

/// Attacks until the server has had enough or all was sent. Whether it said GOAWAY or closed.
async fn attack(world: &World, name: &'static str, rounds: u32) -> bool {
    let stream = connect(world.folder.path(), port(world), "h2").await;
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        // Only what it says at the end matters.
        while let Ok(Ok(count)) = timeout(Duration::from_secs(20), read.read(&mut buffer)).await {
            if count == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..count]);
            if frames(&seen).any(|(kind, _)| kind == GO_AWAY) {
                return true;
            }
        }
        false
    });
    write.write_all(PREFACE).await.unwrap();
    write.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let mut was_closed = false;
    'sending: for first in (0..rounds).step_by(64) {
        let bytes: Vec<u8> =
            (first..(first + 64).min(rounds)).flat_map(|number| round(name, number)).collect();
        // A server that does not read what it cannot use holds us up, not others.
        match timeout(Duration::from_secs(5), write.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                was_closed = true;
                break 'sending;
            }
            Err(_) => break 'sending,
        }
        tokio::task::yield_now().await;
    }
    let _ = timeout(Duration::from_secs(1), write.flush()).await;
    let went_away = timeout(Duration::from_secs(10), reading).await.is_ok_and(|said| said.unwrap());
    went_away || was_closed
}

/// The frames that are whole: kind and payload.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + 9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = bytes.get(at + 9..at + 9 + length)?;
        at += 9 + length;
        Some((head[3], payload))
    })
}

/// A connection's beginning and a whole request of HTTP/2 with this head.
pub(crate) fn request(head: &[u8], body: &[u8]) -> Vec<u8> {
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let request = match body {
        [] => frame(HEADERS, 0x5, 1, head),
        body => [frame(HEADERS, 0x4, 1, head), frame(DATA, 0x1, 1, body)].concat(),
    };
    [begin, request].concat()
}

/// As [`request`], for `/`.
pub(crate) fn whole_request() -> Vec<u8> {
    request(&get(), b"")
}

/// The head of the answer; nothing where the other side closes before.
pub(crate) async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        seen.extend_from_slice(&buffer[..count]);
        let head = frames(&seen).find(|(kind, _)| *kind == HEADERS).map(|(_, payload)| payload.to_vec());
        if count == 0 || head.is_some() {
            return head.unwrap_or_default();
        }
    }
}

/// Opens connections from an address of this machine and says nothing over them, again and again.
async fn say_nothing(last: u8, port: u16) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        if let Ok(mut stream) = socket.connect(([127, 0, 0, 1], port).into()).await {
            let _ = stream.read(&mut [0; 1]).await; // until it is closed
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_no_certificate_keeps_no_withdrawal_from_getting_through() {
    let world = World::with_settings(|settings| {
        settings.limits.handshakes_max = 32;
        settings.limits.handshakes_per_address_max = 16;
        settings.limits.connections_max = 64;
        settings.limits.connections_per_address_max = 48;
    })
    .await;
    let mut consents = Vec::new();
    for _ in 0..5 {
        consents.push(world.send(world.consent("SWR-2044")).await.body["id"].as_str().unwrap().to_owned());
    }
    let gateway = port(&world);
    let flood: Vec<_> = (2..6)
        .flat_map(|last| (0..40).map(move |_| last))
        .map(|last| tokio::spawn(say_nothing(last, gateway)))
        .collect();
    // Until there are more of them than there may be.
    recorded(&world, "pushed-out").await;
    for consent in consents {
        let path = format!("/v1/consents/{consent}/withdraw");
        let request = world.bare("council", "POST", &path, "safe-and-well-referral");
        let withdrawn = timeout(Duration::from_secs(20), world.send(request)).await.unwrap();
        assert_eq!(withdrawn.status, 200, "{withdrawn:?}");
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    world.verify().await;
}

/// Waits for an entry about refused handshakes.
async fn recorded(world: &World, reason: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.entries().await.iter().any(|entry| format!("{:?}", entry.body).contains(reason)) {
        assert!(Instant::now() < deadline, "it is not recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_connection_does_others_are_answered() {
    let world = World::new().await;
    for (name, rounds, must_end) in [
        ("rapid reset", 20_000, true),
        ("resets that we are made to send", 20_000, true),
        ("continuations without end", 20_000, true),
        ("empty continuations", 20_000, true),
        ("pings", 50_000, false),
        ("settings", 50_000, false),
        ("empty data", 50_000, false),
    ] {
        let good = async {
            for _ in 0..8 {
                let answer = world.send(world.prevention("9732110317")).await;
                assert_eq!(answer.status, 200, "{name}: {answer:?}");
            }
        };
        let (ended, ()) = tokio::join!(attack(&world, name, rounds), good);
        assert!(ended || !must_end, "{name}: the connection goes on");
        let deadline = Instant::now() + Duration::from_secs(20);
        while world.app.places_in_use().iter().any(|(_, in_use, _)| *in_use > 0) {
            assert!(Instant::now() < deadline, "{name}: places are still taken");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.verify().await;
}

/// What a client does with a connection of HTTP/2 that it does not mean to let go.
const CLINGING: [(&str, bool); 6] = [
    ("says nothing", false),
    ("begins and does not go on", false),
    ("says how it begins and nothing more", true),
    ("takes nothing of its answer", true),
    ("has not ended its request", true),
    ("goes on asking", true),
];

/// Does so, and answers pings if it may, but not the last one. How long it is until the connection ends.
async fn cling(world: &World, how: &str, answers_pings: bool) -> Duration {
    let mut stream = connect(world.folder.path(), port(world), "h2").await;
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let said = match how {
        "says nothing" => Vec::new(),
        "begins and does not go on" => PREFACE[..10].to_vec(),
        "says how it begins and nothing more" | "goes on asking" => {
            [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
        }
        "takes nothing of its answer" => [PREFACE, &no_window, &frame(HEADERS, 0x5, 1, &get())].concat(),
        "has not ended its request" => [PREFACE, &no_window, &frame(HEADERS, 0x4, 1, &get())].concat(),
        other => panic!("{other}"),
    };
    stream.write_all(&said).await.unwrap();
    let (began, mut heard, mut answered) = (Instant::now(), Vec::new(), 0);
    let (mut buffer, mut asked) = ([0; 4_096], 0);
    while began.elapsed() < Duration::from_mins(1) {
        match timeout(Duration::from_millis(200), stream.read(&mut buffer)).await {
            Ok(Ok(count @ 1..)) => heard.extend_from_slice(&buffer[..count]),
            Ok(_) => break,
            Err(_) if how == "goes on asking" => {
                let question = frame(HEADERS, 0x5, asked * 2 + 1, &get());
                let _ = stream.write_all(&question).await; // it may be closed already
                asked += 1;
            }
            Err(_) => {}
        }
        let went_away = frames(&heard).any(|(kind, _)| kind == GO_AWAY);
        let pings: Vec<_> = frames(&heard).filter(|(kind, _)| *kind == PING).collect();
        if answers_pings && !went_away {
            for (_, payload) in &pings[answered..] {
                let _ = stream.write_all(&frame(PING, 1, 0, payload)).await; // it may be closed already
            }
        }
        answered = pings.len();
    }
    began.elapsed()
}

/// All of these at once, and each connection ends.
async fn all_end(world: World, clinging: &[(&'static str, bool)]) {
    let world = std::sync::Arc::new(world);
    let clinging = clinging.iter().map(|&(how, answers_pings)| {
        let world = world.clone();
        tokio::spawn(async move { (how, cling(&world, how, answers_pings).await) })
    });
    for one in clinging.collect::<Vec<_>>() {
        let (how, lasted) = timeout(Duration::from_secs(90), one).await.unwrap().unwrap();
        // Its age and the time for draining, twice, and time for a machine that is busy.
        assert!(lasted < Duration::from_secs(30), "{how}: {lasted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_of_http2_outlives_its_age_whatever_is_at_its_other_end() {
    let world = World::with_settings(|settings| {
        settings.limits.connection_max_age_s = 1;
        settings.limits.drain_timeout_s = 2;
    });
    all_end(world.await, &CLINGING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http2_begins_in_time_or_ends() {
    // Its age is minutes.
    let world = World::with_settings(|settings| settings.limits.header_read_timeout_ms = 500);
    all_end(world.await, &CLINGING[..2]).await;
}

/// A listener with one answer to everything, beside a gateway whose certificates it has: its port, and how it stops.
async fn serving<T>(
    answer: impl axum::handler::Handler<T, ()>,
    limits: listener::Limits,
) -> (World, u16, CancellationToken, JoinHandle<()>)
where
    T: 'static,
{
    let world = World::new().await;
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
    let config = server_config(&read("gateway.pem"), &read("gateway.key"), &read("ca.pem"), &[]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, current) = tokio::sync::watch::channel(config);
    let (app, stop) = (axum::Router::new().fallback(answer), CancellationToken::new());
    let serving = tokio::spawn(listener::serve(listener, current, app, limits, |_| {}, stop.clone()));
    (world, port, stop, serving)
}

/// What a whole list or document is, as one part.
const LARGE: usize = 3 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_slowly_is_taken_whole() {
    let limits = listener::Limits {
        connection_max_age: Duration::from_millis(300),
        drain_timeout: Duration::from_secs(2),
        ..listener::Limits::default()
    };
    let large = || async { vec![b'x'; LARGE] };
    let (world, port, stop, serving) = serving(large, limits).await;
    let mut stream = connect(world.folder.path(), port, "h2").await;
    stream.write_all(&whole_request()).await.unwrap();
    let (mut heard, mut taken, mut buffer) = (Vec::new(), 0, vec![0; 64 * 1024]);
    while let Ok(Ok(count @ 1..)) = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await {
        heard.extend_from_slice(&buffer[..count]);
        let whole: usize = frames(&heard).map(|(_, payload)| 9 + payload.len()).sum();
        let data: usize = frames(&heard).filter(|(kind, _)| *kind == DATA).map(|(_, part)| part.len()).sum();
        heard.drain(..whole);
        taken += data;
        if data > 0 {
            // Seconds in all, in parts of which none takes long.
            tokio::time::sleep(Duration::from_millis(40)).await;
            let window = u32::try_from(data).unwrap().to_be_bytes();
            let more = [frame(8, 0, 0, &window), frame(8, 0, 1, &window)].concat();
            let _ = stream.write_all(&more).await; // all of it may have been sent
        }
        if taken == LARGE {
            break;
        }
    }
    assert_eq!(taken, LARGE);
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_us_longer_than_a_connections_age_is_given_whole() {
    // Longer before it begins, and in the midst of it, than whoever takes nothing is waited for.
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let parts = futures_util::stream::iter(["be", "gun", " and", " ended"]).then(|part| async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok::<_, std::io::Error>(part)
        });
        axum::body::Body::from_stream(parts)
    };
    let limits = listener::Limits {
        connection_max_age: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(300),
        ..listener::Limits::default()
    };
    let (world, port, stop, serving) = serving(slow, limits).await;
    for protocol in ["h2", "http/1.1"] {
        let mut stream = connect(world.folder.path(), port, protocol).await;
        let asked = match protocol {
            "h2" => whole_request(),
            _ => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        };
        stream.write_all(&asked).await.unwrap();
        let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
        while let Ok(Ok(count @ 1..)) = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await {
            said.extend_from_slice(&buffer[..count]);
        }
        let text = match protocol {
            "h2" => {
                frames(&said).filter(|(kind, _)| *kind == DATA).flat_map(|(_, part)| part.to_vec()).collect()
            }
            _ => said,
        };
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(" ended"), "{protocol}: {text}");
    }
    stop.cancel();
    serving.await.unwrap();
}

/// HTTP/1.1 has no way of saying that a connection takes no more but an answer: closed in between, it would lose what is just being sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_that_is_asked_all_the_time_ends_with_an_answer() {
    let limits = listener::Limits {
        connection_max_age: Duration::from_secs(2),
        last_request_wait: Duration::from_secs(20),
        // What is asked in between is owed all the same.
        drain_timeout: Duration::ZERO,
        ..listener::Limits::default()
    };
    let (world, port, stop, serving) = serving(|| async { "told" }, limits).await;
    let mut stream = connect(world.folder.path(), port, "http/1.1").await;
    let mut answers = 0;
    loop {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let (mut said, mut buffer) = (String::new(), [0; 4_096]);
        while !said.ends_with("told") {
            let count = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(count > 0, "after {answers} answers the connection was closed without saying so: {said}");
            said.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        answers += 1;
        if said.to_ascii_lowercase().contains("connection: close") {
            let end = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await.unwrap();
            assert!(matches!(end, Ok(0) | Err(_)), "it ends");
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(answers > 1, "it was young before");
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for() {
    let world = World::with_settings(|settings| settings.limits.body_read_timeout_ms = 300).await;
    let request = world.prevention("9732110317");
    let (access, context) = world.headers(&request);
    let mut stream = connect(world.folder.path(), port(&world), "http/1.1").await;
    let head = format!(
        "POST /v1/disclosures HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {access}\r\nSharing-Context: {context}\r\n\
         Content-Type: application/json\r\nContent-Length: 200\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 4_096];
    let count = timeout(Duration::from_secs(20), stream.read(&mut said)).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&said[..count]).into_owned();
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body-too-slow"), "{said}");
}

#[tokio::test]
async fn a_certificate_has_its_share_of_connections() {
    let world = World::with_settings(|settings| settings.limits.connections_per_certificate_max = 2).await;
    let open = || connect(world.folder.path(), port(&world), "http/1.1");
    let (one, other) = (open().await, open().await);
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let said = |mut stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>| async move {
        let _ = stream.write_all(ask).await; // it may be closed already
        let mut said = [0; 12];
        timeout(Duration::from_secs(20), stream.read(&mut said)).await.unwrap().unwrap_or(0) > 0
    };
    assert!(!said(open().await).await, "a third one");
    drop(other);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !said(open().await).await {
        assert!(Instant::now() < deadline, "a place that is free again is not given");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(one);
    recorded(&world, "too-many-connections").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_is_not_written_to_for_long() {
    const SIZE: usize = 64 << 20;
    let limits =
        listener::Limits { write_timeout: Duration::from_millis(300), ..listener::Limits::default() };
    let large = || async { vec![b'x'; SIZE] };
    let (world, port, stop, serving) = serving(large, limits).await;
    let mut stream = connect(world.folder.path(), port, "http/1.1").await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 1_024];
    stream.read_exact(&mut first).await.unwrap();
    // Nothing is read for longer than that.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < SIZE / 2, "{} bytes came all the same", rest.len());
    stop.cancel();
    serving.await.unwrap();
}
