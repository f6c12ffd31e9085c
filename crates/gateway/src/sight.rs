//! What an organisation's privacy officers see of the ledger: what was asked of its records, and what its own people wrote.

use ledger::{
    entry::{Body, Decided, Entry},
    trail::{self, Field, Term},
};
use sharing::OrganisationId;

use crate::app::App;

/// Whether an organisation's privacy officers see an entry.
pub fn sees(app: &App, mine: &OrganisationId, entry: &Entry, first: Option<&Decided>) -> bool {
    match first.or_else(|| trail::decided(&entry.body)) {
        Some(decided) => holds(app, &decided.provider, mine),
        None => {
            trail::terms(entry, None).contains(&Term::new(Field::Organisation, mine.as_str()))
                && !names_others(entry, mine)
        }
    }
}

fn holds(app: &App, provider: &str, organisation: &OrganisationId) -> bool {
    let set = app.policies().set;
    provider
        .parse()
        .ok()
        .and_then(|id| set.provider(&id).map(|found| found.organisation() == organisation))
        .unwrap_or(false)
}

/// An entry that somebody else's hand wrote is theirs to see.
fn names_others(entry: &Entry, mine: &OrganisationId) -> bool {
    let by = match &entry.body {
        Body::ConsentRecorded { by, .. }
        | Body::ConsentWithdrawn { by, .. }
        | Body::ConsentStatusChanged { by, .. }
        | Body::ObjectionRecorded { by, .. }
        | Body::ObjectionEnded { by, .. }
        | Body::ObjectionAnswered { by, .. }
        | Body::RightsRequestMoved { by, .. }
        | Body::RelationshipRecorded { by, .. }
        | Body::RelationshipEnded { by, .. }
        | Body::BreakGlassDeclared { by, .. }
        | Body::HoldPlaced { by, .. }
        | Body::HoldLifted { by, .. }
        | Body::ErasureAsked { by, .. }
        | Body::RecordsForgotten { by: Some(by), .. }
        | Body::ExportRequested { by, .. }
        | Body::ExportMoved { by: Some(by), .. }
        | Body::VisibilityDecided { by, .. }
        | Body::DecisionRead { by, .. }
        | Body::SubjectRecordRead { by, .. } => Some(by),
        _ => None,
    };
    by.is_none_or(|by| by.organisation != mine.as_str())
}
