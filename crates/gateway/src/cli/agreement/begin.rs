//! Beginning agreements: from a template, and from a spreadsheet of those that exist elsewhere.

use std::path::Path;

use clap::Args;
use jiff::civil::Date;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CallerArguments, Gateway, output};
use crate::{
    agreements::templates::{self, Filling},
    cli::spreadsheet,
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

/// Begins what is in a file: every agreement is checked before any is begun.
pub(super) async fn import(caller: &CallerArguments, partial: bool, file: &Path) -> anyhow::Result<()> {
    let (agreements, faults) = spreadsheet::read(file)?;
    let gateway = Gateway::of(caller)?;
    let mut wrong: Vec<_> = faults.into_iter().map(|fault| (fault.row, fault.said)).collect();
    let mut fit = Vec::new();
    for agreement in agreements {
        let rows = &agreement.rows;
        // A flow that is left out is another agreement.
        let is_whole = !agreement.is_broken;
        let body = json!({ "id": agreement.id, "terms": agreement.terms });
        match gateway.send(Method::POST, "/v1/agreements/check", Some(body.clone()), None).await {
            Ok(_) if is_whole => fit.push((agreement.id, body)),
            Ok(_) => {}
            Err(error) => {
                wrong.push((rows.first().copied().unwrap_or_default(), format!("{}: {error}", agreement.id)));
            }
        }
    }
    wrong.sort_unstable();
    for (row, said) in &wrong {
        output::line(&format!("row {row}: {said}"));
    }
    anyhow::ensure!(
        partial || wrong.is_empty(),
        "nothing was begun: {} rows are wrong; correct them, or begin the others with --partial",
        wrong.len()
    );
    for (id, body) in fit {
        gateway.send(Method::POST, "/v1/agreements", Some(body), None).await?;
        output::line(&format!("{id}: a draft"));
    }
    Ok(())
}
