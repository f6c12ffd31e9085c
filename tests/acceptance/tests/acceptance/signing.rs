//! Keys of every kind, and texts as tokens have them.

use std::{path::Path, process::Command};

/// Base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    out
}

/// A P-256 key, PKCS#8 in PEM.
pub(crate) fn p256() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

/// An Ed25519 key, by openssl.
pub(crate) fn ed25519(folder: &Path) -> String {
    openssl(folder, "ed.key", &["-algorithm", "ed25519"])
}

/// An RSA key of 2048 bits, by openssl.
pub(crate) fn rsa(folder: &Path) -> String {
    openssl(folder, "rsa.key", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
}

fn openssl(folder: &Path, name: &str, kind: &[&str]) -> String {
    let path = folder.join(name);
    let made = Command::new("openssl").arg("genpkey").args(kind).arg("-out").arg(&path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read_to_string(path).unwrap()
}
