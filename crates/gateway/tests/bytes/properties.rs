//! What holds of any bytes that somebody sends. Shared with the fuzz targets (fuzz/README.md).

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use gateway::{
    caller::jws::{TOKEN_BYTES_MAX, Unverified},
    edge::parse_body,
    fhir::consent,
    routes::{disclosures::DisclosureRequest, fhir::searched_for},
};
use jsonwebtoken::DecodingKey;

/// The key that the kept tokens are signed with. Its other half was thrown away.
const KEY: &[u8] = include_bytes!("tokens.pem");
/// What was signed with it.
const SIGNED: [&str; 2] = [
    include_str!("../../../../fuzz/corpus/tokens/access-token"),
    include_str!("../../../../fuzz/corpus/tokens/sharing-context"),
];

/// A token: refused, or one whose signature is over just these bytes. However a signed one is changed, another is not signed;
/// and one that names a key in itself is not even opened.
pub fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = DecodingKey::from_ec_pem(KEY).unwrap();
    let signed = |token: &str| token.rsplit_once('.').map(|(input, _)| input.to_owned());
    for kind in ["at+jwt", "sharing-context+jwt"] {
        let Ok(token) = Unverified::open(text, kind) else { continue };
        assert!(text.len() <= TOKEN_BYTES_MAX, "a token is bounded");
        let header = text.split('.').next().and_then(|part| BASE64URL.decode(part).ok()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        for name in ["jku", "x5u", "jwk", "x5c", "crit"] {
            assert!(header.get(name).is_none(), "a token does not say where its key is");
        }
        assert!(!matches!(header["alg"].as_str(), None | Some("none" | "HS256" | "HS384" | "HS512")));
        assert!(!token.key_id.is_empty() && token.key_id.len() <= 128, "a key's name is bounded");
        if token.verify(&key).is_ok() {
            let is_kept = SIGNED.iter().any(|kept| signed(kept.trim_end()) == signed(text));
            assert!(is_kept, "what nobody signed is taken as signed");
        }
    }
}

/// The query of a FHIR search: refused, or the one parameter `identifier`, once, with the one system, and a whole number.
pub fn searches(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(uri) = format!("/fhir/nhs-pds/Patient?{text}").parse() else { return };
    let Ok(identifier) = searched_for(&uri) else { return };
    // What comes after it is no part of a request's target, and is not read (RFC 9110, section 7.1).
    let text = text.split('#').next().unwrap_or_default();
    let parts: Vec<_> = text.split('&').filter(|part| !part.is_empty()).collect();
    assert!(parts.len() == 1, "one parameter is understood, and others are not ignored");
    let plain = percent(parts.first().copied().unwrap_or_default());
    let spelt = plain.strip_prefix("identifier=https://fhir.nhs.uk/Id/nhs-number|");
    let digits: String = spelt.unwrap_or_default().chars().filter(|one| *one != ' ').collect();
    assert!(
        spelt.is_some() && digits == identifier.as_str(),
        "the person who is searched for is the one that is named"
    );
}

/// As `application/x-www-form-urlencoded` reads it, by a way of its own.
fn percent(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = [ahead.next(), ahead.next()];
        let value = digits
            .into_iter()
            .try_fold(0u32, |value, digit| Some(value * 16 + char::from(digit?).to_digit(16)?));
        match (byte, value.and_then(|value| u8::try_from(value).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = ahead;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A question's body: refused, or an object with members that are known, each once.
pub fn bodies(bytes: &[u8]) {
    if parse_body::<DisclosureRequest>(bytes, 16 * 1024).is_err() {
        return;
    }
    assert!(bytes.len() <= 16 * 1024, "a body is bounded");
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let known = ["subject", "provider", "purpose", "case_reference", "items", "break_glass"];
    let names: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.iter().all(|name| known.contains(name)), "what is not known is refused");
    // A name that is written twice would be read as one thing here and as another elsewhere: compact, the text is as long as it was.
    let length = |text: &[u8]| {
        let mut inside = false;
        let mut escaped = false;
        let counts = |byte: &&u8| {
            let is_space = !inside && byte.is_ascii_whitespace();
            let is_quote = **byte == b'"' && !escaped;
            escaped = inside && **byte == b'\\' && !escaped;
            inside ^= is_quote;
            **byte == b',' && !inside && !is_space
        };
        text.iter().filter(counts).count()
    };
    let again = serde_json::to_vec(&value).unwrap();
    assert!(length(&again) == length(bytes), "nothing that was said is left out");
}

/// A FHIR Consent: refused with everything that cannot be kept, or kept so that it is written and read as it was.
pub fn consents(bytes: &[u8]) {
    let Ok(resource) = serde_json::from_slice(bytes) else { return };
    match consent::read(&resource) {
        Ok(said) => {
            let again = consent::read(&consent::write(&said, None, None));
            assert!(again.is_ok_and(|again| again == said), "a consent is kept whole");
        }
        Err(unmapped) => assert!(!unmapped.is_empty(), "a refusal says what of"),
    }
}

/// A property of bytes, which panics where it does not hold.
pub type Property = fn(&[u8]);

/// Every property, under the name of its target and corpus.
pub const ALL: [(&str, Property); 4] =
    [("tokens", tokens), ("searches", searches), ("bodies", bodies), ("consents", consents)];
