//! The accept loop: TLS handshakes, HTTP/1.1 and HTTP/2 by ALPN, with a bound on every phase.
//!
//! Our own rather than `axum::serve`, which sets no header timeout, and rather than protocol sniffing, which has
//! none either. Refused handshakes are handed to the caller of [`serve`], because a TLS refusal would otherwise
//! leave no trace. Whoever has shown no certificate takes no place of those who have.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use self::{
    begun::Begun,
    newcomers::{Newcomer, Newcomers},
    owed::Owed,
    shares::{Share, Shares},
};
use crate::tls::CertificateFingerprint;

mod begun;
mod newcomers;
mod owed;
mod plain;
mod shares;

pub use plain::serve_plain;

/// How often it is said that connections are pushed out.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for a request's head.
    pub header_read_timeout: Duration,
    /// A connection takes nothing more after this long (with HTTP/1.1 one request), so that a revoked certificate cannot live on in it.
    pub connection_max_age: Duration,
    /// Most connections at once that have shown no certificate yet. They are none of `connections_max`; when there are more, the oldest
    /// of the address that has most is closed.
    pub handshakes_max: usize,
    /// Most of them from one address; when there are more, its oldest is closed.
    pub handshakes_per_address_max: usize,
    /// Most connections at once whose handshake is done.
    pub connections_max: usize,
    /// Most of those from one address. All partners are one address behind a load balancer that does not pass
    /// theirs on. The addresses of one IPv6 network (/64) are one.
    pub connections_per_address_max: usize,
    /// Most connections at once with one certificate.
    pub connections_per_certificate_max: usize,
    /// Longest time for which a caller may not read what is written to it.
    pub write_timeout: Duration,
    /// Most requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Largest request head, in bytes.
    pub header_bytes_max: u32,
    /// How long a connection over which nothing is on its way is kept for one request more when the process is told to stop, or when it is
    /// old and has HTTP/1.1.
    pub last_request_wait: Duration,
    /// How long requests may take to finish when the process is told to stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            header_read_timeout: Duration::from_secs(5),
            connection_max_age: Duration::from_mins(5),
            handshakes_max: 512,
            handshakes_per_address_max: 256,
            connections_max: 1_024,
            connections_per_address_max: 768,
            connections_per_certificate_max: 256,
            write_timeout: Duration::from_secs(10),
            streams_max: 100,
            header_bytes_max: 32 * 1024,
            last_request_wait: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The certificate that a caller showed in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its fingerprint.
    pub fingerprint: CertificateFingerprint,
    /// The last second in which it is valid, since 1970.
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
    /// As many connections from this address, with this certificate or in all as there may be.
    TooMany,
    /// Closed before it was done, for another that came later.
    PushedOut,
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
            Self::PushedOut => "pushed-out",
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
    let newcomers = Newcomers::new(limits.handshakes_max, limits.handshakes_per_address_max);
    let places = Arc::new(Places::new(limits));
    let mut crowd = Crowd::default();
    while let Some((stream, address)) = accept(&listener, &shutdown).await {
        let address = network(address.ip());
        let (newcomer, pushed) = newcomers.join(address);
        if pushed {
            crowd.grew();
        }
        let acceptor = TlsAcceptor::from(tls.borrow_and_update().clone());
        let (app, refused, shutdown, tls) = (app.clone(), refused.clone(), shutdown.clone(), tls.clone());
        let places = places.clone();
        tasks.spawn(async move {
            let stream = match handshake(acceptor, stream, newcomer, limits.handshake_timeout).await {
                Ok(stream) => stream,
                Err(reason) => return refused(reason),
            };
            // Whether one has to be shown, the TLS settings say. Browsers of the console show none.
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = match shown.map(|certificate| peer(certificate)) {
                Some(None) => return,
                Some(peer) => peer,
                None => None,
            };
            match places.take(address, peer).await {
                Some(_held) => connection(stream, peer, app, limits, replaced(tls), shutdown).await,
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

/// The next connection; none when it is time to stop.
async fn accept(listener: &TcpListener, shutdown: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    let mut failed = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) if !failed => {
                tracing::warn!(%error, "connections cannot be taken; tried again until they can");
                failed = true;
            }
            Err(_) => {}
        }
        // Out of descriptors, most likely: waiting lets connections end.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whose connections are counted together. Whoever has one address of an IPv6 network has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The places of those whose handshake is done.
struct Places {
    limits: Limits,
    all: Arc<Semaphore>,
    waiting: Semaphore,
    addresses: Shares<IpAddr>,
    certificates: Shares<CertificateFingerprint>,
}

/// One of them, until it is dropped.
type Place = (OwnedSemaphorePermit, Share<IpAddr>, Option<Share<CertificateFingerprint>>);

impl Places {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: Arc::new(Semaphore::new(limits.connections_max)),
            waiting: Semaphore::new(limits.handshakes_max),
            addresses: Shares::default(),
            certificates: Shares::default(),
        }
    }

    /// A place, if this address and this certificate have one left. Where all have none, one that becomes free soon.
    async fn take(&self, address: IpAddr, peer: Option<PeerCertificate>) -> Option<Place> {
        let limits = &self.limits;
        let of_address = self.addresses.take(address, limits.connections_per_address_max)?;
        let of_certificate = match peer {
            Some(peer) => {
                Some(self.certificates.take(peer.fingerprint, limits.connections_per_certificate_max)?)
            }
            None => None,
        };
        let of_all = if let Ok(place) = self.all.clone().try_acquire_owned() {
            place
        } else {
            let _waiting = self.waiting.try_acquire().ok()?;
            let turn = timeout(limits.handshake_timeout, self.all.clone().acquire_owned());
            turn.await.ok()?.ok()?
        };
        Some((of_all, of_address, of_certificate))
    }
}

/// How many connections were pushed out since that was last said.
#[derive(Default)]
struct Crowd {
    count: u64,
    said: Option<Instant>,
}

impl Crowd {
    fn grew(&mut self) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            let count = self.count;
            tracing::warn!(count, "connections that had shown no certificate were closed for others");
            *self = Self { count: 0, said: Some(Instant::now()) };
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    mut newcomer: Newcomer,
    longest: Duration,
) -> Result<TlsStream<TcpStream>, HandshakeRefusal> {
    // Small answers: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        biased;
        done = timeout(longest, acceptor.accept(stream)) => match done {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeRefusal::of(&error)),
            Err(_) => Err(HandshakeRefusal::TimedOut),
        },
        () = newcomer.pushed_out() => Err(HandshakeRefusal::PushedOut),
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
fn impatient<S: AsyncRead + AsyncWrite>(stream: S, longest: Duration) -> Pin<Box<TimeoutStream<S>>> {
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
    let was_asked = Arc::new(AtomicBool::new(false));
    let (asked, stopping, began) = (was_asked.clone(), shutdown.clone(), Instant::now());
    let owed = Owed::new(&limits);
    let owing = owed.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request: Request = request.map(|body| Body::new(body.map_err(axum::Error::new)));
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let (answer, stopping) = (app.clone().oneshot(request), stopping.clone());
        owing.clone().answer(async move {
            let mut answer = answer.await;
            if let Ok(answer) = &mut answer
                && !is_http2
                && (stopping.is_cancelled() || began.elapsed() >= limits.connection_max_age)
            {
                // The next request goes over a connection to somebody else, or a new one.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        })
    });
    let stream = impatient(stream, limits.write_timeout);
    let stopped = async {
        tokio::select! {
            // Whoever may not be valid any more is not waited for.
            () = replaced => return,
            () = shutdown.cancelled() => {}
        }
        if !is_http2 {
            // HTTP/1.1 has no way of saying that no more is taken but an answer: whoever asks now gets one, and its connection ends
            // with it. HTTP/2 says it by itself (GOAWAY), and answers what was asked before that was heard.
            let was_asked = was_asked.load(Ordering::Relaxed);
            let wait = if was_asked { limits.last_request_wait } else { limits.header_read_timeout };
            tokio::time::sleep(wait).await;
        }
    };
    // Whatever a connection dies of, its requests have answered or have been dropped: nothing is owed to it.
    if is_http2 {
        let Some(stream) = Begun::read(stream, limits.header_read_timeout).await else { return };
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
        let age = limits.connection_max_age;
        until(http.serve_connection(TokioIo::new(stream), service), (age, limits), &owed, stopped).await;
    } else {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            .max_buf_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX));
        // Whoever asks all the time is told with an answer that it is the last; closing in between would lose what is being sent.
        let age = limits.connection_max_age.saturating_add(limits.last_request_wait);
        until(http.serve_connection(TokioIo::new(stream), service), (age, limits), &owed, stopped).await;
    }
}

/// Serves a connection until it is old or has to stop. One that is old takes no other request, and finishes the answer that
/// is on its way: a list's may take long. Whoever does not take it, or goes on asking all the same, has the time for draining. One that
/// has to stop has that, too, whatever is on its way.
async fn until(
    serving: impl GracefulConnection,
    (age, limits): (Duration, Limits),
    owed: &Owed,
    stopped: impl Future<Output = ()>,
) {
    let (mut serving, mut stopped) = (std::pin::pin!(serving), std::pin::pin!(stopped));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = tokio::time::sleep(age) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                _ = serving.as_mut() => return,
                () = owed.is_not_taken(limits.drain_timeout) => return,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_has_one_spelling() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
