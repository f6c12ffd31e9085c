//! Every way in which a signed token is forged, made from a good one of any kind by one change each.

use acceptance::World;
use gateway::mint::MintingKey;
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use serde_json::{Value, json};

use crate::signing::{base64url, p256};

/// A good token in parts, and whose key signs it.
pub(crate) struct Good {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) jwk: Value,
    algorithm: Algorithm,
    pem: String,
    jwks: Vec<u8>,
}

impl Good {
    /// One that is signed with the key of this name in the deployment's folder.
    pub(crate) fn of(world: &World, key: &str, kind: &str, claims: Value) -> Self {
        let folder = world.folder.path();
        let jwks = std::fs::read(folder.join(format!("{key}.jwks.json"))).unwrap();
        let jwk = serde_json::from_slice::<Value>(&jwks).unwrap()["keys"][0].clone();
        let (name, algorithm) = match jwk["kty"].as_str() {
            Some("OKP") => ("EdDSA", Algorithm::EdDSA),
            _ => ("ES256", Algorithm::ES256),
        };
        Self {
            header: json!({ "typ": kind, "alg": name, "kid": jwk["kid"] }),
            claims,
            pem: std::fs::read_to_string(folder.join(format!("{key}.key"))).unwrap(),
            jwk,
            algorithm,
            jwks,
        }
    }

    /// Signed by the key that is believed, whatever header and claims say.
    pub(crate) fn signed(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(self.pem.as_bytes()),
            _ => EncodingKey::from_ec_pem(self.pem.as_bytes()),
        };
        format!("{input}.{}", crypto::sign(input.as_bytes(), &key.unwrap(), self.algorithm).unwrap())
    }

    pub(crate) fn token(&self) -> String {
        self.signed(&self.header.to_string(), &self.claims.to_string())
    }

    pub(crate) fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header.clone();
        change(&mut header);
        self.signed(&header.to_string(), &self.claims.to_string())
    }

    pub(crate) fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        self.signed(&self.header.to_string(), &claims.to_string())
    }

    fn key_id(&self) -> &str {
        self.header["kid"].as_str().unwrap()
    }
}

/// All of them that are made of the token itself.
pub(crate) fn all(good: &Good) -> Vec<(String, String)> {
    let ids = key_ids(good.key_id());
    let ids = ids.into_iter().map(|id| good.with_header(|header| header["kid"] = id));
    [algorithms(good), named("key id", ids), structure(good), texts(good)].concat()
}

pub(crate) fn named(name: &str, tokens: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    tokens.into_iter().enumerate().map(|(place, token)| (format!("{name} {place}"), token)).collect()
}

/// The algorithm that the token names, and what a verifier that believes it would take for the key.
fn algorithms(good: &Good) -> Vec<(String, String)> {
    let names = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(256),
        json!(["ES256"]),
        json!({}),
        json!("es256"),
        json!("ES256K"),
        json!("ES256\u{0}"),
        json!(" ES256"),
        json!("ES256"),
        json!("ES512"),
        json!("ES384"),
        json!("EdDSA"),
        json!("RS256"),
        json!("RS512"),
        json!("PS256"),
        json!("HS256"),
        json!("HS384"),
        json!("HS512"),
        json!("dir"),
        json!("RSA-OAEP"),
        json!("A128KW"),
    ];
    let mut forged = Vec::new();
    for name in names.iter().filter(|name| **name != good.header["alg"]) {
        let token = good.with_header(|header| header["alg"] = name.clone());
        let (input, _) = token.rsplit_once('.').unwrap();
        forged.push(token.clone());
        forged.push(format!("{input}."));
    }
    let without = good.with_header(|header| drop(header.as_object_mut().unwrap().remove("alg")));
    forged.push(without);
    // The public key as an HMAC secret, in every form that a verifier might have it in.
    let part = |name: &str| {
        let _: Jwk = serde_json::from_value(good.jwk.clone()).unwrap();
        good.jwk[name].as_str().unwrap().to_owned()
    };
    let key = rcgen::KeyPair::from_pem(&good.pem).unwrap();
    let (der, raw) =
        (rcgen::PublicKeyData::subject_public_key_info(&key), rcgen::PublicKeyData::der_bytes(&key).to_vec());
    let (pem, x, id) = (key.public_key_pem(), part("x"), part("kid"));
    let secrets: &[&[u8]] = &[
        pem.as_bytes(),
        pem.trim().as_bytes(),
        &der,
        &raw,
        &raw[1..],
        &good.jwks,
        x.as_bytes(),
        id.as_bytes(),
        b"",
    ];
    for (name, algorithm) in
        [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
    {
        for secret in secrets {
            let token = good.with_header(|header| header["alg"] = json!(name));
            let (input, _) = token.rsplit_once('.').unwrap();
            let signature = crypto::sign(input.as_bytes(), &EncodingKey::from_secret(secret), algorithm);
            forged.push(format!("{input}.{}", signature.unwrap_or_default()));
        }
    }
    named("algorithm", forged)
}

/// What a key id might be used for by somebody who looks it up carelessly.
fn key_ids(own: &str) -> Vec<Value> {
    let texts = [
        "",
        " ",
        ".",
        "..",
        "/",
        "../issuer-1",
        "..\\issuer-1",
        "./issuer-1",
        "issuer-1/../issuer-1",
        "/dev/null",
        "/etc/passwd",
        "file:///dev/null",
        "https://127.0.0.1:1/",
        "//127.0.0.1/",
        "%2e%2e%2fissuer-1",
        "..%252fissuer-1",
        "issuer-1\u{0}",
        "issuer-1\u{0}.pem",
        "\u{0}",
        "issuer-1\n",
        "\nissuer-1",
        "issuer-1\r\nX: y",
        "issuer-1;ls",
        "$(id)",
        "`id`",
        "| id",
        "&& id",
        "' OR '1'='1",
        "' OR 1=1 --",
        "\" OR \"\"=\"",
        "'; DROP TABLE ledger_entry; --",
        "1' UNION SELECT 'x' --",
        "issuer-1' AND '1'='1",
        "*",
        "?",
        "%",
        "_%",
        "*)(kid=*",
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
        "<%= 7 %>",
        "${jndi:ldap://127.0.0.1:1/}",
        "%s%s%n",
        "{}",
        "[]",
        "null",
        "undefined",
        "NaN",
        "true",
        "0",
        "-1",
        "<script>",
        "\u{202e}1-reussi",
        "issuer\u{2011}1",
        "іssuer-1",
        "ISSUER-1",
        "issuer-1 ",
        "issuer-1\u{200b}",
        "ｉssuer-1",
        "e\u{301}",
        "\u{feff}issuer-1",
        "😀",
        "\u{7f}",
        "\u{1b}[31m",
        "issuer-1-2",
        "issuer-2",
        "context-1",
        "token-1",
        "constructor",
        "__proto__",
    ];
    let texts = texts.iter().map(|text| text.replace("issuer-1", own)).filter(|text| text != own);
    let mut ids: Vec<Value> = texts.map(Value::String).collect();
    ids.extend([json!(null), json!(1), json!(true), json!([]), json!([own]), json!({ "kid": own })]);
    ids.extend([json!("i".repeat(65)), json!(own.repeat(500))]);
    ids
}

fn structure(good: &Good) -> Vec<(String, String)> {
    let good = good.token();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let flipped = |place: usize| {
        let mut bytes: Vec<u8> = signature.bytes().collect();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        format!("{header}.{claims}.{}", String::from_utf8(bytes).unwrap())
    };
    let mut forged = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{good}.{signature}"),
        format!("{good}.."),
        format!(".{good}"),
        format!("{header}.{header}.{signature}"),
        format!("{claims}.{claims}.{signature}"),
        format!("{good}{good}"),
        format!("{good},{good}"),
        format!("{good} {good}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{header}%3d.{claims}.{signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}\t.{signature}"),
        format!("\"{good}\""),
        format!("{good}A"),
        good.replace('.', "%2e"),
        good.replace('.', ","),
        good.to_uppercase(),
        base64url(good.as_bytes()),
        format!("{}.{}.{}", base64url(good.as_bytes()), claims, signature),
        json!({ "payload": claims, "protected": header, "signature": signature }).to_string(),
        json!({ "payload": claims, "signatures": [{ "protected": header, "signature": signature }] })
            .to_string(),
        format!("{header}.{claims}.{}", base64url(&[0; 64])),
        format!("{header}.{claims}.{}", base64url(&[0; 72])),
        format!("{header}.{claims}.{}", base64url(&[0xff; 64])),
        format!("{header}.{claims}.{}", base64url(&[1; 64])),
        format!("{header}.{claims}.{}", base64url(&GROUP_ORDER.repeat(2))), // r = s = n
        format!("{header}.{claims}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{}{}", &signature[43..], &signature[..43]),
        "x".repeat(8 * 1024),
        format!("{good}{}", "A".repeat(8 * 1024)),
    ];
    // The last letter has four bits that a forgiving reader drops.
    let last = signature.chars().last().unwrap();
    let alike = ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|letter| *letter != last);
    forged.extend(
        alike.map(|letter| format!("{header}.{claims}.{}{letter}", &signature[..signature.len() - 1])),
    );
    forged.extend((0..signature.len()).step_by(3).map(flipped));
    named("structure", forged)
}

/// The order of P-256's group.
pub(crate) const GROUP_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Header and claims whose text is not that of one JSON object in order.
fn texts(good: &Good) -> Vec<(String, String)> {
    let (header, claims) = (good.header.to_string(), good.claims.to_string());
    let spoil: &[fn(&str) -> String] = &[
        |text| format!("\u{feff}{text}"),
        |text| format!("{text}{text}"),
        |text| format!("{text}x"),
        |text| format!("[{text}]"),
        |text| text[..text.len() - 1].to_owned(),
        |text| text.replacen('{', "{\"a\":NaN,", 1),
        |text| text.replacen('{', "{\"a\":01,", 1),
        |text| text.replacen('{', "{\"a\":\"\\ud800\",", 1),
        |text| text.replacen('{', "{\"a\":\"\t\",", 1),
        |text| text.replacen('{', "{'a':1,", 1),
        |text| text.replacen('{', "{/**/", 1),
        |text| text.replacen('{', "{\"a\":1,\"a\":2,", 1),
        |text| text.replacen('{', "{\"a\":1,\"\\u0061\":2,", 1),
        |text| text.replacen('{', &format!("{{\"a\":{}1{},", "[".repeat(40), "]".repeat(40)), 1),
        |_| "\"\"".to_owned(),
        |_| "null".to_owned(),
    ];
    let mut forged = Vec::new();
    for spoil in spoil {
        forged.push(good.signed(&spoil(&header), &claims));
        forged.push(good.signed(&header, &spoil(&claims)));
    }
    let names = ["iss", "aud", "exp", "client_id", "cnf", "sub", "jti", "requested_record"];
    for name in names.into_iter().filter(|name| good.claims.get(name).is_some()) {
        let first = claims.replacen('{', &format!("{{\"{name}\":{},", good.claims[name]), 1);
        let last = format!("{},\"{name}\":{}}}", &claims[..claims.len() - 1], good.claims[name]);
        forged.extend([good.signed(&header, &first), good.signed(&header, &last)]);
    }
    named("text", forged)
}

/// Keys that a token brings along, or says where they are: on this machine, at this port.
pub(crate) fn own_keys(good: &Good, port: u16) -> Vec<(String, String)> {
    let own = p256();
    let key = EncodingKey::from_ec_pem(own.as_bytes()).unwrap();
    let own_jwk = MintingKey::from_pem(&own, good.key_id()).unwrap().jwks().unwrap()["keys"][0].clone();
    let mut forged = Vec::new();
    for address in [
        "https://127.0.0.1",
        "http://127.0.0.1",
        "https://localhost",
        "http://2130706433",
        "https://[::ffff:127.0.0.1]",
    ] {
        for name in ["jku", "x5u", "JKU", "jwk_uri", "x5t_url"] {
            forged.push((name.to_owned(), json!(format!("{address}:{port}/jwks.json"))));
        }
    }
    for value in [own_jwk.clone(), good.jwk.clone(), json!({}), json!(null), json!(own_jwk.to_string())] {
        forged.push(("jwk".to_owned(), value));
    }
    for value in [json!(["exp"]), json!([]), json!(["b64"]), json!("exp"), json!(null)] {
        forged.push(("crit".to_owned(), value));
    }
    forged.extend([
        ("x5c".to_owned(), json!(["MIIB"])),
        ("b64".to_owned(), json!(false)),
        ("jwks".to_owned(), json!({ "keys": [own_jwk] })),
    ]);
    let mut tokens = Vec::new();
    for (name, value) in &forged {
        let mut header = good.header.clone();
        header["alg"] = json!("ES256");
        header[name] = value.clone();
        let input = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(good.claims.to_string().as_bytes())
        );
        let signature = crypto::sign(input.as_bytes(), &key, Algorithm::ES256).unwrap();
        tokens.push((format!("{name} {value}"), format!("{input}.{signature}")));
        // Even where the issuer itself signed it, what tells a verifier to look elsewhere is not taken.
        if ["jku", "x5u", "jwk", "x5c", "crit", "b64"].contains(&name.as_str()) {
            tokens.push((
                format!("signed {name} {value}"),
                good.with_header(|header| header[name] = value.clone()),
            ));
        }
    }
    tokens
}

/// Of every type but those that its kind may have.
pub(crate) fn types(good: &Good, taken: &[&str]) -> Vec<(String, String)> {
    let mut types =
        vec![json!(null), json!(1), json!([good.header["typ"]]), json!({}), json!(true), json!("")];
    types.extend(TYPES.iter().filter(|name| !taken.contains(name)).map(|name| json!(name)));
    let forged = types
        .into_iter()
        .map(|kind| (format!("type {kind}"), good.with_header(|header| header["typ"] = kind)));
    forged.collect()
}

/// What tokens of other kinds are called, and what looks like those that are taken here.
const TYPES: [&str; 23] = [
    "JWT",
    "jwt",
    "at+jwt",
    "AT+JWT",
    "at+jwt ",
    "at-jwt",
    "id+jwt",
    "sharing-context+jwt",
    "SHARING-CONTEXT+JWT",
    " sharing-context+jwt",
    "sharing-context",
    "client-authentication+jwt",
    "CLIENT-AUTHENTICATION+JWT",
    "client-authentication+jwt\0",
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "oauth-authz-req+jwt",
    "application/jwt",
    "application/application/at+jwt",
    "JOSE",
    "JWE",
];
