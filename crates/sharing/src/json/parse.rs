//! The reader: recursive descent over bytes, bounded in depth, size and number of values.

use std::collections::HashSet;

use super::{Json, JsonError, JsonFault, Limits};

/// Reads one JSON document, strictly.
///
/// # Errors
/// [`JsonError`] with the offset; the document is refused whole.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Json, JsonError> {
    let too_large = JsonError { fault: JsonFault::TooLarge, offset_bytes: limits.bytes_max };
    if bytes.len() > limits.bytes_max {
        return Err(too_large);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError { fault: JsonFault::Unicode, offset_bytes: error.valid_up_to() })?;
    let mut reader = Reader { text, offset: 0, depth_left: limits.depth_max, values_left: limits.values_max };
    reader.skip_space();
    let value = reader.value()?;
    reader.skip_space();
    if reader.peek().is_some() { Err(reader.fault(JsonFault::Syntax)) } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
    depth_left: usize,
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn fault(&self, fault: JsonFault) -> JsonError {
        JsonError { fault, offset_bytes: self.offset }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or("")
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.offset += 1;
            Ok(())
        } else {
            Err(self.fault(JsonFault::Syntax))
        }
    }

    fn value(&mut self) -> Result<Json, JsonError> {
        self.values_left = self.values_left.checked_sub(1).ok_or_else(|| self.fault(JsonFault::TooLarge))?;
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::String),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault(JsonFault::Syntax)),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, JsonError>) -> Result<Json, JsonError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or_else(|| self.fault(JsonFault::TooDeep))?;
        self.offset += 1;
        self.skip_space();
        let value = read(self)?;
        self.depth_left += 1;
        Ok(value)
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if self.rest().starts_with(word) {
            self.offset += word.len();
            Ok(value)
        } else {
            Err(self.fault(JsonFault::Syntax))
        }
    }

    fn array(&mut self) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.offset += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            if self.ends(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    fn object(&mut self) -> Result<Json, JsonError> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        if self.peek() == Some(b'}') {
            self.offset += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            if !seen.insert(key.clone()) {
                return Err(self.fault(JsonFault::DuplicateKey));
            }
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            members.push((key, self.value()?));
            if self.ends(b'}')? {
                return Ok(Json::Object(members));
            }
        }
    }

    /// After a member: `true` at the closing bracket, `false` at a comma.
    fn ends(&mut self, close: u8) -> Result<bool, JsonError> {
        self.skip_space();
        let closed = self.peek() == Some(close);
        if !closed && self.peek() != Some(b',') {
            return Err(self.fault(JsonFault::Syntax));
        }
        self.offset += 1;
        Ok(closed)
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let run =
                self.rest().find(|character: char| character == '"' || character == '\\' || character < ' ');
            let run = run.ok_or_else(|| self.fault(JsonFault::Syntax))?;
            out.push_str(self.rest().get(..run).unwrap_or(""));
            self.offset += run;
            match self.peek() {
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.offset += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.fault(JsonFault::Syntax)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let letter = self.peek().ok_or_else(|| self.fault(JsonFault::Syntax))?;
        self.offset += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.fault(JsonFault::Syntax)),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.four_hex()?;
        if (0xD800..0xDC00).contains(&first) {
            if !self.rest().starts_with("\\u") {
                return Err(self.fault(JsonFault::Unicode));
            }
            self.offset += 2;
            let second = self.four_hex()?;
            if !(0xDC00..0xE000).contains(&second) {
                return Err(self.fault(JsonFault::Unicode));
            }
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return char::from_u32(code).ok_or_else(|| self.fault(JsonFault::Unicode));
        }
        char::from_u32(first).ok_or_else(|| self.fault(JsonFault::Unicode))
    }

    fn four_hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest().get(..4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
        let code = code.ok_or_else(|| self.fault(JsonFault::Syntax))?;
        self.offset += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.offset;
        if self.peek() == Some(b'-') {
            self.offset += 1;
        }
        if self.peek() == Some(b'0') {
            self.offset += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.offset += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.offset += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.offset += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(start..self.offset).unwrap_or("0").to_owned()))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.offset;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.offset += 1;
        }
        if self.offset == start { Err(self.fault(JsonFault::Syntax)) } else { Ok(()) }
    }
}
