//! Frameworks: what agreements are made under, who has joined, and what the caller's agreements lack of theirs.

use super::{
    App, Arc, IntoResponse, Json, Refusal, Request, Response, Serialize, State, ToSchema, receive,
    record_read, request_id, respond,
};
use sharing::{
    Agreement, PolicySet,
    agreement::Status,
    framework::{self, Framework},
};

/// Frameworks, and agreements that lack something of theirs.
#[derive(Serialize, ToSchema)]
pub struct FrameworksBody {
    /// Every framework that is registered.
    frameworks: Vec<FrameworkBody>,
    /// Your agreements, of files or put in force here, that lack something of their framework; for auditors and mediators, everybody's.
    /// They go on; nothing more begins under them.
    gaps: Vec<FrameworkGap>,
}

/// A framework.
#[derive(Serialize, ToSchema)]
pub struct FrameworkBody {
    /// Its name in agreements.
    id: String,
    /// Its title, by which agreements may name it too.
    title: String,
    /// `not-yet`, `in-force`, `review-overdue` or `ended`. Agreements are put in force under the second and the third.
    standing: &'static str,
    /// First day.
    effective_on: String,
    /// Day by which its members look at it again.
    review_on: String,
    /// First day on which it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_on: Option<String>,
    /// Where it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// Who has signed up to it.
    members: Vec<MemberBody>,
    /// The agreements under it that are yours to see.
    agreements: Vec<String>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub struct MemberBody {
    /// Which organisation.
    organisation: String,
    /// First day.
    joined_on: String,
    /// First day on which it is none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_on: Option<String>,
}

/// What an agreement lacks.
#[derive(Serialize, ToSchema)]
pub struct FrameworkGap {
    /// The agreement.
    agreement: String,
    /// What it names.
    framework: String,
    /// `framework-unknown`, `framework-not-in-force` or `framework-not-joined`.
    code: &'static str,
    /// What it is and what to do.
    message: String,
}

/// List the frameworks that agreements are made under, who has joined them, and which of your agreements lack something of theirs.
#[utoipa::path(get, path = "/v1/frameworks", tag = "agreements",
    responses((status = 200, description = "The frameworks", body = FrameworksBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        record_read(&app, &received, "frameworks").await?;
        let set = app.policies().set;
        let own = &received.caller.organisation;
        let is_seen = |agreement: &&Agreement| {
            let is_party = || agreement.parties.iter().any(|party| party.organisation.get_ref() == own);
            *agreement.status.get_ref() != Status::Terminated && (super::sees_all(&received) || is_party())
        };
        let agreements: Vec<_> = set.agreements().filter(is_seen).collect();
        let frameworks =
            set.frameworks().map(|framework| body(&set, framework, &agreements, app.clock.now()));
        let gaps = agreements.iter().filter_map(|agreement| gap(&set, agreement, app.clock.now()));
        Ok::<_, Refusal>(
            Json(FrameworksBody { frameworks: frameworks.collect(), gaps: gaps.collect() }).into_response(),
        )
    })
    .await
}

fn body(
    set: &PolicySet,
    framework: &Framework,
    agreements: &[&Agreement],
    at: jiff::Timestamp,
) -> FrameworkBody {
    let is_under =
        |agreement: &&&Agreement| set.framework_of(agreement).is_some_and(|of| of.id() == framework.id());
    FrameworkBody {
        id: framework.id().to_string(),
        title: framework.title.clone(),
        standing: framework.standing(at).as_str(),
        effective_on: framework.effective_on.to_string(),
        review_on: framework.review_on.to_string(),
        ends_on: framework.ends_on.map(|ends_on| ends_on.to_string()),
        link: framework.link.clone(),
        members: framework
            .members
            .iter()
            .map(|member| MemberBody {
                organisation: member.organisation.get_ref().to_string(),
                joined_on: member.joined_on.to_string(),
                left_on: member.left_on.map(|left_on| left_on.to_string()),
            })
            .collect(),
        agreements: agreements.iter().filter(is_under).map(|agreement| agreement.id().to_string()).collect(),
    }
}

fn gap(set: &PolicySet, agreement: &Agreement, at: jiff::Timestamp) -> Option<FrameworkGap> {
    let parties = agreement.parties.iter().map(|party| party.organisation.get_ref());
    let gap = framework::gap(set, agreement, parties, at)?;
    Some(FrameworkGap {
        agreement: agreement.id().to_string(),
        framework: agreement.framework.clone(),
        code: gap.as_str(),
        message: gap.to_string(),
    })
}
