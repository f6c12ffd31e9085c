//! What partners do: requests with their certificates and tokens, and what comes back.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use gateway::{
    cli::token::Partner,
    clock::Clock,
    mint::{AccessToken, MintingKey, SharingContext},
    tls::CertificateFingerprint,
};
use ledger::tree::hexadecimal;
use reqwest::StatusCode;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The partners of a deployment, with what its folder holds of theirs.
pub struct Partners {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    tokens: AtomicU64,
    issuer_key: Mutex<String>,
    actions: Mutex<Option<Vec<&'static str>>>,
    /// Access tokens, by issuer's key and certificate, where they are used more than once.
    kept: Option<Mutex<Kept>>,
}

/// When each was issued, and itself.
type Kept = HashMap<(String, String), (i64, String)>;

/// How long an access token is used again, in seconds.
const USED_S: i64 = 60;

impl Partners {
    /// Whose keys are in this folder. Tokens are numbered from `seed`.
    pub fn of(folder: &Path, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            clock,
            tokens: AtomicU64::new(seed),
            issuer_key: Mutex::new("issuer".to_owned()),
            actions: Mutex::new(None),
            kept: None,
        }
    }

    /// A request with a JSON body about a person.
    pub fn post(
        &self,
        partner: &'static str,
        path: &str,
        purpose: &str,
        person: (&str, &str),
        mut body: Value,
    ) -> Request {
        let subject = json!({ "scheme": person.0, "value": person.1 });
        body.as_object_mut().unwrap().insert("subject".to_owned(), subject);
        let mut request = self.question(partner, "", purpose, person);
        path.clone_into(&mut request.path);
        request.body = Some(body);
        request
    }

    /// A request with a JSON body about nobody.
    pub fn act(&self, partner: &'static str, path: &str, purpose: &str, body: Value) -> Request {
        let mut request = self.bare(partner, "POST", path, purpose);
        request.body = Some(body);
        request
    }

    /// From now on the issuer signs with another key of the folder's, `NAME.key`, which is also its identifier.
    pub fn issue_with(&self, name: &str) {
        name.clone_into(&mut self.issuer_key.lock().unwrap());
    }

    /// Access tokens are used again for a while, as partners do.
    #[must_use]
    pub fn keeping_tokens(self) -> Self {
        Self { kept: Some(Mutex::default()), ..self }
    }

    /// From now on access tokens name these actions alone.
    pub fn only_actions(&self, actions: &[&'static str]) {
        *self.actions.lock().unwrap() = Some(actions.to_vec());
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn partner(&self, name: &str) -> Partner {
        toml::from_str(&self.file(&format!("{name}.partner.toml"))).unwrap()
    }

    /// A client that shows a partner's certificate, or none.
    pub fn client(&self, certificate_of: &str) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.file("ca.pem").as_bytes()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([authority]).no_proxy();
        let builder = if certificate_of.is_empty() {
            builder
        } else {
            let pem = format!(
                "{}\n{}",
                self.file(&format!("{certificate_of}.pem")),
                self.file(&format!("{certificate_of}.key"))
            );
            builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
        };
        builder.build().unwrap()
    }

    /// A question of the fire service's about a person, to the NHS, for fire prevention.
    pub fn prevention(&self, number: &str) -> Request {
        self.question("fire", "nhs-pds", "fire-prevention-targeting", ("nhs-number", number))
    }

    /// A question of the fire service's about a referral, to the council.
    pub fn referral(&self, reference: &str) -> Request {
        self.question("fire", "trafford-asc", "safe-and-well-referral", ("local:trafford-council", reference))
    }

    /// A question.
    pub fn question(
        &self,
        partner: &'static str,
        provider: &str,
        purpose: &str,
        (scheme, value): (&str, &str),
    ) -> Request {
        let body = json!({
            "subject": { "scheme": scheme, "value": value },
            "provider": provider,
            "purpose": purpose,
            "case_reference": "CASE-1",
        });
        Request {
            certificate_of: partner,
            tokens_of: partner,
            method: "POST",
            path: "/v1/disclosures".to_owned(),
            purpose: purpose.to_owned(),
            case: "CASE-1",
            record: Some((scheme.to_owned(), value.to_owned())),
            body: Some(body),
            text: None,
            content_type: None,
            request_id: None,
            if_match: None,
            request_key: None,
            spoil_access: None,
            spoil_context: None,
        }
    }

    /// A consent of the person behind a referral, to the council's records going to the fire service.
    pub fn consent(&self, reference: &str) -> Request {
        let mut request =
            self.question("council", "", "safe-and-well-referral", ("local:trafford-council", reference));
        "/v1/consents".clone_into(&mut request.path);
        request.body = Some(json!({
            "subject": { "scheme": "local:trafford-council", "value": reference },
            "consent_type": "confidentiality-consent",
            "status": "given",
            "controller": "trafford-council",
            "recipients": ["gmca"],
            "purposes": ["safe-and-well-referral"],
            "data_categories": ["needs"],
            "given_by": { "who": "person" },
            "given_at": "2026-10-12T10:00:00Z",
            "method": "in-person",
            "notice_version": "SW-2",
        }));
        request
    }

    /// An objection to fire prevention.
    pub fn objection(&self, number: &str) -> Request {
        let mut request = self.question("council", "", "fire-prevention-targeting", ("nhs-number", number));
        "/v1/objections".clone_into(&mut request.path);
        request.body = Some(json!({ "subject": { "scheme": "nhs-number", "value": number } }));
        request
    }

    /// A request without a body and about nobody.
    pub fn bare(&self, partner: &'static str, method: &'static str, path: &str, purpose: &str) -> Request {
        let mut request = self.question(partner, "", purpose, ("nhs-number", ""));
        request.method = method;
        path.clone_into(&mut request.path);
        request.record = None;
        request.body = None;
        request
    }

    /// The two headers of a request.
    pub fn headers(&self, request: &Request) -> (String, String) {
        let partner = self.partner(request.tokens_of);
        let certificate =
            CertificateDer::from_pem_slice(self.file(&format!("{}.pem", request.tokens_of)).as_bytes())
                .unwrap();
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        let purposes: Vec<_> = partner.purposes.iter().map(String::as_str).collect();
        let now = self.clock.now().as_second();
        let access = AccessToken {
            issuer: &partner.issuer,
            audience: &partner.audience,
            client_id: &partner.client_id,
            certificate: CertificateFingerprint::of(&certificate),
            purposes: &purposes,
            issued_at_s: now,
            jti: &format!("a-{number}"),
        };
        let path = request.path.split('?').next().unwrap();
        let url = format!("{}{path}", partner.public_url);
        // A body of lines is a list, which the context names by its digest.
        let is_list = request.content_type == Some("application/x-ndjson");
        let list = request.text.as_ref().filter(|_| is_list);
        let list = list.map(|text| hexadecimal(&Sha256::digest(text.as_bytes())));
        let context = SharingContext {
            client_id: &partner.client_id,
            organisation: &partner.organisation,
            audience: &partner.audience,
            method: request.method,
            url: &url,
            purpose: &request.purpose,
            case_reference: request.case,
            record: request.record.as_ref().map(|(scheme, value)| (scheme.as_str(), value.as_str())),
            list: list.as_deref(),
            practitioner: (&partner.practitioner, &partner.role),
            issued_at_s: now,
            jti: &format!("c-{number}"),
        };
        let (mut access, mut context) = (access.claims(), context.claims());
        if let Some(actions) = &*self.actions.lock().unwrap() {
            let details = access.get_mut("authorization_details").and_then(Value::as_array_mut).unwrap();
            for detail in details {
                detail.as_object_mut().unwrap().insert("actions".to_owned(), json!(actions));
            }
        }
        if let Some(spoil) = request.spoil_access {
            spoil(&mut access);
        }
        if let Some(spoil) = request.spoil_context {
            spoil(&mut context);
        }
        let name = self.issuer_key.lock().unwrap().clone();
        let key_id = if name == "issuer" { "issuer-1" } else { name.as_str() };
        let issued = || {
            let issuer = MintingKey::from_pem(&self.file(&format!("{name}.key")), key_id).unwrap();
            issuer.sign("at+jwt", &access).unwrap()
        };
        let access_token = match &self.kept {
            Some(kept) if request.spoil_access.is_none() => {
                let of = (name.clone(), access.get("cnf").unwrap().to_string());
                let mut kept = kept.lock().unwrap();
                let (_, token) = kept
                    .entry(of)
                    .and_modify(|(at, token)| {
                        if now - *at > USED_S {
                            (*at, *token) = (now, issued());
                        }
                    })
                    .or_insert_with(|| (now, issued()));
                token.clone()
            }
            _ => issued(),
        };
        let own =
            MintingKey::from_pem(&self.file(&format!("{}-context.key", request.tokens_of)), "context-1")
                .unwrap();
        (access_token, own.sign("sharing-context+jwt", &context).unwrap())
    }

    /// Sends a request to the gateway at a port, whose public address is that of them all.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn send_to(
        &self,
        client: &reqwest::Client,
        port: u16,
        request: &Request,
    ) -> Result<Answer, reqwest::Error> {
        let headers = self.headers(request);
        let base = format!("https://localhost:{port}");
        let sent = sendable(client, &base, request, (Some(&headers.0), Some(&headers.1)));
        let response = sent.send().await?;
        Ok(answer(response).await)
    }
}

/// A request that a test makes; each part can be spoilt.
pub struct Request {
    /// The partner whose certificate is shown.
    pub certificate_of: &'static str,
    /// The partner whose tokens are sent.
    pub tokens_of: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// The purpose.
    pub purpose: String,
    /// The case.
    pub case: &'static str,
    /// The person in the signed context.
    pub record: Option<(String, String)>,
    /// The body.
    pub body: Option<Value>,
    /// A body that is not JSON, in place of it.
    pub text: Option<String>,
    /// The body's media type; JSON's where there is none.
    pub content_type: Option<&'static str>,
    /// The request's own identifier.
    pub request_id: Option<String>,
    /// The version that is to be changed.
    pub if_match: Option<String>,
    /// What makes the request the same one when it is sent again.
    pub request_key: Option<&'static str>,
    /// Changes the access token's claims.
    pub spoil_access: Option<fn(&mut Value)>,
    /// Changes the context's claims.
    pub spoil_context: Option<fn(&mut Value)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, sorted by name.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
    /// Its body as it came.
    pub text: String,
}

impl Answer {
    /// The problem's code.
    pub fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or("")
    }

    /// The answer without what is random or counts up: what a caller could compare.
    pub fn shape(&self) -> (StatusCode, BTreeMap<String, String>, Value) {
        let mut body = self.body.clone();
        if let Some(members) = body.as_object_mut() {
            if let Some(id) = members.get_mut("decision_id") {
                *id = Value::Null;
            }
            if let Some(receipt) = members.get_mut("receipt").and_then(Value::as_object_mut) {
                receipt.values_mut().for_each(|value| *value = Value::Null);
            }
        }
        let mut headers = self.headers.clone();
        headers.remove("date");
        headers.remove("ratelimit"); // it counts the caller's own requests
        headers.remove("content-length"); // a place in the ledger may have one digit more
        (self.status, headers, body)
    }
}

/// Reads an answer.
pub async fn answer(response: reqwest::Response) -> Answer {
    let status = response.status();
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
    Answer { status, headers, body, text }
}

pub(crate) fn sendable(
    client: &reqwest::Client,
    base: &str,
    request: &Request,
    (access, context): (Option<&str>, Option<&str>),
) -> reqwest::RequestBuilder {
    let url = format!("{base}{}", request.path);
    let mut sent = client.request(request.method.parse().unwrap(), url);
    if let Some(token) = access {
        sent = sent.bearer_auth(token);
    }
    if let Some(token) = context {
        sent = sent.header("Sharing-Context", token);
    }
    if let Some(id) = &request.request_id {
        sent = sent.header("X-Request-ID", id);
    }
    if let Some(version) = &request.if_match {
        sent = sent.header("If-Match", version);
    }
    if let Some(key) = request.request_key {
        sent = sent.header("Idempotency-Key", key);
    }
    let text = request.text.clone().or_else(|| request.body.as_ref().map(Value::to_string));
    if let Some(text) = text {
        sent = sent.header("Content-Type", request.content_type.unwrap_or("application/json")).body(text);
    }
    sent
}
