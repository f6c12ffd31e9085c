//! The demonstration's authority, certificates, signing keys and settings. Made once, kept in its folder.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use sharing::policy::hexadecimal;

use super::super::token::Partner;
use crate::{clock, mint::MintingKey, tls::CertificateFingerprint};

/// The demonstration's ports.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// The port of this part.
    pub gateway: u16,
    /// The port of this part.
    pub nhs: u16,
    /// The port of this part.
    pub council: u16,
    /// The port of this part.
    pub fire: u16,
}

impl From<u16> for Ports {
    fn from(gateway: u16) -> Self {
        let next = |step: u16| gateway.saturating_add(step);
        Self { gateway, nhs: next(1), council: next(2), fire: next(3) }
    }
}

struct PartnerRow {
    name: &'static str,
    organisation: &'static str,
    client_id: &'static str,
    practitioner: &'static str,
    role: &'static str,
    purposes: &'static [&'static str],
    may: &'static str,
}

const PARTNERS: [PartnerRow; 5] = [
    PartnerRow {
        name: "fire",
        organisation: "gmca",
        client_id: "gmca-prevention",
        practitioner: "GMFRS-1001",
        role: "prevention-officer",
        purposes: &[
            "fire-prevention-targeting",
            "safe-and-well-referral",
            "safeguarding-adult",
            "vital-interests",
        ],
        may: "[\"ask\", \"review\", \"draft\", \"approve\", \"sign\"]",
    },
    PartnerRow {
        name: "council",
        organisation: "trafford-council",
        client_id: "trafford-asc-case",
        practitioner: "TRF-SW-77",
        role: "social-worker",
        purposes: &[
            "direct-care",
            "fire-prevention-targeting",
            "fire-return-referral",
            "safe-and-well-referral",
            "safeguarding-adult",
        ],
        may: "[\"ask\", \"record\", \"review\", \"draft\", \"approve\", \"mediate\", \"sign\"]",
    },
    PartnerRow {
        name: "nhs",
        organisation: "nhs-england",
        client_id: "nhs-ward-system",
        practitioner: "NHS-C-12",
        role: "clinician",
        purposes: &["direct-care", "safeguarding-adult", "vital-interests"],
        may: "[\"ask\", \"record\", \"review\", \"draft\", \"approve\", \"sign\"]",
    },
    PartnerRow {
        name: "auditor",
        organisation: "trafford-council",
        client_id: "trafford-internal-audit",
        practitioner: "TRF-AUD-3",
        role: "auditor",
        purposes: &["service-improvement"],
        may: "[\"audit\"]",
    },
    PartnerRow {
        name: "desk",
        organisation: "trafford-council",
        client_id: "trafford-rights-desk",
        practitioner: "TRF-RD-5",
        role: "information-rights-officer",
        purposes: &["subject-access"],
        may: "[\"subject-access\"]",
    },
];

/// The demonstration's audience and ledger.
pub const AUDIENCE: &str = "https://gateway.concordat.example";
const ISSUER: &str = "https://issuer.concordat.example";
const ORIGIN: &str = "concordat.example/demo";

/// Makes whatever is missing in the folder, writes the settings, and says where they are.
///
/// # Errors
/// When the folder cannot be written.
pub fn prepare(state: &Path, policies: &Path, ports: Ports) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(state).with_context(|| state.display().to_string())?;
    let has_all = PARTNERS.iter().all(|partner| state.join(format!("{}-token.key", partner.name)).exists());
    if !state.join("ca.pem").exists() || !has_all {
        make_certificates(state)?;
    }
    for name in ["ledger-signing.key", "lookup.key", "wrapping.key"] {
        if !state.join(name).exists() {
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            clock::fill(&mut *bytes);
            secret(&state.join(name), &format!("{}\n", hexadecimal(&*bytes)))?;
        }
    }
    let public_url = format!("https://localhost:{}", ports.gateway);
    for partner in &PARTNERS {
        write_partner(state, partner, &public_url)?;
    }
    let policies = fs::canonicalize(policies).with_context(|| policies.display().to_string())?;
    let path = state.join("concordat.toml");
    fs::write(&path, settings(state, &policies, ports, &public_url)?)
        .with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Adds the console to the settings, with a provider of the demonstration's own, and returns the key that it signs with.
///
/// # Errors
/// When the folder cannot be written.
pub fn add_console(state: &Path, config: &Path, console: u16, provider: u16) -> anyhow::Result<MintingKey> {
    use std::fmt::Write as _;
    let key = state.join("console-issuer.key");
    if !key.exists() {
        secret(&key, &KeyPair::generate()?.serialize_pem())?;
    }
    let client = state.join("console-client.secret");
    if !client.exists() {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        clock::fill(&mut *bytes);
        secret(&client, &format!("{}\n", hexadecimal(&*bytes)))?;
    }
    let mut out = fs::read_to_string(config)?;
    write!(
        out,
        "[console]\nlisten = \"127.0.0.1:{console}\"\npublic_url = \"https://localhost:{console}\"\n\
         certificate = \"gateway.pem\"\nkey = \"gateway.key\"\nissuer = \"https://localhost:{provider}\"\ntrusted = \"ca.pem\"\n\
         client_id = \"concordat-console\"\nclient_secret = \"console-client.secret\"\ncitizens_of = \"nhs-england\"\ndemonstration = true\n\n\
         [console.roles]\n"
    )?;
    for role in console::person::Role::ALL {
        writeln!(out, "{0} = [\"{0}\"]", role.as_str())?;
    }
    fs::write(config, out)?;
    MintingKey::from_pem(&fs::read_to_string(&key)?, "console-issuer-1")
}

/// Makes a key for somebody who signs agreements.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn officer_key(path: &Path) -> anyhow::Result<()> {
    secret(path, &ed25519_pem())
}

fn make_certificates(state: &Path) -> anyhow::Result<()> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Concordat demonstration authority: never for real data");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    for name in ["nhs-server", "council-server", "fire-server", "gateway"] {
        issue(state, &authority, name, &["localhost", "127.0.0.1"])?;
    }
    for partner in &PARTNERS {
        issue(state, &authority, partner.name, &[])?;
        signing_key(
            state,
            &format!("{}-context", partner.name),
            "context-1",
            &KeyPair::generate()?.serialize_pem(),
        )?;
        signing_key(state, &format!("{}-token", partner.name), "token-1", &ed25519_pem())?;
    }
    signing_key(state, "issuer", "issuer-1", &KeyPair::generate()?.serialize_pem())?;
    secret(&state.join("token-signing.key"), &KeyPair::generate()?.serialize_pem())?;
    secret(&state.join("ca.key"), &authority.key().serialize_pem())?;
    // Last: while it is missing, everything is made again.
    Ok(fs::write(state.join("ca.pem"), authority.as_ref().pem())?)
}

fn issue(
    state: &Path,
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    addresses: &[&str],
) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    let is_server = !addresses.is_empty();
    let mut parameters = CertificateParams::new(addresses)?;
    parameters.distinguished_name.push(DnType::CommonName, format!("concordat demonstration: {name}"));
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if is_server {
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    let certificate = parameters.signed_by(&key, authority)?;
    fs::write(state.join(format!("{name}.pem")), certificate.pem())?;
    secret(&state.join(format!("{name}.key")), &key.serialize_pem())
}

fn signing_key(state: &Path, name: &str, key_id: &str, pem: &str) -> anyhow::Result<()> {
    secret(&state.join(format!("{name}.key")), pem)?;
    let jwks = MintingKey::from_pem(pem, key_id)?.jwks()?;
    Ok(fs::write(state.join(format!("{name}.jwks.json")), jwks.to_string())?)
}

/// An Ed25519 key as openssl writes it: PKCS#8 of version 1, which has no public half. Source: RFC 8410 section 7.
fn ed25519_pem() -> zeroize::Zeroizing<String> {
    const BEFORE_SEED: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    clock::fill(&mut *seed);
    let der = zeroize::Zeroizing::new([BEFORE_SEED.as_slice(), seed.as_slice()].concat());
    let text = zeroize::Zeroizing::new(BASE64.encode(&*der));
    zeroize::Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &*text))
}

fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}

fn write_partner(state: &Path, row: &PartnerRow, public_url: &str) -> anyhow::Result<()> {
    let partner = Partner {
        organisation: row.organisation.to_owned(),
        client_id: row.client_id.to_owned(),
        practitioner: row.practitioner.to_owned(),
        role: row.role.to_owned(),
        purposes: row.purposes.iter().map(|&purpose| purpose.to_owned()).collect(),
        certificate: PathBuf::from(format!("{}.pem", row.name)),
        context_key: PathBuf::from(format!("{}-context.key", row.name)),
        token_key: PathBuf::from(format!("{}-token.key", row.name)),
        issuer: ISSUER.to_owned(),
        issuer_key: PathBuf::from("issuer.key"),
        audience: AUDIENCE.to_owned(),
        public_url: public_url.to_owned(),
    };
    fs::write(state.join(format!("{}.partner.toml", row.name)), toml::to_string(&partner)?)?;
    let file = |name: &str| state.join(name).display().to_string();
    let (certificate, key) = (file(&format!("{}.pem", row.name)), file(&format!("{}.key", row.name)));
    let curl = format!(
        "# curl settings of the demonstration's partner `{}`\ncacert = \"{}\"\ncert = \"{certificate}\"\nkey = \"{key}\"\n\
         header = \"Content-Type: application/json\"\nsilent\nshow-error\nwrite-out = \"\\n\"\n",
        row.name,
        file("ca.pem"),
    );
    Ok(fs::write(state.join(format!("{}.curl", row.name)), curl)?)
}

fn settings(state: &Path, policies: &Path, ports: Ports, public_url: &str) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut out = format!(
        "# Written by `concordat demo` at every start. Demonstration keys: never for real data.\n\
         listen = \"127.0.0.1:{}\"\npublic_url = \"{public_url}\"\naudience = \"{AUDIENCE}\"\npolicies = {:?}\n\n\
         [tls]\ncertificate = \"gateway.pem\"\nkey = \"gateway.key\"\nclient_ca = \"ca.pem\"\n\n\
         [ledger]\norigin = \"{ORIGIN}\"\ndatabase = \"concordat.db\"\ncheckpoint_copy = \"checkpoint.txt\"\n\
         signing_key = \"ledger-signing.key\"\nlookup_key = \"lookup.key\"\nwrapping_key = \"wrapping.key\"\n\n",
        ports.gateway,
        policies.display().to_string(),
    );
    let providers = [
        ("nhs-pds", ports.nhs, "/personal-demographics/FHIR/R4"),
        ("trafford-asc", ports.council, ""),
        ("gmfrs-prevention", ports.fire, ""),
    ];
    for (name, port, path) in providers {
        write!(
            out,
            "[providers.{name}]\nbase_url = \"https://localhost:{port}{path}\"\ntrusted = \"ca.pem\"\n\
             certificate = \"gateway.pem\"\nkey = \"gateway.key\"\ntimeout_ms = 2000\nloopback = true\n\n"
        )?;
    }
    write!(
        out,
        "[authorization_server]\nsigning_keys = [\"token-signing.key\"]\n\n[[issuers]]\nissuer = \"{ISSUER}\"\nalgorithms = [\"ES256\"]\nkeys = {{ file = \"issuer.jwks.json\" }}\n\
         token_lifetime_max_s = 900\n\n"
    )?;
    for partner in &PARTNERS {
        let pem = fs::read(state.join(format!("{}.pem", partner.name)))?;
        let certificate =
            <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem)?;
        write!(
            out,
            "[[systems]]\nid = \"{client}\"\norganisation = \"{organisation}\"\ncertificates = [\"{fingerprint}\"]\n\
             client_id = \"{client}\"\nissuer = \"{ISSUER}\"\ncontext_keys = \"{name}-context.jwks.json\"\ntoken_keys = \"{name}-token.jwks.json\"\nmay = {may}\n\n",
            client = partner.client_id,
            organisation = partner.organisation,
            fingerprint = CertificateFingerprint::of(&certificate).to_hex(),
            name = partner.name,
            may = partner.may,
        )?;
    }
    Ok(out)
}
