//! Who is calling, under what, and why: three layers that can each be checked alone.
//!
//! *Who*: the client certificate maps to one registered system, and the access token is bound to it. *Under
//! what*: the token's authorization details. *Why, for whom, now*: the `Sharing-Context` header, signed for this
//! one request by the system's own key.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use ledger::entry::Actor;
use sharing::{AgreementId, OrganisationId, PurposeClass, SystemId};

use crate::listener::PeerCertificate;

pub mod access_token;
pub mod client_assertion;
pub mod jws;
pub mod keys;
pub mod registry;
pub mod sharing_context;
#[cfg(test)]
mod vectors;
mod verified;
mod vouched;

pub use access_token::{Action, Grant};
pub use registry::{Capability, IssuerSettings, Registry, System, SystemSettings};
pub use sharing_context::Context;
pub(crate) use vouched::is_for_citizens;

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its service.
    pub service: Option<String>,
    /// The system.
    pub system: SystemId,
    /// The human, or the job's owner.
    pub named: Named,
    /// The client certificate, as hexadecimal SHA-256.
    pub certificate: String,
    /// The system's name at its issuer.
    pub client_id: String,
    may: Vec<Capability>,
    grants: Arc<[Grant]>,
}

/// The human behind a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Named {
    /// A practitioner.
    Practitioner {
        /// Their organisation's identifier for them.
        id: String,
        /// Their role.
        role: String,
    },
    /// The owner of a declared unattended job.
    Unattended {
        /// Their organisation's identifier for them.
        owner: String,
    },
}

impl fmt::Debug for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Named({})", self.role())
    }
}

impl Named {
    /// The role under which agreements list unattended jobs.
    pub const UNATTENDED: &'static str = "unattended";

    /// The identifier of the human.
    pub fn id(&self) -> &str {
        match self {
            Self::Practitioner { id, .. } => id,
            Self::Unattended { owner } => owner,
        }
    }

    /// The practitioner's identifier; none for a job.
    pub fn practitioner(&self) -> Option<&str> {
        match self {
            Self::Practitioner { id, .. } => Some(id),
            Self::Unattended { .. } => None,
        }
    }

    /// The role.
    pub fn role(&self) -> &str {
        match self {
            Self::Practitioner { role, .. } => role,
            Self::Unattended { .. } => Self::UNATTENDED,
        }
    }
}

impl Caller {
    fn of(system: &System, peer: PeerCertificate, named: Named, grants: Arc<[Grant]>) -> Self {
        Self {
            organisation: system.settings.organisation.clone(),
            service: system.settings.service.clone(),
            system: system.settings.id.clone(),
            named,
            certificate: peer.fingerprint.to_hex(),
            client_id: system.settings.client_id.clone(),
            may: system.settings.may.clone(),
            grants,
        }
    }

    /// Whether the system is registered for this.
    pub fn may(&self, capability: Capability) -> bool {
        self.may.contains(&capability)
    }

    /// The agreements that the token limits this purpose and action to: `None` is not granted at all,
    /// `Some(None)` is granted under any.
    pub fn granted(&self, purpose: PurposeClass, action: Action) -> Option<Option<Vec<AgreementId>>> {
        let fitting =
            self.grants.iter().filter(|grant| grant.purpose == purpose && grant.actions.contains(&action));
        let agreements: Vec<_> = fitting.map(|grant| grant.agreement.clone()).collect();
        if agreements.is_empty() {
            return None;
        }
        Some(agreements.into_iter().collect())
    }

    /// The caller as the ledger names them.
    pub fn actor(&self) -> Actor {
        let (practitioner, role, unattended_owner) = match &self.named {
            Named::Practitioner { id, role } => (Some(id.clone()), Some(role.clone()), None),
            Named::Unattended { owner } => (None, None, Some(owner.clone())),
        };
        Actor {
            organisation: self.organisation.to_string(),
            service: self.service.clone(),
            system: self.system.to_string(),
            practitioner,
            role,
            unattended_owner,
            certificate_sha256: self.certificate.clone(),
        }
    }
}

/// What is wrong with a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its code and its detail below")]
pub enum CallerFault {
    CertificateExpired,
    CertificateNotRegistered,
    TokenMissing,
    TokenMalformed,
    TokenAlgorithm,
    TokenKey,
    TokenSignature,
    TokenIssuer,
    TokenAudience,
    TokenExpired,
    TokenNotYetValid,
    TokenLifetime,
    TokenNotBound,
    TokenClient,
    TokenDetails,
    ContextMissing,
    ContextMalformed,
    ContextAlgorithm,
    ContextKey,
    ContextSignature,
    ContextExpired,
    ContextNotYetValid,
    ContextLifetime,
    ContextSystem,
    ContextTarget,
    ContextPurpose,
    ContextCase,
    ContextRecord,
    ContextPractitioner,
    ContextDefaultUser,
    ContextNamesPerson,
}

impl CallerFault {
    fn wording(self) -> (&'static str, &'static str) {
        match self {
            Self::CertificateExpired => (
                "certificate-expired",
                "the client certificate has expired; renew it and register the new one",
            ),
            Self::CertificateNotRegistered => (
                "certificate-not-registered",
                "no system is registered with this client certificate; send its sha-256 fingerprint to the operator",
            ),
            Self::TokenMissing => {
                ("access-token-missing", "send an access token as `Authorization: Bearer …`")
            }
            Self::TokenMalformed => (
                "access-token-malformed",
                "the access token is not a signed rfc 9068 token (typ at+jwt, with kid, iss, aud, exp, iat, sub, client_id and jti)",
            ),
            Self::TokenAlgorithm => (
                "access-token-algorithm",
                "the access token is signed with an algorithm that is not registered for its issuer",
            ),
            Self::TokenKey => (
                "access-token-key",
                "the access token names a key that its issuer does not publish, or not for this algorithm",
            ),
            Self::TokenSignature => {
                ("access-token-signature", "the access token's signature does not verify")
            }
            Self::TokenIssuer => (
                "access-token-issuer",
                "the access token is of another issuer than the one registered for this system",
            ),
            Self::TokenAudience => {
                ("access-token-audience", "ask for an access token whose one audience is this gateway")
            }
            Self::TokenExpired => ("access-token-expired", "the access token has expired; get a new one"),
            Self::TokenNotYetValid => {
                ("access-token-not-yet-valid", "the access token is not valid yet; check the clocks")
            }
            Self::TokenLifetime => {
                ("access-token-lifetime", "the access token lives longer than is allowed for its issuer")
            }
            Self::TokenNotBound => (
                "access-token-not-bound",
                "the access token is not bound to this client certificate (cnf x5t#S256)",
            ),
            Self::TokenClient => ("access-token-client", "the access token was issued to another client"),
            Self::TokenDetails => (
                "access-token-details",
                "the access token needs authorization_details that this gateway understands",
            ),
            Self::ContextMissing => ("context-missing", "sign a `Sharing-Context` header for this request"),
            Self::ContextMalformed => (
                "context-malformed",
                "the sharing-context is not a signed context (typ sharing-context+jwt) with exactly the documented claims",
            ),
            Self::ContextAlgorithm => {
                ("context-algorithm", "sign the sharing-context with an asymmetric algorithm")
            }
            Self::ContextKey => (
                "context-key",
                "the sharing-context names a key that is not registered for this system and algorithm",
            ),
            Self::ContextSignature => {
                ("context-signature", "the sharing-context's signature does not verify")
            }
            Self::ContextExpired => {
                ("context-expired", "the sharing-context has expired; sign a new one for every request")
            }
            Self::ContextNotYetValid => {
                ("context-not-yet-valid", "the sharing-context is not valid yet; check the clocks")
            }
            Self::ContextLifetime => ("context-lifetime", "a sharing-context lives at most 300 seconds"),
            Self::ContextSystem => {
                ("context-system", "the sharing-context is not of this system, organisation and device")
            }
            Self::ContextTarget => {
                ("context-target", "the sharing-context is for another audience, method or address")
            }
            Self::ContextPurpose => {
                ("context-purpose", "purpose and reason_for_request must be the same purpose code")
            }
            Self::ContextCase => {
                ("context-case", "the sharing-context needs a case_reference that does not name the person")
            }
            Self::ContextRecord => {
                ("context-record", "requested_record must be a scheme and an identifier of that scheme")
            }
            Self::ContextPractitioner => (
                "context-practitioner",
                "name exactly one of requesting_practitioner (id, role) and unattended_job (owner.id), the same as sub",
            ),
            Self::ContextDefaultUser => {
                ("context-default-user", "default user names stand for nobody; name the person")
            }
            Self::ContextNamesPerson => (
                "context-names-person",
                "an id or role must not contain an nhs number: it is kept for good; use the organisation's own identifier",
            ),
        }
    }
}

/// A caller that was not accepted, and the system if it got that far.
#[derive(Debug, Clone)]
pub struct CallerError {
    /// What is wrong.
    pub fault: CallerFault,
    /// The certificate shown, as hexadecimal SHA-256.
    pub certificate: String,
    /// The system and organisation that the certificate is registered for.
    pub system: Option<(SystemId, OrganisationId)>,
}

impl CallerError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.fault.wording().0
    }

    /// What to do next.
    pub fn detail(&self) -> String {
        self.fault.wording().1.to_owned()
    }

    /// 403 where another token would not help, else 401.
    pub fn status_hint(&self) -> u16 {
        match self.fault {
            CallerFault::CertificateExpired | CallerFault::CertificateNotRegistered => 403,
            _ => 401,
        }
    }
}

/// Authenticates requests against the registrations.
pub struct Authenticator {
    /// The registrations.
    pub registry: ArcSwap<Registry>,
    /// The one audience of access tokens and contexts.
    pub audience: String,
    /// The gateway's own address, without a slash at its end.
    pub public_url: String,
}

/// What of a request bears on who sent it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `Sharing-Context` header.
    pub sharing_context: Option<&'a str>,
}

impl Authenticator {
    /// Checks all three layers.
    ///
    /// # Errors
    /// [`CallerError`] with the first thing that is wrong.
    pub async fn authenticate(
        &self,
        peer: PeerCertificate,
        presented: Presented<'_>,
        now: Timestamp,
    ) -> Result<(Caller, Context), CallerError> {
        let (system, grants) = self.bearer(peer, presented.authorization, now).await?;
        let refuse = |fault| of_system(&system, peer, fault);
        let context = presented.sharing_context.ok_or_else(|| refuse(CallerFault::ContextMissing))?;
        let url = format!("{}{}", self.public_url, presented.path);
        let target =
            sharing_context::Target { method: presented.method, url: &url, audience: &self.audience };
        let (context, named) = sharing_context::check(context, &system, target, now).await.map_err(refuse)?;
        Ok((Caller::of(&system, peer, named, grants), context))
    }

    /// Checks certificate and token of a connector, which signs no context: it asks about nobody. Its owner stands for it, where
    /// it has one.
    ///
    /// # Errors
    /// [`CallerError`] with the first thing that is wrong.
    pub async fn authenticate_connector(
        &self,
        peer: PeerCertificate,
        authorization: Option<&str>,
        owner_of: impl Fn(&OrganisationId) -> String,
        now: Timestamp,
    ) -> Result<Caller, CallerError> {
        let (system, grants) = self.bearer(peer, authorization, now).await?;
        let named = Named::Unattended { owner: owner_of(&system.settings.organisation) };
        Ok(Caller::of(&system, peer, named, grants))
    }

    /// The system that shows this certificate, and what its token grants.
    async fn bearer(
        &self,
        peer: PeerCertificate,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<(Arc<System>, Arc<[Grant]>), CallerError> {
        let system = self.registry.load().system_of(&peer.fingerprint).cloned();
        let refuse = |fault| match &system {
            Some(system) => of_system(system, peer, fault),
            None => CallerError { fault, certificate: peer.fingerprint.to_hex(), system: None },
        };
        if now.as_second() > peer.not_after_s {
            return Err(refuse(CallerFault::CertificateExpired));
        }
        let system = system.as_ref().ok_or_else(|| refuse(CallerFault::CertificateNotRegistered))?;
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| refuse(CallerFault::TokenMissing))?;
        let grants = access_token::check(token, system, peer.fingerprint, &self.audience, now).await;
        Ok((system.clone(), grants.map_err(refuse)?))
    }
}

fn of_system(system: &System, peer: PeerCertificate, fault: CallerFault) -> CallerError {
    let of = (system.settings.id.clone(), system.settings.organisation.clone());
    CallerError { fault, certificate: peer.fingerprint.to_hex(), system: Some(of) }
}
