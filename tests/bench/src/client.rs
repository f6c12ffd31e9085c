//! The load: connections that each send one prepared request after the other and read the answer, and nothing more, since
//! the client shares the machine with what it measures.

use std::{
    path::Path,
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
    task::JoinSet,
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
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        open.push(connector.connect(ServerName::try_from("localhost")?, stream).await?);
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
        size = answer(&mut stream, &mut buffer, status).await?;
        times.push(started.elapsed());
    }
    Ok((times, size))
}

/// Reads one whole answer, and says how long its body was.
async fn answer(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    status: u16,
) -> anyhow::Result<usize> {
    buffer.clear();
    let (mut whole, mut body) = (usize::MAX, 0);
    while buffer.len() < whole {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        if whole == usize::MAX
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?.to_ascii_lowercase();
            let answered = head.split(' ').nth(1).unwrap_or_default();
            ensure!(answered == status.to_string(), "{answered} instead of {status}:\n{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            body = length.context("an answer without a length")?.trim().parse()?;
            whole = end + 4 + body;
        }
    }
    ensure!(buffer.len() == whole, "more than one answer");
    Ok(body)
}
