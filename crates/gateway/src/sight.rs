//! What an organisation's privacy officers see of the ledger: what was asked of its records, and what its own people wrote; and
//! that the index for searching has all of it.

use ledger::{
    entry::{Decided, Entry},
    trail::{Sight, sight},
};
use sharing::OrganisationId;

use crate::{
    app::App,
    fault::internal,
    problem::{Problem, Refusal},
};

/// Whether an organisation's privacy officers see an entry.
pub fn sees(app: &App, mine: &OrganisationId, entry: &Entry, first: Option<&Decided>) -> bool {
    match sight(entry, first) {
        Some(Sight::Holder(provider)) => {
            let held_by = |id| app.policies().set.provider(&id).map(|held| held.organisation() == mine);
            provider.parse().ok().and_then(held_by).unwrap_or(false)
        }
        Some(Sight::Writer(organisation)) => organisation == mine.as_str(),
        None => false,
    }
}

/// Everything that they see: of each of the organisation's record holders, and of its own people.
pub fn seen(app: &App, mine: &OrganisationId) -> Vec<Sight> {
    let set = app.policies().set;
    let held = set.providers().filter(|held| held.organisation() == mine);
    let held = held.map(|held| Sight::Holder(held.provider.id.get_ref().to_string()));
    held.chain([Sight::Writer(mine.to_string())]).collect()
}

/// The ledger's size, when the index for searching has all of it. Where it has far to go, whoever searches is told before anything is
/// recorded of their search.
pub async fn indexed(app: &App) -> Result<u64, Refusal> {
    let caught_up = app.trail.caught_up(&app.store).await.map_err(|error| Refusal::from(internal(&error)))?;
    caught_up.map_err(|behind| Problem::IndexBuilding(behind).into())
}
