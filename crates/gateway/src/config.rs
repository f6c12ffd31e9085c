//! Settings: one TOML file, closed against unknown keys, every path relative to it. The environment is read here
//! and nowhere else.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use console::ConsoleSettings;
use serde::Deserialize;
use sharing::{OrganisationId, identifier::ProviderId};
use tokio::net::TcpListener;

use crate::{
    admission::PartnerLimits,
    app::RequestLimits,
    authorization_server::AuthorizationServerSettings,
    blocks::{BlockSettings, Place::Folder},
    caller::{IssuerSettings, SystemSettings, keys::KeySource},
    caller_use::{Budgets, HoneyRecord},
    dataspace::DataspaceSettings,
    listener::Limits,
    witnessed::WitnessingSettings,
};

/// Everything that a deployment sets. `deploy/concordat.example.toml` describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml, where operators read it")]
pub struct Settings {
    pub listen: SocketAddr,
    #[serde(default)]
    pub probe_listen: Option<SocketAddr>,
    pub public_url: String,
    pub audience: String,
    pub policies: PathBuf,
    pub tls: TlsSettings,
    pub ledger: LedgerSettings,
    #[serde(default)]
    pub limits: LimitSettings,
    #[serde(default)]
    pub telemetry: TelemetrySettings,
    pub providers: BTreeMap<ProviderId, ProviderSettings>,
    #[serde(default)]
    pub alerts: AlertSettings,
    #[serde(default)]
    pub dataspace: Option<DataspaceSettings>,
    #[serde(default)]
    pub authorization_server: Option<AuthorizationServerSettings>,
    #[serde(default)]
    pub console: Option<ConsoleSettings>,
    #[serde(default)]
    pub issuers: Vec<IssuerSettings>,
    pub systems: Vec<SystemSettings>,
}

/// The server's certificate, and who may connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
}

/// The ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct LedgerSettings {
    pub origin: String,
    pub database: store::Database,
    pub checkpoint_copy: PathBuf,
    pub signing_key: PathBuf,
    pub lookup_key: PathBuf,
    pub wrapping_key: PathBuf,
    #[serde(default)]
    pub witnessing: Option<WitnessingSettings>,
    #[serde(default)]
    pub blocks: Option<BlockSettings>,
}

impl LedgerSettings {
    /// What files that belong to the database but are not in it are named after: the database's file, or where that is a
    /// server, `concordat.db` in the folder of the checkpoint's copy.
    pub fn beside(&self) -> PathBuf {
        match self.database.file() {
            Some(file) => file.to_owned(),
            None => self.checkpoint_copy.with_file_name("concordat.db"),
        }
    }
}

/// Bounds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct LimitSettings {
    pub body_bytes_max: usize,
    pub request_deadline_ms: u64,
    pub no_record_step_ms: u64,
    pub requests_max: usize,
    pub body_read_timeout_ms: u64,
    pub partner: PartnerLimits,
    pub caller: Budgets,
    pub handshakes_max: usize,
    pub handshakes_per_address_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub connections_per_certificate_max: usize,
    pub write_timeout_ms: u64,
    pub handshake_timeout_ms: u64,
    pub header_read_timeout_ms: u64,
    pub connection_max_age_s: u64,
    /// How long requests are taken after being told to stop, so that load balancers notice.
    pub drain_notice_s: u64,
    pub drain_timeout_s: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            request_deadline_ms: 10_000,
            no_record_step_ms: 25,
            requests_max: 256,
            body_read_timeout_ms: 5_000,
            partner: PartnerLimits::default(),
            caller: Budgets::default(),
            handshakes_max: 512,
            handshakes_per_address_max: 256,
            connections_max: 1_024,
            connections_per_address_max: 768,
            connections_per_certificate_max: 256,
            write_timeout_ms: 10_000,
            handshake_timeout_ms: 5_000,
            header_read_timeout_ms: 5_000,
            connection_max_age_s: 300,
            drain_notice_s: 0,
            drain_timeout_s: 30,
        }
    }
}

impl LimitSettings {
    /// Bounds on requests.
    pub fn requests(&self) -> RequestLimits {
        RequestLimits {
            body_bytes_max: self.body_bytes_max,
            deadline: Duration::from_millis(self.request_deadline_ms),
            no_record_step: Duration::from_millis(self.no_record_step_ms),
            requests_max: self.requests_max,
            body_read_timeout: Duration::from_millis(self.body_read_timeout_ms),
            partner: self.partner,
            budgets: self.caller,
            ..RequestLimits::default()
        }
    }

    /// Bounds on connections.
    pub fn connections(&self) -> Limits {
        Limits {
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            header_read_timeout: Duration::from_millis(self.header_read_timeout_ms),
            connection_max_age: Duration::from_secs(self.connection_max_age_s),
            handshakes_max: self.handshakes_max,
            handshakes_per_address_max: self.handshakes_per_address_max,
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            connections_per_certificate_max: self.connections_per_certificate_max,
            write_timeout: Duration::from_millis(self.write_timeout_ms),
            drain_timeout: Duration::from_secs(self.drain_timeout_s),
            ..Limits::default()
        }
    }
}

/// Logs, traces and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct TelemetrySettings {
    pub otlp_endpoint: Option<String>,
    pub otlp_metrics_endpoint: Option<String>,
    pub metrics: bool,
    pub log_filter: Option<String>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { otlp_endpoint: None, otlp_metrics_endpoint: None, metrics: true, log_filter: None }
    }
}

/// How people are told of alerts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct AlertSettings {
    pub smtp: Option<SmtpSettings>,
    pub organisations: BTreeMap<OrganisationId, TellSettings>,
    pub honey_records: Vec<HoneyRecord>,
}

/// The mail server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    pub from: String,
    #[serde(default)]
    pub trusted: Option<PathBuf>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<PathBuf>,
}

/// How the mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub enum SmtpSecurity {
    StartTls,
    Tls,
    Loopback,
}

/// How an organisation's privacy officers are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct TellSettings {
    #[serde(default)]
    pub webhook: Option<WebhookSettings>,
    #[serde(default)]
    pub email: Vec<String>,
    #[serde(default)]
    pub escalation_email: Vec<String>,
}

/// A receiver of webhooks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct WebhookSettings {
    pub url: String,
    pub secret: PathBuf,
    pub trusted: PathBuf,
}

/// How this deployment reaches a record holder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct ProviderSettings {
    #[serde(default)]
    pub base_url: Option<String>,
    pub trusted: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
    #[serde(default = "default_in_flight_max")]
    pub in_flight_max: usize,
    #[serde(default)]
    pub loopback: bool,
}

fn default_timeout_ms() -> u64 {
    3_000
}

fn default_body_bytes_max() -> usize {
    1 << 20
}

fn default_in_flight_max() -> usize {
    64
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not in order.
    #[error("{path}:{line}: {message}")]
    Content {
        /// Which file.
        path: String,
        /// Which line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key file does not hold 64 hexadecimal digits.
    #[error(
        "{0}: a key file holds 32 random bytes as 64 hexadecimal digits, one key a line where keys replace each other; make one with `openssl rand -hex 32`"
    )]
    Key(String),
}

/// Where the settings are, if the command line does not say: `CONCORDAT_CONFIG`, or the usual place.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn default_path() -> PathBuf {
    std::env::var_os("CONCORDAT_CONFIG")
        .map_or_else(|| PathBuf::from("/etc/concordat/concordat.toml"), PathBuf::from)
}

/// The sockets that a service manager has opened for this process (`LISTEN_FDS`, sd_listen_fds(3)): for partners, and for
/// probes if there is a second.
///
/// # Errors
/// When what was passed is not a listening socket: a service would come up that nobody reaches.
pub fn passed_sockets() -> std::io::Result<(Option<TcpListener>, Option<TcpListener>)> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut take = |index: usize| {
        let socket = if index < passed.len() { passed.take_tcp_listener(index)? } else { None };
        let Some(socket) = socket else { return Ok(None) };
        if !socket2::SockRef::from(&socket).is_listener()? {
            return Err(std::io::Error::other(format!("socket {} does not listen", index + 1)));
        }
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    };
    Ok((take(0)?, take(1)?))
}

/// Who runs a command, as the operating system's session says: `LOGNAME`, or `USER`.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn operator() -> String {
    let said = ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    said.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The log filter, if the settings do not say: `RUST_LOG`, or `info`.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn default_log_filter() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn,hyper=warn".to_owned())
}

/// Reads the settings. Paths in them are relative to the file.
///
/// # Errors
/// [`ConfigError`] with file and line.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let text = read(path)?;
    let mut settings: Settings = toml::from_str(&text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        ConfigError::Content { path: path.display().to_string(), line, message: error.message().to_owned() }
    })?;
    let base = path.parent().unwrap_or(Path::new("."));
    let anchor = |path: &mut PathBuf| *path = base.join(&*path);
    anchor(&mut settings.policies);
    [&mut settings.tls.certificate, &mut settings.tls.key, &mut settings.tls.client_ca]
        .into_iter()
        .for_each(anchor);
    settings.tls.revocation_lists.iter_mut().for_each(anchor);
    let ledger = &mut settings.ledger;
    ledger.database.make_absolute(base);
    [&mut ledger.checkpoint_copy, &mut ledger.signing_key, &mut ledger.lookup_key]
        .into_iter()
        .for_each(anchor);
    anchor(&mut ledger.wrapping_key);
    for witness in ledger.witnessing.iter_mut().flat_map(|witnessing| &mut witnessing.witnesses) {
        let files = [&mut witness.trusted, &mut witness.certificate, &mut witness.key_file];
        files.into_iter().flatten().for_each(anchor);
    }
    if let Some(blocks) = &mut ledger.blocks {
        let files = [&mut blocks.access_key, &mut blocks.secret_key, &mut blocks.trusted];
        files.into_iter().flatten().for_each(anchor);
        if let Folder(folder) = &mut blocks.to {
            anchor(folder);
        }
    }
    for provider in settings.providers.values_mut() {
        [&mut provider.trusted, &mut provider.certificate, &mut provider.key].into_iter().for_each(anchor);
    }
    for peer in settings.dataspace.iter_mut().flat_map(|dataspace| dataspace.peers.values_mut()) {
        [Some(&mut peer.trusted), peer.authorization.as_mut()].into_iter().flatten().for_each(anchor);
    }
    if let Some(smtp) = &mut settings.alerts.smtp {
        smtp.trusted.iter_mut().chain(&mut smtp.password).for_each(anchor);
    }
    for webhook in settings.alerts.organisations.values_mut().filter_map(|tell| tell.webhook.as_mut()) {
        [&mut webhook.secret, &mut webhook.trusted].into_iter().for_each(anchor);
    }
    for issuer in &mut settings.issuers {
        match &mut issuer.keys {
            KeySource::File(path) | KeySource::Url { trusted: path, .. } => anchor(path),
            KeySource::Own(_) => {}
        }
    }
    if let Some(console) = &mut settings.console {
        let files = [&mut console.certificate, &mut console.key, &mut console.trusted];
        files.into_iter().chain([&mut console.client_secret]).for_each(anchor);
    }
    settings.authorization_server.iter_mut().flat_map(|own| &mut own.signing_keys).for_each(anchor);
    settings.systems.iter_mut().flat_map(|system| &mut system.token_keys).for_each(anchor);
    settings.systems.iter_mut().for_each(|system| anchor(&mut system.context_keys));
    Ok(settings)
}

/// Reads a text file.
///
/// # Errors
/// [`ConfigError::File`] naming it.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.display().to_string(), source })
}

/// Reads a key file: 64 hexadecimal digits.
///
/// # Errors
/// [`ConfigError`] naming it; never its content.
pub fn read_key(path: &Path) -> Result<zeroize::Zeroizing<[u8; 32]>, ConfigError> {
    let malformed = || ConfigError::Key(path.display().to_string());
    match read_keys(path)?.as_slice() {
        [key] => Ok(zeroize::Zeroizing::new(*key)),
        _ => Err(malformed()),
    }
}

/// Reads a file of keys that replace each other: a line each, the newest last.
///
/// # Errors
/// [`ConfigError`] naming it; never its content.
pub fn read_keys(path: &Path) -> Result<zeroize::Zeroizing<Vec<[u8; 32]>>, ConfigError> {
    let text = zeroize::Zeroizing::new(read(path)?);
    let mut keys = zeroize::Zeroizing::new(Vec::with_capacity(64));
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        keys.push(*key(line).ok_or_else(|| ConfigError::Key(path.display().to_string()))?);
    }
    if keys.is_empty() { Err(ConfigError::Key(path.display().to_string())) } else { Ok(keys) }
}

fn key(line: &str) -> Option<zeroize::Zeroizing<[u8; 32]>> {
    let digits: Option<Vec<u8>> = line
        .trim()
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let digits = zeroize::Zeroizing::new(digits.filter(|digits| digits.len() == 64)?);
    let mut key = zeroize::Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |value, digit| value << 4 | digit);
    }
    Some(key)
}
