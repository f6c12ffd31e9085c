//! Looks: somebody of an organisation read what is held or recorded about a person, or declared an emergency for them,
//! without a record being asked for.

use jiff::Timestamp;
use ledger::entry::{Actor, Body, Entry};
use serde::Serialize;
use sharing::{OrganisationId, PolicySet, PurposeClass, explain, visibility::Visibility};
use store::{StoreError, visibility::VisibilityRow};
use utoipa::ToSchema;

use super::{decode, words};
use crate::app::App;

/// What a look's reference begins with: it has no identifier of its own but its place in the ledger.
const PLACE: &str = "entry-";

/// A look.
#[derive(Debug, Clone)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub by: Actor,
    /// What for; entries of the ledger's first days do not say it.
    pub purpose: Option<String>,
    /// What was looked at, in words that end a sentence.
    pub what: String,
    /// Its name.
    pub reference: String,
    /// It is an answer to the person's own request, or to one in their name.
    pub own_request: bool,
    /// Whether the person is told.
    pub visibility: Visibility,
    /// What was decided about telling.
    pub decisions: Vec<VisibilityRow>,
}

/// A look as the person is told of it. It names no staff.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToldLook {
    /// When, as an RFC 3339 time.
    pub at: String,
    /// When, in words, in London.
    pub when: String,
    /// Whose staff.
    pub organisation: String,
    /// In which role.
    pub role: String,
    /// What for, in words.
    pub purpose: String,
    /// What was done, in words.
    pub what: String,
    /// The name under which to ask about it.
    pub reference: String,
    /// It was the person, signed in for themselves.
    pub own: bool,
    /// All of it in one sentence.
    pub in_words: String,
}

/// The name of the look that is the entry at a place.
pub fn look_reference(place: u64) -> String {
    format!("{PLACE}{place}")
}

/// The look that an entry is, when `viewer` answers for it. Of `decisions` those about it are taken.
pub(super) fn look(
    app: &App,
    viewer: &OrganisationId,
    entry: &Entry,
    decisions: &[VisibilityRow],
) -> Option<Look> {
    let (by, purpose, what, own_request) = match &entry.body {
        Body::SubjectRecordRead { what, purpose, by, .. } => {
            let (words, own_request) = read(what);
            (by, purpose.clone(), words, own_request)
        }
        Body::BreakGlassDeclared { purpose, reason, by, .. } => {
            let reason = reason.replace('-', " ");
            let what = format!(
                "declared an emergency ({reason}), which lets them ask for records without your consent"
            );
            (by, Some(purpose.clone()), what, false)
        }
        _ => return None,
    };
    if by.organisation != viewer.as_str() {
        return None;
    }
    let reference = look_reference(entry.seq);
    let is_of_it = |row: &&VisibilityRow| row.decision_id == reference && row.organisation == viewer.as_str();
    let decisions: Vec<_> = decisions.iter().filter(is_of_it).cloned().collect();
    let visibility = match decisions.last() {
        Some(row) if row.withholds(app.clock.now()) => Visibility::Withheld,
        Some(_) => Visibility::Visible,
        None => {
            let class = purpose.as_deref().and_then(|purpose| purpose.parse::<PurposeClass>().ok());
            class.map_or(Visibility::NeedsReview, Visibility::at_first)
        }
    };
    let at = Timestamp::from_microsecond(entry.at_us).unwrap_or_default();
    Some(Look { at, by: by.clone(), purpose, what, reference, own_request, visibility, decisions })
}

/// The look of that name as `viewer` answers for it; `None` when it does not, or there is none.
///
/// # Errors
/// [`StoreError`] when the database fails or the ledger cannot be read.
pub async fn look_of(
    app: &App,
    viewer: &OrganisationId,
    reference: &str,
) -> Result<Option<Look>, StoreError> {
    let Some(place) = reference.strip_prefix(PLACE).and_then(|place| place.parse().ok()) else {
        return Ok(None);
    };
    match app.store.leaves(place, 1).await?.first() {
        // A name that is written in another way is not a look's name.
        Some(leaf) => {
            let decisions = app.store.visibility(&[reference.to_owned()]).await?;
            let look = look(app, viewer, &decode(&leaf.bytes)?, &decisions);
            Ok(look.filter(|look| look.reference == reference))
        }
        None => Ok(None),
    }
}

/// What was read in words, and whether it was an answer to the person's own request.
fn read(what: &str) -> (String, bool) {
    if let Some(check) = what.strip_prefix("subject access, ") {
        return (format!("answered a request to see your data ({})", identity(check)), true);
    }
    let words = match what {
        "complaint or correction" => "read what you complained about or wanted corrected".to_owned(),
        "events for subject access" => "looked at who asked about you".to_owned(),
        _ if what.starts_with("trail by ") || what.starts_with("disclosed by ") => {
            "searched the audit log for you".to_owned()
        }
        _ => format!("read your {what}"),
    };
    (words, false)
}

/// How somebody was found to be who they say they are, in words.
fn identity(check: &str) -> String {
    match check {
        "sign-in" => "the sign-in service said who asked".to_owned(),
        "nhs-login-p9" => "identity checked by NHS login, level P9".to_owned(),
        "gov-uk-one-login" => "identity checked by GOV.UK One Login".to_owned(),
        "documents-seen" => "documents were seen".to_owned(),
        "authorised-representative" => "asked by somebody with the authority to".to_owned(),
        other => format!("identity: {}", other.replace('-', " ")),
    }
}

/// Whether it is the person themselves whom the console has signed in.
pub(super) fn is_own(by: &Actor) -> bool {
    by.system == "console" && by.role.as_deref() == Some(console::person::Role::Citizen.as_str())
}

/// The look in words.
pub fn told_look(set: &PolicySet, look: &Look) -> ToldLook {
    let by = &look.by;
    let organisation = by.organisation.parse().ok().and_then(|id| set.organisation(&id));
    let organisation = organisation.map_or_else(|| by.organisation.clone(), |found| found.name.clone());
    let role = words::role(by);
    let purpose = look.purpose.as_deref().map_or_else(|| "not stated".to_owned(), explain::purpose);
    let when = words::in_london(look.at);
    let own = is_own(by);
    let in_words = if own {
        let check = look.what.split_once('(').map_or("", |(_, check)| check.trim_end_matches(')'));
        format!("On {when}, you looked here yourself ({check}).")
    } else {
        format!("On {when}, somebody at {organisation} ({role}) {} for {purpose}.", look.what)
    };
    ToldLook {
        at: look.at.to_string(),
        when,
        organisation,
        role,
        purpose,
        what: look.what.clone(),
        reference: look.reference.clone(),
        own,
        in_words,
    }
}
