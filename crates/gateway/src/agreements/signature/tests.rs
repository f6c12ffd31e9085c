//! What is not a signature by this key, over these terms, for this office, is none.

use super::*;

const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const TERMS: &str = r#"{"id":"a","version":3}"#;

fn statement() -> Statement {
    Statement {
        agreement: "a".to_owned(),
        version: 3,
        terms_sha256: "00".to_owned(),
        organisation: "gmca".to_owned(),
        signatory: "P-1".to_owned(),
        role: "siro".to_owned(),
        signed_at: 1_795_000_000,
    }
}

fn registered(pem: &str) -> (String, String) {
    key(&public_key(pem).unwrap()).unwrap()
}

#[test]
fn both_algorithms_verify_and_nothing_else_does() {
    let p256 = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for pem in [ED25519, &p256] {
        let (jwk, id) = registered(pem);
        let signed = sign(pem, TERMS, &statement()).unwrap();
        let check =
            |signed: &str, terms: &str, expected: &Statement| verify(signed, terms, (&jwk, &id), expected);
        assert_eq!(check(&signed, TERMS, &statement()), Ok(()));
        let other_terms = TERMS.replace('3', "4");
        assert_eq!(check(&signed, &other_terms, &statement()), Err(SignatureFault::Signature));
        let changes: [fn(&mut Statement); 7] = [
            |said| said.agreement.push('x'),
            |said| said.version = 2,
            |said| said.terms_sha256.push('0'),
            |said| said.organisation = "nhs-england".to_owned(),
            |said| said.signatory = "P-2".to_owned(),
            |said| said.role = "iao".to_owned(),
            |said| said.signed_at += 1,
        ];
        for change in changes {
            let mut other = statement();
            change(&mut other);
            assert_eq!(check(&signed, TERMS, &other), Err(SignatureFault::Statement), "{other:?}");
            // And a header that was changed to say so does not verify.
            let (_, tail) = signed.split_once("..").unwrap();
            let head = sign(pem, TERMS, &other).unwrap();
            let moved = format!("{}..{tail}", head.split_once("..").unwrap().0);
            assert_eq!(check(&moved, TERMS, &other), Err(SignatureFault::Signature));
        }
    }
}

#[test]
fn another_key_is_refused() {
    let (jwk, id) = registered(ED25519);
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let signed = sign(&other, TERMS, &statement()).unwrap();
    assert_eq!(verify(&signed, TERMS, (&jwk, &id), &statement()), Err(SignatureFault::Algorithm));
    let (other_jwk, other_id) = registered(&other);
    assert_eq!(verify(&signed, TERMS, (&other_jwk, &id), &statement()), Err(SignatureFault::Key));
    assert_eq!(verify(&signed, TERMS, (&other_jwk, &other_id), &statement()), Ok(()));
}

#[test]
fn what_forgives_is_how_attacks_begin() {
    let (jwk, id) = registered(ED25519);
    let signed = sign(ED25519, TERMS, &statement()).unwrap();
    let (head, tail) = signed.split_once("..").unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&BASE64URL.decode(head).unwrap()).unwrap();
    let with = |header: &serde_json::Value| format!("{}..{tail}", BASE64URL.encode(header.to_string()));
    header["b64"] = false.into();
    let unencoded = with(&header);
    header.as_object_mut().unwrap().remove("b64");
    header["alg"] = "none".into();
    let unsigned = with(&header);
    let attached = signed.replace("..", &format!(".{}.", BASE64URL.encode(TERMS)));
    for (what, fault) in [
        (unencoded, SignatureFault::Malformed),
        (unsigned, SignatureFault::Algorithm),
        (attached, SignatureFault::Malformed),
        (String::new(), SignatureFault::Malformed),
        ("..".to_owned(), SignatureFault::Malformed),
        ("a".repeat(SIGNATURE_BYTES_MAX + 1), SignatureFault::Malformed),
    ] {
        assert_eq!(verify(&what, TERMS, (&jwk, &id), &statement()), Err(fault), "{what}");
    }
}

#[test]
fn only_public_keys_of_two_kinds_are_taken() {
    let mut private = public_key(ED25519).unwrap();
    private["d"] = "AAAA".into();
    assert_eq!(key(&private), Err(SignatureFault::Algorithm));
    let octets = serde_json::json!({ "kty": "oct", "k": "AAAA" });
    assert_eq!(key(&octets), Err(SignatureFault::Algorithm));
    // RFC 8037, appendix A.3.
    let known = serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    assert_eq!(key(&known).unwrap().1, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(public_key(ED25519).unwrap()["x"], known["x"]);
}
