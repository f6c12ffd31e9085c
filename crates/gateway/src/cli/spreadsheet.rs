//! Existing agreements out of a spreadsheet, CSV or XLSX: a row a flow, and rows of one `id` together an agreement.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Context as _;
use calamine::{Data, Reader as _};
use serde_json::{Map, Value, json};

use crate::config;

/// The columns. The first row names them, in any order; others are refused, so that nothing is left out without a word.
pub const COLUMNS: [&str; 27] = [
    "id",
    "external_reference",
    "title",
    "framework",
    "effective_on",
    "ends_on",
    "review_on",
    "owner",
    "breach_contact",
    "assessment",
    "assessment_outcome",
    "assessment_completed_on",
    "assessment_current_until",
    "flow",
    "provider",
    "provider_party",
    "recipient",
    "purpose",
    "identifiers",
    "roles",
    "provider_basis",
    "recipient_basis",
    "confidentiality",
    "retain_days",
    "items",
    "justification",
    "notice",
];

/// Columns with a day in them.
const DAYS: [&str; 5] =
    ["effective_on", "ends_on", "review_on", "assessment_completed_on", "assessment_current_until"];

/// Longest reference of another register, in characters.
const REFERENCE_CHARS_MAX: usize = 200;

/// Most rows of a file, below the one that names the columns.
const ROWS_MAX: usize = 5_000;

/// An agreement out of a file.
#[derive(Debug)]
pub struct Imported {
    /// Its name.
    pub id: String,
    /// The rows that it is of, from 1, the heading being the first.
    pub rows: Vec<usize>,
    /// Its terms.
    pub terms: Value,
    /// Whether another row of it is wrong, so that it is not whole.
    pub is_broken: bool,
}

/// A row that cannot be taken.
#[derive(Debug)]
pub struct RowFault {
    /// Which, from 1.
    pub row: usize,
    /// What to do.
    pub said: String,
}

/// Reads a file: the agreements in it, and every row that is wrong.
///
/// # Errors
/// When the file cannot be read at all, or its columns are others.
pub fn read(file: &Path) -> anyhow::Result<(Vec<Imported>, Vec<RowFault>)> {
    let rows = if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xlsx")) {
        sheet(file)?
    } else {
        let text = config::read(file)?;
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let rows =
            reader.records().map(|record| Ok(record?.iter().map(|cell| cell.trim().to_owned()).collect()));
        rows.collect::<Result<Vec<Vec<String>>, csv::Error>>().with_context(|| file.display().to_string())?
    };
    anyhow::ensure!(rows.len() <= ROWS_MAX + 1, "{}: more than {ROWS_MAX} rows; split it", file.display());
    agreements(&rows)
}

/// The first sheet of a workbook. Values are taken as they are shown, and formulas as what they came to when it was saved; what is
/// in merged cells stands in each of them.
fn sheet(file: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let mut workbook: calamine::Xlsx<_> =
        calamine::open_workbook(file).with_context(|| format!("{}: not a workbook", file.display()))?;
    let name = workbook.sheet_names().first().cloned().context("the workbook has no sheet")?;
    let range = workbook.worksheet_range(&name)?;
    let formulas = workbook.worksheet_formula(&name)?;
    let merged = workbook.merge_cells_by_sheet_name(&name)?;
    let (top, left) = range.start().unwrap_or_default();
    let (rows, columns) = range.get_size();
    anyhow::ensure!(rows <= ROWS_MAX + 1, "{}: more than {ROWS_MAX} rows; split it", file.display());
    let at = |row: usize, column: usize| {
        let place =
            (top + u32::try_from(row).unwrap_or(u32::MAX), left + u32::try_from(column).unwrap_or(u32::MAX));
        let inside = merged.iter().find(|area| area.contains(place.0, place.1));
        let place = inside.map_or(place, |area| area.start);
        let text = range.get_value(place).map(cell).unwrap_or_default();
        let formula = formulas.get_value(place).filter(|formula| !formula.is_empty() && text.is_empty());
        // A formula that has never been worked out is no value, and no empty cell.
        formula.map_or(text, |formula| format!("={formula}"))
    };
    Ok((0..rows).map(|row| (0..columns).map(|column| at(row, column)).collect()).collect())
}

fn cell(data: &Data) -> String {
    match data {
        Data::DateTime(at) => {
            let (year, month, day, ..) = at.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02}")
        }
        Data::DateTimeIso(text) => text.chars().take(10).collect(),
        Data::Error(error) => format!("={error}"),
        other => other.to_string().trim().to_owned(),
    }
}

fn agreements(rows: &[Vec<String>]) -> anyhow::Result<(Vec<Imported>, Vec<RowFault>)> {
    let heading = rows.first().context("the file is empty; the first row names the columns")?;
    if let [alone] = heading.as_slice()
        && let Some(separator) = [';', '\t'].into_iter().find(|separator| alone.contains(*separator))
    {
        let said = if separator == ';' { "semicolons" } else { "tabs" };
        anyhow::bail!(
            "the columns are separated by {said}; save the file again as CSV with commas, or as an XLSX workbook"
        );
    }
    for (place, name) in heading.iter().enumerate() {
        anyhow::ensure!(
            !heading.iter().take(place).any(|before| before == name) || !COLUMNS.contains(&name.as_str()),
            "the column `{name}` is there twice; take one of them out"
        );
        anyhow::ensure!(
            COLUMNS.contains(&name.as_str()),
            "there is no column `{name}`; they are {}",
            COLUMNS.join(", ")
        );
    }
    let missing: Vec<_> =
        COLUMNS.iter().filter(|name| !heading.iter().any(|known| known == *name)).copied().collect();
    let missing: Vec<_> = missing.into_iter().filter(|name| !OPTIONAL.contains(name)).collect();
    anyhow::ensure!(missing.is_empty(), "these columns are missing: {}", missing.join(", "));
    let mut all: BTreeMap<String, Imported> = BTreeMap::new();
    let (mut faults, mut broken) = (Vec::new(), BTreeSet::new());
    for (place, cells) in rows.iter().enumerate().skip(1) {
        let number = place + 1;
        if cells.iter().all(String::is_empty) {
            continue;
        }
        let row: BTreeMap<&str, &str> =
            heading.iter().map(String::as_str).zip(cells.iter().map(String::as_str)).collect();
        let wrong = match wrong(&row) {
            wrong if wrong.is_empty() => taken(&row, &mut all, number).err().unwrap_or_default(),
            wrong => wrong,
        };
        if !wrong.is_empty() {
            broken.extend(row.get("id").map(|id| (*id).to_owned()));
        }
        faults.extend(wrong.into_iter().map(|said| RowFault { row: number, said }));
    }
    anyhow::ensure!(
        !(all.is_empty() && faults.is_empty()),
        "there are no rows below the one that names the columns; write a row for each flow"
    );
    all.values_mut().for_each(|agreement| agreement.is_broken = broken.contains(&agreement.id));
    Ok((all.into_values().collect(), faults))
}

/// Columns that may be empty.
const OPTIONAL: [&str; 3] = ["external_reference", "justification", "notice"];

/// Everything that is wrong with a row by itself.
fn wrong(row: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in COLUMNS {
        let text = row.get(name).copied().unwrap_or_default();
        let said = if text.is_empty() {
            (!OPTIONAL.contains(&name)).then(|| "it is empty".to_owned())
        } else if text.starts_with('=') {
            Some("a formula without a value; write the value, or open the workbook in a spreadsheet program and save it".to_owned())
        } else if DAYS.contains(&name) && !is_day(text) {
            Some("write the day as 2027-02-01: year, month, day".to_owned())
        } else if name == "external_reference" && text.chars().count() > REFERENCE_CHARS_MAX {
            Some(format!("at most {REFERENCE_CHARS_MAX} characters"))
        } else {
            None
        };
        match said {
            Some(said) => wrong.push(format!("{name}: {said}")),
            None if text.is_empty() => {}
            None if name == "justification" => {
                let items = list(row.get("items").copied().unwrap_or_default()).len();
                let reasons = list(text).len();
                if reasons > 1 && reasons != items {
                    wrong.push(format!(
                        "justification: {reasons} reasons for {items} items; as many as items, with `;` between them, or one for all"
                    ));
                }
            }
            None => wrong.extend(match name {
                "retain_days" => days(text).err(),
                "provider_basis" | "recipient_basis" => basis(name, &list(text)).err(),
                _ => None,
            }),
        }
    }
    wrong
}

fn list(text: &str) -> Vec<&str> {
    text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn days(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|days| *days > 0).ok_or_else(|| "retain_days: whole days, 1 to 65535".to_owned())
}

/// Takes a row in: a flow of a new agreement, or a further one of an agreement that is the same otherwise.
fn taken(
    row: &BTreeMap<&str, &str>,
    all: &mut BTreeMap<String, Imported>,
    number: usize,
) -> Result<(), Vec<String>> {
    let text = |name: &str| row.get(name).copied().unwrap_or_default();
    let (flow, top, parties) = (flow(row).map_err(|said| vec![said])?, top(row), parties(row));
    match all.get_mut(text("id")) {
        None => {
            let mut terms = top;
            terms.insert("parties".to_owned(), Value::Array(parties));
            terms.insert("flows".to_owned(), json!([flow]));
            let terms = Value::Object(terms);
            all.insert(
                text("id").to_owned(),
                Imported { id: text("id").to_owned(), rows: vec![number], terms, is_broken: false },
            );
        }
        Some(known) => {
            let before = known.rows.first().copied().unwrap_or_default();
            let differ = top.iter().filter(|(name, value)| known.terms.get(name.as_str()) != Some(*value));
            let differ: Vec<_> = differ
                .map(|(name, _)| format!("{name}: it differs from row {before} of the same agreement"))
                .collect();
            if !differ.is_empty() {
                return Err(differ);
            }
            let listed = known.terms.get_mut("parties").and_then(Value::as_array_mut);
            if let Some(listed) = listed {
                for party in parties {
                    if listed.iter().all(|other| other.get("organisation") != party.get("organisation")) {
                        listed.push(party);
                    }
                }
            }
            if let Some(flows) = known.terms.get_mut("flows").and_then(Value::as_array_mut) {
                flows.push(flow);
            }
            known.rows.push(number);
        }
    }
    Ok(())
}

fn is_day(text: &str) -> bool {
    text.len() == "2027-02-01".len() && text.parse::<jiff::civil::Date>().is_ok()
}

fn top(row: &BTreeMap<&str, &str>) -> Map<String, Value> {
    let text = |name: &str| Value::from(row.get(name).copied().unwrap_or_default());
    let mut members = Map::new();
    for name in ["title", "framework", "effective_on", "ends_on", "review_on", "owner", "breach_contact"] {
        members.insert(name.to_owned(), text(name));
    }
    if let Some(reference) = row.get("external_reference").filter(|reference| !reference.is_empty()) {
        members.insert("external_reference".to_owned(), (*reference).into());
    }
    members.insert(
        "dpia".to_owned(),
        json!({
            "reference": text("assessment"), "outcome": text("assessment_outcome"),
            "completed_on": text("assessment_completed_on"), "current_until": text("assessment_current_until"),
        }),
    );
    members
}

fn parties(row: &BTreeMap<&str, &str>) -> Vec<Value> {
    let notice = row.get("notice").filter(|notice| !notice.is_empty());
    let party = |name: &str| {
        let organisation = row.get(name).copied().unwrap_or_default();
        match notice {
            Some(notice) => {
                json!({ "organisation": organisation, "controller": "separate", "privacy_notice": notice })
            }
            None => json!({ "organisation": organisation, "controller": "separate" }),
        }
    };
    vec![party("provider_party"), party("recipient")]
}

fn flow(row: &BTreeMap<&str, &str>) -> Result<Value, String> {
    let text = |name: &str| row.get(name).copied().unwrap_or_default();
    let list = |name: &str| list(text(name));
    let (named, reasons) = (list("items"), list("justification"));
    let items = named.iter().enumerate().map(|(place, item)| {
        let (item, form) = item.split_once(':').unwrap_or((item, "as-is"));
        // One for each, in their order; or one for all of them.
        let justification = if reasons.len() == 1 { reasons.first() } else { reasons.get(place) };
        json!({ "item": item.trim(), "form": form.trim(), "justification": justification.unwrap_or(&"") })
    });
    let items: Vec<_> = items.collect();
    Ok(json!({
        "id": text("flow"), "provider": text("provider"), "recipient": text("recipient"), "purpose": text("purpose"),
        "identifiers": list("identifiers"), "roles": list("roles"),
        "provider_basis": basis("provider_basis", &list("provider_basis"))?,
        "recipient_basis": basis("recipient_basis", &list("recipient_basis"))?,
        "confidentiality": { "basis": text("confidentiality") },
        "obligations": { "retain_days": days(text("retain_days"))?, "onward_sharing": false },
        "items": items,
    }))
}

/// `6(1)(e); 9(2)(h); part 1 paragraph 2`.
fn basis(name: &str, parts: &[&str]) -> Result<Value, String> {
    let mut members = Map::new();
    for part in parts {
        let member = if part.starts_with("6(") {
            "article_6"
        } else if part.starts_with("9(") {
            "article_9"
        } else if part.starts_with("part ") {
            "schedule_1"
        } else {
            return Err(format!("{name}: `6(1)(e); 9(2)(g); part 2 paragraph 18`, as far as each applies"));
        };
        members.insert(member.to_owned(), (*part).into());
    }
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(edit: impl Fn(&mut Vec<Vec<String>>)) -> (Vec<Imported>, Vec<RowFault>) {
        let row = [
            "one",
            "ISG-17",
            "One",
            "The accord",
            "2027-01-01",
            "2028-01-01",
            "2027-07-01",
            "Head",
            "b@example.org",
            "DPIA-1",
            "accepted",
            "2026-10-01",
            "2028-02-01",
            "there",
            "nhs-pds",
            "nhs-england",
            "trafford-council",
            "direct-care",
            "nhs-number",
            "social-worker; occupational-therapist",
            "6(1)(e); 9(2)(h); part 1 paragraph 2",
            "6(1)(e)",
            "implied-consent",
            "365",
            "person.name; person.birth_date:year",
            "To care.",
            "",
        ];
        let row: Vec<_> = row.map(str::to_owned).into();
        let mut all = vec![COLUMNS.map(str::to_owned).to_vec(), row.clone(), row];
        all[2][13] = "back".to_owned();
        edit(&mut all);
        agreements(&all).unwrap()
    }

    #[test]
    fn rows_of_one_agreement_are_its_flows() {
        let (all, faults) = rows(|_| {});
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((all.len(), &all[0].rows), (1, &vec![2, 3]));
        let terms = &all[0].terms;
        assert_eq!(terms["external_reference"], "ISG-17");
        assert_eq!(
            (terms["flows"].as_array().unwrap().len(), terms["parties"].as_array().unwrap().len()),
            (2, 2)
        );
        assert_eq!(
            terms["flows"][1]["items"][1],
            json!({ "item": "person.birth_date", "form": "year", "justification": "To care." })
        );
        assert_eq!(terms["flows"][0]["provider_basis"]["schedule_1"], "part 1 paragraph 2");
    }

    #[test]
    fn each_wrong_row_is_named() {
        let (_, faults) = rows(|all| {
            all[1][23] = "a year".to_owned();
            all[2][20] = "consent".to_owned();
        });
        let said: Vec<_> =
            faults.iter().map(|fault| (fault.row, fault.said.split(':').next().unwrap())).collect();
        assert_eq!(said, [(2, "retain_days"), (3, "provider_basis")]);
        let (_, faults) = rows(|all| all[2][2] = "Another".to_owned());
        assert_eq!(
            (faults[0].row, faults[0].said.as_str()),
            (3, "title: it differs from row 2 of the same agreement")
        );
        let (all, _) = rows(|all| all[2][2] = "Another".to_owned());
        assert!(all[0].is_broken, "an agreement without one of its flows is another");
        let (_, faults) = rows(|all| all[1][7] = "=B2".to_owned());
        assert!(faults[0].said.starts_with("owner: a formula without a value"), "{faults:?}");
        let (_, faults) = rows(|all| all[1][7].clear());
        assert_eq!(faults[0].said, "owner: it is empty");
        for text in ["01/02/2027", "46000", "2027-02-30", "2027-02-01T00:00"] {
            let (_, faults) = rows(|all| all[1][11] = text.to_owned());
            let said = "assessment_completed_on: write the day as 2027-02-01: year, month, day";
            assert_eq!((faults[0].row, faults[0].said.as_str()), (2, said), "{text}");
        }
        let (_, faults) = rows(|all| all[1][1] = "x".repeat(201));
        assert_eq!(faults[0].said, "external_reference: at most 200 characters");
        let (_, faults) = rows(|all| all.iter_mut().skip(1).for_each(|row| row[1] = "x".repeat(200)));
        assert!(faults.is_empty(), "{faults:?}");
        assert!(agreements(&[vec!["id".to_owned(), "surprise".to_owned()]]).is_err());
        assert!(agreements(&[vec!["id".to_owned()]]).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn a_file_that_cannot_be_taken_as_it_is_says_why() {
        let refused = |rows: &[Vec<String>]| agreements(rows).unwrap_err().to_string();
        let heading = COLUMNS.map(str::to_owned).to_vec();
        assert!(refused(std::slice::from_ref(&heading)).starts_with("there are no rows below"));
        assert!(refused(&[heading.clone(), vec![String::new(); 27]]).starts_with("there are no rows below"));
        let twice = [heading.clone(), vec!["title".to_owned()]].concat();
        assert_eq!(refused(&[twice]), "the column `title` is there twice; take one of them out");
        let semicolons = refused(&[vec![COLUMNS.join(";")], vec!["one;two".to_owned()]]);
        assert!(semicolons.starts_with("the columns are separated by semicolons; save"), "{semicolons}");
        assert!(refused(&[vec![COLUMNS.join("\t")]]).starts_with("the columns are separated by tabs"));
    }
}
