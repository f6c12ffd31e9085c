//! Compact JWS, opened strictly. Signatures are checked by `jsonwebtoken`; everything around them is checked
//! here, because parsers that forgive are how token attacks begin (RFC 8725).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, DecodingKey};
use sharing::json::{Json, Limits, parse};

/// Largest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Headers that make a verifier fetch or trust a key named by the token itself, or change how it is read.
const FORBIDDEN_HEADERS: [&str; 6] = ["jku", "x5u", "jwk", "x5c", "crit", "b64"];

/// A token whose parts have been read and whose signature has not been checked.
pub struct Unverified<'a> {
    signing_input: &'a str,
    signature: &'a str,
    claims: Json,
    /// The algorithm it names.
    pub algorithm: Algorithm,
    /// The key it names.
    pub key_id: String,
}

/// The claims of a token whose signature is good.
pub struct Claims(Json);

/// A token that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwsFault {
    /// Its form is not that of a compact JWS of this type, or something in it is not allowed.
    Malformed,
    /// It names no algorithm that is ever allowed.
    Algorithm,
    /// Its signature is wrong.
    Signature,
}

impl<'a> Unverified<'a> {
    /// Reads a token of this type (`typ`).
    ///
    /// # Errors
    /// [`JwsFault`] when it is not one.
    pub fn open(token: &'a str, token_type: &str) -> Result<Self, JwsFault> {
        Self::open_any(token, |kind| {
            kind.map(|kind| kind.strip_prefix("application/").unwrap_or(kind)) == Some(token_type)
        })
    }

    /// Reads a token whose type (`typ`) is one of those that fit.
    ///
    /// # Errors
    /// [`JwsFault`] when it is not one.
    pub fn open_any(token: &'a str, fits: impl FnOnce(Option<&str>) -> bool) -> Result<Self, JwsFault> {
        let Headed { signing_input, signature, claims, algorithm, key_id } = Headed::read(token, fits)?;
        Ok(Self { signing_input, signature, claims: part(claims)?, algorithm, key_id })
    }

    /// Who says that they issued it. Nothing is believed of a token before its signature: this chooses whose keys to look in.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.member("iss").and_then(Json::as_str)
    }

    /// Checks the signature. The key must be one for the algorithm that the token names.
    ///
    /// # Errors
    /// [`JwsFault::Signature`] when it is wrong.
    pub fn verify(self, key: &DecodingKey) -> Result<Claims, JwsFault> {
        if is_signed(self.signing_input, self.signature, key, self.algorithm) {
            Ok(Claims(self.claims))
        } else {
            Err(JwsFault::Signature)
        }
    }
}

/// A token of which nothing but the header has been read.
pub(super) struct Headed<'a> {
    pub(super) signing_input: &'a str,
    pub(super) signature: &'a str,
    claims: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
}

impl<'a> Headed<'a> {
    pub(super) fn read(token: &'a str, fits: impl FnOnce(Option<&str>) -> bool) -> Result<Self, JwsFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwsFault::Malformed);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsFault::Malformed)?;
        let (header, claims) = signing_input.split_once('.').ok_or(JwsFault::Malformed)?;
        if BASE64URL.decode(signature).is_err() {
            return Err(JwsFault::Malformed);
        }
        let header = part(header)?;
        let text = |name| header.member(name).and_then(Json::as_str);
        let is_text = header.member("typ").is_none_or(|kind| kind.as_str().is_some());
        if !is_text
            || !fits(text("typ"))
            || FORBIDDEN_HEADERS.iter().any(|name| header.member(name).is_some())
        {
            return Err(JwsFault::Malformed);
        }
        let algorithm = text("alg").and_then(algorithm).ok_or(JwsFault::Algorithm)?;
        let key_id = text("kid").filter(|kid| is_key_id(kid)).ok_or(JwsFault::Malformed)?.to_owned();
        Ok(Self { signing_input, signature, claims, algorithm, key_id })
    }
}

/// Whether a signature, as a token has it, is of this text by the owner of this key.
pub(super) fn is_signed(
    input: impl AsRef<[u8]>,
    signature: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> bool {
    matches!(jsonwebtoken::crypto::verify(signature, input.as_ref(), key, algorithm), Ok(true))
}

pub(crate) fn part(encoded: &str) -> Result<Json, JwsFault> {
    let bytes = BASE64URL.decode(encoded).map_err(|_| JwsFault::Malformed)?;
    let limits = Limits { bytes_max: TOKEN_BYTES_MAX, depth_max: 8, values_max: 500 };
    match parse(&bytes, &limits) {
        Ok(object @ Json::Object(_)) => Ok(object),
        _ => Err(JwsFault::Malformed),
    }
}

/// Whether this can be the `kid` of a key, which RFC 7517, section 4.5, leaves to its owner: a plain name, a digest in base64 with all of its
/// signs (NHS CIS2), or the address of a key in somebody's key store; not a path that goes upwards. It is looked up in a map, and goes nowhere
/// else but into a log line.
pub fn is_key_id(text: &str) -> bool {
    is_of(text, 128, b"_-.~+/=:@") && !text.contains("..")
}

/// Whether this can be the `jti` of a signed context or of a client's assertion: it is kept until that has expired.
pub fn is_token_id(text: &str) -> bool {
    is_of(text, 64, b"_-.")
}

fn is_of(text: &str, longest: usize, besides: &[u8]) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || besides.contains(&byte))
}

/// The asymmetric algorithms; `none` and HMAC have no name here.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        _ => return None,
    })
}

impl Claims {
    /// The claim of this name.
    pub fn member(&self, name: &str) -> Option<&Json> {
        self.0.member(name)
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.member(name).and_then(Json::as_str)
    }

    /// A claim that is a whole number of seconds; not a string, not a fraction, not an exponent.
    pub fn seconds(&self, name: &str) -> Option<i64> {
        match self.member(name) {
            Some(Json::Number(digits)) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Whether there is no claim but these.
    pub fn has_only(&self, names: &[&str]) -> bool {
        matches!(&self.0, Json::Object(members) if members.iter().all(|(name, _)| names.contains(&name.as_str())))
    }
}
