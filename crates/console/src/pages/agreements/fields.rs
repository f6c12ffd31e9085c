//! Terms as fields of a form, and back: what people change of an agreement has a field with a name; what has none is left as it is.
//! Whether the terms then fit, the API says.

use serde_json::{Map, Value, json};
use sharing::{PolicySet, PurposeClass};

use super::{Options, options};
use crate::{
    days,
    fault::Correction,
    page::{sentence, words},
};

/// How a field's text becomes a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Day,
    Number,
    /// Names with commas between them.
    Names,
}

/// A field.
pub(super) struct Field {
    pub(super) id: String,
    pointer: String,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) value: String,
    /// What can be chosen; nothing where it is written.
    pub(super) options: Options,
    kind: Kind,
}

/// An item that is agreed.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) forms: Options,
    pub(super) form: String,
    pub(super) justification: String,
}

/// Fields that belong together.
pub(super) struct Group {
    pub(super) heading: String,
    pub(super) id: String,
    pub(super) fields: Vec<Field>,
    pub(super) items: Vec<Item>,
    /// Items of the record holder that are not agreed.
    pub(super) more: Options,
}

const ARTICLE_6: [(&str, &str); 4] = [
    ("6(1)(a)", "6(1)(a) Consent"),
    ("6(1)(c)", "6(1)(c) Legal obligation"),
    ("6(1)(d)", "6(1)(d) Vital interests"),
    ("6(1)(e)", "6(1)(e) Public task"),
];
const ARTICLE_9: [(&str, &str); 7] = [
    ("", "None"),
    ("9(2)(a)", "9(2)(a) Explicit consent"),
    ("9(2)(c)", "9(2)(c) Vital interests"),
    ("9(2)(g)", "9(2)(g) Substantial public interest"),
    ("9(2)(h)", "9(2)(h) Health or social care"),
    ("9(2)(i)", "9(2)(i) Public health"),
    ("9(2)(j)", "9(2)(j) Research"),
];
const CONFIDENTIALITY: [(&str, &str); 6] = [
    ("not-confidential", "Nothing is held in confidence"),
    ("implied-consent", "Implied consent, for individual care"),
    ("explicit-consent", "Explicit consent"),
    ("statute", "A statutory duty or gateway"),
    ("section251", "Section 251 support"),
    ("public-interest", "Public interest"),
];
const CONTROLLER: [(&str, &str); 3] = [
    ("separate", "A controller for its own purposes"),
    ("joint", "A joint controller"),
    ("processor", "A processor"),
];

fn list<'a>(terms: &'a Value, pointer: &str) -> &'a [Value] {
    terms.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(terms: &Value, pointer: &str) -> String {
    match terms.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(all)) => {
            let names = all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
            names.collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn field(&self, pointer: String, (label, hint): (&'static str, &'static str), kind: Kind) -> Field {
        let id = pointer.trim_start_matches('/').replace('/', "-");
        let value = text(self.0, &pointer);
        Field { id, pointer, label, hint, value, options: Vec::new(), kind }
    }

    fn choice(&self, pointer: String, label: &'static str, all: Options) -> Field {
        let mut field = self.field(pointer, (label, ""), Kind::Text);
        field.options = all;
        // What is there and is none of them stays, for the API to say.
        if !field.options.iter().any(|(code, _)| *code == field.value) {
            field.options.insert(0, (field.value.clone(), field.value.clone()));
        }
        field
    }
}

/// Terms as groups of fields. `set` knows what a record holder has and in which coarser forms.
pub(super) fn groups(terms: &Value, set: &PolicySet) -> Vec<Group> {
    let fields = Fields(terms);
    let plain = |name: &str, label, kind| fields.field(format!("/{name}"), (label, ""), kind);
    let day = |name: &str, label| fields.field(format!("/{name}"), (label, "Such as 2027-04-01"), Kind::Day);
    let general = vec![
        plain("title", "Title", Kind::Text),
        day("effective_on", "In effect from"),
        day("ends_on", "First day on which nothing flows any more"),
        day("review_on", "Reviewed by"),
        plain("owner", "Owner, who sees that the data is put to good use", Kind::Text),
        plain("breach_contact", "Whom to tell of a breach", Kind::Text),
    ];
    let group = |heading: String, id: String, fields| Group {
        heading,
        id,
        fields,
        items: Vec::new(),
        more: Vec::new(),
    };
    let mut groups = vec![group("The agreement".to_owned(), "general".to_owned(), general)];
    for place in 0..list(terms, "/parties").len() {
        let at = format!("/parties/{place}");
        let name = text(terms, &format!("{at}/organisation"));
        let party = vec![
            fields.choice(format!("{at}/controller"), "It is", options(&CONTROLLER)),
            fields.field(
                format!("{at}/privacy_notice"),
                ("Privacy notice", "Where it tells people about the sharing"),
                Kind::Text,
            ),
        ];
        groups.push(group(format!("Party: {name}"), format!("parties-{place}"), party));
    }
    for place in 0..list(terms, "/flows").len() {
        let at = format!("/flows/{place}");
        let name = text(terms, &format!("{at}/id"));
        let mut made = group(format!("Flow: {name}"), format!("flows-{place}"), flow(&fields, &at));
        (made.items, made.more) = items(terms, &at, set);
        groups.push(made);
    }
    groups
}

fn flow(fields: &Fields<'_>, at: &str) -> Vec<Field> {
    let of = |name: &str| format!("{at}/{name}");
    let purposes = PurposeClass::ALL.into_iter().map(|one| (one.to_string(), sentence(one.as_str())));
    let number = |name: &str, label, hint| fields.field(of(name), (label, hint), Kind::Number);
    let mut all = vec![
        fields.choice(of("purpose"), "Purpose", purposes.collect()),
        fields.field(of("roles"), ("Roles that may ask", "With commas between them"), Kind::Names),
        number("releases_per_day_max", "Most people a day", "Leave it empty for no ceiling"),
        number("list_people_max", "Most people in one list", "Leave it empty for no lists"),
        number("cohort/age_from_years", "Youngest age, in years", "Leave it empty for everybody"),
        number("obligations/retain_days", "Days until the recipient deletes it", ""),
    ];
    for (member, six, nine, schedule) in [
        (
            "provider_basis",
            "Record holder: lawful basis (UK GDPR Article 6)",
            "Record holder: condition for special categories (Article 9)",
            "Record holder: Schedule 1 condition",
        ),
        (
            "recipient_basis",
            "Recipient: lawful basis (UK GDPR Article 6)",
            "Recipient: condition for special categories (Article 9)",
            "Recipient: Schedule 1 condition",
        ),
    ] {
        all.push(fields.choice(of(&format!("{member}/article_6")), six, options(&ARTICLE_6)));
        all.push(fields.choice(of(&format!("{member}/article_9")), nine, options(&ARTICLE_9)));
        all.push(fields.field(
            of(&format!("{member}/schedule_1")),
            (schedule, "Such as part 2 paragraph 18. Leave it empty where none is needed"),
            Kind::Text,
        ));
    }
    all.push(fields.choice(
        of("confidentiality/basis"),
        "Duty of confidentiality",
        options(&CONFIDENTIALITY),
    ));
    all.push(fields.field(
        of("confidentiality/reference"),
        ("Its reference", "The section, or the number of the support. Leave it empty where none is needed"),
        Kind::Text,
    ));
    all
}

fn items(terms: &Value, at: &str, set: &PolicySet) -> (Vec<Item>, Options) {
    let provider = text(terms, &format!("{at}/provider")).parse().ok();
    let provider = provider.as_ref().and_then(|id| set.provider(id));
    let known = |name: &str| provider?.item(&name.parse().ok()?);
    let agreed = list(terms, &format!("{at}/items"));
    let item = |(place, one): (usize, &Value)| {
        let said = |member: &str| one.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, form) = (said("item"), said("form"));
        let forms = known(&name).map(|item| &item.forms).into_iter().flatten();
        let mut forms: Options = forms.map(|form| (form.to_string(), words(form.to_string()))).collect();
        if !forms.iter().any(|(code, _)| *code == form) {
            forms.insert(0, (form.clone(), words(&form)));
        }
        Item {
            id: format!("{}-items-{place}", at.trim_start_matches('/').replace('/', "-")),
            title: known(&name).map_or_else(|| name.clone(), |item| item.title.clone()),
            name,
            forms,
            form,
            justification: said("justification"),
        }
    };
    let names: Vec<&str> = agreed.iter().filter_map(|one| one.get("item").and_then(Value::as_str)).collect();
    let others = provider.into_iter().flat_map(|provider| &provider.items);
    let others = others.filter(|item| !names.contains(&item.id.get_ref().as_str()));
    let mut more: Options = vec![(String::new(), "None".to_owned())];
    more.extend(others.flat_map(|item| {
        let (id, title) = (item.id.get_ref().to_string(), item.title.clone());
        let form = move |form: &sharing::catalogue::Form| {
            (format!("{id}:{form}"), format!("{title}, {}", words(form.to_string())))
        };
        item.forms.iter().map(form)
    }));
    (agreed.iter().enumerate().map(item).collect(), more)
}

/// Terms with what a form says of them. `said` gives a field's text, and nothing where the form has no such field. What cannot be
/// read stays as it was written, so that whoever wrote it sees it again.
pub(super) fn apply(
    terms: &Value,
    set: &PolicySet,
    said: &dyn Fn(&str) -> Option<String>,
) -> (Value, Option<Correction>) {
    let mut changed = terms.clone();
    let mut correction = None;
    for group in groups(terms, set) {
        for field in &group.fields {
            let Some(text) = said(&field.id) else { continue };
            let (value, wrong) = read(field.kind, &text);
            if let Some(wrong) = wrong {
                let wrong = Correction { field: field.id.clone(), text: wrong.to_owned() };
                correction.get_or_insert(wrong);
            }
            put(&mut changed, &field.pointer, value);
        }
        items_said(&mut changed, &group, said, &mut correction);
    }
    (changed, correction)
}

fn items_said(
    terms: &mut Value,
    group: &Group,
    said: &dyn Fn(&str) -> Option<String>,
    correction: &mut Option<Correction>,
) {
    let at = format!("/{}/items", group.id.replace('-', "/"));
    let Some(Value::Array(items)) = terms.pointer_mut(&at) else { return };
    let mut place = 0;
    let mut agreed = group.items.iter();
    items.retain_mut(|item| {
        let (Some(row), Value::Object(members)) = (agreed.next(), item) else { return true };
        place += 1;
        for member in ["form", "justification"] {
            if let Some(text) = said(&format!("{}-{member}", row.id)) {
                members.insert(member.to_owned(), text.into());
            }
        }
        // A form without this item's fields says nothing of it.
        let is_in_form = said(&format!("{}-form", row.id)).is_some();
        !is_in_form || said(&format!("{}-keep", row.id)).is_some()
    });
    let new = said(&format!("{}-new", group.id)).unwrap_or_default();
    let why = said(&format!("{}-new-why", group.id)).unwrap_or_default();
    if let Some((item, form)) = new.split_once(':') {
        if why.is_empty() {
            let text = "Say why the purpose cannot be met without it".to_owned();
            correction.get_or_insert(Correction { field: format!("{}-new-why", group.id), text });
        }
        items.push(json!({ "item": item, "form": form, "justification": why }));
    }
}

fn read(kind: Kind, text: &str) -> (Option<Value>, Option<&'static str>) {
    if text.is_empty() {
        return (None, None);
    }
    match kind {
        Kind::Text => (Some(text.into()), None),
        Kind::Day => match days::read(text) {
            Some(day) => (Some(day.to_string().into()), None),
            None => (Some(text.into()), Some("A day, such as 1 April 2027 or 2027-04-01")),
        },
        Kind::Number => match text.replace(',', "").parse::<u32>() {
            Ok(number) => (Some(number.into()), None),
            Err(_) => (Some(text.into()), Some("A whole number, or nothing")),
        },
        Kind::Names => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            (Some(names.map(Value::from).collect()), None)
        }
    }
}

/// Puts a member in its place, or takes it away. Objects on the way are made where they are missing.
fn put(terms: &mut Value, pointer: &str, value: Option<Value>) {
    let Some((above, name)) = pointer.rsplit_once('/') else { return };
    if terms.pointer(above).is_none() {
        if value.is_none() {
            return;
        }
        put(terms, above, Some(Value::Object(Map::new())));
    }
    let Some(Value::Object(members)) = terms.pointer_mut(above) else { return };
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    // What a member was taken out of, and has none left, is taken out too: `cohort = {}` says nothing.
    if members.is_empty() && !above.is_empty() {
        put(terms, above, None);
    }
}

/// Places in terms, as people name them: what comments are about.
pub(super) fn clauses(terms: &Value) -> Options {
    let mut all = options(&[
        ("", "The whole"),
        ("/title", "Title"),
        ("/effective_on", "In effect from"),
        ("/ends_on", "Its end"),
        ("/review_on", "Its review"),
        ("/breach_contact", "Whom to tell of a breach"),
        ("/dpia", "The impact assessment"),
    ]);
    for place in 0..list(terms, "/parties").len() {
        let at = format!("/parties/{place}");
        all.push((at.clone(), format!("Party {}", text(terms, &format!("{at}/organisation")))));
    }
    for place in 0..list(terms, "/flows").len() {
        let at = format!("/flows/{place}");
        let flow = text(terms, &format!("{at}/id"));
        all.push((at.clone(), format!("Flow {flow}")));
        for (member, said) in [
            ("purpose", "purpose"),
            ("roles", "roles"),
            ("releases_per_day_max", "most people a day"),
            ("provider_basis", "legal basis of the record holder"),
            ("recipient_basis", "legal basis of the recipient"),
            ("confidentiality", "duty of confidentiality"),
            ("obligations", "what the recipient takes on"),
        ] {
            all.push((format!("{at}/{member}"), format!("Flow {flow}: {said}")));
        }
        for item in 0..list(terms, &format!("{at}/items")).len() {
            let at = format!("{at}/items/{item}");
            let name = text(terms, &format!("{at}/item"));
            all.push((at, format!("Flow {flow}: item {name}")));
        }
    }
    all.retain(|(pointer, _)| terms.pointer(pointer).is_some());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::examples::policies as set;

    fn terms() -> Value {
        let item =
            |item: &str, form: &str| json!({ "item": item, "form": form, "justification": "To find them." });
        json!({
            "title": "A pilot", "effective_on": "2026-11-01", "ends_on": "2027-11-01", "review_on": "2027-06-01",
            "owner": "Head", "breach_contact": "b@example.org", "grace_days": 30,
            "parties": [{ "organisation": "gmca", "controller": "separate" }],
            "flows": [{
                "id": "one", "provider": "nhs-pds", "recipient": "gmca", "purpose": "fire-prevention-targeting",
                "roles": ["prevention-officer"], "cohort": { "age_from_years": 65 },
                "provider_basis": { "article_6": "6(1)(e)" }, "recipient_basis": { "article_6": "6(1)(e)" },
                "confidentiality": { "basis": "not-confidential" }, "obligations": { "retain_days": 30, "onward_sharing": false },
                "items": [item("person.family_name", "as-is"), item("person.birth_date", "age-band")],
            }],
        })
    }

    /// The form as a browser sends it when nothing was changed.
    fn form(terms: &Value, set: &PolicySet) -> BTreeMap<String, String> {
        let mut form = BTreeMap::new();
        for group in groups(terms, set) {
            for field in group.fields {
                assert!(form.insert(field.id.clone(), field.value).is_none(), "{} twice", field.id);
            }
            for item in group.items {
                form.insert(format!("{}-form", item.id), item.form);
                form.insert(format!("{}-justification", item.id), item.justification);
                form.insert(format!("{}-keep", item.id), "1".to_owned());
            }
        }
        form
    }

    fn applied(form: &BTreeMap<String, String>) -> (Value, Option<Correction>) {
        apply(&terms(), &set(), &|name| form.get(name).cloned())
    }

    #[test]
    fn a_form_that_nobody_changed_changes_nothing() {
        let (same, wrong) = applied(&form(&terms(), &set()));
        assert_eq!((same, wrong), (terms(), None));
        let (untouched, _) = applied(&BTreeMap::new());
        assert_eq!(untouched, terms(), "a form without fields says nothing");
    }

    #[test]
    fn what_is_written_is_in_the_terms() {
        let set = set();
        let mut form = form(&terms(), &set);
        let mut say = |name: &str, text: &str| form.insert(name.to_owned(), text.to_owned());
        say("flows-0-releases_per_day_max", "1,200");
        say("flows-0-cohort-age_from_years", "");
        say("flows-0-roles", "prevention-officer, unattended");
        say("flows-0-recipient_basis-article_9", "9(2)(h)");
        say("flows-0-items-1-form", "year");
        say("flows-0-new", "person.address:as-is");
        say("flows-0-new-why", "The visit is to a home.");
        say("parties-0-privacy_notice", "https://example.org/notice");
        form.remove("flows-0-items-0-keep");
        let (changed, wrong) = applied(&form);
        assert_eq!(wrong, None);
        let flow = &changed["flows"][0];
        assert_eq!(flow["releases_per_day_max"], 1200);
        assert_eq!(flow.get("cohort"), None);
        assert_eq!(flow["roles"], json!(["prevention-officer", "unattended"]));
        assert_eq!(flow["recipient_basis"], json!({ "article_6": "6(1)(e)", "article_9": "9(2)(h)" }));
        let items: Vec<_> =
            flow["items"].as_array().unwrap().iter().map(|item| (&item["item"], &item["form"])).collect();
        let expected =
            [(json!("person.birth_date"), json!("year")), (json!("person.address"), json!("as-is"))];
        assert_eq!(items, expected.iter().map(|(one, other)| (one, other)).collect::<Vec<_>>());
        assert_eq!(changed["grace_days"], 30, "what has no field stays");
        assert_eq!(changed["parties"][0]["privacy_notice"], "https://example.org/notice");
    }

    #[test]
    fn what_cannot_be_read_is_said_and_kept() {
        let mut form = form(&terms(), &set());
        form.insert("ends_on".to_owned(), "next year".to_owned());
        form.insert("flows-0-releases_per_day_max".to_owned(), "-4".to_owned());
        let (kept, wrong) = applied(&form);
        assert!(wrong.unwrap().is_at("ends_on"));
        assert_eq!(
            (&kept["ends_on"], &kept["flows"][0]["releases_per_day_max"]),
            (&json!("next year"), &json!("-4"))
        );
        form.insert("ends_on".to_owned(), "2027-11-01".to_owned());
        form.remove("flows-0-releases_per_day_max");
        form.insert("flows-0-new".to_owned(), "person.address:as-is".to_owned());
        assert!(applied(&form).1.unwrap().is_at("flows-0-new-why"));
    }

    #[test]
    fn clauses_are_places_that_there_are() {
        let all = clauses(&terms());
        assert!(all.iter().all(|(pointer, _)| terms().pointer(pointer).is_some()));
        assert!(
            all.contains(&("/flows/0/items/1".to_owned(), "Flow one: item person.birth_date".to_owned()))
        );
        assert!(!all.iter().any(|(pointer, _)| pointer == "/dpia"));
    }
}
