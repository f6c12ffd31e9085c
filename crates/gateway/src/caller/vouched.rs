//! People whom the console has signed in. Their rights become capabilities here; there is none to ask for a record.

use std::sync::Arc;

use console::person::{Right, Vouched};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use sharing::policy::hexadecimal;

use super::{
    Action, Caller, Capability, Context, Grant, Named, registry::CONSOLE, sharing_context::LIFETIME_MAX_S,
};

fn capability(right: Right) -> (Capability, Action) {
    match right {
        Right::Review => (Capability::Review, Action::Review),
        Right::Record => (Capability::Record, Action::Record),
        Right::Audit => (Capability::Audit, Action::Audit),
        Right::SubjectAccess => (Capability::SubjectAccess, Action::SubjectAccess),
        Right::Draft => (Capability::Draft, Action::Agree),
        Right::Approve => (Capability::Approve, Action::Agree),
        Right::Mediate => (Capability::Mediate, Action::Agree),
        Right::Sign => (Capability::Sign, Action::Agree),
    }
}

/// What residents may ask for themselves. They have the capabilities for it, which would let an officer do more: pages that forget
/// to look would otherwise let them.
pub(crate) fn is_for_citizens(method: &http::Method, route: &str) -> bool {
    let ways = [
        "/v1/subject-access",
        "/v1/own-consents",
        "/v1/consents/{id}/withdraw",
        "/v1/objections",
        "/v1/objections/{id}/withdraw",
        "/v1/rights-requests",
    ];
    *method == http::Method::POST && ways.contains(&route)
}

impl Caller {
    /// The person as a caller. What the ledger has in the place of a client certificate is a digest that all requests of
    /// one session have in common.
    pub(crate) fn vouched(vouched: &Vouched, now: Timestamp) -> (Self, Context) {
        let person = &vouched.person;
        let rights = person.roles.iter().flat_map(|role| role.rights()).copied();
        let (may, actions): (Vec<_>, Vec<_>) = rights.map(capability).unzip();
        let grant = Grant { agreement: None, purpose: vouched.purpose, actions };
        let role = person.role().as_str().to_owned();
        let caller = Self {
            organisation: person.organisation.clone(),
            service: None,
            system: CONSOLE.clone(),
            named: Named::Practitioner { id: person.id.clone(), role },
            certificate: vouched.session.clone(),
            client_id: CONSOLE.to_string(),
            may,
            grants: Arc::new([grant]),
        };
        let lifetime = SignedDuration::from_secs(LIFETIME_MAX_S);
        let context = Context {
            purpose: vouched.purpose,
            case_reference: vouched.case_reference.clone(),
            requested_record: vouched.record.clone(),
            requested_list: None,
            jti: vouched.once.clone(),
            expires: now.checked_add(lifetime).unwrap_or(now),
            digest: hexadecimal(&Sha256::digest(&vouched.once)),
        };
        (caller, context)
    }
}
