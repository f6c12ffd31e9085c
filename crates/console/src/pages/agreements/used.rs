//! What is looked at when an agreement is reviewed: how it was used, what people recorded of it, and what a proposed version would
//! have answered. Counts come from the API as they may be shown.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::explain;

use super::{Options, Tab, correction, frame, managed, options, sees_agreements, tabs};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, day, organisation, render},
    person::Right,
    session::Signed,
};

/// A count as the API shows it: a number, or a star.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    About(u64),
    Unsaid(String),
}

impl std::fmt::Display for Count {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::About(count) => write!(formatter, "{count}"),
            Self::Unsaid(star) => formatter.write_str(star),
        }
    }
}

#[derive(Deserialize)]
struct Impact {
    from: String,
    until: String,
    truncated: bool,
    in_force: BTreeMap<String, Count>,
    proposed: BTreeMap<String, Count>,
    items: Vec<ItemImpact>,
}

#[derive(Deserialize)]
struct ItemImpact {
    item: String,
    in_force: Count,
    proposed: Count,
}

#[derive(Template)]
#[template(path = "impact.html")]
struct ImpactPage {
    frame: Frame,
    tabs: Vec<Tab>,
    id: String,
    version: u32,
    versions: Vec<i64>,
    found: Impact,
    decisions: Vec<(&'static str, String, String)>,
}

/// Which version.
#[derive(Deserialize)]
pub(crate) struct Which {
    version: Option<u32>,
}

/// What a version would have answered.
pub(crate) async fn impact(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Fault> {
    let one = managed(&console, &signed, &id).await?;
    let version = which.version.unwrap_or_else(|| one.latest());
    let path = format!("/v1/agreements/{}/versions/{version}/impact", crate::pages::segment(&id));
    let mut found: Impact = console.ask(&signed, Ask::get(path)).await?;
    let set = console.gateway.policies();
    for item in &mut found.items {
        item.item = explain::released_item(&set, "", &item.item);
    }
    let rows = [
        ("permit", "Permitted"),
        ("deny", "Refused"),
        ("refer", "Left to a person"),
        ("no_record", "No record available"),
    ];
    let said = |counts: &BTreeMap<String, Count>, code: &str| {
        counts.get(code).map_or_else(|| "0".to_owned(), ToString::to_string)
    };
    let decisions =
        rows.map(|(code, words)| (words, said(&found.in_force, code), said(&found.proposed, code)));
    let page = ImpactPage {
        frame: frame(&signed, &one, "Impact"),
        tabs: tabs(&one, "impact"),
        versions: one.versions.iter().map(|line| line.number).collect(),
        id: one.id,
        version,
        decisions: decisions.into(),
        found,
    };
    Ok(render(&page))
}

#[derive(Deserialize)]
struct Usage {
    agreement: String,
    version: u32,
    flows: Vec<FlowUse>,
    benefits: Vec<Record>,
    harm: Vec<Record>,
    evaluations: Vec<Record>,
    item_use: Vec<Record>,
}

impl Usage {
    /// What people recorded, by what it is.
    fn records(&self) -> [(&'static str, &[Record]); 4] {
        [
            ("Good that it did", &self.benefits),
            ("Harm, because something was not shared", &self.harm),
            ("What evaluations found", &self.evaluations),
            ("What recipients said of items that they use", &self.item_use),
        ]
    }
}

#[derive(Deserialize)]
struct FlowUse {
    flow: String,
    quarters: Vec<Quarter>,
    reasons: BTreeMap<String, Count>,
    recipient: String,
    items: Vec<ItemUse>,
    never_released: Vec<String>,
    released_unused: Vec<String>,
    ceiling_per_day: Option<u32>,
    busiest_day: Count,
}

#[derive(Deserialize)]
struct ItemUse {
    item: String,
    /// What it is called.
    #[serde(skip)]
    title: String,
    releases: Count,
    used: Option<bool>,
    said_by: Option<String>,
    said_on: Option<String>,
}

impl ItemUse {
    /// What the recipient said of it last.
    fn said(&self) -> String {
        let said = match self.used {
            None => return "Nothing yet".to_owned(),
            Some(true) => "It is used",
            Some(false) => "It is not used",
        };
        let by = self.said_by.as_deref().unwrap_or_default();
        format!("{said} ({by}, {})", self.said_on.as_deref().map(day).unwrap_or_default())
    }
}

/// What somebody of the recipient says of a flow's items.
#[derive(Default)]
struct Report {
    flow: String,
    /// The name of each item's field, the item, what it is called, and what is said of it.
    items: Vec<(String, String, String, String)>,
    text_field: String,
    text: String,
}

impl Report {
    fn of(flow: &FlowUse) -> Self {
        let field = |place: usize| format!("use-{}-{}", flow.flow, place + 1);
        let items = flow.items.iter().enumerate();
        Self {
            flow: flow.flow.clone(),
            items: items
                .map(|(place, item)| (field(place), item.item.clone(), item.title.clone(), String::new()))
                .collect(),
            text_field: format!("text-{}", flow.flow),
            text: String::new(),
        }
    }
}

#[derive(Deserialize)]
struct Quarter {
    #[serde(rename = "quarter")]
    name: String,
    questions: Count,
    permits: Count,
    refusals: Count,
    referrals: Count,
    no_record: Count,
    releases: Count,
}

#[derive(Deserialize)]
struct Record {
    version: i64,
    flow: Option<String>,
    said: Vec<super::talks::Said>,
}

const HARM: [(&str, &str); 5] = [
    ("not-asked", "Nobody asked, or knew that they might"),
    ("refused", "It was refused"),
    ("too-late", "It came too late"),
    ("too-little", "It was too little"),
    ("wrong", "It was wrong or out of date"),
];
const USES: [(&str, &str); 3] =
    [("used", "It is used"), ("not-used", "It is not used"), ("", "I do not say")];
const KINDS: [(&str, &str); 3] = [
    ("benefit", "Good that the data did"),
    ("harm", "Harm, because something was not shared, too little or too late"),
    ("evaluation", "What a pilot’s evaluation found"),
];

#[derive(Template)]
#[template(path = "use.html")]
struct UsePage {
    frame: Frame,
    tabs: Vec<Tab>,
    found: Usage,
    may_note: bool,
    kinds: Options,
    flows: Options,
    reasons: Options,
    said: Filled,
    reports: Vec<Report>,
    uses: Options,
}

#[derive(Default)]
struct Filled {
    kind: String,
    flow: String,
    reason: String,
    text: String,
}

/// How it was used.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    page(&console, &signed, &id, (Filled::default(), None), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    id: &str,
    (said, correction): (Filled, Option<Correction>),
    report: Option<Report>,
) -> Result<Response, Fault> {
    if !sees_agreements(&signed.person) {
        return Err(Fault::forbidden());
    }
    let segment = crate::pages::segment(id);
    let mut found: Usage = console.ask(signed, Ask::get(format!("/v1/agreements/{segment}/usage"))).await?;
    for by in found.flows.iter_mut().flat_map(|flow| &mut flow.items).filter_map(|item| item.said_by.as_mut())
    {
        *by = organisation(console, by);
    }
    for all in [&mut found.benefits, &mut found.harm, &mut found.evaluations, &mut found.item_use] {
        for record in all.iter_mut() {
            let said = std::mem::take(&mut record.said);
            record.said = said.into_iter().map(|one| one.named(console)).collect();
        }
    }
    let set = console.gateway.policies();
    for flow in &mut found.flows {
        flow.items.iter_mut().for_each(|item| item.title = explain::released_item(&set, "", &item.item));
        for item in flow.never_released.iter_mut().chain(&mut flow.released_unused) {
            *item = explain::released_item(&set, "", item);
        }
    }
    let is_file = set.agreements().any(|one| one.id().as_str() == id && one.terms_sha256.is_none());
    let tabs = if is_file {
        vec![
            Tab { path: format!("/agreements/{segment}"), text: "Terms", is_here: false },
            Tab { path: format!("/agreements/{segment}/use"), text: "Use", is_here: true },
        ]
    } else {
        tabs(&managed(console, signed, id).await?, "use")
    };
    let status = status_of(correction.as_ref());
    let person = &signed.person;
    let all = std::iter::once((String::new(), "All of them".to_owned()));
    let may_note = person.may(Right::Draft) || person.may(Right::Approve);
    // Whoever receives the items says which are used.
    let own = found.flows.iter().filter(|flow| may_note && flow.recipient == person.organisation.as_str());
    let mut reports: Vec<_> = own.map(Report::of).collect();
    if let Some(report) = report {
        reports.iter_mut().filter(|one| one.flow == report.flow).for_each(|one| {
            one.text.clone_from(&report.text);
            for (field, _, _, said) in &mut one.items {
                if let Some((.., filled)) = report.items.iter().find(|(name, ..)| name == field) {
                    said.clone_from(filled);
                }
            }
        });
    }
    let page = UsePage {
        frame: Frame::of(signed, format!("Use: {id}"), "/agreements")
            .back_to("/agreements", "Agreements")
            .correcting(correction),
        tabs,
        may_note,
        reports,
        uses: options(&USES),
        kinds: options(&KINDS),
        flows: all.chain(found.flows.iter().map(|flow| (flow.flow.clone(), flow.flow.clone()))).collect(),
        reasons: std::iter::once((String::new(), "It is no harm".to_owned())).chain(options(&HARM)).collect(),
        found,
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// Records good that it did, or harm; or which items are used.
pub(crate) async fn note(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    if form.field("kind") == "item-use" {
        return note_items(&console, &id, &form).await;
    }
    let text = |name: &str| form.field(name).to_owned();
    let said = Filled { kind: text("kind"), flow: text("flow"), reason: text("reason"), text: text("text") };
    let mut body = json!({ "kind": said.kind, "text": said.text });
    if let Some(members) = body.as_object_mut() {
        for (name, value) in [("flow", &said.flow), ("reason", &said.reason)] {
            if !value.is_empty() {
                members.insert(name.to_owned(), value.clone().into());
            }
        }
    }
    let segment = crate::pages::segment(&id);
    let path = format!("/v1/agreements/{segment}/records");
    match console.ask::<Value>(&form.signed, Ask::post(path, &body)).await {
        Ok(_) => Ok(Redirect::to(&format!("/agreements/{segment}/use")).into_response()),
        Err(fault) => {
            let wrong = correction(fault, &["kind", "flow", "reason", "text"])?;
            page(&console, &form.signed, &id, (said, Some(wrong)), None).await
        }
    }
}

/// Records which of a flow's items are used.
async fn note_items(console: &Console, id: &str, form: &Form) -> Result<Response, Fault> {
    let flow = form.field("flow").to_owned();
    let named = form.all("item").iter().enumerate();
    let items: Vec<_> = named
        .map(|(place, item)| {
            let field = format!("use-{flow}-{}", place + 1);
            let said = form.field(&field).to_owned();
            (field, item.clone(), String::new(), said)
        })
        .collect();
    let said = items.iter().filter(|(.., said)| ["used", "not-used"].contains(&said.as_str()));
    let uses: BTreeMap<_, _> = said.map(|(_, item, _, said)| (item, said == "used")).collect();
    let text_field = format!("text-{flow}");
    let text = form.field(&text_field).to_owned();
    let report = Report { flow: flow.clone(), items: items.clone(), text_field, text };
    let body = json!({ "kind": "item-use", "flow": flow, "items": uses, "text": report.text });
    let segment = crate::pages::segment(id);
    let path = format!("/v1/agreements/{segment}/records");
    let wrong = if uses.is_empty() {
        let field = items.first().map(|(field, ..)| field.clone()).unwrap_or_default();
        Correction { field, text: "Say of one item at least whether it is used".to_owned() }
    } else {
        match console.ask::<Value>(&form.signed, Ask::post(path, &body)).await {
            Ok(_) => return Ok(Redirect::to(&format!("/agreements/{segment}/use")).into_response()),
            Err(fault) => {
                let wrong = correction(fault, &["text"])?;
                let is_text = wrong.field == "text";
                Correction { field: if is_text { report.text_field.clone() } else { wrong.field }, ..wrong }
            }
        }
    };
    page(console, &form.signed, id, (Filled::default(), Some(wrong)), Some(report)).await
}
