//! Told to stop: what is on its way is answered, and nothing that anybody holds open keeps the process from ending.

use std::{
    os::fd::AsFd as _,
    process::{Output, Stdio},
    time::Duration,
};

use acceptance::{World, program, unused_port};
use gateway::{listener, tls::server_config};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes that is in order.
const LONG: Duration = Duration::from_secs(40);
const ASKED: &[u8] = b"POST /v1/withdrawn HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

/// A listener with an app that answers everything.
struct Served {
    world: World,
    port: u16,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _replacing: tokio::sync::watch::Sender<std::sync::Arc<rustls::ServerConfig>>,
}

async fn serve(limits: listener::Limits) -> Served {
    let world = World::new().await;
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
    let config = server_config(&read("gateway.pem"), &read("gateway.key"), &read("ca.pem"), &[]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = axum::Router::new().fallback(|| async { "answered" });
    let (replacing, current) = tokio::sync::watch::channel(config);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(listener::serve(listener, current, app, limits, |_| {}, stop.clone()));
    Served { world, port, stop, serving, _replacing: replacing }
}

/// What comes until the other side closes.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut said)).await.unwrap(); // it may be reset
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn whoever_is_in_the_handshake_when_the_stop_comes_is_answered_once() {
    for protocol in ["http/1.1", "h2"] {
        let long = Duration::from_secs(20);
        let limits = listener::Limits {
            handshake_timeout: long,
            header_read_timeout: long,
            ..listener::Limits::default()
        };
        let served = serve(limits).await;
        let connector = acceptance::tls::connector(served.world.folder.path(), "fire", protocol);
        let stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        // It is taken: another that came later is answered.
        let mut other = acceptance::tls::connect(&connector, served.port).await.unwrap();
        served.stop.cancel();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        if protocol == "h2" {
            stream.write_all(&crate::floods::whole_request()).await.unwrap();
            let said = timeout(LONG, crate::floods::head(&mut stream)).await.unwrap();
            assert!(!said.is_empty(), "it is answered");
            drop((stream, other)); // whoever does not answer a PING is waited for
        } else {
            stream.write_all(ASKED).await.unwrap();
            let said = rest(stream).await;
            assert!(said.starts_with("HTTP/1.1 200") && said.contains("connection: close"), "{said}");
            let _ = other.write_all(ASKED).await;
            assert!(rest(other).await.starts_with("HTTP/1.1 200"), "one that had asked nothing yet");
        }
        timeout(LONG, served.serving).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_request_on_a_kept_connection_is_answered_while_the_stop_goes_on() {
    let limits =
        listener::Limits { last_request_wait: Duration::from_secs(15), ..listener::Limits::default() };
    let served = serve(limits).await;
    let connector = acceptance::tls::connector(served.world.folder.path(), "fire", "http/1.1");
    let mut kept = acceptance::tls::connect(&connector, served.port).await.unwrap();
    kept.write_all(ASKED).await.unwrap();
    let mut first = [0; 1_024];
    let count = timeout(LONG, kept.read(&mut first)).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&first[..count]).contains("connection: close"));
    served.stop.cancel();
    // It has heard of it: nobody else gets in.
    let deadline = Instant::now() + LONG;
    while TcpStream::connect(("127.0.0.1", served.port)).await.is_ok() {
        assert!(Instant::now() < deadline, "connections are still taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kept.write_all(ASKED).await.unwrap();
    let said = rest(kept).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("connection: close"), "{said}");
    timeout(LONG, served.serving).await.unwrap().unwrap();
}

/// A gateway as a process.
struct Gateway {
    folder: TempDir,
    port: u16,
    probes: u16,
    process: Child,
}

impl Gateway {
    async fn start() -> Self {
        let world = World::new().await;
        let port = world.settings.listen.port();
        let folder = world.stop().await;
        let probes = unused_port();
        let path = folder.path().join("concordat.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("probe_listen = \"127.0.0.1:{probes}\"\n{text}")).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program())
            .arg("serve")
            .arg("--config")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut started = Self { folder, port, probes, process };
        started.has_said("\"serving\"").await;
        started
    }

    async fn has_said(&mut self, words: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            if log.contains(words) {
                return;
            }
            assert!(self.process.try_wait().unwrap().is_none() && Instant::now() < deadline, "{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn signal(&self, name: &str) {
        let process = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &process]).status().await.unwrap().success());
    }

    async fn ended(&mut self) -> std::process::ExitStatus {
        timeout(LONG, self.process.wait()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn half_a_request_for_a_probe_keeps_no_process_from_ending() {
    let mut gateway = Gateway::start().await;
    let begun = Instant::now();
    let mut half = TcpStream::connect(("127.0.0.1", gateway.probes)).await.unwrap();
    // So many that the first of them had to go for the others, and whoever asks is answered all the same.
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(("127.0.0.1", gateway.probes)).await.unwrap());
    }
    assert_eq!(timeout(LONG, half.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0, "the oldest goes");
    assert!(begun.elapsed() < listener::Limits::default().header_read_timeout, "for the others");
    let mut probe = TcpStream::connect(("127.0.0.1", gateway.probes)).await.unwrap();
    probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(probe).await.starts_with("HTTP/1.1 200"));
    let mut half = TcpStream::connect(("127.0.0.1", gateway.probes)).await.unwrap();
    half.write_all(b"GET /readyz HT").await.unwrap();
    gateway.signal("-TERM").await;
    assert!(gateway.ended().await.success());
    drop((half, held));
}

#[tokio::test]
async fn told_twice_it_ends_at_once_and_the_ledger_is_whole() {
    for second in ["-TERM", "-INT"] {
        let mut gateway = Gateway::start().await;
        // Nobody has to be waited for but this one, which says nothing.
        let connector = acceptance::tls::connector(gateway.folder.path(), "fire", "http/1.1");
        let silent = acceptance::tls::connect(&connector, gateway.port).await.unwrap();
        gateway.signal("-TERM").await;
        gateway.has_said("told to stop: ").await;
        // Sooner it would be one of the same stop.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        gateway.signal(second).await;
        assert_eq!(gateway.ended().await.code(), Some(1), "it did not finish what it was told to first");
        drop(silent);
        let verified = Command::new(program())
            .args(["audit", "verify", "--config"])
            .arg(gateway.folder.path().join("concordat.toml"))
            .output();
        let verified = verified.await.unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}

#[tokio::test]
async fn a_socket_that_is_passed_and_does_not_listen_is_an_error_at_the_start() {
    let folder = World::new().await.stop().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let passed = socket.as_fd().try_clone_to_owned().unwrap();
    let started = Command::new("sh")
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"])
        .arg(program())
        .args(["serve", "--config"])
        .arg(folder.path().join("concordat.toml"))
        .stdin(passed)
        .kill_on_drop(true)
        .output();
    let Output { status, stderr, .. } = timeout(LONG, started).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && said.contains("socket 1 does not listen"), "{said}");
}
