//! Identifiers, parsed once at the edge. Anything that can name a person prints only its scheme.
//!
//! Errors never echo the input, because the input may be somebody's NHS number in the wrong field. Identifiers are
//! shared text, so that a decision copies none of them.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a string is not the identifier it was offered as. The offered text is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not ten ASCII digits.
    #[error("an nhs number has ten digits, such as 485 777 3456 on a letter; leave everything else out")]
    NhsNumberShape,
    /// The modulus 11 check digit does not match.
    #[error("the nhs number's check digit is wrong; check it against the source")]
    NhsNumberCheckDigit,
    /// Not a lower-case slug.
    #[error(
        "an identifier of this kind is 1 to 64 lower-case letters, digits, hyphens or dots, beginning with a letter"
    )]
    Slug,
    /// Not a known identifier scheme.
    #[error(
        "the identifier scheme is `nhs-number`, or `local:` followed by the organisation that issued the reference"
    )]
    Scheme,
    /// Not a local reference.
    #[error("a local reference is 1 to 40 letters, digits or hyphens")]
    LocalReference,
    /// Not a case reference.
    #[error("a case reference is 1 to 64 letters, digits, dots, slashes, underscores or hyphens")]
    CaseReference,
    /// A case reference that contains a person's NHS number.
    #[error("a case reference must not contain an nhs number; use the case's own number")]
    CaseReferenceNamesPerson,
    /// Not one of our own random identifiers.
    #[error("an identifier of this kind is 32 lower-case hexadecimal digits behind its prefix")]
    Opaque,
}

/// An NHS number with a valid check digit. A valid number is not proof of identity.
///
/// Source: NHS Data Dictionary, NHS NUMBER (modulus 11 algorithm).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NhsNumber(String);

impl NhsNumber {
    /// The ten digits. Each call is a disclosure: keep it out of logs, URLs and the ledger.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NhsNumber {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IdentifierError::NhsNumberShape);
        }
        if has_valid_check_digit(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdentifierError::NhsNumberCheckDigit)
        }
    }
}

impl fmt::Debug for NhsNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NhsNumber(..)")
    }
}

fn has_valid_check_digit(digits: &[u8]) -> bool {
    check_digit(digits).is_some_and(|check| digits.get(9).map(|digit| value_of(*digit)) == Some(check))
}

/// The check digit of the first nine digits, if they have one.
fn check_digit(digits: &[u8]) -> Option<u32> {
    let sum: u32 =
        digits.iter().take(9).zip((2..=10).rev()).map(|(digit, weight)| value_of(*digit) * weight).sum();
    match 11 - sum % 11 {
        10 => None,
        11 => Some(0),
        check => Some(check),
    }
}

fn value_of(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0'))
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text; it names no person.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentifierError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_slug(text) { Ok(Self(text.into())) } else { Err(IdentifierError::Slug) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentifierError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

fn is_slug(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        })
}

slug! {
    /// An organisation registered with this deployment (the legal controller), e.g. `gmfrs`.
    OrganisationId
}
slug! {
    /// A registered calling system of an organisation, e.g. `gmfrs-cfrms`.
    SystemId
}
slug! {
    /// A record holder in the catalogue, e.g. `nhs-pds`.
    ProviderId
}
slug! {
    /// A framework that agreements are made under, e.g. `gm-information-sharing-accord`.
    FrameworkId
}
slug! {
    /// An information-sharing agreement, e.g. `gm-fire-prevention-over-65s`.
    AgreementId
}
slug! {
    /// A directed data flow inside an agreement.
    FlowId
}
slug! {
    /// A data item of the catalogue, e.g. `person.birth_date`.
    ItemId
}

/// Which register a subject's identifier comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SubjectScheme {
    /// The NHS number.
    NhsNumber,
    /// A reference that the named organisation issued for the person or for their referral.
    Local(OrganisationId),
}

impl FromStr for SubjectScheme {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "nhs-number" {
            return Ok(Self::NhsNumber);
        }
        let organisation = text.strip_prefix("local:").ok_or(IdentifierError::Scheme)?;
        organisation.parse().map(Self::Local).map_err(|_| IdentifierError::Scheme)
    }
}

impl fmt::Display for SubjectScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NhsNumber => formatter.write_str("nhs-number"),
            Self::Local(organisation) => write!(formatter, "local:{organisation}"),
        }
    }
}

impl TryFrom<String> for SubjectScheme {
    type Error = IdentifierError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SubjectScheme> for String {
    fn from(scheme: SubjectScheme) -> Self {
        scheme.to_string()
    }
}

/// A person, as one organisation names them. Prints its scheme and never its value.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectIdentifier {
    scheme: SubjectScheme,
    value: Arc<str>,
}

impl SubjectIdentifier {
    /// Parses `value` by the rules of `scheme`.
    ///
    /// # Errors
    /// [`IdentifierError`] when the value is not an identifier of that scheme.
    pub fn parse(scheme: SubjectScheme, value: &str) -> Result<Self, IdentifierError> {
        match &scheme {
            SubjectScheme::NhsNumber => {
                value.parse::<NhsNumber>()?;
            }
            SubjectScheme::Local(_) => {
                let fits = (1..=40).contains(&value.len())
                    && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                if !fits {
                    return Err(IdentifierError::LocalReference);
                }
            }
        }
        Ok(Self { scheme, value: value.into() })
    }

    /// The identifiers next to this one in its register, so many on each side, the nearest first: NHS numbers with their check
    /// digits, references by the number that they end in. For noticing whoever goes through them; none exists because of this.
    pub fn neighbours(&self, each_side: u8) -> Vec<Self> {
        let of = |value: String| Self::parse(self.scheme.clone(), &value).ok();
        match self.scheme {
            SubjectScheme::NhsNumber => {
                let Some(body) = self.value.get(..9).and_then(|body| body.parse::<u32>().ok()) else {
                    return Vec::new();
                };
                let [up, down] = [true, false].map(|up| nhs_numbers_from(body, up, each_side));
                let nearest = (0..usize::from(each_side)).flat_map(|far| [up.get(far), down.get(far)]);
                nearest.flatten().cloned().filter_map(of).collect()
            }
            SubjectScheme::Local(_) => {
                let begin = self.value.trim_end_matches(|character: char| character.is_ascii_digit());
                let number = self.value.get(begin.len()..).unwrap_or_default();
                let width = number.len();
                let Ok(number) = number.parse::<u64>() else { return Vec::new() };
                let near = (1..=u64::from(each_side))
                    .flat_map(|far| [number.checked_add(far), number.checked_sub(far)]);
                near.flatten().filter_map(|near| of(format!("{begin}{near:0width$}"))).collect()
            }
        }
    }

    /// The register the identifier comes from.
    pub fn scheme(&self) -> &SubjectScheme {
        &self.scheme
    }

    /// The identifier itself. Each call is a disclosure: keep it out of logs, URLs and the ledger.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for SubjectIdentifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SubjectIdentifier({}, ..)", self.scheme)
    }
}

/// The next NHS numbers above or below these nine digits.
fn nhs_numbers_from(body: u32, up: bool, count: u8) -> Vec<String> {
    let step = |by: u32| if up { body.checked_add(by) } else { body.checked_sub(by) };
    // One in eleven has no check digit, and no two of them are next to each other.
    let near = (1..=2 * u32::from(count)).filter_map(step).filter(|near| *near <= 999_999_999);
    let numbers = near.filter_map(|near| {
        let digits = format!("{near:09}");
        let check = check_digit(digits.as_bytes())?;
        Some(format!("{digits}{check}"))
    });
    numbers.take(usize::from(count)).collect()
}

/// The caller's own case number: ties a question to a piece of work. It must not name the person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CaseReference(String);

impl CaseReference {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CaseReference {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'_' | b'-'));
        if !fits {
            return Err(IdentifierError::CaseReference);
        }
        // A case's own number has no reason to have ten digits without a break that fit together.
        let within = !is_uuid(text)
            && digit_groups(text).any(|group| group.as_bytes().windows(10).any(has_valid_check_digit));
        if within || holds_nhs_number(text) {
            return Err(IdentifierError::CaseReferenceNamesPerson);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether a text that is kept for good has an NHS number in it: ten digits that fit together, as one group or as several with
/// anything but letters between them. Longer groups are other numbers: a smart card's has twelve digits. A UUID is none, whatever its
/// digits: directories name people by one, and those of one in two hundred would fit together.
pub fn holds_nhs_number(text: &str) -> bool {
    if is_uuid(text) {
        return false;
    }
    let stretches = text.split(|character: char| character.is_alphabetic());
    stretches.map(|stretch| digit_groups(stretch).collect::<Vec<_>>()).any(|groups| {
        (0..groups.len()).any(|first| {
            let mut digits = String::new();
            let groups = groups.iter().skip(first);
            let ten = groups.take_while(|group| {
                let fits = digits.len() + group.len() <= 10;
                if fits {
                    digits.push_str(group);
                }
                fits
            });
            let count = ten.count();
            let is_dated = count > 1 && digits.get(..4).is_some_and(is_year);
            digits.len() == 10 && has_valid_check_digit(digits.as_bytes()) && !is_dated
        })
    })
}

/// `e6f1a7d2-…`, as RFC 9562 writes it.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn digit_groups(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_digit()).filter(|group| !group.is_empty())
}

/// `2026-000441` is a numbering by years. No number of a person in the United Kingdom begins so: Scotland's, which begin with a
/// date of birth, have no thirteenth month.
fn is_year(digits: &str) -> bool {
    digits.parse::<u16>().is_ok_and(|year| (1913..2000).contains(&year) || (2013..2100).contains(&year))
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes the identifier from 128 random bits, which the caller supplies.
            pub fn from_random(bits: u128) -> Self {
                Self(format!(concat!($prefix, "{:032x}"), bits).into())
            }

            /// The identifier as text; it is random and says nothing about a person.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentifierError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let hexadecimal = text.strip_prefix($prefix).ok_or(IdentifierError::Opaque)?;
                let fits = hexadecimal.len() == 32
                    && hexadecimal.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
                if fits { Ok(Self(text.into())) } else { Err(IdentifierError::Opaque) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentifierError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

opaque! {
    /// The random name a person has in the ledger. The table behind it can be erased.
    Pseudonym, "sub_"
}
opaque! {
    /// One decision, from question to answer.
    DecisionId, "dec_"
}
opaque! {
    /// One list of people that are asked about at once.
    ListId, "lst_"
}
opaque! {
    /// One consent record.
    ConsentId, "con_"
}
opaque! {
    /// One objection.
    ObjectionId, "obj_"
}
opaque! {
    /// One legitimate relationship.
    RelationshipId, "rel_"
}
opaque! {
    /// One grant of a one-off disclosure.
    GrantId, "gra_"
}
opaque! {
    /// One emergency that a practitioner declared.
    BreakGlassId, "btg_"
}
opaque! {
    /// One legal hold.
    HoldId, "hld_"
}
opaque! {
    /// One erasure that was asked for.
    ErasureId, "era_"
}
opaque! {
    /// One complaint of a person, or request that something be corrected.
    RightsRequestId, "rrq_"
}
opaque! {
    /// One alert to an organisation's privacy officers.
    AlertId, "alt_"
}

#[cfg(test)]
mod tests;
