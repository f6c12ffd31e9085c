//! Canonical JSON (RFC 8785), restricted to integers: the same value always has the same bytes.

use serde::Serialize;
use serde_json::Value;

/// A value that has no canonical form here.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It cannot be JSON at all.
    #[error("not representable as json: {0}")]
    Json(#[from] serde_json::Error),
    /// A number that is not an integer within ±(2^53 − 1), which JSON tools disagree on.
    #[error("a number is not an integer that every json tool reads alike")]
    Number,
}

const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The canonical bytes of a value.
///
/// # Errors
/// [`CanonicalError`] when a number in it is not a safe integer.
pub fn to_canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(1024);
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(answer) => out.extend(if *answer { b"true".as_slice() } else { b"false" }),
        Value::Number(number) => {
            let safe = number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= INTEGER_MAX);
            if !safe {
                return Err(CanonicalError::Number);
            }
            serde_json::to_writer(out, number)?;
        }
        // serde_json escapes exactly as RFC 8785 §3.2.2.2 asks.
        Value::String(text) => serde_json::to_writer(out, text)?,
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut ordered: Vec<_> = members.iter().collect();
            // By UTF-16, which orders ASCII as bytes do.
            if members.keys().all(|key| key.is_ascii()) {
                ordered.sort_unstable_by_key(|(key, _)| *key);
            } else {
                ordered.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            }
            out.push(b'{');
            for (position, (key, item)) in ordered.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn follows_the_specification() {
        let value = json!({"\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew", "1": "One",
            "\u{1f600}": "Emoji", "\u{80}": "Control", "\u{f6}": "Latin"});
        let text = String::from_utf8(to_canonical_json(&value).unwrap()).unwrap();
        let order = ["Carriage Return", "One", "Control", "Latin", "Euro Sign", "Emoji", "Hebrew"];
        let places: Vec<_> = order.iter().map(|word| text.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "RFC 8785 §3.2.3: {text}");
        let escapes = json!("\u{20ac}$\u{f}\u{a}A'B\"\\\"/");
        assert_eq!(
            to_canonical_json(&escapes).unwrap(),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\"/\"".as_bytes()
        );
    }

    #[test]
    fn only_safe_integers() {
        assert!(to_canonical_json(&json!(9_007_199_254_740_991_i64)).is_ok());
        assert!(to_canonical_json(&json!(9_007_199_254_740_992_i64)).is_err());
        assert!(to_canonical_json(&json!(1.5)).is_err());
    }
}
