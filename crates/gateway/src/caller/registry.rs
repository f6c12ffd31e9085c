//! Who is registered: systems, the certificates they show, and the issuers of their access tokens.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use sharing::{OrganisationId, SystemId};

use super::{
    client_assertion, jws,
    keys::{KeySet, KeySource, KeysError},
    verified::VerifiedTokens,
};
use crate::{
    admission::PartnerLimits, authorization_server::AuthorizationServer, tls::CertificateFingerprint,
};

/// A calling system, as the operator registers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemSettings {
    /// Its name.
    pub id: SystemId,
    /// The organisation it belongs to.
    pub organisation: OrganisationId,
    /// The organisation's service that uses it.
    #[serde(default)]
    pub service: Option<String>,
    /// SHA-256 of its client certificates; two while one is being replaced.
    pub certificates: Vec<CertificateFingerprint>,
    /// Its name at its issuer (`client_id`).
    pub client_id: String,
    /// The issuer of its access tokens.
    pub issuer: String,
    /// The JWKS file with the keys that sign its `Sharing-Context`.
    pub context_keys: PathBuf,
    /// The JWKS file with the keys that sign its requests for access tokens of our own issuing, where it may get any.
    #[serde(default)]
    pub token_keys: Option<PathBuf>,
    /// What it may do.
    pub may: Vec<Capability>,
    /// How much of the gateway it may have, where that differs from what others may.
    #[serde(default)]
    pub limits: Option<PartnerLimits>,
}

/// What a system may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Ask for records, and for decisions without records.
    Ask,
    /// Record and withdraw consents and objections, and read those it may see.
    Record,
    /// Review: alerts, emergencies, referrals and explanations in full. For the systems that information
    /// governance staff use.
    Review,
    /// Search the trail, and read the entries of the ledger whole. For auditors' systems.
    Audit,
    /// Answer people who ask who asked about them. For the desk that has found out who they are, or a portal that they
    /// are logged in to.
    SubjectAccess,
    /// Write agreements and offer them.
    Draft,
    /// Agree, assure, put in force and switch off for an organisation.
    Approve,
    /// Help other organisations to agree.
    Mediate,
    /// Sign agreements.
    Sign,
    /// Negotiate as an organisation's connector, over the Dataspace Protocol. It commits nobody.
    Negotiate,
    /// Run unattended jobs, with a named owner in place of a practitioner.
    Unattended,
}

/// The system that the ledger names for people who are signed in to the console.
#[expect(clippy::expect_used, reason = "a constant that a test reads")]
pub static CONSOLE: std::sync::LazyLock<SystemId> =
    std::sync::LazyLock::new(|| "console".parse().expect("a system's name"));

/// An issuer of access tokens, as the operator registers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its `iss`.
    pub issuer: String,
    /// The algorithms it may use.
    pub algorithms: Vec<String>,
    /// Its keys.
    pub keys: KeySource,
    /// Longest life of its tokens, in seconds.
    pub token_lifetime_max_s: i64,
}

/// A registered system, ready for use.
pub struct System {
    /// As registered.
    pub settings: SystemSettings,
    pub(crate) context_keys: KeySet,
    pub(crate) token_keys: Option<KeySet>,
    issuers: Vec<Arc<Issuer>>,
    pub(crate) verified: VerifiedTokens,
}

impl System {
    /// The issuer of this name, if its tokens are taken from this system.
    pub(crate) fn issuer_named(&self, name: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.name == name).map(AsRef::as_ref)
    }

    /// The keys of the issuers whose tokens are taken from this system.
    pub(crate) fn key_sets(&self) -> impl Iterator<Item = &KeySet> {
        self.issuers.iter().map(|issuer| &issuer.keys)
    }

    /// The names of the issuers whose tokens are taken from this system.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| issuer.name.as_str())
    }
}

/// A registered issuer, ready for use.
pub struct Issuer {
    pub(crate) name: String,
    pub(crate) algorithms: Vec<jsonwebtoken::Algorithm>,
    pub(crate) keys: KeySet,
    pub(crate) token_lifetime_max_s: i64,
}

/// A registration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Keys cannot be read.
    #[error("{of}: {source}")]
    Keys {
        /// Whose.
        of: String,
        /// Why.
        source: KeysError,
    },
    /// The registration contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

/// Every registered system, by certificate.
pub struct Registry {
    systems: HashMap<CertificateFingerprint, Arc<System>>,
    own: Option<AuthorizationServer>,
}

impl Registry {
    /// Checks the registrations and reads every key set. `own` issues tokens here, where anything does.
    ///
    /// # Errors
    /// [`RegistryError`] saying which registration and why.
    pub async fn load(
        systems: Vec<SystemSettings>,
        issuers: Vec<IssuerSettings>,
        own: Option<AuthorizationServer>,
    ) -> Result<Self, RegistryError> {
        let mut known = HashMap::new();
        if let Some(own) = &own {
            known.insert(own.name.clone(), Arc::new(own.issuer().await?));
        }
        for settings in issuers {
            let issuer = Arc::new(issuer(settings).await?);
            if let Some(earlier) = known.insert(issuer.name.clone(), issuer) {
                return Err(RegistryError::Invalid(format!("issuer `{}` is registered twice", earlier.name)));
            }
        }
        let mut by_certificate = HashMap::new();
        let mut clients = HashMap::new();
        for settings in systems {
            let id = settings.id.clone();
            let unknown =
                || RegistryError::Invalid(format!("system `{id}`: no [[issuers]] entry has its issuer"));
            let issuer = known.get(&settings.issuer).cloned().ok_or_else(unknown)?;
            let mut issuers = vec![issuer];
            let invalid = |what: &str| RegistryError::Invalid(format!("system `{id}`: {what}"));
            match (&own, &settings.token_keys) {
                (Some(own), None) if settings.issuer == own.name => {
                    return Err(invalid(
                        "it gets its tokens here and has no token_keys to ask for them with",
                    ));
                }
                (Some(own), Some(_)) if settings.issuer != own.name => {
                    let here = (own.name.clone(), settings.client_id.clone());
                    if clients.insert(here, id.clone()).is_some() {
                        return Err(invalid("another system has its client_id"));
                    }
                    issuers.extend(known.get(&own.name).cloned());
                }
                (None, Some(_)) => {
                    return Err(invalid("it has token_keys, and there is no [authorization_server]"));
                }
                _ => {}
            }
            if clients.insert((settings.issuer.clone(), settings.client_id.clone()), id.clone()).is_some() {
                return Err(RegistryError::Invalid(format!(
                    "system `{id}`: another system has its client_id"
                )));
            }
            if settings.certificates.is_empty() {
                return Err(RegistryError::Invalid(format!("system `{id}`: it has no certificates")));
            }
            let context_keys = KeySet::load(KeySource::File(settings.context_keys.clone())).await;
            let context_keys = context_keys
                .map_err(|source| RegistryError::Keys { of: format!("system `{id}`"), source })?;
            let token_keys = match settings.token_keys.clone() {
                None => None,
                Some(path) => {
                    let keys = KeySet::load(KeySource::File(path)).await;
                    let of = format!("system `{id}`: token_keys");
                    let keys = keys.map_err(|source| RegistryError::Keys { of, source })?;
                    let algorithms = client_assertion::ALGORITHMS.into_iter().filter_map(jws::algorithm);
                    if !keys.is_for_any(algorithms) {
                        tracing::warn!(
                            system = %id,
                            "no key of its `token_keys` is for an algorithm that an assertion may have: it gets no tokens here"
                        );
                    }
                    Some(keys)
                }
            };
            let verified = VerifiedTokens::default();
            let system = Arc::new(System { settings, context_keys, token_keys, issuers, verified });
            for certificate in &system.settings.certificates {
                if by_certificate.insert(*certificate, system.clone()).is_some() {
                    return Err(RegistryError::Invalid(format!(
                        "system `{id}`: its certificate is registered twice"
                    )));
                }
            }
        }
        Ok(Self { systems: by_certificate, own })
    }

    /// What issues tokens here, where anything does.
    pub fn own(&self) -> Option<&AuthorizationServer> {
        self.own.as_ref()
    }

    /// Reads the keys of every issuer again that publishes them at an address. One that fails keeps those it has.
    pub async fn refresh(&self) {
        let mut done = Vec::new();
        for issuer in self.systems.values().flat_map(|system| &system.issuers) {
            if !issuer.keys.is_fetched() || done.contains(&issuer.name) {
                continue;
            }
            if let Err(error) = issuer.keys.refresh().await {
                tracing::warn!(%error, issuer = issuer.name, "a key set could not be refreshed; the keys known so far stay in use");
            }
            done.push(issuer.name.clone());
        }
    }

    /// Of each system whose tokens' keys are published at an address: how long ago those that were not read for the longest time were
    /// read. A key that was taken back still counts where they cannot be.
    pub fn key_ages(&self) -> BTreeMap<&SystemId, Duration> {
        let mut ages = BTreeMap::new();
        for system in self.systems.values() {
            let fetched = system.issuers.iter().filter(|issuer| issuer.keys.is_fetched());
            if let Some(age) = fetched.map(|issuer| issuer.keys.age()).max() {
                ages.insert(&system.settings.id, age);
            }
        }
        ages
    }

    /// Whether a system of this name is registered.
    pub fn has(&self, system: &SystemId) -> bool {
        self.systems.values().any(|one| one.settings.id == *system)
    }

    /// Whether a key with this RFC 7638 thumbprint is a system's, or an issuer's of tokens.
    pub fn has_key(&self, thumbprint: &str) -> bool {
        self.systems.values().any(|system| {
            let own = [Some(&system.context_keys), system.token_keys.as_ref()].into_iter().flatten();
            own.chain(system.key_sets()).any(|keys| keys.has(thumbprint))
        })
    }

    /// The one system that shows this certificate.
    pub fn system_of(&self, certificate: &CertificateFingerprint) -> Option<&Arc<System>> {
        self.systems.get(certificate)
    }
}

async fn issuer(settings: IssuerSettings) -> Result<Issuer, RegistryError> {
    let name = settings.issuer;
    let algorithms: Option<Vec<_>> = settings.algorithms.iter().map(|name| jws::algorithm(name)).collect();
    let algorithms = algorithms.filter(|algorithms| !algorithms.is_empty()).ok_or_else(|| {
        RegistryError::Invalid(format!(
            "issuer `{name}`: `algorithms` must list some of ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512"
        ))
    })?;
    let keys = KeySet::load(settings.keys).await;
    let keys = keys.map_err(|source| RegistryError::Keys { of: format!("issuer `{name}`"), source })?;
    if !keys.is_for_any(algorithms.iter().copied()) {
        tracing::warn!(
            issuer = name,
            "no key of this issuer is for any of its `algorithms` (each is for its `alg`, where it has one): none of its tokens will be taken"
        );
    }
    Ok(Issuer { name, algorithms, keys, token_lifetime_max_s: settings.token_lifetime_max_s })
}
