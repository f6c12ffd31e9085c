//! The console's listener, without a browser: what it takes as HTTP, what every answer of it says, and what it keeps of whoever begins
//! to sign in.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Duration, timeout},
};

use super::deployment;
use crate::wire::connect;

/// All that comes back for these bytes, until the other side closes.
async fn said(folder: &std::path::Path, port: u16, bytes: &str) -> String {
    let mut stream = connect(folder, port, "http/1.1").await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_could_read_differently_is_refused_and_every_answer_is_dressed() {
    let (world, _started) = deployment().await;
    let (folder, console) = (world.folder.path(), world.settings.console.as_ref().unwrap());
    let (port, host) = (console.listen.port(), console.public_url.strip_prefix("https://").unwrap());
    let get = |path: &str, host: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")
    };
    let is_dressed = |name: &str, answer: &str| {
        let answer = answer.to_lowercase();
        for header in [
            "strict-transport-security: max-age=31536000",
            "x-content-type-options: nosniff",
            "frame-ancestors 'none'",
            "cache-control: ",
        ] {
            assert!(answer.contains(header), "{name}: {header}: {answer}");
        }
    };
    for path in ["/register", "/register.json", "/register.csv", "/", "/assets/none", "/no-such-page"] {
        is_dressed(path, &said(folder, port, &get(path, host, "")).await);
        let elsewhere = said(folder, port, &get(path, "elsewhere.example", "")).await;
        assert!(elsewhere.starts_with("HTTP/1.1 404"), "{path}: {elsewhere}");
    }
    let hidden = get("/register.json", host, "");
    for (name, sent, status) in [
        (
            "both lengths",
            format!(
                "POST /sign-out HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "411",
        ),
        (
            "chunks",
            format!(
                "POST /sign-out HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "411",
        ),
        ("two hosts", get("/register.json", host, &format!("Host: {host}\r\n")), "400"),
        ("a body of what only reads", get("/register.json", host, "Content-Length: 5\r\n") + "hello", "400"),
        ("a way up", get("/assets/../register.json", host, ""), "400"),
        ("an encoded way up", get("/assets/%2e%2e/register.json", host, ""), "400"),
        ("another protocol", get("/register.json", host, "Upgrade: websocket\r\n"), "400"),
        ("a header for the way", get("/register.json", host, "Proxy-Connection: keep-alive\r\n"), "400"),
    ] {
        let answer = said(folder, port, &sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: what follows is no request: {answer}");
        assert!(!answer.contains("recipient"), "{name}: nothing of the register");
        is_dressed(name, &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_to_sign_in_and_does_not_come_back_is_forgotten() {
    let (world, _started) = deployment().await;
    let (folder, console) = (world.folder.path(), world.settings.console.as_ref().unwrap());
    let (port, host) = (console.listen.port(), console.public_url.strip_prefix("https://").unwrap());
    let begin = format!("GET /sign-in HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for _ in 0..5 {
        let answer = said(folder, port, &begin).await;
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    }
    let kept = || async {
        let later = jiff::Timestamp::MAX;
        world.app.store.forget_sign_ins(later).await.unwrap()
    };
    world.clock.advance_s(601);
    assert!(said(folder, port, &begin).await.starts_with("HTTP/1.1 303"));
    assert_eq!(kept().await, 1, "the last one alone");
}
