//! Beginning agreements: from a template, and from a spreadsheet of those that exist elsewhere.

use std::path::Path;

use clap::Args;
use jiff::civil::Date;
use reqwest::Method;
use serde_json::{Value, json};
use sharing::agreement::terms::Terms;

use super::{CallerArguments, Gateway, output};
use crate::{
    agreements::{
        canonical,
        templates::{self, Filling},
    },
    cli::spreadsheet::{self, Imported},
};

/// A template, and what it leaves open.
#[derive(Args)]
#[group(requires_all = ["from"])]
pub(super) struct TemplateArguments {
    /// The template's name; `concordat agreement templates` lists them.
    #[arg(long, required = false)]
    from: String,
    /// The agreement's name.
    #[arg(long, required = false)]
    id: String,
    /// The record holder that is asked.
    #[arg(long, required = false)]
    provider: String,
    /// The organisation whose records it has.
    #[arg(long, required = false)]
    provider_party: String,
    /// The organisation that asks.
    #[arg(long, required = false)]
    recipient: String,
    /// First day, as `2027-01-31`.
    #[arg(long, required = false)]
    effective_on: Date,
    /// The accord that the parties joined.
    #[arg(long, required = false)]
    framework: String,
    /// Who sees that the data is put to good use.
    #[arg(long, required = false)]
    owner: String,
    /// Whom to tell of a breach.
    #[arg(long, required = false)]
    breach_contact: String,
    /// The impact assessment's reference.
    #[arg(long, required = false)]
    assessment: String,
}

impl TemplateArguments {
    pub(super) fn terms(self) -> anyhow::Result<(String, Value)> {
        let filling = Filling {
            provider: self.provider,
            provider_party: self.provider_party,
            recipient: self.recipient,
            effective_on: self.effective_on,
            framework: self.framework,
            owner: self.owner,
            breach_contact: self.breach_contact,
            assessment: self.assessment,
        };
        Ok((self.id, templates::terms(&self.from, &filling)?))
    }
}

/// Prints the templates.
pub(super) fn list() -> anyhow::Result<()> {
    for template in templates::all()? {
        let not_yet = template.not_yet.map(|why| format!(" (not to be used yet: {why})")).unwrap_or_default();
        output::line(&format!("{:<28} {}{not_yet}", template.name, template.about));
    }
    Ok(())
}

/// Most flows of an agreement that are looked at one by one for what is wrong.
const FLOWS_MAX: usize = 200;

/// Begins what is in a file: every agreement is checked before any is begun. Sent again, a file goes on where it stopped: what is begun
/// with the same terms is left as it is.
pub(super) async fn import(caller: &CallerArguments, partial: bool, file: &Path) -> anyhow::Result<()> {
    let (agreements, faults) = spreadsheet::read(file)?;
    let gateway = Gateway::of(caller)?;
    let mut wrong: Vec<_> = faults.into_iter().map(|fault| (fault.row, fault.said)).collect();
    let (mut fit, mut there) = (Vec::new(), Vec::new());
    for agreement in agreements {
        let body = json!({ "id": agreement.id, "terms": agreement.terms });
        match check(&gateway, &body).await {
            // A flow that is left out is another agreement.
            Ok(()) if agreement.is_broken => {}
            Ok(()) => fit.push((agreement.id, body)),
            Err(_) if is_begun(&gateway, &agreement).await => there.push(agreement.id),
            Err(error) => wrong.extend(faults_of(&gateway, &agreement, &error).await),
        }
    }
    wrong.sort_unstable();
    for (row, said) in &wrong {
        output::line(&format!("row {row}: {said}"));
    }
    let rows: std::collections::BTreeSet<_> = wrong.iter().map(|(row, _)| row).collect();
    let rows = match rows.len() {
        1 => "1 row is wrong; correct it".to_owned(),
        several => format!("{several} rows are wrong; correct them"),
    };
    anyhow::ensure!(
        partial || wrong.is_empty(),
        "nothing was begun: {rows}, or begin the others with --partial"
    );
    for id in there {
        output::line(&format!("{id}: a draft already, with these terms"));
    }
    let mut begun = Vec::new();
    for (id, body) in fit {
        if let Err(error) = gateway.send(Method::POST, "/v1/agreements", Some(body), None).await {
            return Err(stopped(&id, &begun, &error));
        }
        output::line(&format!("{id}: a draft"));
        begun.push(id);
    }
    Ok(())
}

async fn check(gateway: &Gateway, body: &Value) -> anyhow::Result<()> {
    gateway.send(Method::POST, "/v1/agreements/check", Some(body.clone()), None).await.map(drop)
}

/// What went wrong on the way, with what was begun before it.
fn stopped(id: &str, begun: &[String], error: &anyhow::Error) -> anyhow::Error {
    let begun = if begun.is_empty() { "nothing".to_owned() } else { begun.join(", ") };
    anyhow::anyhow!(
        "{id} could not be begun: {error}; begun before it: {begun}; import the same file again to go on: what is begun is left as it is"
    )
}

/// Whether it is a draft of ours with just these terms: an import before this one has begun it.
async fn is_begun(gateway: &Gateway, agreement: &Imported) -> bool {
    let Ok(id) = agreement.id.parse() else { return false };
    let digest =
        Terms::offered(&id, 1, agreement.terms.clone()).ok().and_then(|terms| canonical(&terms).ok());
    let Some((_, digest)) = digest.filter(|_| !agreement.is_broken) else { return false };
    let path = format!("/v1/agreements/{id}");
    let Ok(answer) = gateway.send(Method::GET, &path, None, None).await else { return false };
    let is = |place: &str, text: &str| answer.body.pointer(place).and_then(Value::as_str) == Some(text);
    is("/state", "draft") && is("/negotiated/terms_sha256", &digest)
}

/// The rows that an error of the gateway's is about: those of the flows that do not fit by themselves either, those of the flows that it
/// names, or else the first.
async fn faults_of(gateway: &Gateway, agreement: &Imported, error: &anyhow::Error) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let flows = agreement.terms.get("flows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if (2..=FLOWS_MAX).contains(&flows.len()) && flows.len() == agreement.rows.len() {
        for (row, flow) in agreement.rows.iter().zip(flows) {
            let mut terms = agreement.terms.clone();
            if let Some(members) = terms.as_object_mut() {
                members.insert("flows".to_owned(), json!([flow]));
            }
            if let Err(error) = check(gateway, &json!({ "id": agreement.id, "terms": terms })).await {
                found.push((*row, format!("{}: {error}", agreement.id)));
            }
        }
    }
    on_rows(agreement, found, &error.to_string())
}

/// What is wrong with each row. What is said of all of them in the same words is wrong with the whole, and is said once: on the rows of
/// the flows that it names, or on the first.
fn on_rows(agreement: &Imported, found: Vec<(usize, String)>, whole: &str) -> Vec<(usize, String)> {
    let is_of_each = found.iter().any(|(_, said)| found.first().is_some_and(|(_, first)| said != first));
    if !found.is_empty() && (found.len() < agreement.rows.len() || is_of_each) {
        return found;
    }
    let flows = agreement.terms.get("flows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_named = |flow: &&Value| {
        let id = flow.get("id").and_then(Value::as_str).unwrap_or_default();
        whole.contains(&format!("flow `{id}`"))
    };
    let rows = agreement.rows.iter().zip(flows).filter(|(_, flow)| is_named(flow)).map(|(row, _)| *row);
    let mut rows: Vec<_> = if flows.len() == agreement.rows.len() { rows.collect() } else { Vec::new() };
    if rows.is_empty() {
        rows.extend(agreement.rows.first());
    }
    rows.into_iter().map(|row| (row, format!("{}: {whole}", agreement.id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_on_the_row_that_it_concerns() {
        let flow = |id: &str| json!({ "id": id });
        let three = Imported {
            id: "care".to_owned(),
            rows: vec![4, 7, 9],
            terms: json!({ "flows": [flow("in"), flow("out"), flow("in")] }),
            is_broken: false,
        };
        let rows = |found: Vec<(usize, String)>| found.into_iter().map(|(row, _)| row).collect::<Vec<_>>();
        let said = |row: usize, text: &str| (row, text.to_owned());
        assert_eq!(rows(on_rows(&three, vec![said(7, "no item")], "no item")), [7]);
        let each = vec![said(4, "no item `a`"), said(7, "no item `b`"), said(9, "no item `c`")];
        assert_eq!(on_rows(&three, each.clone(), "all of that"), each, "each row has its own");
        let same = vec![said(4, "a date"), said(7, "a date"), said(9, "a date")];
        assert_eq!(on_rows(&three, same, "a date"), [said(4, "care: a date")], "the whole, once");
        let twice = "flow `in` is defined twice; rename one";
        assert_eq!(rows(on_rows(&three, Vec::new(), twice)), [4, 9], "both that have the name");
    }

    #[test]
    fn what_stops_an_import_says_what_was_begun_and_how_to_go_on() {
        let error = anyhow::anyhow!("the gateway cannot be reached");
        let said = stopped("care-three", &["care-one".to_owned(), "care-two".to_owned()], &error).to_string();
        assert!(said.starts_with("care-three could not be begun: the gateway cannot be reached; "), "{said}");
        assert!(said.contains("begun before it: care-one, care-two; import the same file again"), "{said}");
        assert!(stopped("care-one", &[], &error).to_string().contains("begun before it: nothing"));
    }
}
