//! Selectors: which places of a record a data item is read from.
//!
//! `identifier[system=https://fhir.nhs.uk/Id/nhs-number].value` walks member by member. Arrays are entered
//! element by element. A filter in brackets keeps only the objects whose member of that name is exactly that
//! text. There are no wildcards: a place nobody listed is never reached. `crate::reach` compiles them and follows them.

use std::{fmt, str::FromStr};

/// A parsed selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    steps: Vec<Step>,
}

/// From a value to the values of one of its members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// The member's name.
    pub key: String,
    /// Names and texts that members of the value must have.
    pub filters: Vec<(String, String)>,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a selector is member names joined by dots, each with optional filters, like `telecom[system=phone].value`; it has no wildcards"
)]
pub struct SelectorError;

impl Selector {
    /// Its steps, in order; there is one at least.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (step, after) = step(rest)?;
            steps.push(step);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(Self { steps }),
                None => return Err(SelectorError),
            }
        }
    }
}

fn step(text: &str) -> Result<(Step, &str), SelectorError> {
    let (key, mut rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    if !is_member_name(key) {
        return Err(SelectorError);
    }
    let mut filters = Vec::new();
    while let Some(inside) = rest.strip_prefix('[') {
        let (filter, after) = inside.split_once(']').ok_or(SelectorError)?;
        let (name, value) = filter.split_once('=').ok_or(SelectorError)?;
        if !is_member_name(name) || value.is_empty() {
            return Err(SelectorError);
        }
        filters.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    Ok((Step { key: key.to_owned(), filters }, rest))
}

fn is_member_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            if position > 0 {
                formatter.write_str(".")?;
            }
            formatter.write_str(&step.key)?;
            for (key, value) in &step.filters {
                write!(formatter, "[{key}={value}]")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl<'de> serde::Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed_and_refuses_the_rest() {
        for text in ["a", "a.b[c=d].e", "extension[url=https://x.example/a.b].valueString"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", "a..b", "a[", "a[b]", "a[b=]", "*", "a[0]", "a b", "a[=x]"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
