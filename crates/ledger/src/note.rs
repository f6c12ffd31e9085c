//! Signed notes (C2SP signed-note): text, and under it the signatures of keys that have a name and a kind.
//!
//! A log signs with Ed25519; a witness's cosignature (C2SP tlog-cosignature) is over the time and the text. A
//! signature of a key that nobody configured is passed over, whatever its algorithm, so a log can take on new
//! ones without breaking whoever verifies it.
//!
//! Source: <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-cosignature>.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::tree::hexadecimal;

/// The most signatures that a note may have. The specification asks for 16 at least.
pub const SIGNATURES_MAX: usize = 100;

/// The kind of a key: its algorithm and what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over a time and the text of a checkpoint: a cosignature.
    Cosignature,
    /// ML-DSA-44 over a time and a checkpoint's size and root: a cosignature. Known by name; not verified yet.
    MlDsa44Cosignature,
}

impl KeyKind {
    /// Source: C2SP signed-note, "Signature types".
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
            Self::MlDsa44Cosignature => 0x06,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature, Self::MlDsa44Cosignature]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// A key that signs notes. The seed is wiped when it is dropped.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
    key_id: [u8; 4],
}

/// A witness's key, which cosigns checkpoints. The seed is wiped when it is dropped.
pub struct Cosigner {
    name: String,
    key: SigningKey,
    key_id: [u8; 4],
}

/// A key that verifies notes.
#[derive(Clone)]
pub struct NoteVerifier {
    name: String,
    key: PublicKey,
    key_id: [u8; 4],
}

/// What a signature is verified with. A new algorithm is a variant here and in [`KeyKind`].
#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Ed25519(VerifyingKey),
    Cosignature(VerifyingKey),
}

/// The keys that a ledger's checkpoints verify with: one, or several while one takes over from another. A signature of
/// any of them is enough, and none of them may be wrong.
pub trait LogKeys {
    /// The keys, which have one name.
    fn keys(&self) -> &[NoteVerifier];
}

impl LogKeys for NoteVerifier {
    fn keys(&self) -> &[NoteVerifier] {
        std::slice::from_ref(self)
    }
}

impl LogKeys for [NoteVerifier] {
    fn keys(&self) -> &[NoteVerifier] {
        self
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The key's name.
    pub name: String,
    /// When it was made, in seconds since 1970; only a cosignature says.
    pub time_s: Option<u64>,
    key_id: [u8; 4],
}

impl VerifiedSignature {
    /// Whether it is this key's.
    pub fn is_by(&self, verifier: &NoteVerifier) -> bool {
        self.name == verifier.name && self.key_id == verifier.key_id
    }
}

/// A note whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedNote {
    /// The text, ending in a newline.
    pub text: String,
    /// The known keys' signatures, one a key.
    pub signatures: Vec<VerifiedSignature>,
}

/// A note or key that is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a verifier key.
    #[error("not a verifier key of the form name+hash+key")]
    Key,
    /// A key of a kind that cannot be verified here.
    #[error("a key of a kind that this program does not verify")]
    Kind,
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

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Cosigner({})", self.name)
    }
}

impl std::fmt::Debug for NoteVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "NoteVerifier({})", self.name)
    }
}

impl std::fmt::Display for NoteVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (PublicKey::Ed25519(key) | PublicKey::Cosignature(key)) = &self.key;
        formatter.write_str(&spelled(&self.name, self.key_id, self.kind(), key))
    }
}

impl NoteSigner {
    /// The signer of this name from 32 secret bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = key_id(name, KeyKind::Ed25519, &key.verifying_key());
        Self { name: name.to_owned(), key, key_id }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, as `name+hash+key`.
    pub fn verifier_key(&self) -> String {
        spelled(&self.name, self.key_id, KeyKind::Ed25519, &self.key.verifying_key())
    }

    /// The whole note: the text, an empty line, the signature. The text must end in a newline.
    pub fn sign(&self, text: &str) -> String {
        format!("{text}\n{}", self.line(text))
    }

    /// The signature line alone, for the end of a note that another key signed too.
    pub fn line(&self, text: &str) -> String {
        let mut signature = self.key_id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        signature_line(&self.name, &signature)
    }
}

impl Cosigner {
    /// The cosigner of this name from 32 secret bytes, which must be no other key's: a cosignature does not
    /// say who made it.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = key_id(name, KeyKind::Cosignature, &key.verifying_key());
        Self { name: name.to_owned(), key, key_id }
    }

    /// The public half, as `name+hash+key`.
    pub fn verifier_key(&self) -> String {
        spelled(&self.name, self.key_id, KeyKind::Cosignature, &self.key.verifying_key())
    }

    /// The signature line over a checkpoint's text, for the end of its note. Only after it was seen to extend
    /// everything cosigned before.
    pub fn cosign(&self, text: &str, time_s: u64) -> String {
        let mut signature = self.key_id.to_vec();
        signature.extend_from_slice(&time_s.to_be_bytes());
        signature.extend_from_slice(&self.key.sign(cosigned_message(text, time_s).as_bytes()).to_bytes());
        signature_line(&self.name, &signature)
    }
}

impl NoteVerifier {
    /// Reads `name+hash+key`.
    ///
    /// # Errors
    /// [`NoteError::Key`] when it is not one, or its hash does not fit; [`NoteError::Kind`] when its kind is not
    /// verified here.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = BASE64.decode(key).map_err(|_| NoteError::Key)?;
        let (kind, public) = bytes.split_first().ok_or(NoteError::Key)?;
        let kind = KeyKind::from_byte(*kind).ok_or(NoteError::Kind)?;
        let public: Result<[u8; 32], _> = public.try_into();
        let public =
            || VerifyingKey::from_bytes(&public.map_err(|_| NoteError::Key)?).map_err(|_| NoteError::Key);
        let (key, key_id) = match kind {
            KeyKind::Ed25519 => (PublicKey::Ed25519(public()?), key_id(name, kind, &public()?)),
            KeyKind::Cosignature => (PublicKey::Cosignature(public()?), key_id(name, kind, &public()?)),
            KeyKind::MlDsa44Cosignature => return Err(NoteError::Kind),
        };
        let name_fits = !name.is_empty() && !name.contains(char::is_whitespace);
        if hexadecimal(&key_id) == hash && name_fits {
            Ok(Self { name: name.to_owned(), key, key_id })
        } else {
            Err(NoteError::Key)
        }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's kind.
    pub fn kind(&self) -> KeyKind {
        match self.key {
            PublicKey::Ed25519(_) => KeyKind::Ed25519,
            PublicKey::Cosignature(_) => KeyKind::Cosignature,
        }
    }

    /// Whether both verify with the same secret, whatever their names and kinds.
    pub fn shares_secret_with(&self, other: &Self) -> bool {
        let (PublicKey::Ed25519(one) | PublicKey::Cosignature(one)) = &self.key;
        let (PublicKey::Ed25519(two) | PublicKey::Cosignature(two)) = &other.key;
        one == two
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Result<VerifiedSignature, NoteError> {
        let (key, message, signature, time_s) = match &self.key {
            PublicKey::Ed25519(key) => (key, text.to_owned(), signature, None),
            PublicKey::Cosignature(key) => {
                let (time, signature) = signature.split_first_chunk().ok_or(NoteError::Signature)?;
                let time_s = u64::from_be_bytes(*time);
                if i64::try_from(time_s).is_err() {
                    return Err(NoteError::Signature);
                }
                (key, cosigned_message(text, time_s), signature, Some(time_s))
            }
        };
        let signature: [u8; 64] = signature.try_into().map_err(|_| NoteError::Signature)?;
        key.verify_strict(message.as_bytes(), &Signature::from_bytes(&signature))
            .map_err(|_| NoteError::Signature)?;
        Ok(VerifiedSignature { name: self.name.clone(), time_s, key_id: self.key_id })
    }
}

/// Opens a note: at least one of these keys must have signed it, and none of them wrongly. Other keys'
/// signatures are passed over.
///
/// # Errors
/// [`NoteError`] saying what is not in order.
pub fn open(note: &str, verifiers: &[NoteVerifier]) -> Result<OpenedNote, NoteError> {
    if note.contains(|letter: char| letter < ' ' && letter != '\n') {
        return Err(NoteError::Malformed);
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
    let text = format!("{text}\n");
    let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(NoteError::Malformed);
    }
    let mut signatures: Vec<VerifiedSignature> = Vec::new();
    for line in lines.split('\n') {
        let (name, encoded) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Malformed)?;
        let bytes = BASE64.decode(encoded).map_err(|_| NoteError::Malformed)?;
        let (key_id, signature) = bytes.split_at_checked(4).ok_or(NoteError::Malformed)?;
        let known = verifiers.iter().find(|verifier| verifier.name == name && verifier.key_id == key_id);
        let Some(verifier) = known else { continue };
        let signature = verifier.verify(&text, signature)?;
        if !signatures.iter().any(|other| other.is_by(verifier)) {
            signatures.push(signature);
        }
    }
    if signatures.is_empty() { Err(NoteError::Unsigned) } else { Ok(OpenedNote { text, signatures }) }
}

/// Source: C2SP tlog-cosignature, "Ed25519 signed message".
fn cosigned_message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

fn signature_line(name: &str, signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", BASE64.encode(signature))
}

fn spelled(name: &str, key_id: [u8; 4], kind: KeyKind, key: &VerifyingKey) -> String {
    let mut bytes = vec![kind.byte()];
    bytes.extend_from_slice(key.as_bytes());
    format!("{name}+{}+{}", hexadecimal(&key_id), BASE64.encode(bytes))
}

fn key_id(name: &str, kind: KeyKind, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update("\n")
        .chain_update([kind.byte()])
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
        assert_eq!(open(REFERENCE_NOTE, &[verifier]).unwrap().signatures[0].name, "PeterNeumann");
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

    const COSIGNED_BY_A_WITNESS: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn a_cosignature_is_over_the_time_and_the_text() {
        let log = NoteSigner::from_seed("example.com/behind-the-sofa", &[1; 32]);
        let witness = Cosigner::from_seed("witness.example/w1", &[2; 32]);
        let note = log.sign(COSIGNED_BY_A_WITNESS) + &witness.cosign(COSIGNED_BY_A_WITNESS, 1_679_315_147);
        let keys = [log.verifier_key(), witness.verifier_key()].map(|key| NoteVerifier::parse(&key).unwrap());
        assert_eq!((keys[0].kind(), keys[1].kind()), (KeyKind::Ed25519, KeyKind::Cosignature));
        let opened = open(&note, &keys).unwrap();
        let times: Vec<_> = opened.signatures.iter().map(|signature| signature.time_s).collect();
        assert_eq!(times, [None, Some(1_679_315_147)]);
        // Twice the same witness is one witness.
        let twice = note.clone() + &witness.cosign(COSIGNED_BY_A_WITNESS, 1_679_315_148);
        assert_eq!(open(&twice, &keys).unwrap().signatures.len(), 2);
        let later = log.sign(COSIGNED_BY_A_WITNESS)
            + &witness.cosign(COSIGNED_BY_A_WITNESS, 1_679_315_147).replacen("AAAABkGFDL", "AAAABkGFDM", 1);
        assert_ne!(later, note);
        assert_eq!(open(&later, &keys), Err(NoteError::Signature));
        let of_another = log.sign(COSIGNED_BY_A_WITNESS) + &witness.cosign("another\n", 1_679_315_147);
        assert_eq!(open(&of_another, &keys), Err(NoteError::Signature));
        let as_a_log = NoteSigner::from_seed("witness.example/w1", &[2; 32]).verifier_key();
        assert!(keys[1].shares_secret_with(&NoteVerifier::parse(&as_a_log).unwrap()));
        assert_eq!(open(&note, &[NoteVerifier::parse(&as_a_log).unwrap()]), Err(NoteError::Unsigned));
    }

    #[test]
    fn signatures_of_other_algorithms_are_passed_over() {
        let signer = NoteSigner::from_seed("ledger.example", &[7; 32]);
        let verifier = NoteVerifier::parse(&signer.verifier_key()).unwrap();
        // As long as an ML-DSA-44 cosignature: key id, time, 2,420 bytes.
        let unknown = signature_line("ledger.example", &[6; 4 + 8 + 2_420]);
        let note = signer.sign("one\n") + &unknown;
        assert_eq!(open(&note, &[verifier]).unwrap().signatures.len(), 1);
        let mut key = vec![KeyKind::MlDsa44Cosignature.byte()];
        key.extend_from_slice(&[0; 1_312]);
        let key = format!("witness.example+00000000+{}", BASE64.encode(key));
        assert_eq!(NoteVerifier::parse(&key).unwrap_err(), NoteError::Kind);
    }

    #[test]
    fn notes_have_no_control_characters_and_a_limit() {
        let signer = NoteSigner::from_seed("ledger.example", &[7; 32]);
        let verifier = NoteVerifier::parse(&signer.verifier_key()).unwrap();
        assert_eq!(open(&signer.sign("o\tne\n"), std::slice::from_ref(&verifier)), Err(NoteError::Malformed));
        let line = signature_line("somebody", &[0; 8]);
        let crowded = signer.sign("one\n") + &line.repeat(SIGNATURES_MAX - 1);
        assert!(open(&crowded, std::slice::from_ref(&verifier)).is_ok());
        assert_eq!(open(&(crowded + &line), &[verifier]), Err(NoteError::Malformed));
    }
}
