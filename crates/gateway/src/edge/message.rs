//! Messages of connectors of the dataspace: a certificate and an access token, and no signed context, since none of them asks about
//! anybody.

use std::{sync::Mutex, time::Duration};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderMap, header},
};
use sharing::OrganisationId;

use super::{parse_body, read_body, record_refusal, request_id};
use crate::{
    app::App,
    caller::{Caller, Capability},
    listener::PeerCertificate,
    problem::{Problem, Refusal},
};

/// A message of a connector's, authenticated, its body not read yet.
pub struct ReceivedMessage {
    /// Who.
    pub caller: Caller,
    request_id: Option<String>,
    body_read_timeout: Duration,
    headers: HeaderMap,
    body: Mutex<Option<Body>>,
}

/// Authenticates a connector's message: certificate and token, without a signed context. It has to be registered to negotiate,
/// and its token to grant that for some purpose; `owner_of` names who stands for an organisation's connector.
///
/// # Errors
/// The [`Refusal`] to answer with; it has been recorded.
pub async fn receive_message(
    app: &App,
    request: Request,
    owner_of: impl Fn(&OrganisationId) -> Option<String>,
) -> Result<ReceivedMessage, Refusal> {
    let (parts, body) = request.into_parts();
    let request_id = request_id(&parts.headers);
    let route = parts.extensions.get::<MatchedPath>().map_or("", |path| path.as_str()).to_owned();
    let Some(peer) = parts.extensions.get::<PeerCertificate>().copied() else {
        return Err(Problem::Internal.into());
    };
    // A header that is there twice is no header.
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let authorization =
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    let owner = |of: &OrganisationId| owner_of(of).unwrap_or_default();
    let caller = app.authenticator.authenticate_connector(peer, authorization, owner, app.clock.wall()).await;
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => {
            let (system, organisation) = error
                .system
                .as_ref()
                .map(|(system, organisation)| (system.to_string(), organisation.to_string()))
                .unzip();
            let who = (Some(error.certificate.clone()), system, organisation);
            return Err(record_refusal(app, Problem::Caller(error), &route, who, request_id).await);
        }
    };
    let message = ReceivedMessage {
        request_id,
        body_read_timeout: app.limits.body_read_timeout,
        headers: parts.headers,
        body: Mutex::new(Some(body)),
        caller,
    };
    if !message.caller.may(Capability::Negotiate) || owner_of(&message.caller.organisation).is_none() {
        return Err(message.refuse(app, Problem::CapabilityMissing, &route).await);
    }
    Ok(message)
}

impl ReceivedMessage {
    /// Reads the message strictly: no duplicate keys, bounded. Members that are not known are left alone, as JSON-LD has it.
    ///
    /// # Errors
    /// The [`Problem`], whose words never repeat values.
    pub async fn json(&mut self, body_bytes_max: usize) -> Result<serde_json::Value, Problem> {
        let body = self.body.get_mut().ok().and_then(Option::take).unwrap_or_default();
        let kinds = ["application/json", "application/ld+json"];
        let bytes = read_body((&self.headers, body), &kinds, body_bytes_max, self.body_read_timeout).await?;
        parse_body(&bytes, body_bytes_max)
    }

    /// Records a refusal of this message.
    pub async fn refuse(&self, app: &App, problem: Problem, route: &str) -> Refusal {
        let who = (
            Some(self.caller.certificate.clone()),
            Some(self.caller.system.to_string()),
            Some(self.caller.organisation.to_string()),
        );
        record_refusal(app, problem, route, who, self.request_id.clone()).await
    }
}
