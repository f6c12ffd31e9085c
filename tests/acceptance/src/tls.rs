//! TLS connections that partners open, without a client's own ideas about them.

use std::{path::Path, sync::Arc};

use gateway::tls::crypto;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// TLS with a partner's certificate, as it is in the deployment's folder; a connection of it takes up no earlier one.
pub fn connector(folder: &Path, partner: &str, protocol: &str) -> TlsConnector {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(read("ca.pem").as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(read(&format!("{partner}.pem")).as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(read(&format!("{partner}.key")).as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A connection to a gateway on this machine.
///
/// # Errors
/// When it is not taken.
pub async fn connect(connector: &TlsConnector, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}
