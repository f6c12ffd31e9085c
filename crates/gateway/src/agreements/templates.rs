//! Recognised kinds of agreement to begin from, with what their purpose needs and no more: which items, for which roles, how long
//! they are kept, how long the agreement runs and when it is reviewed. They are files in `policies/templates`, compiled in.

use jiff::{Span, civil::Date};
use serde::Deserialize;
use serde_json::{Value, json};

const FILES: [&str; 5] = [
    include_str!("../../../../policies/templates/aggregate-ward-insight.toml"),
    include_str!("../../../../policies/templates/fire-safe-and-well.toml"),
    include_str!("../../../../policies/templates/homelessness-duty-to-refer.toml"),
    include_str!("../../../../policies/templates/hospital-discharge.toml"),
    include_str!("../../../../policies/templates/safeguarding-mash.toml"),
];

/// A template.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Why it cannot be used yet.
    #[serde(default)]
    pub not_yet: Option<String>,
    /// How long an agreement runs, in months.
    months: i32,
    /// After how many months it is reviewed.
    review_months: i32,
    /// The terms, with `@provider@`, `@provider-party@` and `@recipient@` where those belong.
    terms: Value,
}

/// What a template leaves open.
#[derive(Debug, Clone)]
pub struct Filling {
    /// The record holder that is asked.
    pub provider: String,
    /// The organisation whose records it has.
    pub provider_party: String,
    /// The organisation that asks.
    pub recipient: String,
    /// First day.
    pub effective_on: Date,
    /// The accord that the parties joined.
    pub framework: String,
    /// Who sees that the data is put to good use.
    pub owner: String,
    /// Whom to tell of a breach.
    pub breach_contact: String,
    /// The impact assessment's reference. It is open until it is concluded.
    pub assessment: String,
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is none of this name.
    #[error("there is no template `{0}`; `concordat agreement templates` lists them")]
    Unknown(String),
    /// It cannot be used yet: an agreement that is made of it would do nothing.
    #[error("the template `{0}` cannot be used yet: {1}")]
    NotYet(String, String),
    /// One that is compiled in cannot be read.
    #[error("a template cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// The dates go beyond the calendar.
    #[error("effective_on: a day in this century")]
    Day,
}

/// Every template, by name.
///
/// # Errors
/// [`TemplateError::Unreadable`], which a test keeps from being.
pub fn all() -> Result<Vec<Template>, TemplateError> {
    FILES.iter().map(|file| Ok(toml::from_str(file)?)).collect()
}

/// The terms that a template makes: a draft to look through, not an agreement.
///
/// # Errors
/// [`TemplateError`] saying what to do.
pub fn terms(name: &str, filling: &Filling) -> Result<Value, TemplateError> {
    let template = all()?.into_iter().find(|template| template.name == name);
    let template = template.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
    match template.not_yet.clone() {
        Some(why) => Err(TemplateError::NotYet(template.name, why)),
        None => filled(template, filling),
    }
}

fn filled(template: Template, filling: &Filling) -> Result<Value, TemplateError> {
    let after = |months: i32| {
        let span = Span::new().try_months(months).map_err(|_| TemplateError::Day)?;
        filling.effective_on.checked_add(span).map_err(|_| TemplateError::Day)
    };
    let (ends_on, review_on) = (after(template.months)?, after(template.review_months)?);
    let mut terms = template.terms;
    fill(&mut terms, filling);
    let open = [
        ("framework", json!(filling.framework)),
        ("owner", json!(filling.owner)),
        ("breach_contact", json!(filling.breach_contact)),
        ("effective_on", json!(filling.effective_on.to_string())),
        ("ends_on", json!(ends_on.to_string())),
        ("review_on", json!(review_on.to_string())),
        (
            "dpia",
            json!({
                "reference": filling.assessment, "outcome": "open",
                "completed_on": filling.effective_on.to_string(), "current_until": ends_on.to_string(),
            }),
        ),
    ];
    if let Some(members) = terms.as_object_mut() {
        members.extend(open.map(|(name, value)| (name.to_owned(), value)));
    }
    Ok(terms)
}

/// Puts names in their places, in texts alone: nothing that is filled in can be anything else than a text.
fn fill(value: &mut Value, filling: &Filling) {
    match value {
        Value::String(text) => {
            *text = text
                .replace("@provider-party@", &filling.provider_party)
                .replace("@provider@", &filling.provider)
                .replace("@recipient@", &filling.recipient);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, filling)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, filling)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use sharing::agreement::terms::Terms;

    use super::*;

    #[test]
    fn each_template_fits_the_policies() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let set = crate::policies::load(&folder).unwrap();
        let council = ("trafford-asc", "trafford-council");
        let nhs = ("nhs-pds", "nhs-england");
        let ends = [
            ("aggregate-ward-insight", council, "gmca"),
            ("fire-safe-and-well", council, "gmca"),
            ("homelessness-duty-to-refer", nhs, "trafford-council"),
            ("hospital-discharge", nhs, "trafford-council"),
            ("safeguarding-mash", council, "nhs-england"),
        ];
        let names: Vec<_> = all().unwrap().into_iter().map(|template| template.name).collect();
        assert_eq!(names, ends.map(|(name, ..)| name));
        for (name, (provider, provider_party), recipient) in ends {
            let filling = Filling {
                provider: provider.to_owned(),
                provider_party: provider_party.to_owned(),
                recipient: recipient.to_owned(),
                effective_on: "2027-01-31".parse().unwrap(),
                framework: "The accord".to_owned(),
                owner: "Head of Prevention".to_owned(),
                breach_contact: "breach@example.org".to_owned(),
                assessment: "DPIA-1".to_owned(),
            };
            let id = "from-a-template".parse().unwrap();
            // Those that cannot be used yet are kept fit as well.
            let template = all().unwrap().into_iter().find(|template| template.name == name).unwrap();
            let made = Terms::offered(&id, 1, filled(template, &filling).unwrap()).unwrap();
            crate::agreements::outline(&set, &made).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(terms("nothing", &filling_of()).unwrap_err().to_string().contains("templates"));
    }

    #[test]
    fn a_template_whose_agreements_would_refuse_every_question_is_not_used() {
        let refused = terms("aggregate-ward-insight", &filling_of()).unwrap_err();
        assert!(matches!(&refused, TemplateError::NotYet(name, _) if name == "aggregate-ward-insight"));
        assert!(refused.to_string().contains("refuse every question"), "{refused}");
        let marked = all().unwrap().into_iter().filter(|template| template.not_yet.is_some());
        assert_eq!(marked.map(|template| template.name).collect::<Vec<_>>(), ["aggregate-ward-insight"]);
        assert!(terms("hospital-discharge", &filling_of()).is_ok());
    }

    fn filling_of() -> Filling {
        Filling {
            provider: "a\"b".to_owned(),
            provider_party: String::new(),
            recipient: String::new(),
            effective_on: "2027-01-31".parse().unwrap(),
            framework: String::new(),
            owner: String::new(),
            breach_contact: String::new(),
            assessment: String::new(),
        }
    }
}
