//! Who said something about a person's data, how, and where that can be seen: the person, or somebody with authority to decide for
//! them.

use serde::{Deserialize, Serialize};
use sharing::subject::GivenBy;
use utoipa::ToSchema;

use super::consents::Method;
use crate::problem::Problem;

/// Who said it, how, and where the evidence is.
#[derive(Deserialize, Serialize, Clone, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// `{"who": "person"}`, or `{"who": "proxy", "authority": …, "capacity_statement": …}` with the authority
    /// `health-and-welfare-attorney`, `court-deputy` or `parental-responsibility`. A property attorney and next of kin have none.
    #[schema(value_type = Object)]
    pub(crate) by: GivenBy,
    /// How: `in-person`, `by-telephone`, `in-writing`, `online`.
    pub(crate) method: Method,
    /// Where the evidence is kept: of a proxy's authority it has to be.
    pub(crate) evidence_reference: Option<String>,
}

impl Said {
    /// The person said it themselves, on a page.
    pub(crate) fn online() -> Self {
        Self { by: GivenBy::Person, method: Method::Online, evidence_reference: None }
    }

    /// # Errors
    /// [`Problem::InvalidRequest`], which repeats no value.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let invalid = |what: &str| Err(Problem::InvalidRequest(what.to_owned()));
        let evidence = self.evidence_reference.as_deref().map(str::trim).unwrap_or_default();
        if evidence.chars().count() > 500 {
            return invalid("evidence_reference: at most 500 characters");
        }
        if let GivenBy::Proxy { capacity_statement, .. } = &self.by {
            if !(10..=2_000).contains(&capacity_statement.trim().chars().count()) {
                return invalid(
                    "capacity_statement: say in 10 to 2,000 characters why the person could not decide",
                );
            }
            if evidence.is_empty() {
                return invalid("evidence_reference: say where the proof of the authority is kept");
            }
        }
        Ok(())
    }

    /// In a sentence, to be kept as the reason of a change.
    pub(crate) fn in_words(&self) -> String {
        let who = match &self.by {
            GivenBy::Person => "the person".to_owned(),
            GivenBy::Proxy { authority, capacity_statement } => {
                format!("{} ({capacity_statement})", authority.as_str().replace('-', " "))
            }
        };
        let evidence = self.evidence_reference.as_deref().map(|at| format!("; evidence: {at}"));
        format!("by {who}, {}{}", self.method.as_str().replace('-', " "), evidence.unwrap_or_default())
    }
}
