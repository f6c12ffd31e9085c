//! The `[console]` section of the settings.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use sharing::OrganisationId;

use crate::person::Role;

/// Where the console is, and who signs in to it. `deploy/concordat.example.toml` describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml, where operators read it")]
pub struct ConsoleSettings {
    pub listen: SocketAddr,
    pub public_url: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub issuer: String,
    pub trusted: PathBuf,
    pub client_id: String,
    pub client_secret: PathBuf,
    #[serde(default)]
    pub claims: ClaimNames,
    pub roles: BTreeMap<Role, Vec<String>>,
    #[serde(default)]
    pub identity_checks: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub citizens_of: Option<OrganisationId>,
    #[serde(default = "quarter_of_an_hour")]
    pub idle_timeout_s: u32,
    #[serde(default = "working_day")]
    pub absolute_timeout_s: u32,
    #[serde(default = "five_minutes")]
    pub step_up_s: u32,
    #[serde(default)]
    pub register_url: Option<String>,
    #[serde(default)]
    pub demonstration: bool,
}

/// In which claims of the ID token the provider says what the console needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct ClaimNames {
    pub person: String,
    pub name: String,
    pub organisation: String,
    pub roles: String,
    pub nhs_number: String,
    pub identity_check: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            person: "sub".to_owned(),
            name: "name".to_owned(),
            organisation: "organisation".to_owned(),
            roles: "roles".to_owned(),
            nhs_number: "nhs_number".to_owned(),
            identity_check: "identity_proofing_level".to_owned(),
        }
    }
}

fn quarter_of_an_hour() -> u32 {
    15 * 60
}

fn working_day() -> u32 {
    8 * 60 * 60
}

fn five_minutes() -> u32 {
    5 * 60
}
