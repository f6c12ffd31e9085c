//! A peer's connector over the Eclipse Dataspace Protocol: the cases of the public compatibility kit (docs/dataspace.md has its list),
//! against the running program and an HTTPS server that takes its callbacks; and what a connector may not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{body::Bytes, extract::State, http::Uri};
use gateway::{alerts::deliver::deliver_due, caller::Capability, dataspace::pass};

use super::*;

const CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
const DATASET: &str = "urn:concordat:dataset:pilot:at-risk";
const OFFER: &str = "urn:concordat:offer:pilot:1:at-risk";

mod course;
mod shape;

use shape::has_shape;

/// What came: path, authorization, body.
type Came = Arc<Mutex<Vec<(String, String, Value)>>>;

/// The connector of the fire service, as far as it is called back.
struct Peer {
    world: World,
    came: Came,
    says: Arc<AtomicU16>,
    base: String,
}

type Listening = (Came, Arc<AtomicU16>);

async fn heard(
    State((came, says)): State<Listening>,
    uri: Uri,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> axum::http::StatusCode {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap();
    came.lock().unwrap().push((uri.path().to_owned(), authorization.to_owned(), body));
    axum::http::StatusCode::from_u16(says.load(Ordering::SeqCst)).unwrap()
}

/// An HTTPS server with the certificate of this folder.
fn listen(folder: &std::path::Path, state: Listening) -> u16 {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain = CertificateDer::from_pem_file(folder.join("gateway.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("gateway.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(gateway::tls::crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let router = axum::Router::new().fallback(heard).with_state(state);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let io = hyper_util::rt::TokioIo::new(stream);
                let builder =
                    hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            });
        }
    });
    port
}

impl Peer {
    /// A gateway of the NHS, where the fire service's and the council's systems are connectors too.
    async fn new() -> Self {
        let state: Listening = (Came::default(), Arc::new(AtomicU16::new(200)));
        let mut base = String::new();
        let world = World::with_settings(|settings| {
            let folder = settings.ledger.beside().parent().unwrap().to_owned();
            base = format!("https://localhost:{}/dsp", listen(&folder, state.clone()));
            std::fs::write(folder.join("peer.token"), "Bearer of-theirs\n").unwrap();
            let file = |name: &str| folder.join(name).display().to_string();
            let (trusted, token) = (file("ca.pem"), file("peer.token"));
            let text = format!(
                "participant = \"nhs-england\"\nparticipant_id = \"did:web:nhs.example\"\n\
                 [peers.gmca]\ncallback = {base:?}\ntrusted = {trusted:?}\nauthorization = {token:?}\nowner = \"GMFRS-INT-1\"\n\
                 [peers.trafford-council]\ncallback = \"https://localhost:1/\"\ntrusted = {trusted:?}\nowner = \"TRF-INT-1\"\n"
            );
            settings.dataspace = Some(toml::from_str(&text).unwrap());
            for system in &mut settings.systems {
                let name = system.organisation.as_str();
                if name == "gmca" || name == "trafford-council" {
                    system.may.push(Capability::Negotiate);
                }
            }
        })
        .await;
        offices(&world).await;
        Self { world, came: state.0, says: state.1, base }
    }

    /// The same, with the agreement proposed.
    async fn with_offer() -> Self {
        let peer = Self::new().await;
        proposed(&peer.world, &one_flow()).await;
        peer
    }

    async fn send_as(
        &self,
        partner: &'static str,
        method: &'static str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.world.bare(partner, method, path, PURPOSE);
        request.body = body;
        let (access, _) = self.world.headers(&request);
        self.world.send_with(&request, Some(&access), None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_as("fire", "POST", path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send_as("fire", "GET", path, None).await
    }

    /// What is to be said was said.
    async fn settle(&self) {
        pass(&self.world.app).await.unwrap();
        deliver_due(&self.world.app).await.unwrap();
    }

    /// The newest message, which has this type, came at this place, and has the shape that the protocol asks for.
    async fn hears(&self, negotiation: &Negotiation, kind: &str, place: &str) -> Value {
        self.settle().await;
        let came = self.came.lock().unwrap();
        let (path, authorization, body) = came.last().unwrap().clone();
        assert_eq!(path, format!("/dsp/callback/negotiations/{}/{place}", negotiation.consumer));
        assert_eq!(authorization, "Bearer of-theirs");
        assert_eq!((&body["@type"], &body["providerPid"]), (&json!(kind), &json!(negotiation.provider)));
        has_shape(&body);
        body
    }

    async fn begins(&self) -> Negotiation {
        self.begins_with(bare_offer()).await
    }

    async fn begins_with(&self, offer: Value) -> Negotiation {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let consumer = format!("urn:example:negotiation-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let begun = self.post("/dsp/negotiations/request", request(&consumer, offer, &self.callback())).await;
        assert_eq!(
            (begun.status, &begun.body["state"]),
            (StatusCode::CREATED, &json!("REQUESTED")),
            "{begun:?}"
        );
        has_shape(&begun.body);
        let provider = begun.body["providerPid"].as_str().unwrap().to_owned();
        assert_eq!(begun.body["consumerPid"], json!(consumer));
        Negotiation { provider, consumer }
    }

    fn callback(&self) -> String {
        format!("{}/callback", self.base)
    }

    /// A message of the consumer's about a negotiation.
    async fn says(&self, negotiation: &Negotiation, place: &str, kind: &str, members: Value) -> Answer {
        let mut body = json!({
            "@context": [CONTEXT], "@type": kind, "providerPid": negotiation.provider, "consumerPid": negotiation.consumer,
        });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.post(&format!("/dsp/negotiations/{}/{place}", negotiation.provider), body).await
    }

    async fn accepts(&self, negotiation: &Negotiation) -> Answer {
        let event = json!({ "eventType": "ACCEPTED" });
        self.says(negotiation, "events", "ContractNegotiationEventMessage", event).await
    }

    async fn verifies(&self, negotiation: &Negotiation) -> Answer {
        self.says(negotiation, "agreement/verification", "ContractAgreementVerificationMessage", json!({}))
            .await
    }

    async fn ends(&self, negotiation: &Negotiation) -> Answer {
        let why = json!({ "code": "1", "reason": ["no longer needed"] });
        self.says(negotiation, "termination", "ContractNegotiationTerminationMessage", why).await
    }

    async fn counters(&self, negotiation: &Negotiation, offer: Value) -> Answer {
        self.says(negotiation, "request", "ContractRequestMessage", json!({ "offer": offer })).await
    }

    async fn is(&self, negotiation: &Negotiation, state: &str) {
        let seen = self.get(&format!("/dsp/negotiations/{}", negotiation.provider)).await;
        assert_eq!((seen.status, &seen.body["state"]), (StatusCode::OK, &json!(state)), "{seen:?}");
        has_shape(&seen.body);
    }

    /// A step of the provider's people.
    async fn decides(&self, person: Person, negotiation: &Negotiation, body: Value) -> Answer {
        self.decides_as("nhs", person, negotiation, body).await
    }

    async fn decides_as(
        &self,
        partner: &'static str,
        person: Person,
        negotiation: &Negotiation,
        body: Value,
    ) -> Answer {
        let digits = negotiation.provider.trim_start_matches("urn:uuid:").replace('-', "");
        let path = format!("/v1/agreements/pilot/negotiations/mat_{digits}");
        let seen = self.world.send(by(self.world.bare(partner, "GET", &path, PURPOSE), person)).await;
        assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
        let mut request = by(self.world.act(partner, &format!("{path}/steps"), PURPOSE, body), person);
        request.if_match = seen.headers.get("etag").cloned();
        self.world.send(request).await
    }

    /// The provider offers, and the offer has come.
    async fn offers(&self, negotiation: &Negotiation) -> Value {
        let offered = self.decides(lead, negotiation, json!({ "step": "offer" })).await;
        assert_eq!(
            (offered.status, &offered.body["state"]),
            (StatusCode::OK, &json!("OFFERED")),
            "{offered:?}"
        );
        let offer = self.hears(negotiation, "ContractOfferMessage", "offers").await;
        self.is(negotiation, "OFFERED").await;
        offer
    }

    async fn provider_ends(&self, negotiation: &Negotiation) {
        let step = json!({ "step": "terminate", "text": "Another route is used." });
        let ended = self.decides(lead, negotiation, step).await;
        assert_eq!((ended.status, &ended.body["state"]), (StatusCode::OK, &json!("TERMINATED")), "{ended:?}");
        let body = self.hears(negotiation, "ContractNegotiationTerminationMessage", "termination").await;
        assert_eq!(body["reason"], json!(["Another route is used."]));
        self.is(negotiation, "TERMINATED").await;
    }
}

/// The names of a negotiation.
struct Negotiation {
    provider: String,
    consumer: String,
}

/// The terms with one flow, which can be negotiated by machines.
fn one_flow() -> Value {
    let mut terms = terms();
    terms["flows"].as_array_mut().unwrap().truncate(1);
    terms
}

/// As a connector asks for an offer by its name.
fn bare_offer() -> Value {
    json!({ "@id": OFFER, "@type": "Offer", "target": DATASET, "permission": [{ "action": "use", "constraint": [] }] })
}

fn request(consumer: &str, offer: Value, callback: &str) -> Value {
    json!({
        "@context": [CONTEXT], "@type": "ContractRequestMessage", "consumerPid": consumer, "offer": offer,
        "callbackAddress": callback,
    })
}

fn is_refused(answer: &Answer, kind: &str) {
    assert!(answer.status.is_client_error() && answer.body["@type"] == kind, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    has_shape(&answer.body);
}

/// MET:01, CAT:01.
#[tokio::test]
async fn versions_and_the_catalogue_are_there_for_whom_they_are() {
    let peer = Peer::with_offer().await;
    let version = public(&peer, "/.well-known/dspace-version").await;
    let spoken = &version.body["protocolVersions"][0];
    assert_eq!(
        (&spoken["version"], &spoken["path"], &spoken["binding"]),
        (&json!("2025-1"), &json!("/dsp"), &json!("HTTPS"))
    );
    let ask = json!({ "@context": [CONTEXT], "@type": "CatalogRequestMessage", "filter": [] });
    let catalogue = peer.post("/dsp/catalog/request", ask.clone()).await;
    assert_eq!(catalogue.status, StatusCode::OK, "{catalogue:?}");
    has_shape(&catalogue.body);
    assert_eq!(catalogue.body["participantId"], "did:web:nhs.example");
    assert_eq!(catalogue.body["dataset"][0]["@id"], DATASET);
    let limits =
        catalogue.body["dataset"][0]["hasPolicy"][0]["permission"][0]["constraint"].as_array().unwrap();
    let items = limits.iter().find(|limit| limit["leftOperand"] == "urn:concordat:odrl:item").unwrap();
    assert_eq!(items["rightOperand"], json!(["person.birth_date=age-band", "person.family_name=as-is"]));
    let one = peer.get(&format!("/dsp/catalog/datasets/{DATASET}")).await;
    assert_eq!(one.status, StatusCode::OK, "{one:?}");
    has_shape(&one.body);
    let none = peer.get("/dsp/catalog/datasets/urn:concordat:dataset:pilot:visits").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    is_refused(&none, "CatalogError");
    for spoilt in [
        json!({ "@type": "CatalogRequestMessage" }),
        json!({ "@context": ["https://example.org/other"], "@type": "CatalogRequestMessage" }),
        json!({ "@context": [CONTEXT], "@type": "DatasetRequestMessage" }),
        json!({ "@context": [CONTEXT], "@type": "CatalogRequestMessage", "filter": [{ "a": 1 }] }),
    ] {
        let refused = peer.post("/dsp/catalog/request", spoilt).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        is_refused(&refused, "CatalogError");
    }
    // For anybody else, there is nothing; and nothing at all without a registration or a token.
    let theirs = peer.send_as("council", "POST", "/dsp/catalog/request", Some(ask.clone())).await;
    assert!(theirs.status == StatusCode::OK && theirs.body.get("dataset").is_none(), "{theirs:?}");
    let hidden = peer.send_as("council", "GET", &format!("/dsp/catalog/datasets/{DATASET}"), None).await;
    assert_eq!(hidden.status, StatusCode::NOT_FOUND);
    let unregistered = peer.send_as("nhs", "POST", "/dsp/catalog/request", Some(ask.clone())).await;
    assert_eq!(
        (unregistered.status, unregistered.code()),
        (StatusCode::NOT_FOUND, "not-registered-for-this")
    );
    let mut bare = peer.world.bare("fire", "POST", "/dsp/catalog/request", PURPOSE);
    bare.body = Some(ask.clone());
    let stranger = peer.world.send_with(&bare, None, None).await;
    assert_eq!((stranger.status, stranger.code()), (StatusCode::UNAUTHORIZED, "access-token-missing"));
    is_refused(&stranger, "CatalogError");
    // A token that grants no agreeing shows none.
    peer.world.only_actions(&["read"]);
    let blind = peer.post("/dsp/catalog/request", ask).await;
    assert!(blind.status == StatusCode::OK && blind.body.get("dataset").is_none(), "{blind:?}");
    assert_eq!(peer.get(&format!("/dsp/catalog/datasets/{DATASET}")).await.status, StatusCode::NOT_FOUND);
}

async fn public(peer: &Peer, path: &str) -> Answer {
    let url = format!("{}{path}", peer.world.settings.public_url);
    acceptance::answer(peer.world.client("fire").get(url).send().await.unwrap()).await
}

/// CN:01-01, CN:01-02, CN:02-01, CN:02-02, CN:02-04, CN:02-05, CN:02-06, CN:03-02, CN:03-03, CN:03-04.
#[tokio::test]
async fn a_negotiation_before_anything_is_in_force() {
    let peer = Peer::with_offer().await;
    // CN:01-01, CN:02-04: an offer, and the consumer ends it.
    let one = peer.begins().await;
    let offer = peer.offers(&one).await;
    assert_eq!((&offer["offer"]["@id"], &offer["offer"]["target"]), (&json!(OFFER), &json!(DATASET)));
    assert_eq!(peer.ends(&one).await.status, StatusCode::OK);
    peer.is(&one, "TERMINATED").await;
    // CN:01-02: an offer, a counter-offer, and the provider ends it.
    let one = peer.begins().await;
    peer.offers(&one).await;
    assert_eq!(peer.counters(&one, bare_offer()).await.status, StatusCode::OK);
    peer.is(&one, "REQUESTED").await;
    peer.provider_ends(&one).await;
    // CN:02-01, CN:02-02: either ends it at once.
    let one = peer.begins().await;
    peer.provider_ends(&one).await;
    let one = peer.begins().await;
    assert_eq!(peer.ends(&one).await.status, StatusCode::OK);
    peer.is(&one, "TERMINATED").await;
    // CN:02-05: an offer, and the provider ends it.
    let one = peer.begins().await;
    peer.offers(&one).await;
    peer.provider_ends(&one).await;
    // CN:02-06: it is accepted, and the provider ends it. CN:03-03: nothing is verified that was not agreed.
    let one = peer.begins().await;
    peer.offers(&one).await;
    assert_eq!(peer.accepts(&one).await.status, StatusCode::OK);
    peer.is(&one, "ACCEPTED").await;
    is_refused(&peer.verifies(&one).await, "ContractNegotiationError");
    peer.is(&one, "ACCEPTED").await;
    peer.provider_ends(&one).await;
    // CN:03-02, CN:03-04.
    let one = peer.begins().await;
    peer.offers(&one).await;
    is_refused(&peer.verifies(&one).await, "ContractNegotiationError");
    assert_eq!(peer.counters(&one, bare_offer()).await.status, StatusCode::OK);
    let twice = peer.counters(&one, bare_offer()).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    is_refused(&twice, "ContractNegotiationError");
    assert_eq!(
        (&twice.body["providerPid"], &twice.body["consumerPid"]),
        (&json!(one.provider), &json!(one.consumer))
    );
    peer.is(&one, "REQUESTED").await;
    // What it had no offer for cannot be accepted, nor ended twice.
    is_refused(&peer.accepts(&one).await, "ContractNegotiationError");
    peer.provider_ends(&one).await;
    is_refused(&peer.ends(&one).await, "ContractNegotiationError");
    peer.world.verify().await;
}

/// CN:01-03, CN:01-04, CN:02-03, CN:02-07, CN:03-01.
#[tokio::test]
async fn the_agreement_is_sent_when_people_have_signed_and_put_it_in_force() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    // CN:01-03.
    let one = peer.begins().await;
    peer.offers(&one).await;
    assert_eq!(peer.accepts(&one).await.status, StatusCode::OK);
    let heard = |peer: &Peer| peer.came.lock().unwrap().len();
    let before = heard(&peer);
    agreed(world).await;
    all_sign(world, 1).await;
    peer.settle().await;
    peer.is(&one, "ACCEPTED").await;
    assert_eq!(heard(&peer), before, "signed is not in force");
    assert_eq!(
        world.send(question(world)).await.code(),
        "referred-to-a-person",
        "and acceptance enforces nothing"
    );
    put_in_force(world).await;
    let agreement = peer.hears(&one, "ContractAgreementMessage", "agreement").await;
    peer.is(&one, "AGREED").await;
    let agreement = &agreement["agreement"];
    assert_eq!(
        (&agreement["assigner"], &agreement["assignee"]),
        (&json!("did:web:nhs.example"), &json!("gmca"))
    );
    assert_eq!(agreement["@id"], "urn:concordat:agreement:pilot:1:at-risk");
    assert_eq!(peer.verifies(&one).await.status, StatusCode::OK);
    peer.hears(&one, "ContractNegotiationEventMessage", "events").await;
    peer.is(&one, "FINALIZED").await;
    // CN:03-01.
    is_refused(&peer.ends(&one).await, "ContractNegotiationError");
    peer.is(&one, "FINALIZED").await;
    // CN:01-04.
    let one = peer.begins().await;
    peer.hears(&one, "ContractAgreementMessage", "agreement").await;
    assert_eq!(peer.verifies(&one).await.status, StatusCode::OK);
    peer.hears(&one, "ContractNegotiationEventMessage", "events").await;
    // CN:02-03.
    let one = peer.begins().await;
    peer.hears(&one, "ContractAgreementMessage", "agreement").await;
    assert_eq!(peer.ends(&one).await.status, StatusCode::OK);
    peer.is(&one, "TERMINATED").await;
    // CN:02-07: switched off meanwhile, it is not finalised.
    let one = peer.begins().await;
    peer.hears(&one, "ContractAgreementMessage", "agreement").await;
    let stop =
        json!({ "step": "suspend", "scope": "agreement", "reason": "breach", "text": "A laptop is lost." });
    assert_eq!(world.send(step(world, "nhs", lead, stop)).await.status, StatusCode::OK);
    assert_eq!(peer.verifies(&one).await.status, StatusCode::OK);
    peer.settle().await;
    peer.is(&one, "VERIFIED").await;
    peer.provider_ends(&one).await;
    // An agreement that ends takes what is negotiated about it with it.
    let one = peer.begins().await;
    taken(world, "nhs", lead, json!({ "step": "terminate", "text": "The pilot is over." })).await;
    taken(world, "fire", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await;
    let over = peer.hears(&one, "ContractNegotiationTerminationMessage", "termination").await;
    assert_eq!(over["code"], "agreement-over");
    world.verify().await;
}

#[tokio::test]
async fn what_a_peer_asks_for_becomes_a_proposal_of_ours_that_people_decide_on() {
    let peer = Peer::with_offer().await;
    let ask = json!({ "@context": [CONTEXT], "@type": "CatalogRequestMessage" });
    let catalogue = peer.post("/dsp/catalog/request", ask).await;
    let mut offer = catalogue.body["dataset"][0]["hasPolicy"][0].clone();
    offer["target"] = json!(DATASET);
    // Said in full, it is the same as by its name.
    let one = peer.begins_with(offer.clone()).await;
    let nothing =
        peer.decides(author, &one, json!({ "step": "adopt", "reason": "other", "text": "As asked." })).await;
    assert_eq!(nothing.code(), "step-not-in-this-state", "{nothing:?}");
    peer.provider_ends(&one).await;
    // Less, and for a shorter time.
    let limits = offer["permission"][0]["constraint"].as_array_mut().unwrap();
    let items = limits.iter_mut().find(|limit| limit["leftOperand"] == "urn:concordat:odrl:item").unwrap();
    items["rightOperand"] = json!(["person.family_name=as-is"]);
    offer["obligation"][0]["constraint"][0]["rightOperand"] = json!("P7D");
    let one = peer.begins_with(offer.clone()).await;
    // Sent again it is the same; something else by the same name is not taken for it.
    let send = |offer: &Value| {
        let body = request(&one.consumer, offer.clone(), &peer.callback());
        peer.post("/dsp/negotiations/request", body)
    };
    let again = send(&offer).await;
    assert_eq!((again.status, &again.body["providerPid"]), (StatusCode::CREATED, &json!(one.provider)));
    is_refused(&send(&bare_offer()).await, "ContractNegotiationError");
    let digits = one.provider.trim_start_matches("urn:uuid:").replace('-', "");
    let path = format!("/v1/agreements/pilot/negotiations/mat_{digits}");
    let seen = peer.world.send(by(peer.world.bare("nhs", "GET", &path, PURPOSE), lead)).await;
    assert_eq!(seen.body["asked"]["flows"][0]["items"].as_array().unwrap().len(), 1, "{seen:?}");
    assert_eq!(seen.body["asked"]["flows"][0]["obligations"]["retain_days"], 7);
    assert_eq!(shown(&peer.world, "nhs").await.body["state"], "proposed", "nothing has moved by itself");
    let adopt = json!({ "step": "adopt", "reason": "less-would-do", "text": "A week is enough." });
    let theirs = peer.decides_as("fire", author, &one, adopt.clone()).await;
    assert_eq!(theirs.code(), "step-not-yours", "{theirs:?}");
    let mut blind = by(peer.world.act("nhs", &format!("{path}/steps"), PURPOSE, adopt.clone()), author);
    blind.if_match = None;
    assert_eq!(peer.world.send(blind).await.code(), "version-missing");
    let adopted = peer.decides(author, &one, adopt).await;
    assert_eq!((adopted.status, &adopted.body["version"]), (StatusCode::OK, &json!(2)), "{adopted:?}");
    let now = shown(&peer.world, "nhs").await;
    assert_eq!(
        (&now.body["state"], &now.body["negotiated"]["version"]),
        (&json!("counter-proposed"), &json!(2))
    );
    let offered = peer.offers(&one).await;
    assert_eq!(offered["offer"]["@id"], "urn:concordat:offer:pilot:2:at-risk");
    assert_eq!(offered["offer"]["obligation"][0]["constraint"][0]["rightOperand"], "P7D");
    // What was offered is replaced: the old offer cannot be accepted.
    let mut again = one_flow();
    again["title"] = json!("Another title");
    let counter = json!({ "step": "counter", "terms": again, "reason": "unclear", "text": "The title." });
    taken(&peer.world, "fire", other, counter).await;
    is_refused(&peer.accepts(&one).await, "ContractNegotiationError");
    peer.is(&one, "OFFERED").await;
    peer.world.verify().await;
}

#[tokio::test]
async fn a_connector_is_called_back_where_it_is_registered_and_nowhere_else() {
    let peer = Peer::with_offer().await;
    let elsewhere: Listening = (Came::default(), Arc::new(AtomicU16::new(200)));
    let port = listen(peer.world.folder.path(), elsewhere.clone());
    let registered = peer.base.clone();
    for address in [
        format!("https://localhost:{port}/dsp"),
        format!("https://127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        format!("{registered}/../elsewhere"),
        format!("{registered}/%2e%2e/elsewhere"),
        format!("{registered}x"),
        registered.replace("https://", "https://somebody@"),
        registered.replace("https://", "http://"),
        String::new(),
    ] {
        let refused =
            peer.post("/dsp/negotiations/request", request("urn:example:1", bare_offer(), &address)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{address}");
        is_refused(&refused, "ContractNegotiationError");
        assert_eq!(refused.body["consumerPid"], "urn:example:1");
    }
    peer.settle().await;
    assert!(elsewhere.0.lock().unwrap().is_empty() && peer.came.lock().unwrap().is_empty());
    // A name that would lead elsewhere is one segment of the address, whatever it holds.
    let begun =
        peer.post("/dsp/negotiations/request", request("../../x?y#z", bare_offer(), &peer.callback())).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let odd = Negotiation {
        provider: begun.body["providerPid"].as_str().unwrap().to_owned(),
        consumer: "..%2F..%2Fx%3Fy%23z".to_owned(),
    };
    let offered = peer.decides(lead, &odd, json!({ "step": "offer" })).await;
    assert_eq!(offered.status, StatusCode::OK, "{offered:?}");
    peer.hears(&odd, "ContractOfferMessage", "offers").await;
    for pid in [".", "..", "with space", ""] {
        let refused =
            peer.post("/dsp/negotiations/request", request(pid, bare_offer(), &peer.callback())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{pid}");
    }
}

#[tokio::test]
async fn a_flow_is_negotiated_once_at_a_time_whoever_comes_at_once() {
    let peer = Peer::with_offer().await;
    let ask = async |number: u32| {
        let body = request(&format!("urn:example:race-{number}"), bare_offer(), &peer.callback());
        peer.post("/dsp/negotiations/request", body).await.status
    };
    let (one, two, three) = tokio::join!(ask(1), ask(2), ask(3));
    let began = [one, two, three].iter().filter(|status| **status == StatusCode::CREATED).count();
    assert_eq!(began, 1, "{one} {two} {three}");
    let open = peer.world.app.store.open_negotiations(None).await.unwrap();
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn what_is_not_asked_for_properly_begins_nothing_and_others_negotiations_are_not_there() {
    let peer = Peer::with_offer().await;
    let edits: [(Person, &str); 9] = [
        (|body| drop(body.as_object_mut().unwrap().remove("@context")), "no context"),
        (|body| body["@type"] = json!("ContractOfferMessage"), "another type"),
        (|body| body["offer"]["@id"] = json!("urn:example:unknown"), "an offer that nobody made"),
        (
            |body| {
                body["offer"]["target"] = json!("urn:concordat:dataset:gm-safe-and-well-referral:referral")
            },
            "another dataset",
        ),
        (|body| body["offer"]["permission"][0]["action"] = json!("sell"), "another action"),
        (
            |body| {
                body["offer"]["permission"][0]["constraint"] =
                    json!([{ "leftOperand": "spatial", "operator": "eq", "rightOperand": "EU" }])
            },
            "a condition that is not understood",
        ),
        (
            |body| body["offer"]["obligation"] = json!([{ "action": "compensate" }]),
            "a duty that is not understood",
        ),
        (|body| body["providerPid"] = json!("urn:uuid:1"), "a negotiation that there is not"),
        (|body| drop(body.as_object_mut().unwrap().remove("offer")), "nothing"),
    ];
    for (edit, what) in edits {
        let mut body = request("urn:example:1", bare_offer(), &peer.callback());
        edit(&mut body);
        let refused = peer.post("/dsp/negotiations/request", body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{what}: {refused:?}");
        is_refused(&refused, "ContractNegotiationError");
    }
    let theirs = peer
        .send_as(
            "council",
            "POST",
            "/dsp/negotiations/request",
            Some(request("urn:example:1", bare_offer(), "https://localhost:1/")),
        )
        .await;
    assert_eq!(theirs.status, StatusCode::BAD_REQUEST, "it is on offer to the fire service alone");
    // Sent again, it is the same; another beside it is refused.
    let first = peer
        .post("/dsp/negotiations/request", request("urn:example:1", bare_offer(), &peer.callback()))
        .await;
    let again = peer
        .post("/dsp/negotiations/request", request("urn:example:1", bare_offer(), &peer.callback()))
        .await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
    let beside = peer
        .post("/dsp/negotiations/request", request("urn:example:2", bare_offer(), &peer.callback()))
        .await;
    assert_eq!((beside.status, beside.code()), (StatusCode::BAD_REQUEST, "wrong-state"));
    let one = Negotiation {
        provider: first.body["providerPid"].as_str().unwrap().to_owned(),
        consumer: "urn:example:1".to_owned(),
    };
    let path = format!("/dsp/negotiations/{}", one.provider);
    let body = json!({
        "@context": [CONTEXT], "@type": "ContractNegotiationTerminationMessage", "providerPid": one.provider, "consumerPid": one.consumer,
    });
    for (method, path, body) in
        [("GET", path.clone(), None), ("POST", format!("{path}/termination"), Some(body.clone()))]
    {
        let hidden = peer.send_as("council", method, &path, body).await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND);
        is_refused(&hidden, "ContractNegotiationError");
    }
    let mut others = body;
    others["consumerPid"] = json!("urn:example:other");
    let mixed = peer.post(&format!("{path}/termination"), others).await;
    assert_eq!(mixed.status, StatusCode::BAD_REQUEST, "{mixed:?}");
    let finalise = peer
        .says(&one, "events", "ContractNegotiationEventMessage", json!({ "eventType": "FINALIZED" }))
        .await;
    is_refused(&finalise, "ContractNegotiationError");
    peer.is(&one, "REQUESTED").await;
    // The provider's people decide, and nobody else's.
    let theirs = peer.decides_as("fire", lead, &one, json!({ "step": "offer" })).await;
    assert_eq!(theirs.code(), "step-not-yours", "{theirs:?}");
    let advised = peer.decides(dpo, &one, json!({ "step": "offer" })).await;
    assert_eq!(advised.code(), "step-dpo-approves", "{advised:?}");
}

#[tokio::test]
async fn a_message_that_is_not_taken_is_tried_again_and_what_took_its_place_is_sent_in_its_stead() {
    let peer = Peer::with_offer().await;
    peer.says.store(500, Ordering::SeqCst);
    let one = peer.begins().await;
    let offered = peer.decides(lead, &one, json!({ "step": "offer" })).await;
    assert_eq!(offered.status, StatusCode::OK);
    peer.settle().await;
    assert_eq!(peer.came.lock().unwrap().len(), 1);
    peer.says.store(200, Ordering::SeqCst);
    peer.settle().await;
    assert_eq!(peer.came.lock().unwrap().len(), 1, "not at once");
    peer.world.clock.advance_s(6);
    peer.hears(&one, "ContractOfferMessage", "offers").await;
    peer.provider_ends(&one).await;
    // Given up after three days, and put back by a person.
    peer.says.store(400, Ordering::SeqCst);
    let one = peer.begins().await;
    peer.decides(lead, &one, json!({ "step": "offer" })).await;
    for _ in 0..12 {
        peer.settle().await;
        peer.world.clock.advance_s(86_400);
    }
    let again = || peer.decides(lead, &one, json!({ "step": "send-again" }));
    let dead = peer.world.app.store.open_negotiations(None).await.unwrap();
    let delivery = peer.world.app.store.peer_delivery(&dead[0].id, dead[0].revision).await.unwrap().unwrap();
    assert_eq!((delivery.state.as_str(), delivery.fault.as_deref()), ("dead", Some("refused")));
    peer.says.store(200, Ordering::SeqCst);
    assert_eq!(again().await.status, StatusCode::OK);
    peer.hears(&one, "ContractOfferMessage", "offers").await;
    assert_eq!(again().await.code(), "wrong-state", "it has come");
    // An offer that never came is not sent any more when the negotiation is over.
    peer.says.store(500, Ordering::SeqCst);
    peer.counters(&one, bare_offer()).await;
    peer.decides(lead, &one, json!({ "step": "offer" })).await;
    peer.settle().await;
    peer.says.store(200, Ordering::SeqCst);
    peer.provider_ends(&one).await;
    peer.world.clock.advance_s(86_400);
    let before = peer.came.lock().unwrap().len();
    peer.settle().await;
    assert_eq!(peer.came.lock().unwrap().len(), before);
    peer.world.verify().await;
}
