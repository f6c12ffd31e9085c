//! `concordat token`: the two headers of one request, for the demonstration's partners.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use ledger::tree::hexadecimal;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::output;
use crate::{
    clock::{Clock as _, SystemClock, SystemEntropy, uuid},
    config,
    mint::{AccessToken, MintingKey, SharingContext},
    tls::CertificateFingerprint,
};

/// Mint the `Authorization` and `Sharing-Context` headers of one request.
#[derive(Args)]
pub struct TokenArguments {
    /// The partner's file, which the demonstration writes: `concordat-demo/fire.partner.toml`.
    #[arg(long)]
    partner: PathBuf,
    /// The purpose.
    #[arg(long)]
    purpose: String,
    /// The case.
    #[arg(long)]
    case: String,
    /// The person, as `scheme=value`: `nhs-number=9732110317`. Leave it out for requests about nobody.
    #[arg(long)]
    record: Option<String>,
    /// The body of a request for a list, `-` for standard input: the context names its digest.
    #[arg(long, conflicts_with = "record")]
    list: Option<PathBuf>,
    /// The method of the request.
    #[arg(long, default_value = "POST")]
    method: String,
    /// The path of the request.
    #[arg(long, default_value = "/v1/disclosures")]
    path: String,
}

/// A partner's own keys and names: what its systems hold in production.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Its organisation.
    pub organisation: String,
    /// Its name at the issuer.
    pub client_id: String,
    /// The practitioner.
    pub practitioner: String,
    /// The practitioner's role.
    pub role: String,
    /// The purposes that its tokens name.
    pub purposes: Vec<String>,
    /// Its client certificate.
    pub certificate: PathBuf,
    /// The key that signs its contexts.
    pub context_key: PathBuf,
    /// The key that signs its requests for access tokens.
    pub token_key: PathBuf,
    /// The issuer's name.
    pub issuer: String,
    /// The issuer's key. A real partner never holds it: the demonstration has no other authorization server than the gateway's own.
    pub issuer_key: PathBuf,
    /// The gateway's audience.
    pub audience: String,
    /// The gateway's address.
    pub public_url: String,
}

/// Prints the headers.
///
/// # Errors
/// When a file of the partner's cannot be read.
pub fn run(arguments: &TokenArguments) -> anyhow::Result<()> {
    let base = arguments.partner.parent().unwrap_or(Path::new("."));
    let partner: Partner = toml::from_str(&config::read(&arguments.partner)?)
        .with_context(|| format!("{}: not a partner's file", arguments.partner.display()))?;
    let record = match &arguments.record {
        None => None,
        Some(text) => {
            Some(text.split_once('=').context("--record is scheme=value, such as nhs-number=9732110317")?)
        }
    };
    let list = arguments.list.as_deref().map(digest_of).transpose()?;
    let request = RequestOf {
        method: &arguments.method,
        path: &arguments.path,
        purpose: &arguments.purpose,
        case: &arguments.case,
        record,
        list: list.as_deref(),
        practitioner: &partner.practitioner,
    };
    let (access, context) = headers(&partner, base, &request, None)?;
    output::line(&format!("Authorization: Bearer {access}"));
    output::line(&format!("Sharing-Context: {context}"));
    Ok(())
}

fn digest_of(path: &Path) -> anyhow::Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("standard input cannot be read")?;
        bytes
    } else {
        std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?
    };
    Ok(hexadecimal(&Sha256::digest(&bytes)))
}

/// A request, as far as its headers depend on it.
pub(super) struct RequestOf<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// The path.
    pub(super) path: &'a str,
    /// The purpose.
    pub(super) purpose: &'a str,
    /// The case.
    pub(super) case: &'a str,
    /// The person, as scheme and value.
    pub(super) record: Option<(&'a str, &'a str)>,
    /// The digest of a list, in hexadecimal.
    pub(super) list: Option<&'a str>,
    /// Who asks.
    pub(super) practitioner: &'a str,
}

/// The access token and the context of a request. An access token of the authorization server's is used as it is.
pub(super) fn headers(
    partner: &Partner,
    base: &Path,
    request: &RequestOf<'_>,
    access_token: Option<&str>,
) -> anyhow::Result<(String, String)> {
    headers_at(SystemClock.now().as_second(), partner, base, request, access_token)
}

/// As [`headers`], at another time: for the demonstration's past.
pub(super) fn headers_at(
    now: i64,
    partner: &Partner,
    base: &Path,
    request: &RequestOf<'_>,
    access_token: Option<&str>,
) -> anyhow::Result<(String, String)> {
    let pem = |path: &Path| config::read(&base.join(path));
    let certificate = CertificateDer::from_pem_slice(pem(&partner.certificate)?.as_bytes())?;
    let purposes: Vec<_> = partner.purposes.iter().map(String::as_str).collect();
    let access = AccessToken {
        issuer: &partner.issuer,
        audience: &partner.audience,
        client_id: &partner.client_id,
        certificate: CertificateFingerprint::of(&certificate),
        purposes: &purposes,
        issued_at_s: now,
        jti: &uuid(&SystemEntropy),
    };
    let url = format!("{}{}", partner.public_url, request.path);
    let context = SharingContext {
        client_id: &partner.client_id,
        organisation: &partner.organisation,
        audience: &partner.audience,
        method: request.method,
        url: &url,
        purpose: request.purpose,
        case_reference: request.case,
        record: request.record,
        list: request.list,
        practitioner: (request.practitioner, &partner.role),
        issued_at_s: now,
        jti: &uuid(&SystemEntropy),
    };
    let access = match access_token {
        Some(token) => token.to_owned(),
        None => {
            MintingKey::from_pem(&pem(&partner.issuer_key)?, "issuer-1")?.sign("at+jwt", &access.claims())?
        }
    };
    let context_key = MintingKey::from_pem(&pem(&partner.context_key)?, "context-1")?;
    Ok((access, context_key.sign("sharing-context+jwt", &context.claims())?))
}
