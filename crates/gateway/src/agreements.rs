//! Agreements that are managed over the API: a step is decided by `sharing::agreement::lifecycle`, and committed with its
//! entry and, where it changes what is in force, with the policies that follow from it, in one transaction.
//!
//! An agreement has one source: a file in `policies/agreements`, or this. Both end in the same policy set.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::{
    canonical::to_canonical_json,
    entry::{Actor, Body},
    tree::hexadecimal,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sharing::{
    AgreementId, PolicySet,
    agreement::{
        lifecycle::{Command, Hand, InForce, Known, Managed, Outline, Pending, Refusal, Scope},
        london_day,
        terms::{Standing, Terms},
    },
    framework::{self, Gap},
    policy::{PolicyFile, managed_path},
};
use store::{
    AgreementMove, Change, CommitError, Committed, ManagedRow, ReplayGuard, RequestRow, SignatureRow,
    StepRow, StoreError, Submission, TermsRow,
};

use crate::{
    app::{App, InForce as Policies},
    kept, policies,
};

pub mod bundle;
pub mod document;
pub mod matters;
pub mod register;
pub mod signature;
pub mod templates;
pub mod usage;
pub mod watch;

/// How often a step is tried again that other changes got in the way of.
const TRIES: u32 = 16;

/// How long a step waits at most before it is tried again, in milliseconds: longer each time, and not as long as the others beside it.
const PAUSE_MS_MAX: u128 = 400;

/// A step that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It is not possible, or not for this person.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The agreement has taken another step since the caller read it.
    #[error("it has changed since it was read")]
    Changed,
    /// The terms do not fit. The sentences say what to do.
    #[error("{0}")]
    Terms(String),
    /// The signed context was used before.
    #[error("the signed context was used before")]
    Replayed,
    /// Nothing can be read or recorded now.
    #[error("the database cannot be reached")]
    Unavailable,
    /// What is kept cannot be read.
    #[error("{0}")]
    Kept(String),
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        if error.is_outage() { Self::Unavailable } else { Self::Kept(error.to_string()) }
    }
}

/// A step that is to be taken. What time does has no command of anybody's.
pub struct Wanted<'a> {
    /// What to do.
    pub command: Option<Command>,
    /// Whose hand it is.
    pub hand: Option<&'a Hand>,
    /// The hand as the ledger names it.
    pub by: Option<Actor>,
    /// The revision that the caller read; none when it does not matter.
    pub read_at: Option<i64>,
    /// The reason, as a code.
    pub reason: Option<String>,
    /// What was written about it.
    pub written: Option<String>,
    /// The interest behind it.
    pub interest: Option<String>,
    /// The use that a review was held over.
    pub looked_at: Option<Value>,
    /// New terms.
    pub terms: Option<Terms>,
    /// The detached JWS, and the office in which it was made.
    pub signature: Option<(String, String)>,
    /// The request's key, and the digest of what it asks for: system, key, digest.
    pub request: Option<(String, String, String)>,
    /// The signed context, which is good once.
    pub replay: Option<ReplayGuard>,
}

impl Wanted<'_> {
    /// Nobody's.
    fn by_time() -> Self {
        Self {
            command: None,
            hand: None,
            by: None,
            read_at: None,
            reason: None,
            written: None,
            interest: None,
            looked_at: None,
            terms: None,
            signature: None,
            request: None,
            replay: None,
        }
    }
}

/// A step that was taken.
pub struct Taken {
    /// The agreement after it.
    pub row: ManagedRow,
    /// The same, read.
    pub managed: Managed,
    /// Where it is recorded.
    pub committed: Committed,
}

/// The course of an agreement as it is kept.
///
/// # Errors
/// [`StepError::Kept`] when this version cannot read it.
pub fn read(row: &ManagedRow) -> Result<Managed, StepError> {
    serde_json::from_str(&row.course)
        .map_err(|_| StepError::Kept(format!("the course of `{}` cannot be read by this version", row.id)))
}

/// The canonical bytes of terms, which are what is signed, and their digest.
///
/// # Errors
/// [`StepError::Terms`] when a number in them is no integer.
pub fn canonical(terms: &Terms) -> Result<(String, String), StepError> {
    let bytes = to_canonical_json(&terms.value())
        .map_err(|_| StepError::Terms("terms: numbers are whole numbers".to_owned()))?;
    let digest = hexadecimal(&Sha256::digest(&bytes));
    let text = String::from_utf8(bytes).map_err(|error| StepError::Kept(error.to_string()))?;
    Ok((text, digest))
}

/// What the course of an agreement has to know of terms, once they fit the policies in force.
///
/// # Errors
/// [`StepError::Terms`] with everything that does not fit.
pub fn outline(set: &PolicySet, terms: &Terms) -> Result<Outline, StepError> {
    let agreement = terms.agreement().map_err(|error| StepError::Terms(error.to_string()))?;
    let (_, digest) = canonical(terms)?;
    let file = terms.file(&Standing::none()).map_err(|error| StepError::Terms(error.to_string()))?;
    if set.agreements().any(|known| known.id() == agreement.id()) && !is_managed(set, agreement.id()) {
        return Err(StepError::Terms(format!(
            "id: `{}` is an agreement of the operator's files; choose another name, or have its file removed first",
            agreement.id()
        )));
    }
    with_file(set, file)?;
    let outline = Outline::of(&agreement, set, &digest);
    if let Some(flow) = outline.flows.iter().find(|flow| flow.provider == flow.recipient) {
        return Err(StepError::Terms(format!(
            "terms.flows: `{}` has one organisation at both ends, which shares nothing; name whose records they are, and who asks",
            flow.id
        )));
    }
    Ok(outline)
}

/// The policies in force with these terms beside or in place of what they have of the agreement, signed by nobody.
///
/// # Errors
/// [`StepError::Terms`] with everything that does not fit.
pub fn with_terms(set: &PolicySet, terms: &Terms) -> Result<PolicySet, StepError> {
    with_file(set, terms.file(&Standing::none()).map_err(|error| StepError::Terms(error.to_string()))?)
}

fn is_managed(set: &PolicySet, id: &AgreementId) -> bool {
    let path = managed_path(id.as_str());
    set.files().iter().any(|file| file.path == path)
}

/// The policies with this file in place of the one of its path.
fn with_file(set: &PolicySet, file: PolicyFile) -> Result<PolicySet, StepError> {
    let mut files: Vec<_> = set.files().iter().filter(|other| other.path != file.path).cloned().collect();
    files.push(file);
    PolicySet::load(&files).map_err(|problems| {
        let said: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
        StepError::Terms(format!("terms: {}", said.join("; ")))
    })
}

/// Whether an agreement can be begun under this name.
///
/// # Errors
/// [`StepError::Terms`] when it is taken.
pub async fn is_free(app: &App, id: &AgreementId) -> Result<(), StepError> {
    if ["precedents", "check", "deliveries"].contains(&id.as_str()) {
        return Err(StepError::Terms(format!("id: `{id}` is an address of its own; choose another")));
    }
    match app.store.managed(id).await? {
        None => Ok(()),
        Some(_) => Err(StepError::Terms("id: there is an agreement of this name; choose another".to_owned())),
    }
}

/// Begins an agreement.
///
/// # Errors
/// [`StepError`] saying what to do.
pub async fn begin(
    app: &App,
    id: &AgreementId,
    terms: Terms,
    wanted: Wanted<'_>,
) -> Result<Taken, StepError> {
    let hand = wanted.hand.ok_or_else(|| StepError::Kept("nobody begins it".to_owned()))?;
    let outline = outline(&app.policies().set, &terms)?;
    is_free(app, id).await?;
    let managed = Managed::begin(id.clone(), outline, hand)?;
    let wanted = Wanted { terms: Some(terms), ..wanted };
    let prepared = Prepared::of(app, (0, managed), &wanted, "drafted").await?;
    let committed = prepared.commit(app, &wanted).await.map_err(|error| match error {
        CommitError::Changed => {
            StepError::Terms("id: there is an agreement of this name; choose another".to_owned())
        }
        other => refused(other),
    })?;
    Ok(prepared.taken(committed))
}

/// Takes a step. Where it was not said at which revision it was decided, what got in the way is read and it is tried again.
///
/// # Errors
/// [`StepError`] saying what to do.
pub async fn take(app: &App, id: &AgreementId, wanted: &Wanted<'_>) -> Result<Taken, StepError> {
    for tried in 0..TRIES {
        if tried > 0 {
            pause(app, tried).await;
        }
        let row = app.store.managed(id).await?.ok_or(StepError::Changed)?;
        if wanted.read_at.is_some_and(|read_at| read_at != row.revision) {
            return Err(StepError::Changed);
        }
        let at = app.clock.now();
        let before = read(&row)?;
        let hand = wanted.hand.ok_or_else(|| StepError::Kept("time takes its own steps".to_owned()))?;
        let mut command =
            wanted.command.clone().ok_or_else(|| StepError::Kept("no step is wanted".to_owned()))?;
        if let Command::OpenSigning { blocked, evaluated } = &mut command {
            Known { blocked: *blocked, evaluated: *evaluated } = known(app, id, &before).await?;
        }
        if let Command::Ask(Pending::Succession { of, of_in_office, .. }) = &mut command {
            *of_in_office = !app.store.offices_of(of).await?.is_empty();
        }
        // What somebody has to answer before it is signed, they have to answer before it begins.
        let begins = match &command {
            Command::Ask(pending) => *pending == Pending::Activation,
            Command::Confirm => before.waits_for_activation(),
            _ => false,
        };
        if begins && app.store.is_blocked(id).await? {
            return Err(Refusal::CommentsOpen.into());
        }
        let action = command.as_str();
        let confirms = command == Command::Confirm;
        let after = before.clone().apply(command, hand, at)?;
        // One of several has agreed.
        let action = if confirms && after.waits_for_a_successor() { "succession-agreed" } else { action };
        is_carried(app, (&before, &after), at).await?;
        let prepared = Prepared::of(app, (row.revision, after), wanted, action).await?;
        match prepared.commit(app, wanted).await {
            Ok(committed) => return Ok(prepared.taken(committed)),
            // Another step of this agreement, or of the policies: what it is decided on is read again.
            Err(CommitError::Changed) => {
                policies::follow(app).await.map_err(|error| StepError::Kept(error.to_string()))?;
            }
            Err(other) => return Err(refused(other)),
        }
    }
    Err(StepError::Unavailable)
}

/// What a step depends on that is kept beside the course.
///
/// # Errors
/// [`StepError`] when a database fails.
pub async fn known(app: &App, id: &AgreementId, managed: &Managed) -> Result<Known, StepError> {
    Ok(Known { blocked: app.store.is_blocked(id).await?, evaluated: is_evaluated(app, managed).await? })
}

/// Gives way to the others who were first.
async fn pause(app: &App, tried: u32) {
    let longest = (10_u128 << tried.min(16)).min(PAUSE_MS_MAX);
    let pause = app.entropy.bits() % longest;
    tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(pause).unwrap_or_default())).await;
}

fn refused(error: CommitError) -> StepError {
    match error {
        CommitError::Changed => StepError::Changed,
        CommitError::Replayed => StepError::Replayed,
        _ => StepError::Unavailable,
    }
}

/// A step that is decided and not committed yet.
struct Prepared {
    row: ManagedRow,
    managed: Managed,
    step: StepRow,
    entry: Body,
    terms: Option<TermsRow>,
    signature: Option<SignatureRow>,
    /// The policies that follow from it, with their revision, where it changes what is in force.
    policies: Option<Policies>,
}

impl Prepared {
    async fn of(
        app: &App,
        (revision, managed): (i64, Managed),
        wanted: &Wanted<'_>,
        action: &str,
    ) -> Result<Self, StepError> {
        let at = app.clock.now();
        let revision = revision + 1;
        let terms = wanted.terms.as_ref().map(|terms| terms_row(terms, wanted, at)).transpose()?;
        let policy_file = in_force_file(app, &managed).await?;
        let outline = about(&managed, wanted)
            .ok_or_else(|| StepError::Kept("an agreement without terms".to_owned()))?;
        let written = written(app, wanted);
        let state = managed.state().to_owned();
        let id = managed.id.to_string();
        let scope = wanted.command.as_ref().and_then(|command| scope(command, &managed));
        let entry = match (&wanted.signature, &wanted.by, &wanted.command) {
            (Some((signature, officer_id)), Some(by), Some(Command::Sign(signing))) => {
                Body::AgreementSigned {
                    agreement: id.clone(),
                    revision: revision.unsigned_abs(),
                    version: signing.version,
                    terms_sha256: signing.terms_sha256.clone(),
                    state: state.clone(),
                    role: signing.role.as_str().to_owned(),
                    officer_id: officer_id.clone(),
                    signature: signature.clone(),
                    by: by.clone(),
                }
            }
            _ => Body::AgreementMoved {
                agreement: id.clone(),
                revision: revision.unsigned_abs(),
                version: outline.0,
                terms_sha256: outline.1.clone(),
                action: action.to_owned(),
                state: state.clone(),
                scope: scope.clone(),
                reason: wanted.reason.clone(),
                text_sha256: written.as_ref().map(|written| kept::digest(&id, written)),
                by: wanted.by.clone(),
            },
        };
        let (organisation, person) =
            wanted.hand.map(|hand| (hand.person.organisation.to_string(), hand.person.id.clone())).unzip();
        let step = StepRow {
            agreement: id.clone(),
            revision,
            version: i64::from(outline.0),
            action: action.to_owned(),
            state: state.clone(),
            organisation,
            person,
            scope,
            reason: wanted.reason.clone(),
            written,
            at_us: at.as_microsecond(),
        };
        let policies = changed_policies(app, &managed.id, policy_file.as_deref())?;
        let next = managed.in_force.as_ref().and_then(InForce::next_change);
        let course = serde_json::to_string(&managed).map_err(|error| StepError::Kept(error.to_string()))?;
        let row = ManagedRow {
            id,
            revision,
            state,
            course,
            policy_file,
            next_us: next.map(Timestamp::as_microsecond),
            moved_us: at.as_microsecond(),
        };
        let signature = signature_row(wanted, &row);
        Ok(Self { row, managed, step, entry, terms, signature, policies })
    }

    async fn commit(&self, app: &App, wanted: &Wanted<'_>) -> Result<Committed, CommitError> {
        self.commit_with(app, wanted, Vec::new()).await
    }

    /// The step, and what else is to be there if it is.
    async fn commit_with(
        &self,
        app: &App,
        wanted: &Wanted<'_>,
        changes: Vec<Change>,
    ) -> Result<Committed, CommitError> {
        let request = wanted.request.as_ref().map(|(system, request_key, body_sha256)| RequestRow {
            system: system.clone(),
            request_key: request_key.clone(),
            body_sha256: body_sha256.clone(),
            agreement: self.row.id.clone(),
            revision: self.row.revision,
            at_us: self.row.moved_us,
        });
        let members: Vec<_> = self.managed.members().into_iter().collect();
        let version = u32::try_from(self.step.version).unwrap_or_default();
        let step = AgreementMove {
            row: self.row.clone(),
            told: members.iter().filter(|member| self.managed.shows(version, member)).cloned().collect(),
            members,
            step: self.step.clone(),
            terms: self.terms.clone(),
            signature: self.signature.clone(),
            request,
        };
        let mut submission = Submission::of(app.clock.now(), vec![self.entry.clone()]);
        submission.replay.clone_from(&wanted.replay);
        submission.changes.push(Change::MoveAgreement(Box::new(step)));
        submission.changes.extend(changes);
        if let Some(policies) = &self.policies {
            let announced = policies::announcement(&policies.set, policies.revision);
            let (entry, change) = announced.map_err(|_| CommitError::Unavailable)?;
            // In front, so that the last entry of the commit, which the receipt is for, is the step.
            submission.entries.insert(0, entry);
            submission.changes.push(change);
        }
        let committed = app.store.commit(submission).await?;
        if let Some(policies) = &self.policies {
            app.set_policies(policies.clone());
        }
        Ok(committed)
    }

    fn taken(self, committed: Committed) -> Taken {
        Taken { row: self.row, managed: self.managed, committed }
    }
}

/// Whether the evaluation of the version in force is on record.
async fn is_evaluated(app: &App, managed: &Managed) -> Result<bool, StepError> {
    let Some(in_force) = &managed.in_force else { return Ok(false) };
    let version = i64::from(in_force.live().deal.outline.version);
    let records = app.store.matters(&managed.id, "evaluation").await?;
    Ok(records.iter().any(|record| record.version == version))
}

/// Whether the framework of what a step begins is in force, and joined by those whose flows begin. What runs already goes on.
async fn is_carried(
    app: &App,
    (before, after): (&Managed, &Managed),
    at: Timestamp,
) -> Result<(), StepError> {
    let Some((version, parties)) = after.begun_by(before) else { return Ok(()) };
    let row = app.store.terms(&after.id, version).await?;
    let row = row.ok_or_else(|| StepError::Kept("the terms that begin are not kept".to_owned()))?;
    let agreement = Terms::kept(&row.terms).and_then(|terms| terms.agreement());
    let agreement = agreement.map_err(|error| StepError::Kept(error.to_string()))?;
    // A variation whose first day is still to come would end what runs, and begin nothing.
    let runs =
        before.in_force.as_ref().filter(|one| one.is_running()).map(|one| one.live().deal.outline.version);
    if runs.is_some_and(|runs| runs != version) && agreement.effective_on.day() > london_day(at) {
        return Err(Refusal::BeginsLater.into());
    }
    match framework::gap(&app.policies().set, &agreement, &parties, at) {
        None => Ok(()),
        Some(Gap::Unknown) => Err(Refusal::FrameworkUnknown.into()),
        Some(Gap::NotInForce(_)) => Err(Refusal::FrameworkNotInForce.into()),
        Some(Gap::NotJoined(_)) => Err(Refusal::FrameworkNotJoined.into()),
    }
}

/// What was written about a step, as it is kept.
fn written(app: &App, wanted: &Wanted<'_>) -> Option<String> {
    let both = [("text", &wanted.written), ("interest", &wanted.interest)];
    let said = both.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into())));
    let mut said: serde_json::Map<_, _> = said.collect();
    said.extend(wanted.looked_at.clone().map(|looked_at| ("looked_at".to_owned(), looked_at)));
    (!said.is_empty()).then(|| kept::salted_members(app.entropy.as_ref(), said))
}

/// The version and terms that a step is about.
fn about(managed: &Managed, wanted: &Wanted<'_>) -> Option<(u32, String)> {
    let running = managed.in_force.as_ref().map(|in_force| &in_force.live().deal.outline);
    let negotiated = managed.outline();
    let last = || managed.past.last().map(|past| (past.version, past.terms_sha256.clone()));
    let of = |outline: Option<&Outline>| {
        outline.map(|outline| (outline.version, outline.terms_sha256.clone())).or_else(last)
    };
    match &wanted.command {
        Some(Command::Sign(signing)) => Some((signing.version, signing.terms_sha256.clone())),
        Some(Command::Withdraw) => last(),
        None
        | Some(
            Command::Suspend { .. }
            | Command::Resume(_)
            | Command::Exit
            | Command::Reviewed { .. }
            | Command::Confirm
            | Command::Ask(Pending::Termination { .. } | Pending::Succession { .. }),
        ) => of(running.or(negotiated)),
        Some(_) => of(negotiated.or(running)),
    }
}

/// How much of the agreement a step is about, as the ledger writes it.
fn scope(command: &Command, managed: &Managed) -> Option<String> {
    if let Command::Ask(Pending::Succession { of, by, .. }) = command {
        return Some(format!("succession:{of}:{by}"));
    }
    let (Command::Suspend { scope, .. } | Command::Resume(scope)) = command else { return None };
    let scope = scope.clone();
    Some(match managed.in_force.as_ref().map_or(scope.clone(), |in_force| in_force.live().in_terms(scope)) {
        Scope::Agreement => "agreement".to_owned(),
        Scope::Party(organisation) => format!("party:{organisation}"),
        Scope::Flow(flow) => format!("flow:{flow}"),
    })
}

fn terms_row(terms: &Terms, wanted: &Wanted<'_>, at: Timestamp) -> Result<TermsRow, StepError> {
    let (text, digest) = canonical(terms)?;
    let person = wanted.hand.map(|hand| &hand.person);
    let version = terms.value().get("version").and_then(Value::as_i64).unwrap_or_default();
    Ok(TermsRow {
        version,
        terms: text,
        terms_sha256: digest,
        organisation: person.map(|person| person.organisation.to_string()).unwrap_or_default(),
        author: person.map(|person| person.id.clone()).unwrap_or_default(),
        written_us: at.as_microsecond(),
    })
}

fn signature_row(wanted: &Wanted<'_>, row: &ManagedRow) -> Option<SignatureRow> {
    let (signature, officer_id) = wanted.signature.clone()?;
    let Some(Command::Sign(signing)) = &wanted.command else { return None };
    Some(SignatureRow {
        agreement: row.id.clone(),
        version: i64::from(signing.version),
        officer_id,
        organisation: signing.person.organisation.to_string(),
        person: signing.person.id.clone(),
        role: signing.role.as_str().to_owned(),
        revision: row.revision,
        signature,
        signed_us: signing.at.as_microsecond(),
    })
}

/// The text that the policies in force have to have of an agreement.
async fn in_force_file(app: &App, managed: &Managed) -> Result<Option<String>, StepError> {
    let Some(in_force) = &managed.in_force else { return Ok(None) };
    let version = in_force.live().deal.outline.version;
    let row = app.store.terms(&managed.id, version).await?;
    let row = row.ok_or_else(|| StepError::Kept("the terms in force are not kept".to_owned()))?;
    let kept = |error: sharing::agreement::terms::TermsError| StepError::Kept(error.to_string());
    let terms = Terms::kept(&row.terms).map_err(kept)?;
    Ok(Some(terms.file(&in_force.standing()).map_err(kept)?.text))
}

/// The policies with an agreement as it is now, where they differ from those in force.
fn changed_policies(app: &App, id: &AgreementId, text: Option<&str>) -> Result<Option<Policies>, StepError> {
    let Some(text) = text else { return Ok(None) };
    let Policies { set, revision } = app.policies();
    let path = managed_path(id.as_str());
    if set.files().iter().any(|file| file.path == path && file.text == text) {
        return Ok(None);
    }
    let set = with_file(&set, PolicyFile { path, text: text.to_owned() })?;
    Ok(Some(Policies { set: Arc::new(set), revision: revision + 1 }))
}
