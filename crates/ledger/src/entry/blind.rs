//! What keeps an entry from being guessed.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::tree::hexadecimal;

/// 128 random bits in an entry. What an entry can say is often one of a few things, and its place and time are known to whoever has a
/// receipt: without these bits the hash in the receipt would tell which, by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blind([u8; 16]);

impl Blind {
    /// Takes random bits; nobody but the readers of the ledger may know them.
    pub fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl Serialize for Blind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hexadecimal(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed = || D::Error::custom("32 hexadecimal digits");
        let mut bits = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(malformed());
        }
        for (byte, digits) in bits.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        Ok(Self(bits))
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Blind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Blind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
}
