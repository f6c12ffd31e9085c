//! A record holder that answers whatever a test says, byte for byte, and keeps what it was asked.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use acceptance::World;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What it says.
#[derive(Clone)]
pub(crate) enum Says {
    /// A FHIR document.
    Fhir(Vec<u8>),
    /// A document with these headers, a line each.
    Kind(String, Vec<u8>),
    /// These very bytes, from the status line on.
    Raw(Vec<u8>),
    /// A document that does not end, in pieces of this size, a pause between them.
    Endless { piece_bytes: usize, pause_ms: u64 },
}

/// The record holder behind `nhs-pds`.
#[derive(Clone)]
pub(crate) struct Holder {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
    sent_bytes: Arc<AtomicUsize>,
}

impl Holder {
    /// A world whose NHS is this record holder.
    pub(crate) async fn world() -> (World, Self) {
        let holder = Self {
            says: Arc::new(Mutex::new(Says::Fhir(Vec::new()))),
            asked: Arc::default(),
            sent_bytes: Arc::default(),
        };
        let started = holder.clone();
        let world = World::with_settings(move |settings| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let port = listener.local_addr().unwrap().port();
            let nhs = settings
                .providers
                .get_mut(&"nhs-pds".parse::<sharing::identifier::ProviderId>().unwrap())
                .unwrap();
            nhs.base_url = Some(format!("https://localhost:{port}/personal-demographics/FHIR/R4"));
            let folder = settings.tls.certificate.parent().unwrap();
            let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
            let config = rustls::ServerConfig::builder_with_provider(gateway::tls::crypto())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_slice(&read("nhs-server.pem")).unwrap()],
                    PrivateKeyDer::from_pem_slice(&read("nhs-server.key")).unwrap(),
                )
                .unwrap();
            tokio::spawn(started.serve(listener, Arc::new(config)));
        })
        .await;
        (world, holder)
    }

    pub(crate) fn says(&self, what: Says) {
        *self.says.lock().unwrap() = what;
    }

    /// The heads of all requests so far, each with its lines.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How much of what does not end was taken.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent_bytes.load(Ordering::SeqCst)
    }

    async fn serve(self, listener: std::net::TcpListener, config: Arc<rustls::ServerConfig>) {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        while let Ok((stream, _)) = listener.accept().await {
            let (holder, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ = holder.answer(stream).await; // whoever asked may be gone
            });
        }
    }

    async fn answer(
        &self,
        mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    ) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Ok(());
            }
            head.extend_from_slice(&piece[..count]);
        }
        self.asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
        let says = self.says.lock().unwrap().clone();
        let (headers, body) = match says {
            Says::Fhir(body) => ("Content-Type: application/fhir+json".to_owned(), body),
            Says::Kind(headers, body) => (headers, body),
            Says::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Says::Endless { piece_bytes, pause_ms } => return self.drip(stream, piece_bytes, pause_ms).await,
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await
    }

    async fn drip(
        &self,
        mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
        piece_bytes: usize,
        pause_ms: u64,
    ) -> std::io::Result<()> {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let piece = format!("{piece_bytes:x}\r\n{}\r\n", " ".repeat(piece_bytes));
        // 10 GB, if anybody takes it.
        for _ in 0..10_000_000_000 / piece_bytes {
            stream.write_all(piece.as_bytes()).await?;
            stream.flush().await?;
            self.sent_bytes.fetch_add(piece_bytes, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        }
        Ok(())
    }
}
