//! How much agreements are used, counted from the ledger beside the requests.
//!
//! What is shown is of quarters that are over: whoever asks a question and looks again must not find out from a count how
//! it was decided. Small counts are not shown at all (`sharing::small_numbers`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date};
use ledger::entry::{AgreementRef, Body};
use serde::Serialize;
use serde_json::{Value, json};
use sharing::{
    Agreement, AgreementId,
    agreement::{
        FlowItem, london_day,
        record::{Kind, Record},
    },
    explain::about_agreement,
    small_numbers::Shown,
};
use store::{Change, CommitError, StoreError, Submission, UseCount, Written};
use utoipa::ToSchema;

use crate::{app::App, routes::described::Count};

/// How many entries are counted at a time.
const PAGE: u32 = 500;

/// The quarter of a day, as `2026-Q4`. They sort as they follow each other.
pub fn quarter(day: Date) -> String {
    format!("{}-Q{}", day.year(), (day.month() - 1) / 3 + 1)
}

/// Counts what has been written since the last time, up to now. Returns how many entries that were.
///
/// # Errors
/// [`StoreError`] when the database fails; it is counted the next time. Nothing is counted past an entry that cannot be read.
pub async fn catch_up(app: &App) -> Result<usize, StoreError> {
    let size = app.store.head().await?.size;
    let mut counted = 0;
    loop {
        let from = app.store.use_position().await?;
        // Counting is recorded with what is asked meanwhile: who waited for an end would wait for as long as anybody asks.
        if from.unsigned_abs() >= size {
            return Ok(counted);
        }
        let entries = app.store.entries_from(from.unsigned_abs(), PAGE).await?;
        let Some(last) = entries.last() else { return Ok(counted) };
        let until = i64::try_from(last.entry.seq).unwrap_or(i64::MAX).saturating_add(1);
        let counts = count(app, &entries).await?;
        let mut submission = Submission::of(app.clock.now(), Vec::new());
        submission.changes.push(Change::CountUse { from, until, counts });
        match app.store.commit(submission).await {
            Ok(_) => counted += entries.len(),
            // Another replica counts too.
            Err(CommitError::Changed) => return Ok(counted),
            Err(error) => return Err(StoreError::Ledger(error.to_string())),
        }
    }
}

/// As [`catch_up`], where so much has been written that the newest entries would not be held in memory for long.
///
/// # Errors
/// [`StoreError`] when the database fails; it is counted the next time.
pub async fn keep_up(app: &App) -> Result<usize, StoreError> {
    let left = app.store.entries().saturating_sub(app.store.use_position().await?.unsigned_abs());
    if left < u64::from(PAGE) { Ok(0) } else { catch_up(app).await }
}

async fn count(app: &App, entries: &[Written]) -> Result<Vec<UseCount>, StoreError> {
    let deciding = app.store.deciding(entries).await?;
    let mut counts: BTreeMap<[String; 5], i64> = BTreeMap::new();
    for Written { entry, .. } in entries {
        let day = london_day(Timestamp::from_microsecond(entry.at_us).unwrap_or_default());
        let mut add = |of: &AgreementRef, what: &str, name: String| {
            let key = [of.agreement.clone(), of.flow.clone(), quarter(day), what.to_owned(), name];
            *counts.entry(key).or_default() += 1;
        };
        match &entry.body {
            Body::Intent(decided) | Body::Refusal(decided) | Body::Referral(decided) => {
                let Some(of) = &decided.agreement else { continue };
                add(of, "question", String::new());
                let why: Vec<_> = about_agreement(&decided.reasons).collect();
                match &entry.body {
                    Body::Referral(_) => add(of, "referred", String::new()),
                    Body::Refusal(_) if !why.is_empty() => add(of, "refused", String::new()),
                    _ => {}
                }
                why.iter().for_each(|reason| add(of, "why", reason.as_str().to_owned()));
            }
            Body::Closure { decision_id, outcome, reasons, .. } => {
                let Some(of) = deciding.get(decision_id).and_then(|decided| decided.agreement.as_ref())
                else {
                    continue;
                };
                // What is about the person, or the record holder, is counted nowhere: a recipient that asked about one person would
                // find it here.
                let why: Vec<_> = about_agreement(reasons).collect();
                if outcome == "decision_only" {
                    add(of, "answered", String::new());
                } else if !why.is_empty() {
                    add(of, "refused", String::new());
                }
                why.iter().for_each(|reason| add(of, "why", reason.as_str().to_owned()));
            }
            Body::Release { decision_id, items, .. } => {
                let Some(of) = deciding.get(decision_id).and_then(|decided| decided.agreement.as_ref())
                else {
                    continue;
                };
                add(of, "answered", String::new());
                add(of, "release", String::new());
                add(of, "day", day.to_string());
                items.iter().for_each(|item| add(of, "item", item.clone()));
            }
            _ => {}
        }
    }
    let rows = counts.into_iter().map(|([agreement, flow, quarter, what, name], count)| UseCount {
        agreement,
        flow,
        quarter,
        what,
        name,
        count,
    });
    Ok(rows.collect())
}

/// What was asked and answered in a quarter. Counts under eight are `*`, others rounded to five.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuarterBody {
    /// The quarter, as `2026-Q4`.
    pub quarter: String,
    /// Questions.
    #[schema(value_type = Count)]
    pub questions: Shown,
    /// Questions that were answered: with a record, or with a decision where no more was asked for.
    #[schema(value_type = Count)]
    pub permits: Shown,
    /// Questions that were refused, whoever the person is.
    #[schema(value_type = Count)]
    pub refusals: Shown,
    /// Questions that were left to a person.
    #[schema(value_type = Count)]
    pub referrals: Shown,
    /// Questions to which no record was available: nobody of that identifier is known, something about the person stood
    /// against it, or it ended without an answer. Which of these is told to nobody.
    #[schema(value_type = Count)]
    pub no_record: Shown,
    /// Records that were released.
    #[schema(value_type = Count)]
    pub releases: Shown,
}

/// Quarters before this instant's, with what was counted in them.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn counted(app: &App, agreement: Option<&str>) -> Result<Vec<UseCount>, StoreError> {
    app.store.uses(agreement, &quarter(london_day(app.clock.now()))).await
}

/// Each quarter of these counts.
pub fn quarters(counts: &[&UseCount]) -> Vec<QuarterBody> {
    let all: BTreeSet<_> = counts.iter().map(|count| count.quarter.clone()).collect();
    let quarters = all.into_iter().map(|quarter| {
        let of = |what: &str| {
            sum(counts.iter().copied().filter(|count| count.quarter == quarter && count.what == what))
        };
        let told = [of("answered"), of("refused"), of("referred")];
        let no_record = of("question").saturating_sub(told.iter().sum());
        let (parts, questions) = Shown::parts(&[told.as_slice(), &[no_record]].concat());
        let part = |place: usize| parts.get(place).copied().unwrap_or(Shown::Unsaid);
        QuarterBody {
            questions,
            permits: part(0),
            refusals: part(1),
            referrals: part(2),
            no_record: part(3),
            // They are the permits, or nearly.
            releases: match (part(0), of("release")) {
                (Shown::Unsaid, 1..) => Shown::Unsaid,
                (_, releases) => Shown::of(releases),
            },
            quarter: quarter.clone(),
        }
    });
    quarters.collect()
}

/// The sum of these counts.
pub fn sum<'a>(counts: impl Iterator<Item = &'a UseCount>) -> u64 {
    counts.map(|count| u64::try_from(count.count).unwrap_or_default()).sum()
}

/// A flow's use.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowUseBody {
    /// The flow.
    flow: String,
    /// Each quarter that is over, the oldest first.
    quarters: Vec<QuarterBody>,
    /// Why questions were refused: how often each reason about the agreement was given. One that was given less than eight times
    /// is left out, and so is all that is about a person.
    #[schema(value_type = BTreeMap<String, Count>)]
    reasons: BTreeMap<String, Shown>,
    /// Who receives it: theirs to say which items they use.
    recipient: String,
    /// Each item that is agreed: how often it was released, and whether the recipient says that it uses it.
    items: Vec<ItemUseBody>,
    /// Items that are agreed and were never released in these quarters.
    never_released: Vec<String>,
    /// Items that were released in these quarters, and that the recipient says it does not use: less would do.
    released_unused: Vec<String>,
    /// Most people in a day, where the terms say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling_per_day: Option<u32>,
    /// Releases on the busiest day of the quarters whose releases are shown.
    #[schema(value_type = Count)]
    busiest_day: Shown,
}

/// An item's use.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemUseBody {
    /// The item with its form, as `person.name:as-is`.
    item: String,
    /// How often it was released, in the quarters whose releases are shown.
    #[schema(value_type = Count)]
    releases: Shown,
    /// Whether its recipient uses it, as it said last. Nothing where it never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<bool>,
    /// The organisation that said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    said_by: Option<String>,
    /// The day on which it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    said_on: Option<String>,
}

/// What recipients have said of items that they use, the newest first.
///
/// # Errors
/// [`StoreError`] when the database fails, or this version cannot read one.
pub async fn item_reports(app: &App, id: &AgreementId) -> Result<Vec<Record>, StoreError> {
    let rows = app.store.newest_matters(id, Kind::ItemUse.as_str()).await?;
    let records = rows.iter().map(|row| {
        super::matters::read(row).map_err(|error: super::StepError| StoreError::Ledger(error.to_string()))
    });
    records.collect()
}

/// How the flows of an agreement were used.
pub fn flows(agreement: &Agreement, counts: &[UseCount], reports: &[Record]) -> Vec<FlowUseBody> {
    let flows = agreement.flows.iter().map(|flow| {
        let id = flow.id.get_ref().to_string();
        let own = counts.iter().filter(|count| count.flow == id);
        let mut reasons = BTreeMap::<String, u64>::new();
        for count in own.clone().filter(|count| count.what == "why") {
            *reasons.entry(count.name.clone()).or_default() += u64::try_from(count.count).unwrap_or_default();
        }
        let listed: Vec<_> = reasons.values().copied().collect();
        let (shown, _) = Shown::parts(&listed);
        let released: BTreeSet<_> =
            own.clone().filter(|count| count.what == "item").map(|count| count.name.as_str()).collect();
        let agreed: Vec<_> = flow.items.iter().map(FlowItem::with_form).collect();
        let said = |item: &String| {
            let mut own = reports.iter().filter(|report| report.flow.as_ref() == Some(flow.id.get_ref()));
            own.find_map(|report| Some((*report.items.get(item)?, &report.by)))
        };
        let quarters = quarters(&own.clone().collect::<Vec<_>>());
        // An item's count would say what a quarter's own does not.
        let told: BTreeSet<_> = quarters
            .iter()
            .filter(|quarter| quarter.releases != Shown::Unsaid)
            .map(|quarter| quarter.quarter.as_str())
            .collect();
        let is_told = |count: &&UseCount| told.contains(count.quarter.as_str());
        let listed = agreed.iter().map(|item| {
            let times = own.clone().filter(|count| count.what == "item" && count.name == *item);
            let shown = match sum(times.clone().filter(is_told)) {
                0 if times.count() > 0 => Shown::Unsaid,
                told => Shown::of(told),
            };
            let said = said(item);
            ItemUseBody {
                item: item.clone(),
                releases: shown,
                used: said.map(|(used, _)| used),
                said_by: said.map(|(_, by)| by.by.organisation.to_string()),
                said_on: said.map(|(_, by)| london_day(by.at).to_string()),
            }
        });
        let item_use = listed.collect();
        let is_released = |item: &&String| released.contains(item.as_str());
        let unused =
            agreed.iter().filter(is_released).filter(|item| said(item).is_some_and(|(used, _)| !used));
        let days = own.clone().filter(|count| count.what == "day");
        let busiest = days.clone().filter(is_told).map(|count| count.count).max();
        let busiest_day = match busiest {
            None if days.count() > 0 => Shown::Unsaid,
            busiest => Shown::of(u64::try_from(busiest.unwrap_or_default()).unwrap_or_default()),
        };
        FlowUseBody {
            quarters,
            // That a reason was given at all can be about one person.
            reasons: reasons.into_keys().zip(shown).filter(|(_, count)| *count != Shown::Unsaid).collect(),
            recipient: flow.recipient.get_ref().to_string(),
            items: item_use,
            released_unused: unused.cloned().collect(),
            never_released: agreed.iter().filter(|item| !is_released(item)).cloned().collect(),
            ceiling_per_day: flow.releases_per_day_max,
            busiest_day,
            flow: id,
        }
    });
    flows.collect()
}

/// The use of an agreement in force as it stands now, for whoever asks later what a review was held over: each flow's counts, as they
/// are shown, and the records by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn looked_at(app: &App, id: &AgreementId) -> Result<Option<Value>, StoreError> {
    let set = app.policies().set;
    let Some(agreement) = set.agreements().find(|agreement| agreement.id() == id) else { return Ok(None) };
    let counts = counted(app, Some(id.as_str())).await?;
    let mut records = BTreeMap::new();
    for about in ["benefit", "harm", "evaluation", "item-use"] {
        let all = app.store.matters(id, about).await?;
        records.insert(about, all.into_iter().map(|record| record.id).collect::<Vec<_>>());
    }
    let flows = flows(agreement, &counts, &item_reports(app, id).await?);
    Ok(Some(json!({ "version": agreement.version, "flows": flows, "records": records })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_follow_each_other() {
        let days = ["2026-01-01", "2026-03-31", "2026-04-01", "2026-12-31", "2027-01-01"];
        let all: Vec<_> = days.map(|day| quarter(day.parse().unwrap())).into();
        assert_eq!(all, ["2026-Q1", "2026-Q1", "2026-Q2", "2026-Q4", "2027-Q1"]);
        assert!(all.is_sorted());
    }
}
