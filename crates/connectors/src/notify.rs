//! Messages about alerts: webhooks signed by the Standard Webhooks scheme, and e-mail. What is sent is made by the
//! caller and holds a reference; nothing that comes back is read but whether it was taken.
//!
//! Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature `v1`, HMAC-SHA256 over
//! `id.timestamp.body`).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::header::ContentType,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate as MailCertificate, CertificateStore, Tls, TlsParameters},
    },
};
use reqwest::{Certificate, Client, StatusCode, header};
use sha2::Sha256;
use zeroize::Zeroizing;

/// An e-mail address.
pub use lettre::message::Mailbox;

/// Longest wait for a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotifyFault {
    /// It could not be reached, or its certificate is not one that is trusted.
    #[error("the receiver cannot be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("the receiver did not answer in time")]
    TimedOut,
    /// It answered with a redirect, which is not followed.
    #[error("the receiver redirects, which is not followed")]
    Redirected,
    /// It refused.
    #[error("the receiver refused with status {0}")]
    Refused(u16),
    /// It wants no more: HTTP 410.
    #[error("the receiver wants no more messages")]
    Gone,
}

impl NotifyFault {
    /// The fault's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::Redirected => "redirected",
            Self::Refused(_) => "refused",
            Self::Gone => "gone",
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address is not HTTPS.
    #[error("a webhook's url must begin with https://")]
    NotHttps,
    /// Nothing is asked there.
    #[error(transparent)]
    OutOfReach(#[from] outbound::OutOfReach),
    /// The certificates cannot be read.
    #[error("the trusted certificates cannot be used")]
    Certificates,
    /// The secret cannot be read.
    #[error(
        "a webhook's secret is `whsec_` and 24 to 64 random bytes in base64; make one with `openssl rand -base64 32`"
    )]
    Secret,
    /// Mail in the clear leaves the machine.
    #[error(
        "smtp without tls is allowed to a loopback address alone; set `security` to \"starttls\" or \"tls\""
    )]
    InTheClear,
    /// An address is none.
    #[error("`{0}` is not an e-mail address")]
    Address(String),
}

/// One receiver of webhooks.
pub struct Webhook {
    client: Client,
    url: String,
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Webhook(..)")
    }
}

impl Webhook {
    /// A receiver, trusted through these authorities alone.
    ///
    /// # Errors
    /// [`NotifyError`] when the address, the secret or the certificates cannot be used.
    pub fn new(url: &str, secret: &str, trusted_pem: &str) -> Result<Self, NotifyError> {
        if !url.starts_with("https://") {
            return Err(NotifyError::NotHttps);
        }
        let client = client(url, trusted_pem)?;
        let secret = secret.trim().strip_prefix("whsec_").ok_or(NotifyError::Secret)?;
        let secret = Zeroizing::new(BASE64.decode(secret).map_err(|_| NotifyError::Secret)?);
        if !(24..=64).contains(&secret.len()) {
            return Err(NotifyError::Secret);
        }
        Ok(Self { client, url: url.to_owned(), secret })
    }

    /// Sends one message. `id` is the same each time that it is tried; `timestamp_s` is the time of the attempt.
    ///
    /// # Errors
    /// [`NotifyFault`] when it was not taken.
    pub async fn send(&self, id: &str, timestamp_s: i64, body: String) -> Result<(), NotifyFault> {
        let signature = self.signature(id, timestamp_s, &body);
        let request = self.client.post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp_s);
        let sent = request.header("webhook-signature", signature).body(body).send().await;
        outcome(sent)
    }

    fn signature(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return String::new(); // HMAC takes keys of any length
        };
        mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

/// A client for this address, which trusts these authorities alone.
pub(crate) fn client(address: &str, trusted_pem: &str) -> Result<Client, NotifyError> {
    let client = outbound::client(address)?;
    let build = || {
        let trusted = Certificate::from_pem_bundle(trusted_pem.as_bytes())?;
        client.tls_certs_only(trusted).https_only(true).timeout(TIMEOUT).build()
    };
    build().map_err(|_: reqwest::Error| NotifyError::Certificates)
}

/// Whether a message was taken. Nothing else of the answer is read.
pub(crate) fn outcome(sent: reqwest::Result<reqwest::Response>) -> Result<(), NotifyFault> {
    match sent.map_err(|error| fault(&error))?.status() {
        StatusCode::GONE => Err(NotifyFault::Gone),
        taken if taken.is_success() => Ok(()),
        other if other.is_redirection() => Err(NotifyFault::Redirected),
        other => Err(NotifyFault::Refused(other.as_u16())),
    }
}

fn fault(error: &reqwest::Error) -> NotifyFault {
    if error.is_timeout() { NotifyFault::TimedOut } else { NotifyFault::Unreachable }
}

/// How the mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS after STARTTLS, or nothing.
    StartTls,
    /// TLS from the beginning.
    Tls,
    /// In the clear, to a loopback address alone.
    Loopback,
}

/// A mail server, as it is set.
pub struct MailServer<'a> {
    /// Its name or address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: MailSecurity,
    /// The authorities it is trusted through, PEM.
    pub trusted_pem: &'a str,
    /// Who we are to it, and the password.
    pub login: Option<(&'a str, &'a str)>,
    /// The sender.
    pub from: &'a str,
}

/// A mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Mailer(..)")
    }
}

/// Reads an e-mail address.
///
/// # Errors
/// [`NotifyError::Address`] naming it.
pub fn mailbox(address: &str) -> Result<Mailbox, NotifyError> {
    address.parse().map_err(|_| NotifyError::Address(address.to_owned()))
}

impl Mailer {
    /// A mail server that is trusted through these authorities alone.
    ///
    /// # Errors
    /// [`NotifyError`] when it would be spoken to in the clear, or something cannot be read.
    pub fn new(server: &MailServer<'_>) -> Result<Self, NotifyError> {
        let is_loopback = matches!(server.host, "127.0.0.1" | "::1" | "localhost");
        let tls = match server.security {
            MailSecurity::Loopback if is_loopback => Tls::None,
            MailSecurity::Loopback => return Err(NotifyError::InTheClear),
            MailSecurity::StartTls => Tls::Required(tls(server)?),
            MailSecurity::Tls => Tls::Wrapper(tls(server)?),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host).port(server.port);
        let builder = builder.tls(tls).timeout(Some(TIMEOUT));
        let builder = match server.login {
            Some((name, password)) => {
                builder.credentials(Credentials::new(name.to_owned(), password.to_owned()))
            }
            None => builder,
        };
        Ok(Self { transport: builder.build(), from: mailbox(server.from)? })
    }

    /// Sends one message. `id` is the same each time that it is tried.
    ///
    /// # Errors
    /// [`NotifyFault`] when it was not taken.
    pub async fn send(
        &self,
        to: &[Mailbox],
        id: &str,
        subject: &str,
        text: String,
    ) -> Result<(), NotifyFault> {
        let domain = self.from.email.domain();
        let message = to.iter().cloned().fold(Message::builder(), lettre::message::MessageBuilder::to);
        let message = message.from(self.from.clone()).subject(subject);
        let message = message.message_id(Some(format!("<{id}@{domain}>")));
        let message = message.header(ContentType::TEXT_PLAIN).body(text).map_err(|_| NotifyFault::Gone)?;
        // As a whole: the library's own limit is on each step of the conversation.
        match tokio::time::timeout(TIMEOUT, self.transport.send(message)).await {
            Err(_) => Err(NotifyFault::TimedOut),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_timeout() => Err(NotifyFault::TimedOut),
            Ok(Err(error)) => Err(match error.status() {
                Some(code) => NotifyFault::Refused(u16::from(code)),
                None => NotifyFault::Unreachable,
            }),
        }
    }
}

fn tls(server: &MailServer<'_>) -> Result<TlsParameters, NotifyError> {
    let trusted = MailCertificate::from_pem(server.trusted_pem.as_bytes());
    let trusted = trusted.map_err(|_| NotifyError::Certificates)?;
    let builder = TlsParameters::builder(server.host.to_owned()).certificate_store(CertificateStore::None);
    builder.add_root_certificate(trusted).build().map_err(|_| NotifyError::Certificates)
}
