//! A witness for other organisations' ledgers (C2SP tlog-witness): HTTP, and the state that it must not lose.
//!
//! When to cosign is decided in `ledger::witness`. Here the answer is made durable before it is given, one at a time:
//! a witness that forgot what it cosigned could be led into cosigning a fork.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path as UrlPath, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use ledger::{
    checkpoint::Checkpoint,
    note::{Cosigner, NoteVerifier},
    tree::hexadecimal,
    witness::{AddCheckpoint, WitnessRefusal},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::durable;

use crate::clock::Clock;

const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a witness knows.
pub struct Witness {
    cosigner: Cosigner,
    /// By origin; several keys while one takes over from another.
    logs: BTreeMap<String, Vec<NoteVerifier>>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

/// The state file, open and locked for as long as the witness runs.
struct Kept {
    path: PathBuf,
    state: StateFile,
    _lock: File,
}

/// The last checkpoint of every log, as it was cosigned.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    /// The witness's key: another key's state is not this one's.
    witness: String,
    /// By origin.
    checkpoints: BTreeMap<String, String>,
}

/// Why a checkpoint is not cosigned.
enum Refused {
    Protocol(WitnessRefusal),
    /// It cannot be kept, so it is not said.
    NotKept(anyhow::Error),
}

impl Witness {
    /// Begins a state file where there is none.
    ///
    /// # Errors
    /// When there is one, or it cannot be written.
    pub fn begin(path: &Path, cosigner: &Cosigner) -> anyhow::Result<()> {
        anyhow::ensure!(!path.exists(), "{} is there already; a witness begins once", path.display());
        write_durably(path, &StateFile { witness: cosigner.verifier_key(), checkpoints: BTreeMap::new() })
    }

    /// Goes on from a state file.
    ///
    /// # Errors
    /// When there is none, another process has it, or it is not of these keys.
    pub fn open(
        path: &Path,
        cosigner: Cosigner,
        log_keys: &[String],
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let lock_path = beside(path, ".lock");
        let lock = File::create(&lock_path).with_context(|| lock_path.display().to_string())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!("another witness is using {}", path.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| lock_path.display().to_string());
            }
        }
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "{}: a witness that lost its state must not go on; begin another under another name",
                path.display()
            )
        })?;
        let state: StateFile = serde_json::from_str(&text)
            .with_context(|| format!("{}: not a witness's state", path.display()))?;
        anyhow::ensure!(state.witness == cosigner.verifier_key(), "{} is another witness's", path.display());
        let mut logs = BTreeMap::<String, Vec<NoteVerifier>>::new();
        for text in log_keys {
            let key = NoteVerifier::parse(text).with_context(|| format!("--log {text}"))?;
            logs.entry(key.name().to_owned()).or_default().push(key);
        }
        let own = [NoteVerifier::parse(&cosigner.verifier_key())?];
        for (origin, note) in &state.checkpoints {
            let Some(log) = logs.get(origin) else { continue };
            let by_this_witness = Checkpoint::open_witnessed(note, log.as_slice(), &own)
                .is_ok_and(|opened| !opened.cosignatures.is_empty());
            anyhow::ensure!(
                by_this_witness,
                "{}: what it holds of {origin} was not cosigned by this witness",
                path.display()
            );
        }
        let kept = Mutex::new(Kept { path: path.to_owned(), state, _lock: lock });
        Ok(Self { cosigner, logs, clock, kept })
    }

    /// The key that its cosignatures verify with.
    pub fn verifier_key(&self) -> String {
        self.cosigner.verifier_key()
    }

    /// Decides, keeps, and only then cosigns.
    fn add(&self, body: &str) -> Result<String, Refused> {
        let asked = AddCheckpoint::parse(body).map_err(Refused::Protocol)?;
        let log = asked.origin().and_then(|origin| self.logs.get_key_value(origin));
        let poisoned = || Refused::NotKept(anyhow::anyhow!("an earlier write failed"));
        let mut kept = self.kept.lock().map_err(|_| poisoned())?;
        let last = match log.and_then(|(origin, log)| Some((log, kept.state.checkpoints.get(origin)?))) {
            Some((log, note)) => Some(
                Checkpoint::open(note, log.as_slice())
                    .map_err(|error| Refused::NotKept(anyhow::Error::new(error)))?,
            ),
            None => None,
        };
        let new =
            asked.decide(log.map(|(_, keys)| keys.as_slice()), last.as_ref()).map_err(Refused::Protocol)?;
        let time_s = u64::try_from(self.clock.now().as_second()).unwrap_or(0);
        // The cosignature covers the whole text, extension lines and all.
        let text = asked.checkpoint.rsplit_once("\n\n").map_or("", |(text, _)| text);
        let line = self.cosigner.cosign(&format!("{text}\n"), time_s);
        let mut state = kept.state.clone();
        state.checkpoints.insert(new.origin, format!("{}{line}", asked.checkpoint));
        write_durably(&kept.path, &state).map_err(Refused::NotKept)?;
        kept.state = state;
        Ok(line)
    }

    fn latest(&self, origin_sha256: &str) -> Option<String> {
        let kept = self.kept.lock().ok()?;
        let named = |origin: &str| hexadecimal(&Sha256::digest(origin)) == origin_sha256;
        kept.state.checkpoints.iter().find(|(origin, _)| named(origin)).map(|(_, note)| note.clone())
    }
}

/// The routes: `POST /add-checkpoint`, `GET /<sha256 of the origin>/checkpoint`.
pub fn routes(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest_checkpoint))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    let answer = tokio::task::spawn_blocking(move || witness.add(&body)).await;
    match answer {
        Ok(Ok(line)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response(),
        Ok(Err(Refused::Protocol(refusal))) => refused(refusal),
        Ok(Err(Refused::NotKept(error))) => {
            tracing::error!(
                error = format!("{error:#}"),
                "a checkpoint could not be kept, so it was not cosigned"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refused(refusal: WitnessRefusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        WitnessRefusal::Conflict(size) => {
            (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response()
        }
        _ => (status, format!("{refusal}\n")).into_response(),
    }
}

async fn latest_checkpoint(
    State(witness): State<Arc<Witness>>,
    UrlPath(origin): UrlPath<String>,
) -> Response {
    match witness.latest(&origin) {
        Some(note) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn write_durably(path: &Path, state: &StateFile) -> anyhow::Result<()> {
    durable::write(path, &serde_json::to_vec_pretty(state)?).with_context(|| path.display().to_string())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
