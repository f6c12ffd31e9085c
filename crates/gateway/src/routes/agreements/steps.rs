//! The steps that an agreement has taken, a page at a time.

use super::{
    App, Arc, IntoResponse, Json, Path, Problem, Refusal, Request, Response, Serialize, State, StepRow,
    ToSchema, Value, agreements, found, internal, kept, named, receive, record_read, request_id, respond,
    time,
};

/// Most steps in an answer.
const STEPS_MAX: i64 = 500;

/// Steps.
#[derive(Serialize, ToSchema)]
pub struct StepsBody {
    /// In the order that was asked for.
    steps: Vec<StepBody>,
    /// There are more: send it as `cursor`, with the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A step that was taken.
#[derive(Serialize, ToSchema)]
pub struct StepBody {
    /// Which, from 1.
    revision: i64,
    /// The version that it was about.
    version: i64,
    /// What was done.
    action: String,
    /// The state it led to.
    state: String,
    /// The organisation of whoever did it; none where time did.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// How much of the agreement it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The interest behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    interest: Option<String>,
    /// The use that a review was held over: each flow's counts, as `/usage` had them then, and the records by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    looked_at: Option<Value>,
    /// When.
    at: String,
}

impl StepBody {
    fn of(row: &StepRow) -> Self {
        let written = row.written.as_deref().map(kept::members).unwrap_or_default();
        let words = |name: &str| written.get(name)?.as_str().map(str::to_owned);
        Self {
            revision: row.revision,
            version: row.version,
            action: row.action.clone(),
            state: row.state.clone(),
            organisation: row.organisation.clone(),
            person: row.person.clone(),
            scope: row.scope.clone(),
            reason: row.reason.clone(),
            text: words("text"),
            interest: words("interest"),
            looked_at: written.get("looked_at").cloned(),
            at: time(row.at_us),
        }
    }
}

/// A page that is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    newest_first: bool,
    cursor: Option<i64>,
    limit: i64,
}

impl Page {
    fn of(query: &str) -> Result<Self, Problem> {
        let mut page = Self { newest_first: false, cursor: None, limit: STEPS_MAX };
        let invalid = |said: &str| Problem::InvalidRequest(said.to_owned());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (name.as_ref(), value.as_ref()) {
                ("order", "oldest") => page.newest_first = false,
                ("order", "newest") => page.newest_first = true,
                ("order", _) => return Err(invalid("order: `oldest` or `newest` first")),
                ("limit", value) => {
                    let limit = value.parse().ok().filter(|limit| (1..=STEPS_MAX).contains(limit));
                    page.limit = limit.ok_or_else(|| invalid("limit: 1 to 500"))?;
                }
                ("cursor", value) => {
                    let cursor = value.parse().ok().filter(|cursor| *cursor >= 0);
                    page.cursor = Some(cursor.ok_or_else(|| invalid("cursor: the `next` of an answer"))?);
                }
                _ => return Err(invalid("query: `limit`, `order` and `cursor`, and nothing else")),
            }
        }
        Ok(page)
    }
}

/// See every step that an agreement has taken, and what was written about it. What others draft and have not offered is left out.
#[utoipa::path(get, path = "/v1/agreements/{id}/steps", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"),
        ("limit" = Option<i64>, Query, description = "At most so many, up to 500, which is what it is without"),
        ("order" = Option<String>, Query, description = "`oldest` first, as without it, or `newest`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the answer before, in the same order")),
    responses((status = 200, description = "The steps", body = StepsBody), (status = 400, description = "The page cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted"),
        (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn steps(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/steps";
        let page = Page::of(request.uri().query().unwrap_or_default());
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let page = match page {
            Ok(page) => page,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        record_read(&app, &received, &row.id).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| Refusal::from(internal(error));
        let id = named(&row)?;
        let rows = if page.newest_first {
            app.store.steps_before(&id, page.cursor.unwrap_or(i64::MAX), page.limit).await
        } else {
            app.store.steps(&id, page.cursor.unwrap_or_default(), page.limit).await
        };
        let mut rows = rows.map_err(|error| failed(&error))?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == page.limit);
        let next = rows.last().filter(|_| is_full).map(|row| row.revision.to_string());
        let managed = agreements::read(&row).map_err(|error| failed(&error))?;
        let own = &received.caller.organisation;
        rows.retain(|row| managed.shows(u32::try_from(row.version).unwrap_or_default(), own));
        Ok(Json(StepsBody { steps: rows.iter().map(StepBody::of).collect(), next }).into_response())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_with_what_is_documented() {
        let page = |newest_first, cursor, limit| Page { newest_first, cursor, limit };
        assert_eq!(Page::of("").unwrap(), page(false, None, 500));
        assert_eq!(Page::of("limit=2&order=newest&cursor=7").unwrap(), page(true, Some(7), 2));
        for query in ["limit=0", "limit=501", "limit=x", "order=up", "cursor=-1", "cursor=a", "page=2"] {
            assert!(matches!(Page::of(query), Err(Problem::InvalidRequest(_))), "{query}");
        }
    }
}
