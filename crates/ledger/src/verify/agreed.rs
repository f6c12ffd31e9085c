//! What people said yes to, where the ledger says what they were shown: a release that rests on such a yes is under that flow, from that
//! record holder, and where the purpose asks for a yes to everything, of nothing that was not shown.
//!
//! Which items of other purposes need a yes is in the catalogue, which a ledger does not have: `concordat decision replay` decides
//! those again.

use std::collections::{BTreeMap, HashMap};

use super::order::{Broken, broken};
use crate::entry::{ConsentShown, Decided};

/// Purposes for which everything leaves with explicit consent alone.
const ALWAYS_AGREED: [&str; 3] = ["fire-return-referral", "homelessness-referral", "safe-and-well-referral"];

/// What was shown, once each, and by whose consent.
#[derive(Default)]
pub(super) struct Agreed {
    shown: Vec<ConsentShown>,
    /// As JSON: most people are shown the same.
    places: BTreeMap<String, usize>,
    consents: HashMap<String, usize>,
}

impl Agreed {
    pub(super) fn recorded(&mut self, consent: &str, shown: Option<&ConsentShown>) {
        let Some(shown) = shown else { return };
        let text = serde_json::to_string(shown).unwrap_or_default();
        let next = self.shown.len();
        let place = *self.places.entry(text).or_insert(next);
        if place == next {
            self.shown.push(shown.clone());
        }
        self.consents.insert(consent.to_owned(), place);
    }

    /// Whether a release is within what was agreed to by the consents that it rests on, as far as they say what that is.
    pub(super) fn covers(
        &self,
        decided: &Decided,
        items: &[String],
        consents: &[String],
    ) -> Result<(), Broken> {
        let shown: Vec<Option<&ConsentShown>> = consents
            .iter()
            .map(|consent| self.consents.get(consent).and_then(|place| self.shown.get(*place)))
            .collect();
        let fits = |shown: &ConsentShown| {
            let flow = decided.agreement.as_ref();
            flow.is_some_and(|flow| {
                (&flow.agreement, &flow.flow) == (&shown.agreement.agreement, &shown.agreement.flow)
            }) && shown.provider == decided.provider
        };
        if !shown.iter().flatten().all(|shown| fits(shown)) {
            return broken("release-beyond-consent", "it rests on a consent to another flow");
        }
        let known: Option<Vec<_>> = shown.into_iter().collect();
        let Some(known) = known.filter(|known| !known.is_empty()) else { return Ok(()) };
        if !ALWAYS_AGREED.contains(&decided.purpose.as_str()) {
            return Ok(());
        }
        // Its form may be a coarser one than was shown.
        let item = |text: &String| text.split(':').next().unwrap_or_default().to_owned();
        let is_shown = |released: &&String| {
            known.iter().any(|shown| shown.items.iter().any(|shown| item(shown) == item(released)))
        };
        match items.iter().find(|released| !is_shown(released)) {
            Some(beyond) => broken(
                "release-beyond-consent",
                &format!("it releases {beyond}, which the person was not shown when they agreed"),
            ),
            None => Ok(()),
        }
    }
}
