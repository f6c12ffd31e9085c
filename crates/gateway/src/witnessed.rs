//! Asking witnesses: other organisations cosign the ledger's checkpoints (C2SP tlog-witness), so that a history that is
//! rewritten, or shown differently to different people, is found out without anybody having kept a receipt.
//!
//! A task beside the requests takes the newest checkpoint to every witness and keeps it with the cosignatures when enough
//! different organisations have given one. No request waits for it. When it has not succeeded for too long, that is
//! alarmed, and, where the settings say so, nothing is released until it does.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use console::Witnesses;
use jiff::{SignedDuration, Timestamp};
use ledger::{checkpoint::Checkpoint, note::NoteVerifier, witness::AddCheckpoint};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use sharing::OrganisationId;
use store::{Head, Store, durable};

use crate::{app::App, clock::Clock};

/// Who witnesses, and how many are enough. `deploy/concordat.example.toml` describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml, where operators read it")]
pub struct WitnessingSettings {
    pub needed: usize,
    #[serde(default = "default_every_s")]
    pub every_s: u64,
    #[serde(default = "default_alarm_after_s")]
    pub alarm_after_s: u32,
    #[serde(default)]
    pub stop_after_s: Option<u32>,
    pub witnesses: Vec<WitnessSettings>,
}

/// One witness.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml, where operators read it")]
pub struct WitnessSettings {
    pub organisation: OrganisationId,
    pub key: String,
    pub url: String,
    #[serde(default)]
    pub trusted: Option<PathBuf>,
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

fn default_every_s() -> u64 {
    60
}

fn default_alarm_after_s() -> u32 {
    600
}

/// Longest wait for one witness.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A witness answers with a line.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

struct Witness {
    organisation: OrganisationId,
    key: NoteVerifier,
    url: String,
    client: Client,
    /// The size that it cosigned last, as far as is known here.
    last: AtomicU64,
}

/// The newest checkpoint that enough witnesses have cosigned.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The signed note, with the cosignatures.
    note: String,
    /// When it was made.
    at: Timestamp,
}

/// The witnesses of this ledger, and what they have cosigned.
pub struct Witnessing {
    witnesses: Vec<Witness>,
    needed: usize,
    /// How often they are asked.
    pub every: Duration,
    alarm_after: SignedDuration,
    stop_after: Option<SignedDuration>,
    file: PathBuf,
    kept: Mutex<Option<Kept>>,
    /// Since when the newest checkpoint is to have been witnessed, in microseconds.
    since_us: AtomicU64,
    contradicted: AtomicBool,
    /// One asks at a time: what is kept only ever gets newer.
    asking: tokio::sync::Mutex<()>,
}

/// How often a round of asking begins again because the ledger grew while it went on.
const ROUNDS_MAX: usize = 3;
/// How often one witness is asked in a round: other replicas of this gateway ask it too.
const ASKED_MAX: usize = 4;

/// How a round of asking went.
enum Round {
    Witnessed,
    /// Too few witnesses cosigned.
    TooFew,
    /// A witness has cosigned this many entries, more than the round began with.
    Ahead(u64),
}

/// How a witness answered.
enum Answer {
    /// The checkpoint with its cosignature.
    Cosigned(String),
    /// It has cosigned this many entries, more than it was asked about: another replica asked meanwhile, or this database
    /// is an older copy.
    Ahead(u64),
    /// It holds other entries of this ledger: it was rewritten.
    Contradicts(String),
    /// It could not be reached, or its answer cannot be used.
    Failed(String),
}

impl Witnessing {
    /// Reads the settings and what was kept. Nobody is asked.
    ///
    /// # Errors
    /// What is wrong with the settings and what to do.
    pub fn new(
        settings: &WitnessingSettings,
        database: &Path,
        store: &Store,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let mut witnesses = Vec::new();
        for one in &settings.witnesses {
            let of = || format!("settings: [[ledger.witnessing.witnesses]] of `{}`", one.organisation);
            let key = NoteVerifier::parse(&one.key).with_context(of)?;
            anyhow::ensure!(
                key.kind() == ledger::note::KeyKind::Cosignature,
                "{}: `key` is no witness's key; `concordat witness begin` prints one",
                of()
            );
            let shared = witnesses.iter().find(|known: &&Witness| known.key.shares_secret_with(&key));
            anyhow::ensure!(
                shared.is_none() && !store.verifiers().iter().any(|own| own.shares_secret_with(&key)),
                "{}: its key is another witness's, or the ledger's own; each must have one of its own",
                of()
            );
            anyhow::ensure!(
                one.url.starts_with("https://") || is_loopback(&one.url),
                "{}: `url` must begin with https://, or with http:// for a loopback address",
                of()
            );
            witnesses.push(Witness {
                organisation: one.organisation.clone(),
                key,
                url: format!("{}/add-checkpoint", one.url.trim_end_matches('/')),
                client: client(one).with_context(of)?,
                last: AtomicU64::new(0),
            });
        }
        let mut organisations: Vec<_> = witnesses.iter().map(|witness| &witness.organisation).collect();
        organisations.sort();
        organisations.dedup();
        anyhow::ensure!(
            (1..=organisations.len()).contains(&settings.needed),
            "settings: ledger.witnessing.needed is {}, and the witnesses are of {} organisations; two of one organisation are one",
            settings.needed,
            organisations.len()
        );
        let mut file = database.as_os_str().to_owned();
        file.push(".witnessed");
        let file = PathBuf::from(file);
        let this = Self {
            witnesses,
            needed: settings.needed,
            every: Duration::from_secs(settings.every_s.max(1)),
            alarm_after: SignedDuration::from_secs(settings.alarm_after_s.into()),
            stop_after: settings.stop_after_s.map(|seconds| SignedDuration::from_secs(seconds.into())),
            kept: Mutex::new(None),
            since_us: AtomicU64::new(now.as_microsecond().unsigned_abs()),
            contradicted: AtomicBool::new(false),
            asking: tokio::sync::Mutex::new(()),
            file,
        };
        this.read(store)?;
        Ok(this)
    }

    fn read(&self, store: &Store) -> anyhow::Result<()> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| self.file.display().to_string()),
        };
        let what = || {
            format!("{}: it can be deleted, and is made again when witnesses are asked", self.file.display())
        };
        let kept: Kept = serde_json::from_str(&text).with_context(what)?;
        // Witnesses may have been exchanged since: then nothing is witnessed yet.
        // The ledger's key too: what only a retired one signed is witnessed anew.
        if self.organisations(&kept.note, store).is_ok_and(|organisations| organisations >= self.needed) {
            self.since_us.store(kept.at.as_microsecond().unsigned_abs(), Ordering::Relaxed);
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok(())
    }

    /// How many different organisations cosigned this note.
    fn organisations(&self, note: &str, store: &Store) -> anyhow::Result<usize> {
        let keys: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let opened = Checkpoint::open_witnessed(note, store.verifiers(), &keys)?;
        let by = |witness: &&Witness| opened.cosignatures.iter().any(|one| one.is_by(&witness.key));
        let mut organisations: Vec<_> =
            self.witnesses.iter().filter(by).map(|witness| &witness.organisation).collect();
        organisations.sort();
        organisations.dedup();
        Ok(organisations.len())
    }

    /// The newest checkpoint that enough witnesses cosigned, a signed note.
    pub fn newest(&self) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|kept| kept.note.clone())
    }

    /// What whoever looks after the ledger is shown of them.
    pub fn seen(&self, store: &Store, at: Timestamp) -> Witnesses {
        let each = self.witnesses.iter().map(|witness| {
            let last = witness.last.load(Ordering::Relaxed);
            (witness.organisation.clone(), (last > 0).then_some(last))
        });
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let witnessed = kept.and_then(|kept| {
            let checkpoint = Checkpoint::open(&kept.note, store.verifiers()).ok()?;
            Some((checkpoint.size, kept.at))
        });
        Witnesses {
            needed: self.needed,
            each: each.collect(),
            witnessed,
            is_contradicted: self.contradicted.load(Ordering::Relaxed),
            is_in_order: self.is_in_order(at),
        }
    }

    /// How long ago enough witnesses had seen the newest entry.
    pub fn age(&self, at: Timestamp) -> SignedDuration {
        self.unwitnessed_for(at)
    }

    fn unwitnessed_for(&self, at: Timestamp) -> SignedDuration {
        let since = i64::try_from(self.since_us.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(since).map_or(SignedDuration::ZERO, |since| at.duration_since(since))
    }

    /// Whether enough witnesses have seen the ledger lately, and none contradicts it.
    pub fn is_in_order(&self, at: Timestamp) -> bool {
        !self.contradicted.load(Ordering::Relaxed) && self.unwitnessed_for(at) <= self.alarm_after
    }

    /// Whether nothing may be released: a witness contradicts the ledger, or it has been unwitnessed for longer than the
    /// settings allow.
    pub fn stops(&self, at: Timestamp) -> bool {
        let stop_after = self.stop_after;
        stop_after
            .is_some_and(|stop| self.contradicted.load(Ordering::Relaxed) || self.unwitnessed_for(at) > stop)
    }

    /// Asks every witness for the newest checkpoint, if it is not witnessed yet. `true` when it is.
    ///
    /// # Errors
    /// When the database cannot be read or the answer cannot be kept.
    pub async fn ask(&self, store: &Store, clock: &dyn Clock) -> anyhow::Result<bool> {
        let _asking = self.asking.lock().await;
        let mut head = store.head().await?;
        let known = self.newest().and_then(|note| Checkpoint::open(&note, store.verifiers()).ok());
        if known.is_none_or(|known| known.size != head.size || known.root != head.root) {
            let mut rounds = 0;
            loop {
                rounds += 1;
                match self.collect(store, &head, clock.now()).await? {
                    Round::Witnessed => break,
                    Round::TooFew => return Ok(false),
                    Round::Ahead(size) => {
                        // What a witness cosigned was committed before: what is read now has it, or never had.
                        head = store.head().await?;
                        if size > head.size {
                            self.contradicted.store(true, Ordering::Relaxed);
                            tracing::error!(
                                size,
                                have = head.size,
                                "a witness contradicts this ledger, it has cosigned more entries than there are: see the runbook, and do not restart"
                            );
                            return Ok(false);
                        }
                        if rounds == ROUNDS_MAX {
                            return Ok(false);
                        }
                    }
                }
            }
        }
        self.since_us.store(clock.now().as_microsecond().unsigned_abs(), Ordering::Relaxed);
        self.contradicted.store(false, Ordering::Relaxed);
        Ok(true)
    }

    async fn collect(&self, store: &Store, head: &Head, at: Timestamp) -> anyhow::Result<Round> {
        let mut note = head.checkpoint.clone();
        let (mut contradicted, mut ahead) = (false, None);
        for witness in &self.witnesses {
            let (name, organisation) = (witness.key.name(), &witness.organisation);
            match witness.cosign(store, head).await? {
                Answer::Cosigned(line) => note.push_str(&line),
                Answer::Ahead(size) => ahead = ahead.max(Some(size)),
                Answer::Contradicts(why) => {
                    contradicted = true;
                    tracing::error!(witness = name, %organisation, why, "a witness contradicts this ledger: see the runbook, and do not restart");
                }
                Answer::Failed(why) => {
                    tracing::warn!(witness = name, %organisation, why, "a witness did not cosign");
                }
            }
        }
        if contradicted {
            self.contradicted.store(true, Ordering::Relaxed);
            return Ok(Round::TooFew);
        }
        if let Some(size) = ahead {
            return Ok(Round::Ahead(size));
        }
        if self.organisations(&note, store)? < self.needed {
            return Ok(Round::TooFew);
        }
        let kept = Kept { note, at };
        durable::write(&self.file, &serde_json::to_vec(&kept)?)
            .with_context(|| self.file.display().to_string())?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(Round::Witnessed)
    }
}

impl Witness {
    /// Asks with what it is known to have; then, if it says otherwise, with what it says.
    async fn cosign(&self, store: &Store, head: &Head) -> anyhow::Result<Answer> {
        let mut old = self.last.load(Ordering::Relaxed);
        for _ in 0..ASKED_MAX {
            if old > head.size {
                return Ok(Answer::Ahead(old));
            }
            let proof = store.consistency_between(old, head.size).await?;
            let asked = AddCheckpoint { old, proof, checkpoint: head.checkpoint.clone() };
            let sent = self.client.post(&self.url).body(asked.to_text()).send().await;
            let response = match sent {
                Ok(response) => response,
                Err(error) => return Ok(Answer::Failed(error.without_url().to_string())),
            };
            let status = response.status();
            let text = match read_capped(response).await {
                Ok(text) => text,
                Err(why) => return Ok(Answer::Failed(why)),
            };
            match status {
                StatusCode::OK => return Ok(self.accept(store, head, &text)),
                StatusCode::CONFLICT => match text.trim().parse::<u64>() {
                    Ok(size) if size != old => old = size,
                    _ => {
                        return Ok(Answer::Failed(
                            "it says that its state is another, and not which".to_owned(),
                        ));
                    }
                },
                // It was asked with what it says it has: the two histories differ.
                StatusCode::UNPROCESSABLE_ENTITY => {
                    return Ok(Answer::Contradicts(format!("its first {old} entries are not these")));
                }
                other => return Ok(Answer::Failed(format!("it answers {other}"))),
            }
        }
        Ok(Answer::Failed("its state moves while it is asked".to_owned()))
    }

    fn accept(&self, store: &Store, head: &Head, lines: &str) -> Answer {
        let note = format!("{}{lines}", head.checkpoint);
        let opened = Checkpoint::open_witnessed(&note, store.verifiers(), std::slice::from_ref(&self.key));
        match opened {
            Ok(opened) if opened.cosignatures.len() == 1 && opened.checkpoint.size == head.size => {
                self.last.store(head.size, Ordering::Relaxed);
                Answer::Cosigned(lines.to_owned())
            }
            _ => Answer::Failed("what it answers is no cosignature of its own".to_owned()),
        }
    }
}

fn client(settings: &WitnessSettings) -> anyhow::Result<Client> {
    let mut builder = outbound::client(&settings.url)?.timeout(TIMEOUT);
    if let Some(trusted) = &settings.trusted {
        let pem = crate::config::read(trusted)?;
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key_file) {
        let pem = format!("{}\n{}", crate::config::read(certificate)?, crate::config::read(key)?);
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
    }
    Ok(builder.build()?)
}

pub(crate) fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or("");
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn read_capped(mut response: reqwest::Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| "its answer is no text".to_owned())
}

/// Asks again and again, until the token is cancelled.
pub async fn watch(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let Some(witnessing) = &app.witnessing else { return };
    let mut every = tokio::time::interval(witnessing.every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        match witnessing.ask(&app.store, app.clock.as_ref()).await {
            Ok(true) => {}
            Ok(false) if witnessing.is_in_order(app.clock.now()) => {}
            Ok(false) => tracing::error!("the ledger has not been witnessed for too long: see the runbook"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "witnesses could not be asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for url in ["http://127.0.0.1:8480", "http://localhost/x", "http://[::1]:80/", "http://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://example.org",
            "http://127.0.0.1.example.org",
            "http://10.0.0.1",
            "https://127.0.0.1",
            "http://localhost.example.org:80",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
