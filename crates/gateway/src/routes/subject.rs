//! A person in a request, on the wire.

use serde::{Deserialize, Serialize};
use sharing::{SubjectIdentifier, SubjectScheme};
use utoipa::ToSchema;

use crate::problem::Problem;

/// A person, as the caller names them. It is in the body and never in a URL.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// `nhs-number`, or `local:` and the organisation that issued the reference.
    #[schema(example = "nhs-number")]
    pub scheme: String,
    /// The identifier.
    #[schema(example = "9732110317")]
    pub value: String,
}

impl Subject {
    /// Parses the identifier.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`], which never repeats the value.
    pub fn parse(&self) -> Result<SubjectIdentifier, Problem> {
        let invalid = |error: sharing::IdentifierError| Problem::InvalidRequest(format!("subject: {error}"));
        let scheme: SubjectScheme = self.scheme.parse().map_err(invalid)?;
        SubjectIdentifier::parse(scheme, &self.value).map_err(invalid)
    }
}
