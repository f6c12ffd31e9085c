//! `concordat agreement …`: the common paths of agreements over the API, and what is done with a signed one offline.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::note::NoteVerifier;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output, remote,
    token::{self, Partner},
};
use crate::{
    agreements::{
        bundle::{self, Bundle},
        signature::{self, Statement},
    },
    clock::{Clock as _, SystemClock, SystemEntropy, uuid},
    config,
};

mod begin;
mod detached;
mod steps;
mod talks;

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Work on agreements.
#[derive(Args)]
pub struct AgreementArguments {
    #[command(subcommand)]
    verb: AgreementVerb,
}

#[derive(Subcommand)]
enum AgreementVerb {
    /// Begin an agreement from a file with its terms, TOML or JSON: as in `policies/agreements`, without `version`, `status`
    /// and signatures. Or from a template.
    New {
        #[command(flatten)]
        caller: CallerArguments,
        /// The terms, with the agreement's `id`.
        #[arg(required_unless_present = "from")]
        terms: Option<PathBuf>,
        #[command(flatten)]
        template: Option<begin::TemplateArguments>,
    },
    /// List the templates to begin from.
    Templates,
    /// Begin agreements that exist elsewhere, from a spreadsheet (CSV or XLSX), a row a flow. Nothing is begun if any row is
    /// wrong. They are drafts.
    Import {
        #[command(flatten)]
        caller: CallerArguments,
        /// Begin those whose rows are right, though others are wrong.
        #[arg(long)]
        partial: bool,
        /// The file. Its first row names the columns (docs/agreements.md).
        file: PathBuf,
    },
    /// See what your webhook was not told yet of agreements, or could not be.
    Deliveries {
        #[command(flatten)]
        caller: CallerArguments,
        /// Try again what was given up.
        #[arg(long)]
        retry: bool,
    },
    /// List your agreements.
    List {
        #[command(flatten)]
        caller: CallerArguments,
    },
    /// Show an agreement.
    Show {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
    },
    /// Write the terms of a version to a file, to be read, or changed and sent with `counter` or `vary`.
    Terms {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// The version.
        #[arg(long)]
        version: u32,
        /// The file, JSON.
        #[arg(long)]
        out: PathBuf,
    },
    /// Show every step that was taken: who, when, and why.
    Steps {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
    },
    /// Show what less data could do, each flow's legal bases side by side with what is missing, and what a review asks.
    Checks {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// The version.
        #[arg(long)]
        version: u32,
    },
    /// Show how a version would have answered the questions of the last 30 days.
    Impact {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// The version.
        #[arg(long)]
        version: u32,
    },
    /// Show how it was used: questions, answers, and what was released and not used.
    Usage {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
    },
    /// Show what differs between two versions.
    Diff {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// From this version.
        #[arg(long)]
        from: u32,
        /// To this version.
        #[arg(long)]
        to: u32,
    },
    #[command(flatten)]
    Step(steps::StepVerb),
    /// Comments on clauses.
    #[command(subcommand)]
    Comment(talks::CommentVerb),
    /// Disputes, and what was learnt from them.
    #[command(subcommand)]
    Dispute(talks::DisputeVerb),
    /// Sign a version with a key of your own, which stays here.
    Sign {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// The version.
        #[arg(long)]
        version: u32,
        /// The office: `siro`, `caldicott-guardian` or `iao`.
        #[arg(long)]
        role: String,
        /// The key, PKCS #8 PEM: Ed25519 or P-256.
        #[arg(long)]
        key: PathBuf,
    },
    /// Sign terms in a file, as the console hands them out, and print the signature. It needs no network.
    SignFile {
        /// The terms, as they were downloaded.
        terms: PathBuf,
        /// Their SHA-256, as the page shows it: so that nobody signs another file.
        #[arg(long)]
        sha256: String,
        /// Your organisation.
        #[arg(long)]
        organisation: String,
        /// Yourself, as your office is registered.
        #[arg(long)]
        person: String,
        /// The office: `siro`, `caldicott-guardian` or `iao`.
        #[arg(long)]
        role: String,
        /// The key, PKCS #8 PEM: Ed25519 or P-256.
        #[arg(long)]
        key: PathBuf,
    },
    /// Write a version with its signatures and proofs to a file.
    Export {
        #[command(flatten)]
        caller: CallerArguments,
        /// Which.
        id: String,
        /// The version.
        #[arg(long)]
        version: u32,
        /// The file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Check such a file offline: who signed these terms, with which keys, and that the ledger has it.
    Verify {
        /// The ledger's key, `name+hash+key`, as you were given it when you joined. Once for each that the ledger has had.
        #[arg(long, required = true)]
        key: Vec<String>,
        /// The file.
        bundle: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the public part of a key as the JWK to register.
    PublicKey {
        /// The key, PKCS #8 PEM: Ed25519 or P-256.
        key: PathBuf,
    },
}

/// Who asks.
#[derive(Args)]
struct CallerArguments {
    /// The partner's file, as for `concordat token`.
    #[arg(long)]
    partner: PathBuf,
    /// An access token of your authorization server. Without it one is minted with the partner file's `issuer_key`, which
    /// only the demonstration has.
    #[arg(long)]
    access_token: Option<PathBuf>,
    /// Whom the gateway's certificate is from, PEM.
    #[arg(long)]
    trusted: PathBuf,
    /// The case that this is about.
    #[arg(long)]
    case: String,
    /// Your own identifier at your organisation, where it is not the partner file's.
    #[arg(long)]
    practitioner: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// What went wrong and what to do.
pub async fn run(arguments: AgreementArguments) -> anyhow::Result<()> {
    match arguments.verb {
        AgreementVerb::New { caller, terms, template } => {
            let (id, terms) = match (terms, template) {
                (_, Some(template)) => template.terms()?,
                (Some(terms), None) => terms_of(&terms)?,
                (None, None) => anyhow::bail!("name a file with the terms, or a template with --from"),
            };
            let gateway = Gateway::of(&caller)?;
            let body = json!({ "id": id, "terms": terms });
            print(&gateway.send(Method::POST, "/v1/agreements", Some(body), None).await?)
        }
        AgreementVerb::Templates => begin::list(),
        AgreementVerb::Import { caller, partial, file } => begin::import(&caller, partial, &file).await,
        AgreementVerb::Deliveries { caller, retry } => {
            let (method, path) =
                if retry { (Method::POST, "/deliveries/retry") } else { (Method::GET, "/deliveries") };
            let path = format!("/v1/agreements{path}");
            print(&Gateway::of(&caller)?.send(method, &path, None, None).await?)
        }
        AgreementVerb::List { caller } => read(&caller, "/v1/agreements").await,
        AgreementVerb::Show { caller, id } => read(&caller, &path(&id, "")).await,
        AgreementVerb::Terms { caller, id, version, out } => {
            let path = path(&id, &format!("/versions/{version}"));
            let mut terms = Gateway::of(&caller)?.send(Method::GET, &path, None, None).await?.body;
            if let Some(members) = terms.as_object_mut() {
                members.remove("version");
            }
            begun(&out, &serde_json::to_string_pretty(&terms)?)?;
            output::line(&format!("{}: change it, and send it with `counter` or `vary`", out.display()));
            Ok(())
        }
        AgreementVerb::Steps { caller, id } => read(&caller, &path(&id, "/steps")).await,
        AgreementVerb::Checks { caller, id, version } => {
            read(&caller, &path(&id, &format!("/versions/{version}/checks"))).await
        }
        AgreementVerb::Impact { caller, id, version } => {
            read(&caller, &path(&id, &format!("/versions/{version}/impact"))).await
        }
        AgreementVerb::Usage { caller, id } => read(&caller, &path(&id, "/usage")).await,
        AgreementVerb::Diff { caller, id, from, to } => {
            let query = format!("/diff?from={from}&to={to}");
            let answer = Gateway::of(&caller)?.send(Method::GET, &path(&id, &query), None, None).await?;
            let differences = answer.body.get("differences").and_then(Value::as_array);
            for difference in differences.into_iter().flatten() {
                let text = |name: &str| difference.get(name).and_then(Value::as_str).unwrap_or_default();
                let value =
                    |name: &str| difference.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
                output::line(&format!(
                    "{:<8} {}: {} -> {}",
                    text("direction"),
                    text("place"),
                    value("from"),
                    value("to")
                ));
            }
            output::line(&format!("{} differences", differences.map_or(0, Vec::len)));
            Ok(())
        }
        AgreementVerb::Step(step) => step.take().await,
        AgreementVerb::Comment(comment) => comment.run().await,
        AgreementVerb::Dispute(dispute) => dispute.run().await,
        AgreementVerb::Sign { caller, id, version, role, key } => {
            sign(&caller, &id, version, &role, &key).await
        }
        AgreementVerb::SignFile { terms, sha256, organisation, person, role, key } => {
            detached::sign((&terms, &sha256), (organisation, person, role), &key)
        }
        AgreementVerb::Export { caller, id, version, out } => {
            let gateway = Gateway::of(&caller)?;
            let path = path(&id, &format!("/versions/{version}/bundle"));
            let answer = gateway.send(Method::GET, &path, None, None).await?;
            begun(&out, &answer.text)?;
            output::line(&format!("{}: check it with `concordat agreement verify`", out.display()));
            Ok(())
        }
        AgreementVerb::Verify { key, bundle, json } => verify(&key, &bundle, json),
        AgreementVerb::PublicKey { key } => {
            output::line(&signature::public_key(&config::read(&key)?)?.to_string());
            Ok(())
        }
    }
}

/// Writes a file that is not there yet: one that somebody has changed is not lost.
fn begun(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut created = std::fs::File::create_new(file).with_context(|| {
        let name = file.display();
        if file.exists() {
            format!("{name}: there is one already; name another, or move it away")
        } else {
            name.to_string()
        }
    })?;
    created.write_all(text.as_bytes()).with_context(|| file.display().to_string())
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/agreements/{id}{rest}")
}

/// Terms out of a file, and the name in it.
fn terms_of(file: &Path) -> anyhow::Result<(String, Value)> {
    let mut terms = read_terms(file)?;
    let id = terms.as_object_mut().and_then(|members| members.remove("id"));
    let id = id.as_ref().and_then(Value::as_str).context("the terms need an `id`")?.to_owned();
    Ok((id, terms))
}

fn read_terms(file: &Path) -> anyhow::Result<Value> {
    let text = config::read(file)?;
    if file.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text).with_context(|| file.display().to_string());
    }
    toml::from_str(&text).with_context(|| file.display().to_string())
}

/// Terms out of a file, for this agreement.
fn terms_for(id: &str, file: &Path) -> anyhow::Result<Value> {
    let mut terms = read_terms(file)?;
    let named = terms.as_object_mut().and_then(|members| members.remove("id"));
    anyhow::ensure!(
        named.as_ref().is_none_or(|named| named.as_str() == Some(id)),
        "{}: these are the terms of {}, not of {id}",
        file.display(),
        named.unwrap_or_default()
    );
    Ok(terms)
}

/// Asks for something, and prints it.
async fn read(caller: &CallerArguments, path: &str) -> anyhow::Result<()> {
    print(&Gateway::of(caller)?.send(Method::GET, path, None, None).await?)
}

fn print(answer: &Answer) -> anyhow::Result<()> {
    output::line(&serde_json::to_string_pretty(&answer.body)?);
    Ok(())
}

async fn sign(
    caller: &CallerArguments,
    id: &str,
    version: u32,
    role: &str,
    key: &Path,
) -> anyhow::Result<()> {
    let gateway = Gateway::of(caller)?;
    let terms = gateway.send(Method::GET, &path(id, &format!("/versions/{version}")), None, None).await?;
    let canonical = ledger::canonical::to_canonical_json(&terms.body)?;
    anyhow::ensure!(
        canonical == terms.text.as_bytes(),
        "the gateway's terms are not in their canonical form"
    );
    let names =
        (terms.body.get("id").and_then(Value::as_str), terms.body.get("version").and_then(Value::as_u64));
    anyhow::ensure!(names == (Some(id), Some(version.into())), "these are not the terms that you asked for");
    let statement = Statement {
        agreement: id.to_owned(),
        version,
        terms_sha256: ledger::tree::hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(&canonical)),
        organisation: gateway.partner.organisation.clone(),
        signatory: gateway.practitioner().to_owned(),
        role: role.to_owned(),
        signed_at: SystemClock.now().as_second(),
    };
    let signature = signature::sign(&config::read(key)?, &terms.text, &statement)?;
    let body = json!({ "step": "sign", "signature": signature });
    print(&gateway.send(Method::POST, &path(id, "/steps"), Some(body), None).await?)
}

fn verify(keys: &[String], file: &Path, as_json: bool) -> anyhow::Result<()> {
    let keys: Vec<_> =
        keys.iter().map(|key| NoteVerifier::parse(key).context("--key")).collect::<Result<_, _>>()?;
    let bundle: Bundle = serde_json::from_str(&config::read(file)?)
        .with_context(|| format!("{}: not a bundle", file.display()))?;
    let shown = bundle::verify(&bundle, &keys)?;
    if as_json {
        output::line(&serde_json::to_string_pretty(&shown)?);
        return somebody_signed(&shown);
    }
    output::line(&format!("{} version {}, terms {}", shown.agreement, shown.version, shown.terms_sha256));
    for (organisation, person, role) in &shown.signed {
        output::line(&format!("  signed for {organisation} by {person} as {role}"));
    }
    let force = if shown.put_in_force { "put in force by two people" } else { "not put in force" };
    output::line(&format!(
        "  {force}; {} after the newest step in this file, as of {} entries of the ledger",
        shown.state, shown.ledger_size
    ));
    for step in &shown.since {
        output::line(&format!("  since then: {step}"));
    }
    somebody_signed(&shown)
}

fn somebody_signed(shown: &bundle::Shown) -> anyhow::Result<()> {
    anyhow::ensure!(!shown.signed.is_empty(), "nobody has signed it: the bundle shows no signature");
    Ok(())
}

/// A gateway that is asked with a partner's keys.
struct Gateway {
    client: reqwest::Client,
    partner: Partner,
    base: PathBuf,
    access_token: Option<String>,
    case: String,
    practitioner: Option<String>,
}

/// What it answered.
struct Answer {
    body: Value,
    text: String,
    tag: Option<String>,
}

impl Gateway {
    fn of(caller: &CallerArguments) -> anyhow::Result<Self> {
        let base = caller.partner.parent().unwrap_or(Path::new(".")).to_owned();
        let partner: Partner = toml::from_str(&config::read(&caller.partner)?)
            .with_context(|| format!("{}: not a partner's file", caller.partner.display()))?;
        let certificate = base.join(&partner.certificate);
        let key = certificate.with_extension("key");
        let client = remote::client(&partner.public_url, &certificate, &key, &caller.trusted)?;
        let access_token = caller.access_token.as_deref().map(config::read).transpose()?;
        Ok(Self {
            client,
            partner,
            base,
            access_token: access_token.map(|token| token.trim().to_owned()),
            case: caller.case.clone(),
            practitioner: caller.practitioner.clone(),
        })
    }

    fn practitioner(&self) -> &str {
        self.practitioner.as_deref().unwrap_or(&self.partner.practitioner)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: Option<String>,
    ) -> anyhow::Result<Answer> {
        let purpose = self.partner.purposes.first().context("the partner's file lists no purpose")?;
        let request = token::RequestOf {
            method: method.as_str(),
            path: path.split('?').next().unwrap_or(path),
            purpose,
            case: &self.case,
            record: None,
            list: None,
            practitioner: self.practitioner(),
        };
        let (access, context) =
            token::headers(&self.partner, &self.base, &request, self.access_token.as_deref())?;
        let url = format!("{}{path}", self.partner.public_url);
        let mut sent =
            self.client.request(method.clone(), url).bearer_auth(access).header("Sharing-Context", context);
        if let Some(body) = &body {
            sent = sent.json(body).header("Idempotency-Key", uuid(&SystemEntropy));
        }
        if let Some(tag) = if_match {
            sent = sent.header("If-Match", tag);
        }
        let mut answer = sent.send().await.context("the gateway cannot be reached")?;
        let status = answer.status();
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            anyhow::ensure!(
                bytes.len() + chunk.len() <= ANSWER_BYTES_MAX,
                "the gateway's answer is too long"
            );
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = body.get("detail").and_then(Value::as_str).unwrap_or("it said nothing more");
        // The problem's name, by which docs/problems.md has it.
        let name = body.get("type").and_then(Value::as_str).and_then(|kind| kind.rsplit('/').next());
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        anyhow::ensure!(status.is_success(), "the gateway answered {status}{name}: {said}");
        Ok(Answer { body, text, tag })
    }
}
