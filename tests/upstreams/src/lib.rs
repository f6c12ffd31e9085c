//! Three simulated record holders, over mutual TLS on loopback: NHS PDS, council adult social care, and fire
//! home safety. See `README.md` for what they answer and how faults are triggered.

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use axum::Router;
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::watch};

pub mod council;
pub mod faults;
pub mod fire;
pub mod nhs;
mod serving;

/// A valid NHS number that no simulator knows.
pub const UNKNOWN_NHS_NUMBER: &str = "9990000166";

/// Which record holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// NHS PDS FHIR R4.
    Nhs,
    /// Council adult social care.
    Council,
    /// Fire home safety.
    Fire,
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "nhs" => Ok(Self::Nhs),
            "council" => Ok(Self::Council),
            "fire" => Ok(Self::Fire),
            _ => anyhow::bail!("the record holders are `nhs`, `council` and `fire`"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nhs => "nhs",
            Self::Council => "council",
            Self::Fire => "fire",
        })
    }
}

/// Certificates as PEM text.
#[derive(Clone)]
pub struct TlsMaterial {
    /// The server's certificate chain.
    pub certificate_chain_pem: String,
    /// Its key.
    pub key_pem: String,
    /// The authority that signs callers' certificates.
    pub client_ca_pem: String,
}

/// Certificates as files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signs callers' certificates.
    pub client_ca: PathBuf,
}

/// What a record holder was asked, for tests, which can have it wait before it answers.
#[derive(Debug, Clone)]
pub struct RequestLog {
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<Vec<String>>>,
    goes_on: watch::Sender<bool>,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self { asked: Arc::default(), connections: Arc::default(), goes_on: watch::Sender::new(true) }
    }
}

/// One question to a record holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The identifier asked for.
    pub key: Option<String>,
}

impl RequestLog {
    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The protocol of each connection so far, as was agreed on in its handshake.
    pub fn connections(&self) -> Vec<String> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on nobody is answered until [`Self::go_on`].
    pub fn wait(&self) {
        self.goes_on.send_replace(false);
    }

    /// Whoever waits is answered.
    pub fn go_on(&self) {
        self.goes_on.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let _ = self.goes_on.subscribe().wait_for(|goes_on| *goes_on).await; // the sender is here
    }

    pub(crate) fn note(&self, path: &str, key: Option<&str>) {
        let asked = Asked { path: path.to_owned(), key: key.map(str::to_owned) };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    pub(crate) fn note_connection(&self, protocol: &[u8]) {
        let protocol = String::from_utf8_lossy(protocol).into_owned();
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(protocol);
    }
}

/// The record holder's routes.
pub fn router(kind: Kind, log: RequestLog) -> Router {
    match kind {
        Kind::Nhs => nhs::router(log),
        Kind::Council => council::router(log),
        Kind::Fire => fire::router(log),
    }
}

/// Serves until `shutdown` resolves.
///
/// # Errors
/// When the certificates cannot be used.
pub async fn serve(
    kind: Kind,
    listener: TcpListener,
    tls: TlsMaterial,
    log: RequestLog,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    serving::serve(listener, &tls, (router(kind, log.clone()), log), shutdown).await
}

/// Serves as a process: says when it is ready, and ends when its standard input does, so that it never outlives
/// the program that started it.
///
/// # Errors
/// When the certificates or the port cannot be used.
pub async fn run(kind: Kind, port: u16, files: TlsFiles) -> anyhow::Result<()> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let tls = TlsMaterial {
        certificate_chain_pem: read(&files.certificate)?,
        key_pem: read(&files.key)?,
        client_ca_pem: read(&files.client_ca)?,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
    announce(kind, listener.local_addr()?.port());
    let parent_gone = async {
        let mut byte = [0];
        while tokio::io::stdin().read(&mut byte).await.is_ok_and(|read| read > 0) {}
    };
    serve(kind, listener, tls, RequestLog::default(), parent_gone).await
}

#[expect(clippy::print_stdout, reason = "the one line that the parent process waits for")]
fn announce(kind: Kind, port: u16) {
    println!("ready {kind} 127.0.0.1:{port}");
}

#[cfg(test)]
mod tests;
