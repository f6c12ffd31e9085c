//! TLS as it is served: who gets in, who does not, and that no session is resumed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway::{
    listener::{self, HandshakeRefusal, Limits, PeerCertificate},
    tls::{crypto, server_config},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// An authority of a test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority of the tests")
    }

    fn named(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate and its key, PEM.
    pub(crate) fn issue(&self, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut parameters);
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn revoking(&self, serial: u64) -> String {
        self.revoking_until(serial, 2099)
    }

    fn revoking_until(&self, serial: u64, next_update_year: i32) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(next_update_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

struct Served {
    port: u16,
    authority: Authority,
    refused: Arc<Mutex<Vec<HandshakeRefusal>>>,
    own: (String, String),
    shutdown: CancellationToken,
    replacing: tokio::sync::watch::Sender<Arc<rustls::ServerConfig>>,
}

async fn serve(authority: Authority, revoked: u64) -> Served {
    let (chain, key) = authority.issue(1, |_| {});
    let config = server_config(&chain, &key, &authority.pem(), &[authority.revoking(revoked)]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let who =
        |axum::Extension(peer): axum::Extension<PeerCertificate>| async move { peer.fingerprint.to_hex() };
    let app = axum::Router::new().route("/", axum::routing::get(who));
    let refused = Arc::new(Mutex::new(Vec::new()));
    let note = refused.clone();
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        header_read_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let shutdown = CancellationToken::new();
    let (replacing, current) = tokio::sync::watch::channel(config);
    tokio::spawn(listener::serve(
        listener,
        current,
        app,
        limits,
        move |reason| note.lock().unwrap().push(reason),
        shutdown.clone(),
    ));
    Served { port, authority, refused, own: (chain, key), shutdown, replacing }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Served {
    fn connector(
        &self,
        identity: Option<&(String, String)>,
        protocols: &[&[u8]],
    ) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    /// Sends a request over HTTP/1.1; what came back, and the kind of handshake.
    async fn get(&self, connector: &tokio_rustls::TlsConnector) -> Option<(String, rustls::HandshakeKind)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind()?;
        Some((String::from_utf8(said).unwrap(), kind))
    }

    async fn refusals(&self, count: usize) -> Vec<HandshakeRefusal> {
        for _ in 0..100 {
            if self.refused.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.refused.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn certificates_decide_who_gets_in() {
    let served = serve(Authority::new(), 666).await;
    let http1: &[&[u8]] = &[b"http/1.1"];
    let good = served.authority.issue(2, |_| {});
    let connector = served.connector(Some(&good), http1);
    for _ in 0..2 {
        let (said, kind) = served.get(&connector).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        assert_eq!(kind, rustls::HandshakeKind::Full, "no session is resumed");
    }
    let revoked = served.authority.issue(666, |_| {});
    let expired = served.authority.issue(3, |parameters| parameters.not_after = date_time_ymd(2025, 1, 1));
    let early = served.authority.issue(5, |parameters| parameters.not_before = date_time_ymd(2098, 1, 1));
    let other = Authority::new().issue(2, |_| {});
    let wrong_use = served
        .authority
        .issue(4, |parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let cases = [
        (Some(&revoked), HandshakeRefusal::Revoked),
        (Some(&expired), HandshakeRefusal::Expired),
        (Some(&early), HandshakeRefusal::Expired),
        (Some(&other), HandshakeRefusal::UnknownIssuer),
        (Some(&wrong_use), HandshakeRefusal::BadCertificate),
        (None, HandshakeRefusal::NoCertificate),
    ];
    for (position, (identity, reason)) in cases.into_iter().enumerate() {
        assert!(
            served.get(&served.connector(identity, http1)).await.is_none_or(|(said, _)| said.is_empty()),
            "{reason:?}"
        );
        assert_eq!(served.refusals(position + 1).await.last(), Some(&reason));
    }
}

/// Somebody whose certificate is revoked while a connection is open: it ends with the request that is on its way.
#[tokio::test]
async fn a_connection_does_not_outlive_the_certificates_it_was_made_with() {
    let served = serve(Authority::new(), 666).await;
    let good = served.authority.issue(2, |_| {});
    let connector = served.connector(Some(&good), &[b"http/1.1"]);
    let stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    let mut open = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut said = vec![0; 4_096];
    assert!(open.read(&mut said).await.unwrap() > 0);
    let (chain, key) = served.authority.issue(1, |_| {});
    let revoking = served.authority.revoking(2);
    let next = server_config(&chain, &key, &served.authority.pem(), &[revoking]).unwrap();
    served.replacing.send_replace(next);
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while open.read(&mut said).await.unwrap_or(0) > 0 {}
    });
    assert!(ended.await.is_ok(), "it is ended");
    assert!(served.get(&connector).await.is_none_or(|(said, _)| said.is_empty()), "another is refused");
    assert_eq!(served.refusals(1).await.last(), Some(&HandshakeRefusal::Revoked));
}

/// A list that is read again counts from the next connection on, and so does one that has run out: then nobody gets in.
#[tokio::test]
async fn a_certificate_that_is_revoked_later_is_refused_from_then_on() {
    let served = serve(Authority::new(), 666).await;
    let http1: &[&[u8]] = &[b"http/1.1"];
    let (one, other) = (served.authority.issue(2, |_| {}), served.authority.issue(3, |_| {}));
    let shown = &served;
    let gets_in = |identity| async move {
        let said = shown.get(&shown.connector(Some(identity), http1)).await;
        said.is_some_and(|(said, _)| said.starts_with("HTTP/1.1 200"))
    };
    assert!(gets_in(&one).await && gets_in(&other).await);
    let read = |list: String| {
        let (chain, key) = &served.own;
        served.replacing.send_replace(server_config(chain, key, &served.authority.pem(), &[list]).unwrap());
    };
    read(served.authority.revoking(2));
    assert!(!gets_in(&one).await, "revoked while it ran");
    assert_eq!(served.refusals(1).await, [HandshakeRefusal::Revoked]);
    assert!(gets_in(&other).await);
    read(served.authority.revoking_until(2, 2026));
    assert!(
        !gets_in(&one).await && !gets_in(&other).await,
        "a list that has run out says nothing about anybody"
    );
}

/// What one authority revokes says nothing about another's certificates, whatever their numbers; and without a list of its own
/// authority, nothing is known of a certificate and nobody gets in.
#[tokio::test]
async fn a_list_revokes_certificates_of_its_own_authority_alone() {
    let served = serve(Authority::named("ours"), 666).await;
    let http1: &[&[u8]] = &[b"http/1.1"];
    let good = served.authority.issue(2, |_| {});
    let (shown, other) = (&served, Authority::named("another"));
    let gets_in = || async {
        let said = shown.get(&shown.connector(Some(&good), http1)).await;
        said.is_some_and(|(said, _)| said.starts_with("HTTP/1.1 200"))
    };
    let read = |lists: &[String]| {
        let (chain, key) = &shown.own;
        shown.replacing.send_replace(server_config(chain, key, &shown.authority.pem(), lists).unwrap());
    };
    let (theirs, ours) = (other.revoking(2), shown.authority.revoking(666));
    read(&[theirs.clone(), ours.clone()]);
    assert!(gets_in().await, "theirs first");
    read(&[ours.clone(), theirs.clone()]);
    assert!(gets_in().await, "theirs second");
    // One that says it is of our authority and that ours has not signed.
    read(&[Authority::named("ours").revoking(2), ours]);
    assert!(!gets_in().await, "a forged list is not believed, and nobody gets in by it either");
    assert_eq!(served.refusals(1).await, [HandshakeRefusal::BadCertificate]);
    read(&[theirs]);
    assert!(!gets_in().await, "no list of its own authority");
    assert_eq!(served.refusals(2).await, [HandshakeRefusal::BadCertificate; 2]);
}

#[tokio::test]
async fn slow_and_foreign_clients_are_cut_off() {
    let served = serve(Authority::new(), 666).await;
    let mut silent = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "a silent client is cut off");
    assert_eq!(served.refusals(1).await, [HandshakeRefusal::TimedOut]);
    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(served.refusals(2).await.last(), Some(&HandshakeRefusal::NotTls));
    // A client that never finishes its headers.
    let good = served.authority.issue(2, |_| {});
    let stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    let connector = served.connector(Some(&good), &[b"http/1.1"]);
    let mut slow = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "slow headers are cut off");
    assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
}
