//! The load: connections that each send one prepared request after the other and read the answer, and nothing more, since
//! the client shares the machine with what it measures.

use std::{
    cell::Cell,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use gateway::tls;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinSet, LocalSet},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longest that one round may take.
const ROUND_MAX: Duration = Duration::from_mins(4);

/// What came back.
pub(crate) struct Answered {
    /// How long each request took, in order of length.
    pub(crate) times: Vec<Duration>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Body bytes of one answer.
    pub(crate) bytes: usize,
}

/// How long a client waits for a connection before it gives a question up, and for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
const ANSWERED_MAX: Duration = Duration::from_secs(15);

/// What became of questions that came at a rate of their own.
#[derive(Default)]
pub(crate) struct Offered {
    /// How long each took that was answered with 200, from when it was due: waiting for a connection counts.
    times: Vec<Duration>,
    /// Answered with 503, with 429, or with 502 where the record holder had too many questions.
    pub(crate) turned_away: u64,
    /// No connection was free in time.
    pub(crate) not_sent: u64,
    /// Sent, and the connection ended.
    pub(crate) unanswered: u64,
    elapsed: Duration,
}

impl Offered {
    /// How many were answered with 200.
    pub(crate) fn answered(&self) -> u64 {
        self.times.len() as u64
    }

    pub(crate) fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.times.len()).unwrap_or(u32::MAX)) / self.elapsed.as_secs_f64()
    }

    /// So many in a thousand took no longer.
    pub(crate) fn took(&self, of_thousand: usize) -> Duration {
        deployment::quantile(&self.times, of_thousand).unwrap_or_default()
    }
}

/// So many questions at this rate a second, over connections that take the next that is due, one after the other.
pub(crate) async fn offer(
    connector: &TlsConnector,
    port: u16,
    next: impl Fn() -> anyhow::Result<Vec<u8>> + 'static,
    connections: usize,
    (rate, count): (u32, u32),
) -> anyhow::Result<Offered> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(connector, port).await?);
    }
    let taking =
        Rc::new(Taking { connector: connector.clone(), port, next, place: Cell::new(0), rate, count });
    let began = Instant::now();
    let local = LocalSet::new();
    let tasks: Vec<_> =
        open.into_iter().map(|stream| local.spawn_local(taking.clone().go_on(stream, began))).collect();
    let mut all = Offered::default();
    let ended = async {
        for task in tasks {
            let one = task.await??;
            all.times.extend(one.times);
            all.turned_away += one.turned_away;
            all.not_sent += one.not_sent;
            all.unanswered += one.unanswered;
        }
        anyhow::Ok(())
    };
    local.run_until(ended).await?;
    all.elapsed = began.elapsed();
    all.times.sort_unstable();
    Ok(all)
}

/// What connections take questions from.
struct Taking<N> {
    connector: TlsConnector,
    port: u16,
    next: N,
    place: Cell<u32>,
    rate: u32,
    count: u32,
}

impl<N: Fn() -> anyhow::Result<Vec<u8>>> Taking<N> {
    async fn go_on(
        self: Rc<Self>,
        mut stream: TlsStream<TcpStream>,
        began: Instant,
    ) -> anyhow::Result<Offered> {
        let (mut offered, mut buffer) = (Offered::default(), Vec::with_capacity(16 * 1024));
        loop {
            let place = self.place.replace(self.place.get() + 1);
            if place >= self.count {
                return Ok(offered);
            }
            let due = began + Duration::from_secs(1) * place / self.rate;
            let late = due.elapsed();
            if late > PATIENCE {
                offered.not_sent += 1;
                // Whoever is told so lets others go on.
                if offered.not_sent.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            let request = (self.next)()?;
            if late.is_zero() {
                tokio::time::sleep_until(due.into()).await;
            }
            // As every client does: a connection that has ended meanwhile is not sent over.
            if matches!(futures_util::FutureExt::now_or_never(stream.read(&mut [0])), Some(Ok(0) | Err(_))) {
                stream = connect(&self.connector, self.port).await?;
            }
            // What the timer is late by is not the gateway's; what a connection was waited for is.
            let due = if late.is_zero() { Instant::now() } else { due };
            let asked = async {
                stream.write_all(&request).await?;
                stream.flush().await?;
                read(&mut stream, &mut buffer).await
            };
            let answered = tokio::time::timeout(ANSWERED_MAX, asked).await;
            let answer = answered.ok().and_then(Result::ok);
            match answer.as_ref().map(|answer| answer.status) {
                Some(200) => offered.times.push(due.elapsed()),
                Some(429 | 502 | 503) => offered.turned_away += 1,
                Some(other) => anyhow::bail!("{other}: {}", String::from_utf8_lossy(&buffer)),
                None => offered.unanswered += 1,
            }
            if !answer.is_some_and(|answer| answer.goes_on) {
                stream = connect(&self.connector, self.port).await?;
            }
        }
    }
}

async fn connect(connector: &TlsConnector, port: u16) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from("localhost")?, stream).await?)
}

/// TLS with the certificate of the asking partner.
pub(crate) fn connector(state: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(state.join("ca.pem"))?)?;
    let chain = vec![CertificateDer::from_pem_file(state.join("fire.pem"))?];
    let key = PrivateKeyDer::from_pem_file(state.join("fire.key"))?;
    let mut config = ClientConfig::builder_with_provider(tls::crypto())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Opens the connections, and sends the requests over them once all are open.
pub(crate) async fn ask(
    connector: &TlsConnector,
    port: u16,
    requests: Vec<Vec<u8>>,
    connections: usize,
    status: u16,
    began: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Answered> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(connector, port).await?);
    }
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    began()?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for stream in open {
        tasks.spawn(connection(stream, requests.clone(), next.clone(), status));
    }
    let (mut times, mut bytes) = (Vec::with_capacity(requests.len()), 0);
    let all = async {
        while let Some(done) = tasks.join_next().await {
            let (of, size) = done??;
            times.extend(of);
            bytes = bytes.max(size);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(ROUND_MAX, all).await.context("a round took too long")??;
    let elapsed = started.elapsed();
    times.sort_unstable();
    Ok(Answered { times, elapsed, bytes })
}

async fn connection(
    mut stream: TlsStream<TcpStream>,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
    status: u16,
) -> anyhow::Result<(Vec<Duration>, usize)> {
    let (mut times, mut buffer, mut size) = (Vec::new(), Vec::with_capacity(128 * 1024), 0);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let started = Instant::now();
        stream.write_all(request).await?;
        stream.flush().await?;
        let answer = read(&mut stream, &mut buffer).await?;
        ensure!(answer.status == status, "{} instead of {status}", answer.status);
        size = answer.body;
        times.push(started.elapsed());
    }
    Ok((times, size))
}

/// An answer.
struct Answer {
    status: u16,
    /// How long its body was.
    body: usize,
    /// Whether there may be more over its connection.
    goes_on: bool,
}

/// Reads one whole answer.
async fn read(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> anyhow::Result<Answer> {
    buffer.clear();
    let mut whole = usize::MAX;
    let mut answer = Answer { status: 0, body: 0, goes_on: true };
    while buffer.len() < whole {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        if whole == usize::MAX
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?.to_ascii_lowercase();
            answer.status = head.split(' ').nth(1).unwrap_or_default().parse()?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            answer.body = length.context("an answer without a length")?.trim().parse()?;
            answer.goes_on = !head.lines().any(|line| line == "connection: close");
            whole = end + 4 + answer.body;
        }
    }
    ensure!(buffer.len() == whole, "more than one answer");
    Ok(answer)
}
