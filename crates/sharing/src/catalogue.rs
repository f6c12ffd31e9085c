//! The catalogue: what each record holder holds, where in its answers, and how sensitive each item is.
//!
//! One file per record holder. Adding one is data; code is needed only for a protocol that is not JSON over
//! HTTPS. What is not listed here cannot be asked for and never leaves.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{
    identifier::{ItemId, OrganisationId, ProviderId, SubjectScheme},
    reach::Automaton,
    selector::Selector,
};

/// Most items that one record holder's file may list.
pub const ITEMS_MAX: usize = 256;

/// A record holder's entry in the catalogue, as its file is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Who holds the records and how to speak to them.
    pub provider: Holder,
    /// How a person is looked up, one entry per identifier scheme.
    pub lookups: Vec<Lookup>,
    /// Where an answer says whom it is about, and what it says about them that bears on the decision.
    pub subject: SubjectPlaces,
    /// Everything that can be asked for.
    pub items: Vec<DataItem>,
    /// Every place above, compiled.
    #[serde(skip)]
    places: OnceLock<Arc<Automaton>>,
}

/// The organisation that holds the records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The record holder's name in requests and agreements.
    pub id: Spanned<ProviderId>,
    /// The controller of the records.
    pub organisation: Spanned<OrganisationId>,
    /// Its name, for people.
    pub name: String,
    /// Where it answers: `https://host[:port]/base`. Deployments override it in their own settings.
    pub base_url: String,
    /// What its answers look like.
    pub protocol: Protocol,
    /// Whom the recipient tells about an error in the record.
    pub rectification_contact: String,
    /// Media types an answer may have.
    pub media_types: Vec<String>,
}

/// What a record holder's answers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A FHIR R4 Patient, or a searchset Bundle of them. Source: <https://hl7.org/fhir/R4/patient.html>.
    FhirR4Patient,
    /// One JSON object.
    Json,
}

/// How a person is looked up by one identifier scheme.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The scheme.
    pub scheme: SubjectScheme,
    /// The HTTP method.
    pub method: Method,
    /// The path below the base URL. `{value}` stands for the identifier and is a whole segment.
    pub path: String,
    /// The member of a JSON body that carries the identifier, so that it stays out of the URL.
    #[serde(default)]
    pub body_member: Option<String>,
    /// An identifier that the record holder is known not to have. It is asked for in place of a person who may
    /// not be disclosed, so that the refusal takes as long as "no such person" takes.
    pub decoy: String,
}

/// The HTTP methods a lookup may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Identifier in the path, where the record holder's interface leaves no choice.
    Get,
    /// Identifier in the body.
    Post,
}

/// Where an answer says whom it is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectPlaces {
    /// Every place that identifies the person. Each that is present must agree; one at least must be present.
    pub identifiers: Vec<IdentifierPlace>,
    /// Where the record says whether it is restricted. One mark is enough, and what cannot be read counts as one.
    #[serde(default)]
    pub restricted: Vec<Mark>,
    /// The record holder that is asked, before anything leaves, whether it has the person marked restricted.
    #[serde(default)]
    pub restriction_check: Option<Spanned<ProviderId>>,
    /// Signs that the person has died. One is enough.
    #[serde(default)]
    pub deceased: Vec<Sign>,
    /// The date of birth, for cohorts by age.
    #[serde(default)]
    pub birth_date: Option<Selector>,
    /// When the source last changed the record.
    #[serde(default)]
    pub source_time: Option<Selector>,
    /// Surnames, to be held against the practitioner's own and nothing else.
    #[serde(default)]
    pub surname: Option<Selector>,
    /// UPRNs of homes, to be held against the practitioner's own and nothing else.
    #[serde(default)]
    pub uprn: Option<Selector>,
}

/// A place that identifies the person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierPlace {
    /// The scheme of the identifier found there.
    pub scheme: SubjectScheme,
    /// The place.
    pub select: Selector,
}

/// A place that says whether the record is restricted. What nobody expected there is not taken for "no".
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The place.
    pub select: Selector,
    /// What is there of a record that is not restricted, to the letter. Anything else is a mark, of whatever kind. None
    /// listed means `false`, the yes or no.
    #[serde(default)]
    pub unless: Vec<String>,
    /// Whether each record has it. One that has not is not known to be unrestricted, and counts as restricted.
    #[serde(default)]
    pub required: bool,
    /// What earlier versions listed in place of `unless`: it let a mark pass that was spelt in another way.
    #[serde(default)]
    equals: Vec<String>,
}

/// A place whose content is a sign of something.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The place.
    pub select: Selector,
    /// The texts that are a sign; none listed means that anything but `null` and `false` is.
    #[serde(default)]
    pub equals: Vec<String>,
}

/// One thing that can be asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "marks in a file: each is a yes or a no")]
pub struct DataItem {
    /// Its name in requests, agreements and the ledger.
    pub id: Spanned<ItemId>,
    /// What it is, in words a practitioner uses.
    pub title: String,
    /// What kind of personal data it is in law.
    pub category: Category,
    /// Whether it is held in confidence (common-law duty).
    pub confidential: bool,
    /// Whether it says, or lets one work out, where the person is.
    pub locating: bool,
    /// Whether it is social care data, which s251 support for case finding leaves out.
    #[serde(default)]
    pub social_care: bool,
    /// Whether a practitioner may be told it in an emergency that no agreement covers. Few items should be.
    #[serde(default)]
    pub emergency: bool,
    /// Where it is.
    pub select: Selector,
    /// Where that place is an object: the members that belong to the item. Others are dropped.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Whether the answer is a list.
    #[serde(default)]
    pub many: bool,
    /// The member that holds a `{start, end}` period; entries not in force, at any step on the way, are dropped, and so are
    /// those whose period cannot be read and, of a source that speaks FHIR, those whose `use` is `old`.
    #[serde(default)]
    pub period: Option<String>,
    /// The forms in which an agreement may release it, finest first.
    pub forms: Vec<Form>,
}

/// What kind of personal data an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Personal data (UK GDPR Art 4(1)).
    Ordinary,
    /// Special category data (UK GDPR Art 9(1)).
    Special,
    /// Criminal offence data (UK GDPR Art 10).
    Offence,
}

impl Category {
    /// The kind as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Special => "special",
            Self::Offence => "offence",
        }
    }
}

/// The form in which an item leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As the source holds it: yes and no, texts, numbers of up to 17 digits and no greater than 10^15. What is not one of these
    /// stays. In a text U+FFFD stands for each character that controls others or turns them round, and one of more than 4,000
    /// characters ends there with ` […]`.
    AsIs,
    /// The first letter of a name.
    Initial,
    /// The year of a date.
    Year,
    /// An age band from a date of birth: under 65, 65-74, 75-79, 80+.
    AgeBand,
    /// The outward part of a postcode.
    PostcodeDistrict,
    /// Yes or no: a boolean as it is; otherwise whether the source says that there is something. A text such as `no` or `unknown`, or one
    /// without letters and digits, is no answer. An object is yes, whatever is in it: an item selects the member that says so. Said once for
    /// a list, and yes where any place says so.
    YesNo,
}

impl Form {
    /// How much less than the source's own it tells: of two forms of one item the one with the higher number is the coarser.
    pub(crate) fn coarseness(self) -> u8 {
        match self {
            Self::AsIs => 0,
            Self::Initial | Self::Year | Self::PostcodeDistrict => 1,
            Self::AgeBand => 2,
            Self::YesNo => 3,
        }
    }

    /// The form's name in agreements and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Initial => "initial",
            Self::Year => "year",
            Self::AgeBand => "age-band",
            Self::PostcodeDistrict => "postcode-district",
            Self::YesNo => "yes-no",
        }
    }
}

impl std::str::FromStr for Form {
    type Err = UnknownForm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::AsIs, Self::Initial, Self::Year, Self::AgeBand, Self::PostcodeDistrict, Self::YesNo];
        all.into_iter().find(|form| form.as_str() == text).ok_or(UnknownForm)
    }
}

/// A form that is not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown form; use as-is, initial, year, age-band, postcode-district or yes-no")]
pub struct UnknownForm;

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Provider {
    /// The record holder's name.
    pub fn id(&self) -> &ProviderId {
        self.provider.id.get_ref()
    }

    /// The controller of the records.
    pub fn organisation(&self) -> &OrganisationId {
        self.provider.organisation.get_ref()
    }

    /// Its places as they are looked for in an answer. Made when the file is loaded, and shared by its copies.
    pub(crate) fn places(&self) -> &Arc<Automaton> {
        self.places.get_or_init(|| Arc::new(Automaton::of(self)))
    }

    /// The item of this name.
    pub fn item(&self, id: &ItemId) -> Option<&DataItem> {
        self.items.iter().find(|item| item.id.get_ref() == id)
    }

    /// How a person is looked up by this scheme.
    pub fn lookup(&self, scheme: &SubjectScheme) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.scheme == *scheme)
    }

    /// What is wrong with the file beyond its syntax: byte offset (0 where none is known) and sentence.
    pub(crate) fn problems(&self) -> Vec<(usize, String)> {
        let mut problems = Vec::new();
        if !self.provider.base_url.starts_with("https://") {
            problems.push((
                0,
                "`base_url` must begin with https://; records never travel in the clear".to_owned(),
            ));
        }
        for lookup in &self.lookups {
            let in_path = lookup.path.split('/').any(|segment| segment == "{value}");
            let expected = match lookup.method {
                Method::Get => in_path && lookup.body_member.is_none(),
                Method::Post => !in_path && lookup.body_member.is_some(),
            };
            if !expected || !lookup.path.starts_with('/') {
                problems.push((
                    0,
                    format!(
                        "the lookup by `{}` must be GET with `{{value}}` as a whole path segment, or POST with `body_member`",
                        lookup.scheme
                    ),
                ));
            }
            if crate::identifier::SubjectIdentifier::parse(lookup.scheme.clone(), &lookup.decoy).is_err() {
                problems.push((
                    0,
                    format!("the decoy of the lookup by `{}` is not of that scheme", lookup.scheme),
                ));
            }
        }
        if self.subject.identifiers.is_empty() {
            problems
                .push((0, "`subject.identifiers` is empty: say where an answer names its person".to_owned()));
        }
        if self.subject.restricted.iter().any(|mark| !mark.equals.is_empty()) {
            problems.push((
                0,
                "`restricted` has no `equals` any more: a mark that it did not list was none. Say `unless`, with what a record has there that is not restricted, such as `unless = [\"U\"]`, and `required = true` where each record has it".to_owned(),
            ));
        }
        if self.items.len() > ITEMS_MAX {
            problems.push((0, format!("a record holder has at most {ITEMS_MAX} items; split it in two")));
        }
        for (position, item) in self.items.iter().enumerate() {
            let offset = item.id.span().start;
            let id = item.id.get_ref();
            if self.items.iter().take(position).any(|earlier| earlier.id.get_ref() == id) {
                problems.push((offset, format!("item `{id}` is defined twice; remove one")));
            }
            if item.forms.is_empty() {
                problems.push((
                    offset,
                    format!("item `{id}` has no `forms`; list at least one, such as \"as-is\""),
                ));
            }
            // The order says what widens an agreement, and what less there is to offer.
            let contradicted =
                item.forms.array_windows().find(|[one, next]| one.coarseness() >= next.coarseness());
            if let Some([one, next]) = contradicted {
                problems.push((
                    offset,
                    format!("item `{id}` lists `{next}` after `{one}`; list each form once, the one that tells most first"),
                ));
            }
            let odd = item.forms.iter().find(|form| !matches!(form, Form::AsIs | Form::YesNo));
            if let (false, Some(form)) = (item.fields.is_empty(), odd) {
                problems
                    .push((offset, format!("item `{id}` is an object, so it cannot have the form `{form}`")));
            }
        }
        problems
    }
}

/// Every record holder, by name.
pub type Catalogue = std::collections::BTreeMap<ProviderId, Provider>;
