//! The fields that templates are made of, held against the examples that GOV.UK Frontend's package carries: options and the HTML that they
//! have to become (`fixtures.json` of each component, installed with what drives the browser: `./test`).

use std::path::PathBuf;

use askama::Template;
use serde_json::Value;

use crate::{
    fault::Correction,
    page::{Frame, Plain},
};

type Options = Vec<(String, String)>;

/// The examples of a component.
fn examples(component: &str) -> Vec<Value> {
    let path = format!(
        "../../target/browser/node_modules/govuk-frontend/dist/govuk/components/{component}/fixtures.json"
    );
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(path).expect("install it first, as ./test does");
    let all: Value = serde_json::from_str(&text).unwrap();
    all["fixtures"].as_array().unwrap().clone()
}

/// Tags with their attributes in order, and words: what HTML says, whatever its blanks are.
fn said(html: &str) -> Vec<String> {
    let mut said = Vec::new();
    let mut rest = html;
    while let Some((text, tail)) = rest.split_once('<') {
        words(text, &mut said);
        let (tag, tail) = tail.split_once('>').expect("a tag ends");
        said.push(tag_of(tag));
        rest = tail;
    }
    words(rest, &mut said);
    said
}

fn words(text: &str, said: &mut Vec<String>) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Templates escape with numbers, the package with names.
    let text = text
        .replace("&quot;", "&#34;")
        .replace("&lt;", "&#60;")
        .replace("&gt;", "&#62;")
        .replace("&amp;", "&#38;");
    if !text.is_empty() {
        said.push(text);
    }
}

fn tag_of(tag: &str) -> String {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    while let Some(start) = rest.find(|letter: char| !letter.is_whitespace()) {
        rest = rest.split_at(start).1;
        let end = rest.find(|letter: char| letter.is_whitespace() || letter == '=').unwrap_or(rest.len());
        let (key, tail) = rest.split_at(end);
        let (value, tail) = match tail.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').expect("a value ends"),
            None => ("", tail),
        };
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        // Ours are named by their identifiers, begin empty, and are kept from browsers' memories.
        let ours = matches!(
            (key, value.as_str()),
            ("name", _) | ("autocomplete", "off") | ("spellcheck", "false") | ("value", "")
        );
        if !ours {
            attributes.push(format!("{key}={value:?}"));
        }
        rest = tail;
    }
    attributes.sort_unstable();
    format!("<{name} {}>", attributes.join(" "))
}

/// A text option, where there is one and it is no HTML.
fn text<'a>(options: &'a Value, of: &str) -> Option<&'a str> {
    options.get(of).and_then(|one| one.get("text")).and_then(Value::as_str)
}

/// Whether an example asks for nothing but this: everything else is what our templates do not offer.
fn only(options: &Value, known: &[&str]) -> bool {
    let plain = |name: &str, value: &Value| match name {
        "label" | "hint" | "errorMessage" => {
            value.as_object().is_some_and(|members| members.keys().all(|member| member == "text"))
        }
        _ => true,
    };
    options
        .as_object()
        .unwrap()
        .iter()
        .all(|(name, value)| known.contains(&name.as_str()) && plain(name, value))
}

fn frame(id: &str, options: &Value) -> Frame {
    let wrong = text(options, "errorMessage");
    let correction = wrong.map(|text| Correction { field: id.to_owned(), text: text.to_owned() });
    Frame::bare("An example").correcting(correction)
}

/// Items with a text and a value each, and the one that is chosen.
fn items(options: &Value) -> Option<(Options, Vec<String>)> {
    let mut chosen = Vec::new();
    let mut found = Vec::new();
    for item in options.get("items")?.as_array()? {
        let members = item.as_object()?;
        if !members.keys().all(|name| ["text", "value", "checked", "selected"].contains(&name.as_str())) {
            return None;
        }
        let value = match item.get("value")? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let marks: Vec<_> = ["checked", "selected"].iter().filter_map(|name| item.get(name)).collect();
        if marks.contains(&&Value::Bool(false)) {
            return None; // what is chosen is said once, by its value
        }
        if !marks.is_empty() {
            chosen.push(value.clone());
        }
        found.push((value, item.get("text")?.as_str()?.to_owned()));
    }
    Some((found, chosen))
}

fn id_of<'a>(options: &'a Value, names: &[&str]) -> &'a str {
    names.iter().find_map(|name| options.get(name).and_then(Value::as_str)).unwrap_or_default()
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "{% import \"fields.html\" as g %}{% if area %}{% call g::textarea(frame, id, label, hint, value) %}{% endcall %}{% else %}{% call g::input(frame, id, label, hint, value, width) %}{% endcall %}{% endif %}"
)]
struct Text<'a> {
    frame: Frame,
    area: bool,
    id: &'a str,
    label: &'a str,
    hint: &'a str,
    value: &'a str,
    width: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "{% import \"fields.html\" as g %}{% if kind == \"select\" %}{% call g::select(frame, id, label, options, value) %}{% endcall %}{% else if kind == \"radios\" %}{% call g::radios(frame, id, label, hint, options, value) %}{% endcall %}{% else %}{% call g::checkboxes(frame, id, label, hint, options, values) %}{% endcall %}{% endif %}"
)]
struct Choice<'a> {
    frame: Frame,
    kind: &'a str,
    id: &'a str,
    label: &'a str,
    hint: &'a str,
    options: Options,
    value: String,
    values: Vec<String>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "{% import \"fields.html\" as g %}<dl class=\"govuk-summary-list\">{% for (key, value) in rows %}{% call g::row(key, value) %}{% endcall %}{% endfor %}</dl>"
)]
struct Rows {
    rows: Vec<(String, String)>,
}

/// How many examples of the component were ones that we can say, and how each differs that we say otherwise.
fn differing(component: &str, mut ours: impl FnMut(&Value) -> Option<String>) -> (usize, Vec<String>) {
    let (mut compared, mut wrong) = (0, Vec::new());
    for example in examples(component) {
        let Some(html) = ours(&example["options"]) else { continue };
        compared += 1;
        let (made, wanted) = (said(&html), said(example["html"].as_str().unwrap()));
        if made != wanted {
            wrong.push(format!("{component}, {}:\n  made   {made:?}\n  wanted {wanted:?}", example["name"]));
        }
    }
    (compared, wrong)
}

#[test]
fn texts_are_those_of_the_design_system() {
    let of = |area: bool| {
        move |options: &Value| {
            let known = ["id", "name", "label", "hint", "errorMessage", "value", "classes"];
            let classes = options.get("classes").and_then(Value::as_str).unwrap_or_default();
            let fits = only(options, &known)
                && (classes.is_empty() || (!area && classes.starts_with("govuk-input--width")));
            let value = options.get("value").map_or(Some(""), Value::as_str)?;
            let id = id_of(options, &["id", "name"]);
            fits.then(|| {
                let (label, hint) = (text(options, "label")?, text(options, "hint").unwrap_or_default());
                Text { frame: frame(id, options), area, id, label, hint, value, width: classes }.render().ok()
            })?
        }
    };
    let (inputs, wrong) = differing("input", of(false));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (areas, wrong) = differing("textarea", of(true));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(inputs >= 10 && areas >= 5, "{inputs} inputs and {areas} textareas were compared");
}

fn choice(kind: &'static str) -> impl FnMut(&Value) -> Option<String> {
    move |options: &Value| {
        let known = ["id", "idPrefix", "name", "label", "hint", "errorMessage", "items", "fieldset", "value"];
        let (items, mut chosen) = items(options)?;
        if let Some(value) = options.get("value") {
            chosen = vec![value.as_str()?.to_owned()];
        }
        let legend = options.get("fieldset").map(|fieldset| {
            let legend = fieldset.get("legend")?.as_object()?;
            let plain = fieldset.as_object()?.len() == 1 && legend.len() == 1;
            legend.get("text").and_then(Value::as_str).filter(|_| plain)
        });
        let label = match (kind, legend) {
            ("select", None) => text(options, "label")?,
            ("select", Some(_)) => return None,
            (_, legend) => legend??,
        };
        // Our lists have nothing above them but their labels.
        let hint = text(options, "hint").unwrap_or_default();
        let fits = only(options, &known)
            && (kind != "select" || hint.is_empty())
            && (kind == "checkboxes" || chosen.len() <= 1);
        let id = id_of(options, &["id", "idPrefix", "name"]);
        let value = chosen.first().cloned().unwrap_or_else(|| "none of them".to_owned());
        let frame = frame(id, options);
        fits.then(|| {
            Choice { frame, kind, id, label, hint, options: items, value, values: chosen }.render().ok()
        })?
    }
}

#[test]
fn choices_are_those_of_the_design_system() {
    for (kind, at_least) in [("select", 2), ("radios", 2), ("checkboxes", 1)] {
        let (compared, wrong) = differing(kind, choice(kind));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(compared >= at_least, "{compared} examples of {kind} were compared");
    }
}

#[test]
fn summaries_are_those_of_the_design_system() {
    let (compared, wrong) = differing("summary-list", |options| {
        let rows = only(options, &["rows"]).then(|| options["rows"].as_array())??;
        let text_of = |row: &Value, of: &str| {
            let one = row.get(of)?.as_object()?;
            (one.len() == 1).then(|| one.get("text")?.as_str().map(str::to_owned))?
        };
        // The package leaves out what is no row; we never have one.
        let rows = rows.iter().filter(|row| row.is_object()).map(|row| {
            let plain = row.as_object()?.keys().all(|name| name == "key" || name == "value");
            plain.then(|| Some((text_of(row, "key")?, text_of(row, "value")?)))?
        });
        Rows { rows: rows.collect::<Option<Vec<_>>>()? }.render().ok()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 1, "{compared} were compared");
}

/// What is around every page says what the examples say, somewhere.
#[test]
fn what_is_around_pages_is_the_design_systems() {
    let page = |frame: Frame| Plain { frame, paragraphs: Vec::new(), link: None }.render().unwrap();
    let within = |component: &str, name: &str, html: &str| {
        let all = examples(component);
        let example =
            all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{component}: {name}"));
        let (page, mut wanted) = (said(html), said(example["html"].as_str().unwrap()));
        if component == "generic-header" {
            // Ours is a landmark, and not a `div`.
            wanted = wanted.get(1..wanted.len() - 1).unwrap().to_vec();
        }
        let found = page.windows(wanted.len()).any(|part| part == wanted.as_slice());
        assert!(found, "{component}, {name}:\n{wanted:?}\n{page:?}");
    };
    let at = |field: &str, text: &str| {
        let correction = Correction { field: field.to_owned(), text: text.to_owned() };
        page(Frame::bare("x").correcting(Some(correction)))
    };
    let bare = page(Frame::bare("x"));
    within("skip-link", "default", &bare.replace("#main-content", "#test-target-element"));
    within("generic-header", "default", &bare.replace("Concordat console</a>", "My cool service</a>"));
    within(
        "back-link",
        "with custom text and link",
        &page(Frame::bare("x").back_to("/home", "Back to home")),
    );
    within("error-summary", "without links", &at("", "Invalid username or password"));
    let hostile = "Descriptive link to the <b>question</b> with an error";
    within("error-summary", "error list with html as text link", &at("error-1", hostile));
}
