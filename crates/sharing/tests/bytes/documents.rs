//! Documents and catalogues that bytes choose: few names, spelled in several ways, at any depth, so that places are found.

use std::fmt::Write as _;

use super::{Bytes, FILES};

/// Names that members have, with another spelling of each.
const NAMES: [[&str; 2]; 12] = [
    [r#""use""#, r#""u\u0073e""#],
    [r#""a""#, r#""\u0061""#],
    [r#""b""#, r#""\u0062""#],
    [r#""period""#, r#""perio\u0064""#],
    [r#""start""#, r#""\u0073tart""#],
    [r#""end""#, r#""e\u006Ed""#],
    [r#""a-name-of-some-length""#, r#""a-name-of-some-lengt\u0068""#],
    [r#""a-name_of_some-length""#, r#""other""#],
    [r#""resource""#, r#""""#],
    [r#""modifierExtension""#, r#""modifier""#],
    [r#""_start""#, r#""_st\u0061rt""#],
    [r#""_end""#, r#""\u005fend""#],
];

/// What entries of a Bundle say beside their resource.
const ODD_ENTRIES: [&str; 10] = [
    r#","search":{"mode":"match"}"#,
    r#","search":{"score":1}"#,
    r#","search":{"mode":"outcome"}"#,
    r#","search":{"mode":["match"]}"#,
    r#","search":null"#,
    r#","search":[{"mode":"include"}]"#,
    r#","request":{"method":"DELETE"}"#,
    r#","response":null"#,
    r#","response":{"status":"410"}"#,
    r#","modifierExtension":[{}]"#,
];

/// Members of a Patient that say whether it is one to be read.
const ODD_MEMBERS: [&str; 10] = [
    r#","active":true"#,
    r#","active":null"#,
    r#","active":false"#,
    r#","link":[{"type":"seealso"}, {"type":"replaces"}]"#,
    r#","link":[{"type":"replaced-by"}]"#,
    r#","link":[[{"type":"seealso"}]]"#,
    r#","link":{}"#,
    r#","implicitRules":"x""#,
    r#","implicitRules":null"#,
    r#","modifierExtension":[]"#,
];

/// Values that members have.
const SCALARS: [&str; 29] = [
    "null",
    "true",
    "false",
    "0",
    "-1.50",
    "1E+9",
    "123456789012345678901234567890",
    r#""""#,
    r#""x""#,
    r#""home""#,
    r#""h\u006fme""#,
    r#""y\"z""#,
    r#""old""#,
    r#""a\u202eb""#,
    r#""1940-02-29T10:00 or so""#,
    "1e15",
    "12345678901234567.8",
    r#""\/\b\f\n\r\t\\""#,
    r#""\u00e9\ud83d\ude00\u0001""#,
    r#""é😀 in a text of more than eight bytes""#,
    r#""1940-02-29""#,
    r#""1940-02""#,
    r#""2027-01-01T00:00:00Z""#,
    r#""M1 1AE""#,
    r#""9732110317""#,
    r#""Patient""#,
    r#""\ud800""#,
    "01",
    "{}",
];

const FORMS: [&str; 8] =
    ["as-is", "yes-no", "as-is", "initial", "year", "age-band", "postcode-district", "as-is"];

/// A record holder's file with eight items anywhere.
pub fn any_catalogue(fhir: bool, bytes: &mut Bytes<'_>) -> String {
    let protocol = if fhir { "fhir-r4-patient" } else { "json" };
    let places: Vec<_> = (0..6).map(|_| any_place(bytes)).collect();
    let marks = bytes.pick(&[
        "unless = []",
        r#"unless = ["home", "x"]"#,
        r#"unless = ["true", "home"], required = true"#,
    ]);
    let mut text = format!(
        r#"
[provider]
id = "any"
organisation = "nhs-england"
name = "Any record holder"
base_url = "https://127.0.0.1:1"
protocol = "{protocol}"
media_types = ["application/json"]
rectification_contact = "records@example.org"
[[lookups]]
scheme = "nhs-number"
method = "POST"
path = "/lookups"
body_member = "nhs_number"
decoy = "9990000166"
[subject]
identifiers = [{{ scheme = "nhs-number", select = "id" }}]
restricted = [{{ select = '{}', {marks} }}]
deceased = [{{ select = '{}', equals = ["no such text"] }}]
birth_date = '{}'
source_time = '{}'
surname = '{}'
uprn = '{}'
"#,
        places[0], places[1], places[2], places[3], places[4], places[5]
    );
    for (number, form) in FORMS.into_iter().enumerate() {
        let place = any_place(bytes);
        let period = if bytes.any() { "period = \"period\"" } else { "" };
        let fields =
            if form == "as-is" && bytes.any() { r#"["b", "use", "a-name-of-some-length"]"# } else { "[]" };
        let many = bytes.any();
        let _ = write!(
            text,
            r#"
[[items]]
id = "any.item_{number}"
title = "An item"
category = "ordinary"
confidential = false
locating = false
select = '{place}'
fields = {fields}
many = {many}
{period}
forms = ["{form}"]
"#
        );
    }
    text
}

/// An agreement that all of it may be told.
pub fn any_agreement() -> String {
    let care = FILES.iter().find(|file| file.path.ends_with("trafford-asc-nhs-direct-care.toml")).unwrap();
    let first_flow = care.text.split_once("[[flows.items]]").unwrap().0;
    let renamed = first_flow.replace("\"nhs-pds\"", "\"any\"").replace("trafford-asc-nhs-direct-care", "any");
    FORMS.iter().enumerate().fold(renamed, |mut text, (number, form)| {
        let item =
            format!("item = \"any.item_{number}\"\nform = \"{form}\"\njustification = \"It is needed.\"");
        text.push_str(&format!("\n[[flows.items]]\n{item}\n"));
        text
    })
}

fn any_place(bytes: &mut Bytes<'_>) -> String {
    let names = ["a", "b", "use", "a-name-of-some-length", "period"];
    let steps = (0..=bytes.one() % 3).map(|_| {
        let mut step = bytes.pick(&names).to_owned();
        while bytes.one() % 8 == 7 {
            let _ =
                write!(step, "[{}={}]", bytes.pick(&["use", "use", "b"]), bytes.pick(&["home", "x", "y\"z"]));
        }
        step
    });
    steps.collect::<Vec<_>>().join(".")
}

/// A record, or a searchset of some, that is often about the person asked for.
pub fn any_document(fhir: bool, bytes: &mut Bytes<'_>) -> String {
    let record = |bytes: &mut Bytes<'_>| {
        let mut text = if fhir { r#"{"resourceType":"Patient""#.to_owned() } else { "{".to_owned() };
        if bytes.one() % 8 != 7 {
            text.push_str(if fhir { r#", "id":"9732110317""# } else { r#""id":"9732110317""# });
        }
        if fhir && bytes.one() % 16 == 15 {
            text.push_str(bytes.pick(&ODD_MEMBERS));
        }
        let members = members(bytes, 3);
        if !text.ends_with('{') && !members.is_empty() {
            text.push(',');
        }
        text + &members + "}"
    };
    if fhir && bytes.one() % 4 == 3 {
        let records = (0..bytes.below(4)).map(|_| {
            let around = bytes.one();
            let odd =
                usize::from(around).checked_sub(256 - ODD_ENTRIES.len()).map_or("", |odd| ODD_ENTRIES[odd]);
            let resource = if around % 32 == 31 {
                r#"{"resourceType":"OperationOutcome"}"#.to_owned()
            } else {
                record(bytes)
            };
            format!("{{\"resource\":{resource}{odd}}}")
        });
        let entries = records.collect::<Vec<_>>().join(", ");
        let odd = if bytes.any() { "" } else { r#", "a": [{"b": "x"}]"# };
        let kind = if bytes.one() == 255 { "history" } else { "searchset" };
        return format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]{odd}}}"#);
    }
    record(bytes)
}

fn members(bytes: &mut Bytes<'_>, depth_left: usize) -> String {
    let mut members = Vec::new();
    for spellings in NAMES {
        let choice = bytes.one();
        // It refuses the whole, so it is rare.
        let times = if spellings[0] == NAMES[9][0] {
            usize::from(choice == 255)
        } else if choice == 255 {
            2
        } else {
            usize::from(choice % 8 < 5)
        };
        for _ in 0..times {
            let name = spellings[usize::from(bytes.one() % 8 == 7)];
            let space = bytes.pick(&["", "", " ", "\n                   "]);
            let value = match (spellings[0], bytes.one() % 4) {
                (r#""use""#, 0..=2) => {
                    bytes.pick(&[r#""home""#, r#""h\u006fme""#, r#""x""#, r#""old""#, r#""y\"z""#]).to_owned()
                }
                _ => any_value(bytes, depth_left),
            };
            members.push(format!("{space}{name}{space}:{value}"));
        }
    }
    members.join(",")
}

fn any_value(bytes: &mut Bytes<'_>, depth_left: usize) -> String {
    match bytes.one() % 16 {
        0..=6 if depth_left > 0 => format!("{{{}}}", members(bytes, depth_left - 1)),
        7..=10 if depth_left > 0 => {
            let items = (0..bytes.below(4)).map(|_| any_value(bytes, depth_left - 1));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        _ => {
            let rare = bytes.one() == 255;
            SCALARS[bytes.below(SCALARS.len() - if rare { 0 } else { 3 })].to_owned()
        }
    }
}
