//! An issuer's keys from an HTTPS address: fetched, rotated, and asked for no more than once a minute.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use gateway::caller::keys::{KeySet, KeySource};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

fn key(id: &str) -> Value {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    gateway::mint::MintingKey::from_pem(&pem, id).unwrap().jwks().unwrap()["keys"][0].clone()
}

struct Source {
    url: String,
    trusted: tempfile::TempDir,
    content: Arc<Mutex<String>>,
    fetched: Arc<AtomicUsize>,
}

/// An HTTPS server that answers every request with the current content.
async fn source() -> Source {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), certified.cert.pem()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(gateway::tls::crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certified.cert.der().clone()],
            certified.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/jwks.json", listener.local_addr().unwrap().port());
    let (content, fetched) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
    let (served, counted) = (content.clone(), fetched.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            counted.fetch_add(1, Ordering::SeqCst);
            let body = served.lock().unwrap().clone();
            let answer = if body.starts_with("302") {
                "HTTP/1.1 302 Found\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
            } else {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Source { url, trusted: folder, content, fetched }
}

impl Source {
    fn set(&self, keys: &[&Value]) {
        *self.content.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    async fn load(&self) -> Result<KeySet, String> {
        let source =
            KeySource::Url { address: self.url.clone(), trusted: self.trusted.path().join("ca.pem") };
        KeySet::load(source).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_and_a_stranger_cannot_make_us_ask() {
    let source = source().await;
    let (one, two, three) = (key("one"), key("two"), key("three"));
    source.set(&[&one]);
    let keys = source.load().await.unwrap();
    let start: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let at = |seconds| start + jiff::SignedDuration::from_secs(seconds);
    assert!(keys.key("one", Algorithm::ES256, at(0)).await.is_some());
    assert!(keys.key("one", Algorithm::ES384, at(0)).await.is_none(), "a key is for its own algorithm");
    assert!(keys.key("one", Algorithm::HS256, at(0)).await.is_none());
    source.set(&[&one, &two]);
    assert!(keys.key("two", Algorithm::ES256, at(1)).await.is_some(), "rotation with overlap");
    let fetched = source.fetched.load(Ordering::SeqCst);
    for name in 0..1_000 {
        assert!(keys.key(&format!("stranger-{name}"), Algorithm::ES256, at(2)).await.is_none());
    }
    assert_eq!(source.fetched.load(Ordering::SeqCst), fetched, "once a minute at most");
    source.set(&[&three]);
    assert!(keys.key("three", Algorithm::ES256, at(62)).await.is_some());
    assert!(keys.key("one", Algorithm::ES256, at(63)).await.is_none(), "a key that is gone is gone");
    // A source that fails changes nothing.
    for broken in ["", "<html>", "{\"keys\":[]}", "302", &"x".repeat(70_000)] {
        broken.clone_into(&mut source.content.lock().unwrap());
        assert!(keys.refresh().await.is_err(), "{broken:.10}");
        assert!(keys.key("three", Algorithm::ES256, at(64)).await.is_some());
    }
}

#[tokio::test]
async fn key_sets_that_cannot_be_trusted_are_refused() {
    let source = source().await;
    let one = key("one");
    let mut nameless = one.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let mut hostile = one.clone();
    hostile["kid"] = json!("../one");
    let symmetric = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    let mut unnamed = symmetric.clone();
    unnamed["kid"] = json!("a symmetric key");
    for keys in [
        vec![&one, &one],
        vec![&nameless],
        vec![&hostile],
        vec![&symmetric],
        vec![&one, &symmetric],
        vec![&one, &unnamed],
    ] {
        source.set(&keys);
        assert!(source.load().await.is_err(), "{keys:?}");
    }
    // One whose name cannot be used is passed over.
    for other in [&nameless, &hostile] {
        source.set(&[&one, other]);
        let keys = source.load().await.unwrap();
        assert!(keys.key("one", Algorithm::ES256, Timestamp::UNIX_EPOCH).await.is_some());
    }
    source.set(&[&one]);
    let plain = KeySource::Url {
        address: source.url.replace("https", "http"),
        trusted: source.trusted.path().join("ca.pem"),
    };
    assert!(KeySet::load(plain).await.is_err(), "https alone");
}
