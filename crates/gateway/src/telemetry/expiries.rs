//! When the certificates and revocation lists that the settings name end.

use std::path::Path;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};

use super::gauges::Expiry;
use crate::config::{self, Settings};

/// Reads every file again. One that cannot be read is no expiry: whoever uses it says what is wrong with it.
pub fn of_files(settings: &Settings) -> Vec<Expiry> {
    let tls = &settings.tls;
    let mut all = Vec::new();
    let mut add = |of, name: &str, ends: Option<i64>| {
        let at = ends.and_then(|second| Timestamp::from_second(second).ok());
        all.extend(at.map(|at| Expiry { of, name: name.to_owned(), at }));
    };
    add("server-certificate", "tls", first_end_of_certificates(&tls.certificate));
    add("client-authority", "tls", first_end_of_certificates(&tls.client_ca));
    for (number, path) in tls.revocation_lists.iter().enumerate() {
        add("revocation-list", &number.to_string(), end_of_list(path));
    }
    for (provider, reached) in &settings.providers {
        add("provider-certificate", provider.as_str(), first_end_of_certificates(&reached.certificate));
        add("provider-authority", provider.as_str(), first_end_of_certificates(&reached.trusted));
    }
    all
}

/// The earliest end among a file's certificates: a chain holds no longer than its shortest.
fn first_end_of_certificates(path: &Path) -> Option<i64> {
    let pem = config::read(path).ok()?;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let ends = certificates.filter_map(|certificate| {
        let certificate = certificate.ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

fn end_of_list(path: &Path) -> Option<i64> {
    let pem = config::read(path).ok()?;
    let list = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_crl(&list).ok()?;
    parsed.next_update().map(|at| at.timestamp())
}
