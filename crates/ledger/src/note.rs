//! Signed notes (C2SP signed-note) with Ed25519.
//!
//! Source: <https://c2sp.org/signed-note>.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::tree::hexadecimal;

const ED25519: u8 = 0x01;

/// A key that signs notes. The seed is wiped when it is dropped.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
    key_id: [u8; 4],
}

/// A key that verifies notes.
#[derive(Clone)]
pub struct NoteVerifier {
    name: String,
    key: VerifyingKey,
    key_id: [u8; 4],
}

/// A note whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedNote {
    /// The text, ending in a newline.
    pub text: String,
    /// The names of the keys that signed it.
    pub signed_by: Vec<String>,
}

/// A note or key that is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a verifier key.
    #[error("not a verifier key of the form name+hash+key")]
    Key,
    /// Not a signed note.
    #[error("not a signed note")]
    Malformed,
    /// Signed by nobody that is known.
    #[error("the note is not signed by a known key")]
    Unsigned,
    /// A known key's signature does not verify.
    #[error("a signature on the note is wrong")]
    Signature,
}

impl std::fmt::Debug for NoteSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "NoteSigner({})", self.name)
    }
}

impl std::fmt::Debug for NoteVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "NoteVerifier({})", self.name)
    }
}

impl NoteSigner {
    /// The signer of this name from 32 secret bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = key_id(name, &key.verifying_key());
        Self { name: name.to_owned(), key, key_id }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, as `name+hash+key`.
    pub fn verifier_key(&self) -> String {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.verifying_key().as_bytes());
        let hash = hexadecimal(&self.key_id);
        format!("{}+{hash}+{}", self.name, BASE64.encode(key))
    }

    /// The whole note: the text, an empty line, the signature. The text must end in a newline.
    pub fn sign(&self, text: &str) -> String {
        let mut signature = self.key_id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.name, BASE64.encode(signature))
    }
}

impl NoteVerifier {
    /// Reads `name+hash+key`.
    ///
    /// # Errors
    /// [`NoteError::Key`] when it is not one, or its hash does not fit.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = BASE64.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519, public)) = bytes.split_first() else { return Err(NoteError::Key) };
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::Key)?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| NoteError::Key)?;
        let key_id = key_id(name, &key);
        let spelled = hexadecimal(&key_id);
        let name_fits = !name.is_empty() && !name.contains(char::is_whitespace);
        if spelled == hash && name_fits {
            Ok(Self { name: name.to_owned(), key, key_id })
        } else {
            Err(NoteError::Key)
        }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let signature: Result<[u8; 64], _> = signature.try_into();
        signature.is_ok_and(|bytes| {
            self.key.verify_strict(text.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
        })
    }
}

/// Opens a note: at least one of these keys must have signed it, and none of them wrongly. Other keys'
/// signatures are passed over.
///
/// # Errors
/// [`NoteError`] saying what is not in order.
pub fn open(note: &str, verifiers: &[NoteVerifier]) -> Result<OpenedNote, NoteError> {
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
    let text = format!("{text}\n");
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let mut signed_by = Vec::new();
    for line in signatures.split('\n') {
        let (name, encoded) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Malformed)?;
        let bytes = BASE64.decode(encoded).map_err(|_| NoteError::Malformed)?;
        let (key_id, signature) = bytes.split_at_checked(4).ok_or(NoteError::Malformed)?;
        let known = verifiers.iter().find(|verifier| verifier.name == name && verifier.key_id == key_id);
        match known {
            None => {}
            Some(verifier) if verifier.verifies(&text, signature) => signed_by.push(name.to_owned()),
            Some(_) => return Err(NoteError::Signature),
        }
    }
    if signed_by.is_empty() { Err(NoteError::Unsigned) } else { Ok(OpenedNote { text, signed_by }) }
}

fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update("\n")
        .chain_update([ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    let mut id = [0; 4];
    id.copy_from_slice(digest.get(..4).unwrap_or(&[0; 4]));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const REFERENCE_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn opens_the_note_of_the_reference_implementation() {
        let verifier = NoteVerifier::parse(REFERENCE_KEY).unwrap();
        assert_eq!(open(REFERENCE_NOTE, &[verifier]).unwrap().signed_by, ["PeterNeumann"]);
    }

    #[test]
    fn a_changed_note_is_refused() {
        let signer = NoteSigner::from_seed("ledger.example", &[7; 32]);
        let verifier = NoteVerifier::parse(&signer.verifier_key()).unwrap();
        let note = signer.sign("one\ntwo\n");
        assert_eq!(open(&note, std::slice::from_ref(&verifier)).unwrap().text, "one\ntwo\n");
        let changed = note.replacen("one", "own", 1);
        assert_eq!(open(&changed, std::slice::from_ref(&verifier)), Err(NoteError::Signature));
        let other = NoteVerifier::parse(REFERENCE_KEY).unwrap();
        assert_eq!(open(&note, &[other]), Err(NoteError::Unsigned));
        assert_eq!(open("one\ntwo\n", &[verifier]), Err(NoteError::Malformed));
        assert!(!format!("{signer:?}").contains("7, 7"));
    }
}
