//! Words that are kept beside the ledger. The ledger has their digest, and a salt is digested with them: without it,
//! whoever reads the ledger could try out what the words might be. When the words are forgotten the salt is, and the
//! digest says nothing.

use ledger::tree::hexadecimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock::Entropy;

/// 128 random bits in hexadecimal.
pub fn salt(entropy: &dyn Entropy) -> String {
    format!("{:032x}", entropy.bits())
}

/// The form in which words are kept.
pub fn salted(entropy: &dyn Entropy, text: &str) -> String {
    json!({ "salt": salt(entropy), "text": text }).to_string()
}

/// As [`salted`], with more beside the text.
pub fn salted_members(entropy: &dyn Entropy, mut members: serde_json::Map<String, Value>) -> String {
    members.insert("salt".to_owned(), salt(entropy).into());
    Value::Object(members).to_string()
}

/// The words in that form; others as they are.
pub fn words(kept: &str) -> String {
    let read: Option<Value> = serde_json::from_str(kept).ok();
    let text = read.and_then(|value| value.get("text")?.as_str().map(str::to_owned));
    text.unwrap_or_else(|| kept.to_owned())
}

/// One of the texts in that form.
pub fn member(kept: &str, name: &str) -> Option<String> {
    members(kept).get(name)?.as_str().map(str::to_owned)
}

/// The members of an object that is kept, without its salt.
pub fn members(kept: &str) -> Value {
    let mut value: Value = serde_json::from_str(kept).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("salt");
    }
    value
}

/// The digest that the ledger has, bound to what the words belong to, so that the same words elsewhere have another.
pub fn digest(of: &str, kept: &str) -> String {
    hexadecimal(&Sha256::digest(format!("{of}{kept}")))
}
