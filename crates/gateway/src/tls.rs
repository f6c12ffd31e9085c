//! TLS for callers: client certificates required, forward secrecy only, no resumption.
//!
//! Resumption is off because rustls restores a resumed session's old certificate without checking it again.
//! Every connection therefore shows its certificate afresh.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest, Sha256};
use sharing::policy::hexadecimal;

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("not a readable pem file: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The certificate, key or protocol versions do not fit.
    #[error("the certificate and key cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The client verifier cannot be built.
    #[error("the callers' certificate authority cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The cryptography that every TLS connection of this program uses.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The server's side: its certificate, and the authority and revocation lists for callers' certificates.
///
/// # Errors
/// [`TlsError`] naming what cannot be used.
pub fn server_config(
    certificate_chain_pem: &str,
    key_pem: &str,
    client_ca_pem: &str,
    revocation_lists_pem: &[String],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(client_ca_pem.as_bytes()) {
        roots.add(authority?)?;
    }
    let mut lists = Vec::new();
    for pem in revocation_lists_pem {
        lists.push(CertificateRevocationListDer::from_pem_slice(pem.as_bytes())?);
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto());
    let verifier =
        if lists.is_empty() { verifier } else { verifier.with_crls(lists).enforce_revocation_expiration() };
    let chain =
        CertificateDer::pem_slice_iter(certificate_chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
    // rustls has no suite without forward secrecy; versions are named so that a new default cannot add one.
    let mut config = ServerConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The console's side: its certificate, and none of whoever connects.
///
/// # Errors
/// [`TlsError`] naming what cannot be used.
pub fn console_config(certificate_chain_pem: &str, key_pem: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let chain =
        CertificateDer::pem_slice_iter(certificate_chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// SHA-256 of a certificate's DER, by which a system is registered (RFC 8705 `x5t#S256`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateFingerprint([u8; 32]);

impl CertificateFingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// As in a token's `cnf` claim.
    pub fn to_base64url(self) -> String {
        BASE64URL.encode(self.0)
    }

    /// As in configuration and in the ledger.
    pub fn to_hex(self) -> String {
        hexadecimal(&self.0)
    }
}

impl fmt::Debug for CertificateFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate fingerprint is 64 hexadecimal digits: the sha-256 of the certificate's der form")]
pub struct FingerprintError;

impl FromStr for CertificateFingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(FingerprintError)?;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |value, digit| value << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

impl<'de> serde::Deserialize<'de> for CertificateFingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
