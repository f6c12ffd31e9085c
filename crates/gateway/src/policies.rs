//! Policies from a folder into force: read, checked whole, announced in the ledger, then used.

use std::{path::Path, sync::Arc};

use ledger::entry::{AgreementStamp, Body};
use sharing::{
    PolicySet,
    policy::{MANAGED, PolicyFile, PolicyProblem, digest_of, managed_path},
};
use store::{AgreementRow, Change, CommitError, Store, Submission};

use crate::{
    app::{App, InForce},
    clock::Clock,
};

/// Policies that could not be put in force. The ones before them stay.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// The folder cannot be read.
    #[error("{path}: {source}; say where the policies are with --policies or `policies` in the settings")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not in order.
    #[error("the policies are not in order:\n{}", .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<PolicyProblem>),
    /// Others were put in force by somebody else since this folder was last found in force.
    #[error(
        "revision {0} of the policies, which somebody else put in force, is not what this folder was changed from: bring the folder up to date, send SIGHUP, then make the change and send it again; or put the folder in force all the same with SIGUSR1"
    )]
    Behind(i64),
    /// Others went on putting policies in force meanwhile.
    #[error("others put policies in force again and again while these were to be; send the signal again")]
    Overtaken,
    /// The ledger could not announce them.
    #[error("the policies could not be announced in the ledger: {0}")]
    Ledger(String),
}

/// Folders, what their files end with, and whether a set can do without.
const FOLDERS: [(&str, &str, bool); 10] = [
    ("access", "cedar", true),
    ("access", "json", true),
    ("agreements", "toml", false),
    ("alert-cases", "toml", true),
    ("alerts", "toml", true),
    ("cases", "toml", true),
    ("catalogue", "toml", false),
    ("frameworks", "toml", true),
    ("guardrails", "cedar", true),
    ("organisations", "toml", false),
];

/// How long what has ended is kept.
const RETENTION: &str = "retention.toml";

/// Reads every policy file below a folder, in order of path.
///
/// # Errors
/// [`PoliciesError::Folder`] when one cannot be read.
pub fn read_folder(folder: &Path) -> Result<Vec<PolicyFile>, PoliciesError> {
    let mut files = Vec::new();
    for (name, ending, optional) in FOLDERS {
        let path = folder.join(name);
        let failed = |source| PoliciesError::Folder { path: path.display().to_string(), source };
        if optional && !path.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|extension| extension == ending) {
                let text = std::fs::read_to_string(&file)
                    .map_err(|source| PoliciesError::Folder { path: file.display().to_string(), source })?;
                let file_name =
                    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                files.push(PolicyFile { path: format!("{name}/{file_name}"), text });
            }
        }
    }
    let retention = folder.join(RETENTION);
    if retention.exists() {
        let failed = |source| PoliciesError::Folder { path: retention.display().to_string(), source };
        let text = std::fs::read_to_string(&retention).map_err(failed)?;
        files.push(PolicyFile { path: RETENTION.to_owned(), text });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Reads and checks a folder.
///
/// # Errors
/// [`PoliciesError`] naming every file and line.
pub fn load(folder: &Path) -> Result<PolicySet, PoliciesError> {
    PolicySet::load(&read_folder(folder)?).map_err(PoliciesError::Problems)
}

/// A folder's policies with the agreements that are managed over the API, which the database has.
async fn with_managed(store: &Store, set: &PolicySet) -> Result<PolicySet, PoliciesError> {
    let managed = store.managed_files().await.map_err(|error| PoliciesError::Ledger(error.to_string()))?;
    if managed.is_empty() {
        return Ok(set.clone());
    }
    let managed = managed.into_iter().map(|(id, text)| PolicyFile { path: managed_path(&id), text });
    let files: Vec<_> = set.files().iter().cloned().chain(managed).collect();
    PolicySet::load(&files).map_err(PoliciesError::Problems)
}

/// What a gateway knows of its folder. Several gateways share what is in force, and each has a folder of its own: one that was
/// not changed along with the others puts nothing in force, or it would take back what they did, such as a suspension.
#[derive(Debug, Default)]
pub struct Folder {
    /// The digest of its files as they were last read.
    read: String,
    /// The digest of its files when they were last found in force.
    in_force: Option<String>,
}

impl Folder {
    /// A folder of this digest, as the gateway starts.
    pub fn new(read: String, in_force: &PolicySet) -> Self {
        let is_in_force = read == own_digest(in_force.files());
        Self { in_force: is_in_force.then(|| read.clone()), read }
    }
}

/// The digest of those files that come from a folder.
fn own_digest(files: &[PolicyFile]) -> String {
    digest_of(files.iter().filter(|file| !file.path.starts_with(MANAGED)))
}

/// When a folder's policies are put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// If the folder was changed, and from what is in force.
    IfChanged,
    /// Whatever was put in force elsewhere.
    InAnyCase,
}

/// How often it is begun again when others put policies in force meanwhile.
const ATTEMPTS_MAX: usize = 10;

/// Reads the folder again, and puts its policies in force. `false` where it was not changed, and there was nothing to do. What
/// is managed over the API stays as it is.
///
/// What it is compared with is what it takes the place of: the announcement names the revision before it, in its transaction.
///
/// # Errors
/// [`PoliciesError`] when they are not in order, not made from what is in force, or cannot be announced.
pub async fn reload(app: &App, folder: &Path, put: Put) -> Result<bool, PoliciesError> {
    let of_folder = load(folder)?;
    let mut known = app.folder.lock().await;
    let read = of_folder.digest().to_owned();
    let was_changed = known.read != read;
    for _ in 0..ATTEMPTS_MAX {
        catch_up(app).await?;
        known.read.clone_from(&read);
        let current = app.policies();
        let in_force = own_digest(current.set.files());
        if read != in_force && put == Put::IfChanged && known.in_force.as_ref() != Some(&in_force) {
            return if was_changed { Err(PoliciesError::Behind(current.revision)) } else { Ok(false) };
        }
        let set = with_managed(&app.store, &of_folder).await?;
        if set.digest() == current.set.digest() {
            known.in_force = Some(read);
            return Ok(true);
        }
        if let Some(taken) = put_in_force(&app.store, set, current.revision, app.clock.as_ref()).await? {
            app.set_policies(taken);
            known.in_force = Some(read);
            return Ok(true);
        }
    }
    Err(PoliciesError::Overtaken)
}

/// The policies that a gateway starts with: those of its folder, and where several gateways share a database, those that
/// are in force there. One that starts late with an older folder changes nothing for the others.
///
/// # Errors
/// [`PoliciesError`] when the ledger cannot be read or written, or what it holds is not in order.
pub async fn begin(store: &Store, set: PolicySet, clock: &dyn Clock) -> Result<InForce, PoliciesError> {
    for _ in 0..ATTEMPTS_MAX {
        let set = with_managed(store, &set).await?;
        let current = in_force(store).await?;
        match &current {
            Some((revision, digest)) if digest == set.digest() => {
                return Ok(InForce { set: Arc::new(set), revision: *revision });
            }
            Some((revision, digest)) if store.is_shared() => {
                tracing::warn!(
                    revision,
                    "the policies in force are not those of this folder; SIGUSR1 puts these in force"
                );
                return announced(store, *revision, digest).await;
            }
            _ => {}
        }
        let before = current.map_or(0, |(revision, _)| revision);
        // Another gateway may begin the same ledger.
        if let Some(begun) = put_in_force(store, set, before, clock).await? {
            return Ok(begun);
        }
    }
    Err(PoliciesError::Overtaken)
}

/// Makes sure that the policies in use are those in force, which another replica may have changed.
///
/// # Errors
/// [`PoliciesError`] when that cannot be told: nothing may be decided then.
pub async fn follow(app: &App) -> Result<(), PoliciesError> {
    if !app.store.is_shared() {
        return if app.policies().revision > 0 { Ok(()) } else { Err(none_in_force()) };
    }
    catch_up(app).await
}

/// As [`follow`], also where no other gateway writes: whoever put policies in force may have been dropped before it used them.
///
/// # Errors
/// [`PoliciesError`] when that cannot be told.
pub async fn catch_up(app: &App) -> Result<(), PoliciesError> {
    let is_current = |current: &Option<(i64, String)>| {
        current.as_ref().is_some_and(|(revision, _)| *revision == app.policies().revision)
    };
    if is_current(&in_force(&app.store).await?) {
        return Ok(());
    }
    let _one_at_a_time = app.following.lock().await;
    let current = in_force(&app.store).await?;
    if is_current(&current) {
        return Ok(());
    }
    let (revision, digest) = current.ok_or_else(none_in_force)?;
    let taken = announced(&app.store, revision, &digest).await?;
    tracing::info!(revision, "policies in force, as they were announced elsewhere");
    app.set_policies(taken);
    Ok(())
}

fn none_in_force() -> PoliciesError {
    PoliciesError::Ledger("the ledger has announced none".to_owned())
}

async fn in_force(store: &Store) -> Result<Option<(i64, String)>, PoliciesError> {
    store.policy_set().await.map_err(|error| PoliciesError::Ledger(error.to_string()))
}

/// A policy set as the database keeps it.
async fn announced(store: &Store, revision: i64, digest: &str) -> Result<InForce, PoliciesError> {
    let failed = |error: &dyn std::fmt::Display| PoliciesError::Ledger(error.to_string());
    let files = store.policy_files(revision).await.map_err(|error| failed(&error))?;
    let files = files.ok_or_else(|| failed(&format!("revision {revision} was not kept")))?;
    let files: Vec<PolicyFile> = serde_json::from_str(&files).map_err(|error| failed(&error))?;
    let set = PolicySet::load(&files).map_err(PoliciesError::Problems)?;
    if set.digest() != digest {
        return Err(failed(&format!("revision {revision} is not what the ledger announced")));
    }
    Ok(InForce { set: Arc::new(set), revision })
}

/// Announces policies in the place of a revision; `None` where that is not in force any more.
async fn put_in_force(
    store: &Store,
    set: PolicySet,
    before: i64,
    clock: &dyn Clock,
) -> Result<Option<InForce>, PoliciesError> {
    let failed = |error: &dyn std::fmt::Display| PoliciesError::Ledger(error.to_string());
    let revision = before + 1;
    let (entry, change) = announcement(&set, revision).map_err(|error| failed(&error))?;
    let mut submission = Submission::of(clock.now(), vec![entry]);
    submission.changes.push(change);
    match store.commit(submission).await {
        Ok(_) => Ok(Some(InForce { set: Arc::new(set), revision })),
        Err(CommitError::Changed) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// The entry that announces a policy set, and the change that goes with it.
///
/// # Errors
/// When its files cannot be written as JSON.
pub fn announcement(set: &PolicySet, revision: i64) -> Result<(Body, Change), serde_json::Error> {
    let stamps = set.agreements().map(|agreement| AgreementStamp {
        agreement: agreement.id().to_string(),
        version: agreement.version,
        digest: set.agreement_digest(agreement.id()).to_owned(),
        status: agreement.status.get_ref().as_str().to_owned(),
        effective_us: agreement.effective_from().as_microsecond(),
        ends_us: agreement.effective_until().as_microsecond(),
    });
    let entry = Body::PolicySetActivated {
        revision: revision.unsigned_abs(),
        digest: set.digest().to_owned(),
        agreements: stamps.collect(),
    };
    let rows = set.agreements().map(|agreement| AgreementRow {
        agreement: agreement.id().clone(),
        version: agreement.version,
        digest: set.agreement_digest(agreement.id()).to_owned(),
        status: agreement.status.get_ref().as_str().to_owned(),
    });
    let digest = set.digest().to_owned();
    let files = serde_json::to_string(set.files())?;
    let agreements = rows.collect();
    Ok((entry, Change::ActivatePolicies { revision, digest, agreements, files }))
}
