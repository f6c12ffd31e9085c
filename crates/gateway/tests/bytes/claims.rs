//! What holds of any claims that somebody with a registered key signs: an access token's and a signed context's, through the whole of
//! authentication. Whoever is let in is held against the claims as another reader reads them.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use gateway::{
    caller::{
        Action, Authenticator, Caller, Context, IssuerSettings, Presented, Registry, SystemSettings,
        access_token::{DETAIL_TYPE, LEEWAY_S},
        keys::KeySource,
        sharing_context::LIFETIME_MAX_S,
    },
    listener::PeerCertificate,
    mint::MintingKey,
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json};
use sharing::PurposeClass;

/// The key of the issuer, and of the system: it signs nothing else.
const KEY: &str = include_str!("signs.pem");
const KEY_ID: &str = "k";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://gateway.example";
const CLIENT: &str = "gmca-prevention";
const ORGANISATION: &str = "gmca";
const PATH: &str = "/v1/disclosures";
const TOKEN_LIFETIME_MAX_S: i64 = 900;
/// When it is: the kept claims are of then.
const NOW_S: i64 = 1_700_000_000;
/// What a context may say.
const KNOWN: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "exp",
    "nbf",
    "jti",
    "htm",
    "htu",
    "reason_for_request",
    "purpose",
    "case_reference",
    "requested_record",
    "requested_list",
    "requesting_device",
    "requesting_organization",
    "requesting_practitioner",
    "unattended_job",
];
const ACTIONS: [Action; 7] = [
    Action::Read,
    Action::Decide,
    Action::Record,
    Action::Review,
    Action::Audit,
    Action::SubjectAccess,
    Action::Agree,
];
/// Claims that are good.
const ACCESS: &[u8] = include_bytes!("../../../../fuzz/corpus/claims/access-token");
const CONTEXT: &[u8] = include_bytes!("../../../../fuzz/corpus/claims/sharing-context");

struct Signed {
    authenticator: Authenticator,
    key: EncodingKey,
    peer: PeerCertificate,
    good: [String; 2],
    runtime: tokio::runtime::Runtime,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("concordat-claims-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let keys = folder.join("keys.json");
    let set = MintingKey::from_pem(KEY, KEY_ID).unwrap().jwks().unwrap();
    std::fs::write(&keys, set.to_string()).unwrap();
    let peer = PeerCertificate { fingerprint: fingerprint(), not_after_s: NOW_S };
    let system: SystemSettings = serde_json::from_value(json!({
        "id": "prevention", "organisation": ORGANISATION, "certificates": [peer.fingerprint.to_hex()], "client_id": CLIENT,
        "issuer": ISSUER, "context_keys": keys, "may": ["ask", "unattended"],
    }))
    .unwrap();
    let issuer = IssuerSettings {
        issuer: ISSUER.to_owned(),
        algorithms: vec!["EdDSA".to_owned()],
        keys: KeySource::File(keys),
        token_lifetime_max_s: TOKEN_LIFETIME_MAX_S,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = runtime.block_on(Registry::load(vec![system], vec![issuer], None)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let authenticator = Authenticator {
        registry: arc_swap::ArcSwap::from_pointee(registry),
        audience: AUDIENCE.to_owned(),
        public_url: AUDIENCE.to_owned(),
    };
    let key = EncodingKey::from_ed_pem(KEY.as_bytes()).unwrap();
    let good = [token(&key, "at+jwt", ACCESS), token(&key, "sharing-context+jwt", CONTEXT)];
    Signed { authenticator, key, peer, good, runtime }
});

/// The certificate that the system shows.
fn fingerprint() -> gateway::tls::CertificateFingerprint {
    gateway::tls::CertificateFingerprint::of(b"the certificate")
}

fn token(key: &EncodingKey, kind: &str, claims: &[u8]) -> String {
    let header = json!({ "typ": kind, "alg": "EdDSA", "kid": KEY_ID }).to_string();
    let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), key, Algorithm::EdDSA).unwrap();
    format!("{input}.{signature}")
}

fn ask(access: &str, context: &str) -> Option<(Caller, Context)> {
    let authorization = format!("Bearer {access}");
    let presented = Presented {
        method: "POST",
        path: PATH,
        authorization: Some(&authorization),
        sharing_context: Some(context),
    };
    let now = Timestamp::from_second(NOW_S).unwrap();
    let asked = SIGNED.authenticator.authenticate(SIGNED.peer, presented, now);
    SIGNED.runtime.block_on(asked).ok()
}

/// Whether the kept claims that are good are let in: without this nothing below would be tried.
pub fn good_claims_are_let_in(claims: &[u8]) -> bool {
    let [access, context] = &SIGNED.good;
    let as_access = ask(&token(&SIGNED.key, "at+jwt", claims), context);
    let as_context = ask(access, &token(&SIGNED.key, "sharing-context+jwt", claims));
    as_access.is_some() != as_context.is_some()
}

/// Claims: refused, or ones that say all that they must, and nothing that is not understood.
pub fn claims(bytes: &[u8]) {
    let [access, context] = &SIGNED.good;
    let signed = token(&SIGNED.key, "at+jwt", bytes);
    if let Some((caller, _)) = ask(&signed, context) {
        let Some(said) = read(bytes) else { return };
        in_time(&said, TOKEN_LIFETIME_MAX_S);
        assert_eq!(
            (&said["iss"], &said["aud"], &said["client_id"]),
            (&json!(ISSUER), &json!(AUDIENCE), &json!(CLIENT))
        );
        assert_eq!(said["cnf"]["x5t#S256"], json!(fingerprint().to_base64url()), "it is this certificate's");
        for name in ["jti", "sub"] {
            assert!(said[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        granted(&said["authorization_details"], &caller);
    }
    let signed = token(&SIGNED.key, "sharing-context+jwt", bytes);
    if let Some((caller, context)) = ask(access, &signed) {
        let Some(said) = read(bytes) else { return };
        in_time(&said, LIFETIME_MAX_S);
        let mut names = said.as_object().unwrap().keys();
        assert!(names.all(|name| KNOWN.contains(&name.as_str())), "nothing is ignored");
        assert_eq!((&said["iss"], &said["aud"]), (&json!(CLIENT), &json!(AUDIENCE)));
        assert_eq!((&said["htm"], &said["htu"]), (&json!("POST"), &json!(format!("{AUDIENCE}{PATH}"))));
        assert_eq!(said["requesting_organization"]["identifier"], json!(ORGANISATION));
        assert_eq!(said["sub"], json!(caller.named.id()), "who is named is who it is about");
        assert_eq!(
            (&said["purpose"], &said["reason_for_request"]),
            (&json!(context.purpose.as_str()), &json!(context.purpose.as_str()))
        );
        assert_eq!(said["case_reference"], json!(context.case_reference.as_str()));
        assert_eq!(said["jti"], json!(context.jti));
        assert_eq!(said.get("requested_list").and_then(Value::as_str), context.requested_list.as_deref());
        assert_eq!(seconds(&said["exp"]), context.expires.as_second());
        assert!(said["requesting_device"]["identifier"].as_str().is_some_and(|device| !device.is_empty()));
        let (other, of_them) = if let Some(id) = caller.named.practitioner() {
            let practitioner = &said["requesting_practitioner"];
            ("unattended_job", [(&practitioner["id"], id), (&practitioner["role"], caller.named.role())])
        } else {
            let owner = &said["unattended_job"]["owner"]["id"];
            ("requesting_practitioner", [(owner, caller.named.id()), (owner, caller.named.id())])
        };
        assert!(said.get(other).is_none(), "one of the two");
        for (written, taken) in of_them {
            assert_eq!(written, &json!(taken));
        }
        for kept in [caller.named.id(), caller.named.role(), context.case_reference.as_str()] {
            assert!(!is_a_persons_number(kept), "it is kept for good: {kept}");
        }
        let record = context.requested_record.as_ref();
        assert_eq!(said.get("requested_record").is_some(), record.is_some());
        if let Some(record) = record {
            let written = &said["requested_record"];
            assert_eq!(written["scheme"], json!(record.scheme().to_string()));
            assert_eq!(
                written["value"],
                json!(record.as_str()),
                "the person who is asked about is the one that is named"
            );
        }
    }
}

/// As another reader of JSON reads them, which takes the last of two members of one name: there are no two. It has no room for some
/// numbers, which nothing is made of.
fn read(bytes: &[u8]) -> Option<Value> {
    let said = serde_json::from_slice(bytes).ok()?;
    serde_json::from_slice::<Distinct>(bytes).unwrap();
    Some(said)
}

/// JSON in which no two members of an object have one name.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, Self)) = members.next_entry::<String, Self>()? {
            if !names.insert(name) {
                return Err(Error::custom("two members of one name"));
            }
        }
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(Self)
    }
}

fn in_time(said: &Value, longest_s: i64) {
    let (issued, expires) = (seconds(&said["iat"]), seconds(&said["exp"]));
    assert!(issued <= NOW_S + LEEWAY_S && expires > NOW_S - LEEWAY_S && expires - issued <= longest_s);
    if let Some(from) = said.get("nbf") {
        assert!(seconds(from) <= NOW_S + LEEWAY_S);
    }
}

/// This reader takes `-0` for a fraction.
fn seconds(said: &Value) -> i64 {
    let is_zero = said.as_f64().is_some_and(|number| number.to_bits() << 1 == 0);
    if is_zero { 0 } else { said.as_i64().unwrap() }
}

/// What the caller may do is what the details say, each of which is understood.
fn granted(details: &Value, caller: &Caller) {
    let details = details.as_array().unwrap();
    assert!(!details.is_empty());
    for detail in details {
        assert_eq!(detail["type"], json!(DETAIL_TYPE));
        let known = ["type", "agreement", "purpose", "actions"];
        assert!(detail.as_object().unwrap().keys().all(|name| known.contains(&name.as_str())));
    }
    for (purpose, action) in PurposeClass::ALL.into_iter().flat_map(|one| ACTIONS.map(|action| (one, action)))
    {
        let says = |detail: &&Value| {
            detail["purpose"] == json!(purpose.as_str())
                && detail["actions"].as_array().unwrap().contains(&json!(action.as_str()))
        };
        let saying: Vec<_> = details.iter().filter(says).collect();
        match caller.granted(purpose, action) {
            None => assert!(saying.is_empty(), "what is granted is granted"),
            Some(None) => assert!(saying.iter().any(|one| one.get("agreement").is_none())),
            Some(Some(agreements)) => {
                let said: Vec<_> = saying.iter().map(|one| one["agreement"].as_str()).collect();
                let taken: Vec<_> = agreements.iter().map(|one| Some(one.as_str())).collect();
                assert!(!said.is_empty() && taken == said, "limited to these agreements");
            }
        }
    }
}

/// Ten digits that are an NHS number, and no digit beside them, however they are set apart; not those of a UUID, nor of a numbering by
/// years, which are let in.
fn is_a_persons_number(text: &str) -> bool {
    if text.len() == 36 {
        return false;
    }
    let digits: String = text.chars().filter(|one| !matches!(one, '-' | '_' | '.' | ' ')).collect();
    let runs = digits.split(|one: char| !one.is_ascii_digit());
    runs.filter(|run| run.len() == 10 && !run.starts_with("19") && !run.starts_with("20")).any(|run| {
        let of: Vec<u32> = run.bytes().map(|digit| u32::from(digit - b'0')).collect();
        let sum: u32 = (2..=10).rev().zip(&of).map(|(weight, digit)| weight * digit).sum();
        let check = (11 - sum % 11) % 11;
        check < 10 && of[9] == check
    })
}
