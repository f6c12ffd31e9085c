//! A checkpoint stamped by a time-stamping authority (RFC 3161): openssl is both the authority and who verifies.
//!
//! A stamp says that the checkpoint was there at a time by somebody else's clock. It needs no code of ours: the
//! checkpoint is a file.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, process::Command};

use tempfile::TempDir;
use third_party::{checkpoint, leaves};

const AUTHORITY: &str = "
[tsa]
default_tsa = here
[here]
serial = ./serial
signer_cert = ./tsa.pem
signer_key = ./tsa.key
signer_digest = sha256
digests = sha256, sha512
default_policy = 1.2.3.4.1
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
[stamping]
extendedKeyUsage = critical, timeStamping
";

fn openssl(folder: &TempDir, arguments: &str) -> bool {
    let arguments = arguments.split_whitespace();
    let output = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
    output.status.success()
}

fn authority() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("authority.cnf"), AUTHORITY).unwrap();
    fs::write(folder.path().join("serial"), "01\n").unwrap();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config authority.cnf";
    for step in [
        format!("req -x509 {new} -subj /CN=authority -extensions ca -days 3650 -keyout ca.key -out ca.pem"),
        format!("req {new} -subj /CN=stamps -keyout tsa.key -out tsa.csr"),
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile authority.cnf \
         -extensions stamping -out tsa.pem"
            .to_owned(),
    ] {
        assert!(openssl(&folder, &step), "{step}");
    }
    folder
}

#[test]
fn a_stamp_is_of_one_checkpoint_and_by_one_authority() {
    let folder = authority();
    let leaves = leaves(20);
    fs::write(folder.path().join("checkpoint"), checkpoint(&leaves)).unwrap();
    fs::write(folder.path().join("another"), checkpoint(leaves.get(..19).unwrap())).unwrap();
    assert!(openssl(&folder, "ts -query -data checkpoint -sha256 -cert -out request.tsq"));
    assert!(openssl(&folder, "ts -reply -config authority.cnf -queryfile request.tsq -out stamp.tsr"));
    assert!(openssl(&folder, "ts -verify -data checkpoint -in stamp.tsr -CAfile ca.pem"));
    assert!(!openssl(&folder, "ts -verify -data another -in stamp.tsr -CAfile ca.pem"), "another checkpoint");
    let stranger = authority();
    fs::copy(stranger.path().join("ca.pem"), folder.path().join("stranger.pem")).unwrap();
    assert!(
        !openssl(&folder, "ts -verify -data checkpoint -in stamp.tsr -CAfile stranger.pem"),
        "another authority"
    );
    let stamp = folder.path().join("stamp.tsr");
    let mut bytes = fs::read(&stamp).unwrap();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(stamp, bytes).unwrap();
    assert!(!openssl(&folder, "ts -verify -data checkpoint -in stamp.tsr -CAfile ca.pem"), "a changed stamp");
}
