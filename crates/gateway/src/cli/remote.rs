//! A gateway that is asked over TLS, by a partner's or an auditor's tool.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{config, mirror::Live, receipts::Proofs};

/// Which gateway, and who asks.
#[derive(Args)]
pub(super) struct RemoteArguments {
    /// The gateway, as `https://host:port`.
    #[arg(long)]
    url: String,
    /// Your client certificate, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    certificate_key: PathBuf,
    /// Whom the gateway's certificate is from, PEM.
    #[arg(long)]
    trusted: PathBuf,
}

/// The gateway's ledger.
pub(super) struct Remote {
    client: reqwest::Client,
    url: String,
}

impl RemoteArguments {
    pub(super) fn remote(&self) -> anyhow::Result<Remote> {
        let client = client(&self.url, &self.certificate, &self.certificate_key, &self.trusted)?;
        Ok(Remote { client, url: self.url.trim_end_matches('/').to_owned() })
    }
}

/// A client with a certificate, for gateways whose certificates are from whom `trusted` says, and that goes nowhere else.
pub(super) fn client(
    url: &str,
    certificate: &Path,
    key: &Path,
    trusted: &Path,
) -> anyhow::Result<reqwest::Client> {
    let identity = format!("{}\n{}", config::read(certificate)?, config::read(key)?);
    let trusted = config::read(trusted)?;
    Ok(outbound::client(url)?
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(trusted.as_bytes())?)
        .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
        .https_only(true)
        .build()?)
}

impl Live for Remote {
    async fn get(&self, path: &str, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/.well-known/audit/{path}", self.url);
        let mut answer = self.client.get(url).send().await.context("the gateway cannot be reached")?;
        let status = answer.status();
        anyhow::ensure!(
            status.is_success(),
            "the gateway answered {status} for {path}{}",
            match status.as_u16() {
                401 | 403 =>
                    ": the certificate is not registered, or entries are asked for without the capability `audit`",
                404 if path == "checkpoint/witnessed" =>
                    ": it asks no witnesses, or they have not cosigned yet",
                _ => "",
            }
        );
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            anyhow::ensure!(
                bytes.len() + chunk.len() <= bytes_max,
                "the gateway's answer for {path} is too long"
            );
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

impl Proofs for Remote {
    async fn get(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8(Live::get(self, path, 1 << 20).await?)?)
    }
}
