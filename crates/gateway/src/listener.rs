//! The accept loop: TLS handshakes, HTTP/1.1 and HTTP/2 by ALPN, with a bound on every phase.
//!
//! Our own rather than `axum::serve`, which sets no header timeout, and rather than protocol sniffing, which has
//! none either. Refused handshakes are handed to the caller of [`serve`], because a TLS refusal would otherwise
//! leave no trace.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use self::shares::Shares;
use crate::tls::CertificateFingerprint;

mod shares;

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for a request's head.
    pub header_read_timeout: Duration,
    /// A connection is closed after this long, so that a revoked certificate cannot live on in it.
    pub connection_max_age: Duration,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most connections at once from one address. All partners are one address behind a load balancer that does not pass
    /// theirs on.
    pub connections_per_address_max: usize,
    /// Most connections at once with one certificate.
    pub connections_per_certificate_max: usize,
    /// Longest time for which a caller may not read what is written to it.
    pub write_timeout: Duration,
    /// Most requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Largest request head, in bytes.
    pub header_bytes_max: u32,
    /// How long requests may take to finish when the process is told to stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            header_read_timeout: Duration::from_secs(5),
            connection_max_age: Duration::from_mins(5),
            connections_max: 1_024,
            connections_per_address_max: 768,
            connections_per_certificate_max: 256,
            write_timeout: Duration::from_secs(10),
            streams_max: 100,
            header_bytes_max: 32 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The certificate that a caller showed in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its fingerprint.
    pub fingerprint: CertificateFingerprint,
    /// The first second at which it is no longer valid, since 1970.
    pub not_after_s: i64,
}

/// Why a handshake was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeRefusal {
    /// No client certificate.
    NoCertificate,
    /// Of an authority that is not trusted.
    UnknownIssuer,
    /// Not valid at this time.
    Expired,
    /// Revoked.
    Revoked,
    /// Not usable for another reason.
    BadCertificate,
    /// No common protocol version or cipher suite.
    Incompatible,
    /// Not TLS.
    NotTls,
    /// Too slow.
    TimedOut,
    /// Broken off.
    BrokenOff,
    /// As many connections from this address or with this certificate as there may be.
    TooMany,
}

impl HandshakeRefusal {
    /// The code in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad-certificate",
            Self::Incompatible => "incompatible",
            Self::NotTls => "not-tls",
            Self::TimedOut => "timed-out",
            Self::BrokenOff => "broken-off",
            Self::TooMany => "too-many-connections",
        }
    }

    fn of(error: &std::io::Error) -> Self {
        use rustls::{CertificateError, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(reason)) => match reason {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::Revoked => Self::Revoked,
                _ => Self::BadCertificate,
            },
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Incompatible,
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(Error::AlertReceived(_)) | None => Self::BrokenOff,
            Some(_) => Self::BadCertificate,
        }
    }
}

/// Serves until `shutdown`, then lets requests finish. TLS settings may be replaced at any time: connections made from then on
/// use the new ones, and those that are there end when their requests have, so that nobody goes on with what is not valid any more.
pub async fn serve(
    listener: TcpListener,
    mut tls: watch::Receiver<Arc<ServerConfig>>,
    app: Router,
    limits: Limits,
    refused: impl Fn(HandshakeRefusal) + Clone + Send + Sync + 'static,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let (addresses, certificates) = (Shares::<IpAddr>::default(), Shares::default());
    while !shutdown.is_cancelled() {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            // Out of descriptors, most likely: waiting lets connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(of_address) = addresses.take(address.ip(), limits.connections_per_address_max) else {
            refused(HandshakeRefusal::TooMany);
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.borrow_and_update().clone());
        let (app, refused, shutdown, tls) = (app.clone(), refused.clone(), shutdown.clone(), tls.clone());
        let certificates = certificates.clone();
        tasks.spawn(async move {
            let _held = (place, of_address);
            let stream = match handshake(acceptor, stream, limits.handshake_timeout).await {
                Ok(stream) => stream,
                Err(reason) => return refused(reason),
            };
            // Whether one has to be shown, the TLS settings say. Browsers of the console show none.
            let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
                return connection(stream, None, app, limits, replaced(tls), shutdown).await;
            };
            let Some(shown) = peer(certificate) else { return };
            match certificates.take(shown.fingerprint, limits.connections_per_certificate_max) {
                Some(_share) => connection(stream, Some(shown), app, limits, replaced(tls), shutdown).await,
                None => refused(HandshakeRefusal::TooMany),
            }
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!("connections were still open when the time for finishing them ran out");
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    longest: Duration,
) -> Result<TlsStream<TcpStream>, HandshakeRefusal> {
    // Small answers: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    match timeout(longest, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(HandshakeRefusal::of(&error)),
        Err(_) => Err(HandshakeRefusal::TimedOut),
    }
}

/// When the TLS settings that a connection was made with are replaced.
async fn replaced(mut tls: watch::Receiver<Arc<ServerConfig>>) {
    if tls.changed().await.is_err() {
        // Nobody replaces them any more.
        std::future::pending::<()>().await;
    }
}

/// A connection on which nobody is waited for that does not read.
fn impatient(
    stream: TlsStream<TcpStream>,
    longest: Duration,
) -> Pin<Box<TimeoutStream<TlsStream<TcpStream>>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(longest));
    Box::pin(stream)
}

async fn connection(
    stream: TlsStream<TcpStream>,
    peer: Option<PeerCertificate>,
    app: Router,
    limits: Limits,
    replaced: impl Future<Output = ()>,
    shutdown: CancellationToken,
) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(|body| Body::new(body.map_err(axum::Error::new)));
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        app.clone().oneshot(request)
    });
    let stream = TokioIo::new(impatient(stream, limits.write_timeout));
    let stopped = async {
        tokio::select! {
            () = replaced => {}
            () = shutdown.cancelled() => {}
        }
    };
    // Whatever a connection dies of, its requests have answered or have been dropped: nothing is owed to it.
    if is_http2 {
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(limits.header_bytes_max)
            // A body is small: windows are too, so that what nobody reads yet is bounded.
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(1 << 20)
            // Requests that are taken back before they are begun, and resets that we are made to send.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(64)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        until(http.serve_connection(stream, service), limits, stopped).await;
    } else {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            .max_buf_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX));
        until(http.serve_connection(stream, service), limits, stopped).await;
    }
}

/// Serves a connection until it is old or has to stop. One that is old takes no other request, and finishes the answer that
/// is on its way: a list's may take long. One that has to stop has the time for draining.
async fn until(serving: impl GracefulConnection, limits: Limits, stopped: impl Future<Output = ()>) {
    let (mut serving, mut stopped) = (std::pin::pin!(serving), std::pin::pin!(stopped));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = tokio::time::sleep(limits.connection_max_age) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                _ = serving.as_mut() => return,
                () = stopped.as_mut() => {}
            }
        }
        () = stopped.as_mut() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(limits.drain_timeout, serving).await;
}

fn peer(certificate: &[u8]) -> Option<PeerCertificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let not_after_s = parsed.validity().not_after.timestamp();
    Some(PeerCertificate { fingerprint: CertificateFingerprint::of(certificate), not_after_s })
}
