//! What raises an alert with an organisation's privacy officers: rules as data, read strictly, and the watch that
//! holds the ledger's entries against them.
//!
//! `policies/alerts/*.toml` hold the rules, with their thresholds, who is told, and who is exempt. A rule looks at
//! one thing ([`Watches`]): some are raised in a request's own transaction, some compare the person with what an
//! organisation registered, and some are counted after the commit by [`Watch`]. Nothing here knows an identifier.
//!
//! Source: docs/alerts.md; GP Connect, information governance alerts to the user's own organisation.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::policy::{PolicyFile, PolicyProblem};

mod read;
mod rule;
mod scenario;
mod watch;
mod window;

pub use rule::{Exemption, Hours, Kind, Rule, Severity, Tell, Watches};
pub use scenario::run as run_scenarios;
pub use watch::{Answer, Candidate, Event, Human, Question, Quiet, Watch, What, saw};

/// The rules in force. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRules {
    rules: Arc<[Rule]>,
}

impl Default for AlertRules {
    /// What is alerted whatever the policies say.
    fn default() -> Self {
        let mut rules = Kind::ALWAYS.map(rule::always);
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        Self { rules: rules.into() }
    }
}

impl AlertRules {
    /// Reads `alerts/*.toml` out of a set of policy files. What is always alerted and no file mentions is so with
    /// its usual deadline.
    ///
    /// # Errors
    /// Every [`PolicyProblem`] found, in order of file.
    pub fn load(files: &[PolicyFile]) -> Result<Self, Vec<PolicyProblem>> {
        let mut rules = read::read(files)?;
        for kind in Kind::ALWAYS {
            if !rules.iter().any(|rule| rule.watches.kind() == kind) {
                rules.push(rule::always(kind));
            }
        }
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Self { rules: rules.into() })
    }

    /// Every rule, switched on or not, in order of name.
    pub fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The one rule of a kind that looks at one occurrence, if it is switched on. Of kinds that count there can be
    /// several: this is none of them.
    pub fn of(&self, kind: Kind) -> Option<&Rule> {
        self.all().find(|rule| rule.watches.kind() == kind && rule.enabled)
    }

    /// The rule of this name.
    pub fn named(&self, id: &str) -> Option<&Rule> {
        self.all().find(|rule| rule.id == id)
    }

    /// How far back a count can reach.
    pub fn longest_window(&self) -> SignedDuration {
        let windows = self.all().filter_map(|rule| rule.watches.within());
        windows.max().unwrap_or(SignedDuration::ZERO)
    }

    /// By when an alert of this kind that is raised now has to be reviewed.
    pub fn review_due(&self, kind: Kind, at: Timestamp) -> Timestamp {
        let always = rule::always(kind);
        let rule = self.all().find(|rule| rule.watches.kind() == kind).unwrap_or(&always);
        rule.review_due(at)
    }
}

#[cfg(test)]
mod tests;
