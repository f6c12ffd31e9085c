//! A reader of FHIR JSON that must be told about every member: what nobody asked for is an [`Unmapped`].
//!
//! Source: <https://hl7.org/fhir/R4/json.html>, <https://hl7.org/fhir/R4/extensibility.html>.

use serde_json::{Map, Value};

/// Something that a resource says and that is not kept, or does not say and has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// The issue's type, from <http://hl7.org/fhir/issue-type>.
    pub code: &'static str,
    /// Which element, as a FHIRPath of names and places, never a value.
    pub expression: String,
    /// What to do about it.
    pub said: String,
}

impl Unmapped {
    /// An issue of this type.
    pub fn new(code: &'static str, expression: impl Into<String>, said: impl Into<String>) -> Self {
        Self { code, expression: expression.into(), said: said.into() }
    }
}

/// Everything that is wrong with a resource: its reader goes on, so that a sender mends it once.
#[derive(Debug, Default)]
pub struct Issues(Vec<Unmapped>);

impl Issues {
    /// Most that are told.
    const MAX: usize = 50;

    /// Adds one.
    pub fn add(&mut self, issue: Unmapped) {
        if self.0.len() < Self::MAX {
            self.0.push(issue);
        }
    }

    /// What was found, if nothing was wrong.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn or<T>(mut self, found: Option<T>) -> Result<T, Vec<Unmapped>> {
        match found {
            Some(found) if self.0.is_empty() => Ok(found),
            _ => {
                if self.0.is_empty() {
                    self.add(Unmapped::new("invalid", "", "the resource cannot be read"));
                }
                Err(self.0)
            }
        }
    }
}

/// The names that R4 gives to members of the elements read here. Any other name is the sender's own, and might be
/// anything: it is not repeated.
const KNOWN: [&str; 68] = [
    "action",
    "actor",
    "assigner",
    "authority",
    "category",
    "class",
    "code",
    "coding",
    "contained",
    "data",
    "dataPeriod",
    "dateTime",
    "display",
    "end",
    "extension",
    "id",
    "identifier",
    "implicitRules",
    "language",
    "lastUpdated",
    "meaning",
    "meta",
    "modifierExtension",
    "organization",
    "patient",
    "performer",
    "period",
    "policy",
    "policyRule",
    "profile",
    "provision",
    "purpose",
    "reference",
    "resourceType",
    "role",
    "scope",
    "security",
    "securityLabel",
    "source",
    "sourceAttachment",
    "sourceReference",
    "start",
    "status",
    "system",
    "tag",
    "text",
    "type",
    "uri",
    "url",
    "use",
    "userSelected",
    "value",
    "valueAttachment",
    "valueBoolean",
    "valueCode",
    "valueCodeableConcept",
    "valueCoding",
    "valueDateTime",
    "valueIdentifier",
    "valuePeriod",
    "valueReference",
    "valueString",
    "valueUri",
    "verification",
    "verificationDate",
    "verified",
    "verifiedWith",
    "version",
];

/// One element. Each member is taken out as it is read.
pub struct Element<'v> {
    path: String,
    members: Vec<(&'v str, &'v Value)>,
}

impl<'v> Element<'v> {
    /// The element at this path.
    pub fn new(path: impl Into<String>, value: &'v Value, issues: &mut Issues) -> Option<Self> {
        let path = path.into();
        match value {
            Value::Object(members) if !members.is_empty() => Some(Self::of(path, members)),
            _ => {
                issues.add(Unmapped::new("structure", path, "must be an object that is not empty"));
                None
            }
        }
    }

    fn of(path: String, members: &'v Map<String, Value>) -> Self {
        Self { path, members: members.iter().map(|(name, value)| (name.as_str(), value)).collect() }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where a member of it is.
    pub fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<&'v Value> {
        let place = self.members.iter().position(|(member, _)| *member == name)?;
        Some(self.members.swap_remove(place).1)
    }

    /// Whether a member is this text; it stays to be taken.
    pub fn says(&self, name: &str, text: &str) -> bool {
        self.members.iter().any(|(member, value)| *member == name && value.as_str() == Some(text))
    }

    /// A text that need not be there.
    pub fn text(&mut self, name: &str, issues: &mut Issues) -> Option<&'v str> {
        match self.take(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                issues.add(Unmapped::new("value", self.at(name), "must be a text that is not empty"));
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &str, issues: &mut Issues) -> Option<&'v str> {
        if !self.has(name) {
            issues.add(Unmapped::new("required", self.at(name), "is missing"));
        }
        self.text(name, issues)
    }

    /// An object that need not be there.
    pub fn object(&mut self, name: &str, issues: &mut Issues) -> Option<Element<'v>> {
        let value = self.take(name)?;
        Element::new(self.at(name), value, issues)
    }

    /// An object that must be there.
    pub fn required_object(&mut self, name: &str, issues: &mut Issues) -> Option<Element<'v>> {
        if !self.has(name) {
            issues.add(Unmapped::new("required", self.at(name), "is missing"));
        }
        self.object(name, issues)
    }

    /// A list of objects; none where it is not there.
    pub fn list(&mut self, name: &str, issues: &mut Issues) -> Vec<Element<'v>> {
        let Some(value) = self.take(name) else { return Vec::new() };
        match value {
            Value::Array(values) if !values.is_empty() => values
                .iter()
                .enumerate()
                .filter_map(|(place, value)| {
                    Element::new(format!("{}.{name}[{place}]", self.path), value, issues)
                })
                .collect(),
            _ => {
                issues.add(Unmapped::new("structure", self.at(name), "must be a list that is not empty"));
                Vec::new()
            }
        }
    }

    /// A list of exactly one object. `said` is why there cannot be more, or must be one.
    pub fn one(&mut self, name: &str, said: &str, issues: &mut Issues) -> Option<Element<'v>> {
        let mut list = self.list(name, issues);
        if list.len() == 1 {
            return list.pop();
        }
        let code = if list.is_empty() { "required" } else { "not-supported" };
        issues.add(Unmapped::new(code, self.at(name), said));
        None
    }

    /// Refuses a member by name, with what to do about it.
    pub fn refuse(&mut self, name: &str, said: &str, issues: &mut Issues) {
        if self.take(name).is_some() {
            issues.add(Unmapped::new("not-supported", self.at(name), said));
        }
    }

    /// The value of the one extension of this address: its members beside `url` must be just the named one.
    pub fn extension(
        extensions: &mut Vec<Element<'v>>,
        url: &str,
        value: &str,
        issues: &mut Issues,
    ) -> Option<&'v str> {
        let mut found = Self::extensions(extensions, url, value, issues).into_iter();
        let first = found.next();
        if found.next().is_some() {
            issues.add(Unmapped::new("not-supported", "Extension", format!("{url} may be there once")));
        }
        first
    }

    /// The values of every extension of this address.
    pub fn extensions(
        extensions: &mut Vec<Element<'v>>,
        url: &str,
        value: &str,
        issues: &mut Issues,
    ) -> Vec<&'v str> {
        let (ours, rest): (Vec<_>, Vec<_>) =
            std::mem::take(extensions).into_iter().partition(|one| one.says("url", url));
        *extensions = rest;
        ours.into_iter()
            .filter_map(|mut one| {
                one.take("url");
                let text = one.required_text(value, issues);
                one.finish(issues);
                text
            })
            .collect()
    }

    /// Refuses what nobody took.
    pub fn finish(self, issues: &mut Issues) {
        for (name, _) in &self.members {
            let (bare, is_known) =
                (name.trim_start_matches('_'), KNOWN.contains(&name.trim_start_matches('_')));
            let issue = match (bare, is_known) {
                ("modifierExtension" | "implicitRules", _) => Unmapped::new(
                    "extension",
                    self.at(bare),
                    "may change the meaning of the resource in a way that is not understood here",
                ),
                ("extension", _) => Unmapped::new(
                    "extension",
                    self.at(bare),
                    "an extension that is not documented here; leave it out",
                ),
                (_, true) => Unmapped::new(
                    "not-supported",
                    self.at(bare),
                    "has no place in a consent here and would be lost; leave it out",
                ),
                (_, false) => Unmapped::new(
                    "structure",
                    self.path.clone(),
                    "has a member that FHIR R4 does not know; leave it out",
                ),
            };
            issues.add(issue);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| *member == name)
    }
}

/// Refuses extensions that nobody took.
pub fn refuse_rest(extensions: Vec<Element<'_>>, issues: &mut Issues) {
    for extension in extensions {
        let said = "an extension that is not documented here; leave it out";
        issues.add(Unmapped::new("extension", extension.path(), said));
    }
}
