//! Signing terms that are in a file, without a network: for whoever holds a key and hands the signature in by the console.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::super::output;
use crate::{
    agreements::signature::{self, Statement},
    clock::{Clock as _, SystemClock},
    config,
};

/// Prints the detached JWS over these terms.
pub(super) fn sign(
    (terms, terms_sha256): (&Path, &str),
    (organisation, person, role): (String, String, String),
    key: &Path,
) -> anyhow::Result<()> {
    let text = config::read(terms)?;
    let value: Value = serde_json::from_str(&text).with_context(|| terms.display().to_string())?;
    let canonical = ledger::canonical::to_canonical_json(&value)?;
    ensure!(
        canonical == text.as_bytes(),
        "the file is not the terms as they were downloaded; download them again"
    );
    let found = ledger::tree::hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(&canonical));
    ensure!(
        found == terms_sha256,
        "these are other terms than the digest is of; read them, and take both from the same page"
    );
    let (id, version) =
        (value.get("id").and_then(Value::as_str), value.get("version").and_then(Value::as_u64));
    let (Some(id), Some(version)) = (id, version.and_then(|version| u32::try_from(version).ok())) else {
        anyhow::bail!("the file has no `id` and `version`; download the terms from the agreement's page")
    };
    let statement = Statement {
        agreement: id.to_owned(),
        version,
        terms_sha256: found,
        organisation,
        signatory: person,
        role,
        signed_at: SystemClock.now().as_second(),
    };
    output::line(&signature::sign(&config::read(key)?, &text, &statement)?);
    Ok(())
}
