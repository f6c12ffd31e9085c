//! Canonical JSON (RFC 8785), restricted to integers: the same value always has the same bytes.

use std::cmp::Ordering;

use serde::Serialize;

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
    // Compact, and escaped exactly as RFC 8785 §3.2.2.2 asks: what is left to do is the order of members.
    let text = serde_json::to_vec(value)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    order(&mut rest, &mut out)?;
    Ok(out)
}

/// Takes one value from the front of compact JSON text and writes it with its members in order.
fn order(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match rest.first() {
        Some(b'{') => order_object(rest, out),
        Some(b'[') => {
            skip(rest);
            out.push(b'[');
            while rest.first().is_some_and(|byte| *byte != b']') {
                if rest.first() == Some(&b',') {
                    skip(rest);
                    out.push(b',');
                }
                order(rest, out)?;
            }
            skip(rest);
            out.push(b']');
            Ok(())
        }
        Some(b'"') => {
            out.extend(string(rest));
            Ok(())
        }
        _ => {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b']' | b'}')).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            *rest = after;
            out.extend(word);
            if matches!(word, b"null" | b"true" | b"false") { Ok(()) } else { check_number(word) }
        }
    }
}

fn order_object(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    skip(rest);
    out.push(b'{');
    let begin = out.len();
    let mut members = Vec::new();
    while rest.first().is_some_and(|byte| *byte != b'}') {
        if rest.first() == Some(&b',') {
            skip(rest);
            out.push(b',');
        }
        let (start, key) = (out.len() - begin, string(rest));
        out.extend(key);
        skip(rest);
        out.push(b':');
        order(rest, out)?;
        members.push((key, start..out.len() - begin));
    }
    skip(rest);
    if !members.is_sorted_by(|(one, _), (other, _)| compare(one, other).is_lt()) {
        members.sort_by(|(one, _), (other, _)| compare(one, other));
        let written = out.split_off(begin);
        for (position, (_, place)) in members.into_iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend(written.get(place).unwrap_or_default());
        }
    }
    out.push(b'}');
    Ok(())
}

/// The order of two keys, given as JSON strings: by UTF-16 (RFC 8785 §3.2.3), which orders plain ASCII as bytes do.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let is_plain = |key: &[u8]| key.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if is_plain(one) && is_plain(other) {
        // Without the quotes: one comes before what it is the beginning of.
        let bare = |key: &[u8]| key.len().saturating_sub(1);
        return one.iter().take(bare(one)).cmp(other.iter().take(bare(other)));
    }
    let read = |key: &[u8]| serde_json::from_slice::<String>(key).unwrap_or_default();
    read(one).encode_utf16().cmp(read(other).encode_utf16())
}

/// Takes a string, with its quotes.
fn string<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let mut is_escaped = true; // the quote that begins it
    let end = rest.iter().position(|byte| {
        let ends = !is_escaped && *byte == b'"';
        is_escaped = !is_escaped && *byte == b'\\';
        ends
    });
    let (string, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
    *rest = after;
    string
}

/// Takes one byte that is known.
fn skip(rest: &mut &[u8]) {
    *rest = rest.get(1..).unwrap_or_default();
}

fn check_number(digits: &[u8]) -> Result<(), CanonicalError> {
    let integer = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
    let is_safe = integer.is_some_and(|integer| integer.unsigned_abs() <= INTEGER_MAX);
    if is_safe { Ok(()) } else { Err(CanonicalError::Number) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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

    /// The same by way of a tree: longer, and plain to see.
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

    #[test]
    fn is_what_a_tree_comes_to() {
        let keys = ["", "a", "ab", "b", "a\"b", "a\\", "\u{e9}", "\u{1f600}", "\u{fb33}", "\n", "z z", "A"];
        let mut seed = 7_u32;
        let mut next = |end: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % end
        };
        for _ in 0..500 {
            let mut values = vec![json!(null), json!(true), json!(-7), json!("x,]}\""), json!([]), json!({})];
            for _ in 0..6 {
                let taken = (0..next(5)).map(|_| values[next(6) as usize].clone()).collect::<Vec<_>>();
                let value = if next(2) == 0 {
                    Value::Array(taken)
                } else {
                    let named = taken.into_iter().map(|value| (keys[next(12) as usize].to_owned(), value));
                    Value::Object(named.collect())
                };
                values[next(6) as usize] = value;
            }
            for value in values {
                let mut expected = Vec::new();
                write(&value, &mut expected).unwrap();
                let found = to_canonical_json(&value).unwrap();
                assert_eq!(String::from_utf8(found).unwrap(), String::from_utf8(expected).unwrap());
            }
        }
    }
}
