//! Who said something about a person's data, how, and where that can be seen: the person, or somebody with authority to decide for
//! them.

use serde::{Deserialize, Serialize};
use sharing::subject::GivenBy;
use utoipa::ToSchema;

use crate::{app::App, edge::Received, problem::Problem};

/// How something was said.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Face to face.
    InPerson,
    /// By telephone.
    ByTelephone,
    /// On paper.
    InWriting,
    /// On a web page or in an app.
    Online,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::InPerson => "in-person",
            Self::ByTelephone => "by-telephone",
            Self::InWriting => "in-writing",
            Self::Online => "online",
        }
    }
}

/// Who withdraws.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalRequest {
    /// Who says so, how, and where the evidence is; leave it out where the person did on a page of yours.
    said: Option<Said>,
}

/// Who takes something back, where it is said.
pub(super) async fn withdrawal(app: &App, received: &mut Received) -> Result<Option<Said>, Problem> {
    let asked = received.json_if_any::<WithdrawalRequest>(app.limits.body_bytes_max).await?;
    let said = asked.and_then(|asked| asked.said);
    said.iter().try_for_each(Said::check)?;
    Ok(said)
}

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
