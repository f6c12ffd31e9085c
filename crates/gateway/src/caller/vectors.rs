//! Signatures and key sets that others made to be refused: Wycheproof's, through our reading of keys and of tokens.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

#[cfg(feature = "vectors")]
use super::jws::Headed;
use super::{jws::is_signed, keys};

fn hexadecimal(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The key of a group, as somebody's key set would have it who says of it what it is for, or not.
fn key_of(group: &Value) -> Value {
    let given = ["publicKeyJwk", "keyJwk"].into_iter().map(|name| &group[name]).find(|jwk| jwk.is_object());
    let number = |digits: &Value| {
        let bytes = hexadecimal(digits);
        BASE64URL.encode(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
    };
    let key = &group["publicKey"];
    let mut key = match (given, key["type"].as_str()) {
        (Some(given), _) => given.clone(),
        (None, Some("EcPublicKey")) => {
            // A mark, and two numbers of the curve's size.
            let point = hexadecimal(&key["uncompressed"]);
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            let curve = if x.len() == 32 { "P-256" } else { "P-384" };
            json!({ "kty": "EC", "crv": curve, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) })
        }
        (None, _) => {
            json!({ "kty": "RSA", "n": number(&key["modulus"]), "e": number(&key["publicExponent"]) })
        }
    };
    key["kid"] = "k".into();
    key
}

/// How many signatures of a set are taken and refused. Each is as `is_good` says.
fn held_against(set: &str, algorithm: Algorithm, is_good: impl Fn(&Value) -> Option<bool>) -> (u32, u32) {
    let set: Value = serde_json::from_str(set).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for group in set["testGroups"].as_array().unwrap() {
        let mut key = key_of(group);
        // Or one that is signed in another way would not be looked at.
        key.as_object_mut().unwrap().remove("alg");
        let keys = keys::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        let key = &keys["k"];
        assert!(key.is_for(algorithm));
        for test in group["tests"].as_array().unwrap() {
            let signature = BASE64URL.encode(hexadecimal(&test["sig"]));
            let is_taken = is_signed(hexadecimal(&test["msg"]), &signature, &key.decoding, algorithm);
            if let Some(is_good) = is_good(test) {
                assert_eq!(is_taken, is_good, "{algorithm:?}: {test}");
            }
            *(if is_taken { &mut taken } else { &mut refused }) += 1;
        }
    }
    (taken, refused)
}

/// As the set says: what is `acceptable` there may be either.
fn as_said(test: &Value) -> Option<bool> {
    match test["result"].as_str().unwrap() {
        "valid" => Some(true),
        "invalid" => Some(false),
        other => {
            assert_eq!(other, "acceptable");
            None
        }
    }
}

#[test]
fn signatures_of_wycheproof_are_told_apart() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let sets = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data(), ES256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data(), ES384),
        (eddsa::TestName::Ed25519.json_data(), EdDSA),
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32.json_data(), PS256),
        (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32.json_data(), PS256),
        (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32.json_data(), PS256),
        (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48.json_data(), PS384),
        (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48.json_data(), PS384),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64.json_data(), PS512),
        (pkcs1::TestName::Rsa2048Sha256.json_data(), RS256),
        (pkcs1::TestName::Rsa3072Sha256.json_data(), RS256),
        (pkcs1::TestName::Rsa4096Sha256.json_data(), RS256),
        (pkcs1::TestName::Rsa2048Sha384.json_data(), RS384),
        (pkcs1::TestName::Rsa3072Sha384.json_data(), RS384),
        (pkcs1::TestName::Rsa4096Sha384.json_data(), RS384),
        (pkcs1::TestName::Rsa2048Sha512.json_data(), RS512),
        (pkcs1::TestName::Rsa3072Sha512.json_data(), RS512),
        (pkcs1::TestName::Rsa4096Sha512.json_data(), RS512),
    ];
    let mut all = BTreeMap::<_, (u32, u32)>::new();
    for (set, algorithm) in sets {
        let (taken, refused) = held_against(set, algorithm, as_said);
        let of_it = all.entry(format!("{algorithm:?}")).or_default();
        *of_it = (of_it.0 + taken, of_it.1 + refused);
    }
    println!("taken and refused: {all:?}");
    assert!(all.values().all(|(taken, refused)| *taken > 20 && *refused > 40), "{all:?}");
}

/// Good signatures of the same key that a token does not have in this form.
#[test]
fn what_is_signed_in_another_form_is_refused() {
    // Some that are spoilt for the other form are in order for this one.
    let good_ones_are_refused = |test: &Value| (test["result"] == "valid").then_some(false);
    let sets = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256.json_data(), Algorithm::ES256), // in DER
        (ecdsa::TestName::EcdsaSecp256r1Sha512P1363.json_data(), Algorithm::ES256),
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen0.json_data(), Algorithm::PS256), // RFC 7518, section 3.5
        (pss::TestName::RsaPss2048Sha256Mgf1Sha1_20.json_data(), Algorithm::PS256),
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32.json_data(), Algorithm::RS256),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen32.json_data(), Algorithm::PS512),
        (pkcs1::TestName::Rsa2048Sha256.json_data(), Algorithm::PS256),
        (pkcs1::TestName::Rsa2048Sha512.json_data(), Algorithm::RS256),
        (pkcs1::TestName::Rsa2048Sha3_256.json_data(), Algorithm::RS256),
    ];
    for (set, algorithm) in sets {
        let (taken, refused) = held_against(set, algorithm, good_ones_are_refused);
        assert!(taken < 5 && refused > 50, "{algorithm:?}: {taken} and {refused}");
    }
}

/// Whole tokens and key sets, which are in no package: `tests/nightly vectors` says where they are read from.
#[cfg(feature = "vectors")]
#[test]
#[expect(clippy::disallowed_methods, reason = "no setting of the program's")]
fn tokens_of_wycheproof_are_told_apart() {
    let folder = std::env::var_os("CONCORDAT_VECTORS").expect("CONCORDAT_VECTORS names a folder of vectors");
    let mut seen = BTreeMap::<_, u32>::new();
    for file in ["json_web_signature_test.json", "json_web_key_test.json"] {
        let text = std::fs::read_to_string(std::path::Path::new(&folder).join(file)).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        for group in all["testGroups"].as_array().unwrap() {
            let found = ["public", "private"].into_iter().map(|name| &group[name]);
            let found = found.into_iter().find(|key| key.is_object()).unwrap();
            let set = if found["keys"].is_array() { found.clone() } else { json!({ "keys": [found] }) };
            let keys = keys::parse(set.to_string().as_bytes());
            for test in group["tests"].as_array().unwrap() {
                let token = test["jws"].as_str().unwrap_or_default();
                let said = match (&keys, Headed::read(token, |_| true)) {
                    (Err(_), _) => "no key set of ours",
                    (_, Err(_)) => "no token of ours",
                    (Ok(keys), Ok(headed)) => match keys.get(&headed.key_id) {
                        None => "no such key",
                        Some(key) if !key.is_for(headed.algorithm) => "not with this key",
                        Some(key)
                            if is_signed(
                                headed.signing_input,
                                headed.signature,
                                &key.decoding,
                                headed.algorithm,
                            ) =>
                        {
                            "taken"
                        }
                        Some(_) => "not signed",
                    },
                };
                let result = test["result"].as_str().unwrap();
                assert!(said != "taken" || result != "invalid", "{test}");
                let is_ours = !["no key set of ours", "no token of ours"].contains(&said);
                assert!(said == "taken" || result != "valid" || !is_ours, "{said}: {test}");
                *seen.entry((file, result.to_owned(), said)).or_default() += 1;
            }
        }
    }
    println!("{seen:#?}");
    assert!(seen.iter().any(|((.., said), count)| *said == "taken" && *count >= 20), "{seen:#?}");
}
