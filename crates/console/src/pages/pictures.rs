//! Pictures of what was shared, each with a table beside it. They are made here, as SVG, of what the person may see of the
//! trail. Numbers that few people are behind are not shown: 1 to 7 as a star, others to the nearest 5.
//!
//! Source of the rule: the usual one of NHS sub-national publications.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{Timestamp, ToSpan as _, civil::Date};
use ledger::entry::{Body, Decided};
use serde_json::json;

use super::trail::{Answer, Found};
use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, organisation, render, sentence},
    person::Right,
    session::Signed,
};

/// Most pages of the trail that one picture reads.
const PAGES_MAX: usize = 5;
/// Up to this many is too few to show.
pub(super) const FEW_MAX: u64 = 7;
/// The picture of flows, in its own units.
const HEIGHT: f64 = 380.0;
const GAP: f64 = 14.0;

/// A number as it may be shown.
pub(crate) fn shown(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        few if few <= FEW_MAX => "*".to_owned(),
        many => (many.saturating_add(2) / 5 * 5).to_string(),
    }
}

struct Flow {
    from: String,
    purpose: String,
    to: String,
    count: u64,
    shown: String,
}

struct Node {
    x: f64,
    y: f64,
    height: f64,
    label: String,
    label_x: f64,
    anchor: &'static str,
}

struct Band {
    path: String,
    class: usize,
    title: String,
}

struct Bar {
    x: f64,
    y: f64,
    height: f64,
    title: String,
    is_refused: bool,
}

struct DayRow {
    day: String,
    allowed: String,
    refused: String,
}

#[derive(Template)]
#[template(path = "pictures.html")]
struct PicturesPage {
    frame: Frame,
    flows: Vec<Flow>,
    nodes: Vec<Node>,
    bands: Vec<Band>,
    bars: Vec<Bar>,
    days: Vec<DayRow>,
    reasons: Vec<(String, String)>,
    is_cut: bool,
    since: String,
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if !signed.person.may(Right::Review) && !signed.person.may(Right::Audit) {
        return Err(Fault::forbidden());
    }
    let today = sharing::agreement::london_day(console.gateway.now());
    let first = today.checked_sub(89.days()).unwrap_or(today);
    let (allowed, cut_allowed) = all(&console, &signed, "intent", first).await?;
    let (refused, cut_refused) = all(&console, &signed, "refusal", first).await?;
    let flows = flows(&console, &allowed);
    let (nodes, bands) = sankey(&flows);
    let (bars, days) = by_week(&allowed, &refused, first, today);
    let mut counts = BTreeMap::<String, u64>::new();
    for (_, decided) in &refused {
        for reason in decided.reasons.iter().collect::<BTreeSet<_>>() {
            *counts.entry(sentence(reason.split(':').next().unwrap_or(reason))).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = counts.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let page = PicturesPage {
        frame: Frame::of(&signed, "Pictures of what was shared", "/flows"),
        flows,
        nodes,
        bands,
        bars,
        days,
        reasons: reasons.into_iter().map(|(reason, count)| (reason, shown(count))).collect(),
        is_cut: cut_allowed || cut_refused,
        since: first.strftime("%-d %B %Y").to_string(),
    };
    Ok(render(&page))
}

/// Decisions of a kind since a day, and whether there are more than are read.
pub(super) async fn all(
    console: &Console,
    signed: &Signed,
    kind: &str,
    first: Date,
) -> Result<(Vec<(Timestamp, Decided)>, bool), Fault> {
    let from = sharing::agreement::london_midnight(first).to_string();
    let mut cursor = None::<String>;
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let mut search = json!({ "kind": kind, "from": from, "limit": 200 });
        if let (Some(cursor), Some(members)) = (&cursor, search.as_object_mut()) {
            members.insert("cursor".to_owned(), cursor.clone().into());
        }
        let answer: Answer = console.ask(signed, Ask::post("/v1/trail/search", &search)).await?;
        let decided = |found: &Found| {
            let entry = found.entry()?;
            let at = Timestamp::from_microsecond(entry.at_us).ok()?;
            match entry.body {
                Body::Intent(decided) | Body::Refusal(decided) => Some((at, *decided)),
                _ => None,
            }
        };
        found.extend(answer.entries.iter().filter_map(decided));
        cursor = answer.next;
        if cursor.is_none() {
            return Ok((found, false));
        }
    }
    Ok((found, true))
}

fn flows(console: &Console, allowed: &[(Timestamp, Decided)]) -> Vec<Flow> {
    let set = console.gateway.policies();
    let holder = |id: &str| {
        let found = id.parse().ok().and_then(|id| set.provider(&id));
        found.map_or_else(|| id.to_owned(), |found| found.provider.name.clone())
    };
    let mut counts = BTreeMap::<(String, String, String), u64>::new();
    for (_, decided) in allowed {
        let key = (
            holder(&decided.provider),
            sentence(&decided.purpose),
            organisation(console, &decided.recipient),
        );
        *counts.entry(key).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|((from, purpose, to), count)| Flow { from, purpose, to, count, shown: shown(count) })
        .collect()
}

/// What a column of the picture is of.
type NameOf = fn(&Flow) -> &str;

/// A number of decisions as a length.
fn units(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Record holders on the left, purposes in the middle, recipients on the right; bands as wide as there were decisions. What is
/// too few to show is not drawn.
fn sankey(flows: &[Flow]) -> (Vec<Node>, Vec<Band>) {
    let drawn: Vec<&Flow> = flows.iter().filter(|flow| flow.count > FEW_MAX).collect();
    let total = units(drawn.iter().map(|flow| flow.count).sum());
    if drawn.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let columns: [(f64, NameOf); 3] =
        [(0.0, |flow| &flow.from), (390.0, |flow| &flow.purpose), (788.0, |flow| &flow.to)];
    let most = columns
        .iter()
        .map(|(_, name)| drawn.iter().map(|flow| name(flow)).collect::<BTreeSet<_>>().len())
        .max()
        .unwrap_or(1);
    let gaps = GAP * units(most.saturating_sub(1) as u64);
    let scale = (HEIGHT - gaps).max(100.0) / total;
    let mut nodes = Vec::new();
    let mut tops: [BTreeMap<&str, f64>; 3] = Default::default();
    for ((x, name), tops) in columns.iter().zip(&mut tops) {
        let mut y = 20.0;
        for label in drawn.iter().map(|flow| name(flow)).collect::<BTreeSet<_>>() {
            let count = drawn.iter().filter(|flow| name(flow) == label).map(|flow| flow.count).sum();
            let height = units(count) * scale;
            let last = *x > 700.0;
            let (label_x, anchor) = if last { (x - 6.0, "end") } else { (x + 18.0, "start") };
            nodes.push(Node { x: *x, y, height, label: label.to_owned(), label_x, anchor });
            tops.insert(label, y);
            y += height + GAP;
        }
    }
    let mut bands = Vec::new();
    let purposes: Vec<&str> =
        drawn.iter().map(|flow| flow.purpose.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let [mut left, mut middle, mut right] = tops;
    let mut middle_out = middle.clone();
    for flow in &drawn {
        let height = units(flow.count) * scale;
        let class = purposes.iter().position(|purpose| *purpose == flow.purpose).unwrap_or(0) % 4 + 1;
        let title = format!("{} to {} for {}: {}", flow.from, flow.to, flow.purpose, flow.shown);
        let mut band = |x: (f64, f64), from: Option<&mut f64>, to: Option<&mut f64>| {
            let (Some(from), Some(to)) = (from, to) else { return };
            bands.push(Band { path: ribbon(x, (*from, *to), height), class, title: title.clone() });
            *from += height;
            *to += height;
        };
        band((12.0, 390.0), left.get_mut(flow.from.as_str()), middle.get_mut(flow.purpose.as_str()));
        band((402.0, 788.0), middle_out.get_mut(flow.purpose.as_str()), right.get_mut(flow.to.as_str()));
    }
    (nodes, bands)
}

/// A band from one column to the next.
fn ribbon((from_x, to_x): (f64, f64), (from_y, to_y): (f64, f64), height: f64) -> String {
    let middle = f64::midpoint(from_x, to_x);
    let (from_end, to_end) = (from_y + height, to_y + height);
    format!(
        "M{from_x:.1},{from_y:.1} C{middle:.1},{from_y:.1} {middle:.1},{to_y:.1} {to_x:.1},{to_y:.1} L{to_x:.1},{to_end:.1} C{middle:.1},{to_end:.1} {middle:.1},{from_end:.1} {from_x:.1},{from_end:.1} Z"
    )
}

/// What was allowed and refused, week by week.
fn by_week(
    allowed: &[(Timestamp, Decided)],
    refused: &[(Timestamp, Decided)],
    first: Date,
    today: Date,
) -> (Vec<Bar>, Vec<DayRow>) {
    let mut weeks = Vec::new();
    let mut begin = first;
    while begin <= today && weeks.len() < 20 {
        let end = begin.checked_add(7.days()).unwrap_or(today);
        let within = |of: &[(Timestamp, Decided)]| {
            let count = of.iter().filter(|(at, _)| {
                let day = sharing::agreement::london_day(*at);
                begin <= day && day < end
            });
            count.count() as u64
        };
        weeks.push((begin, within(allowed), within(refused)));
        begin = end;
    }
    let most = weeks.iter().map(|(_, allowed, refused)| *allowed.max(refused)).max().unwrap_or(1).max(1);
    let (mut bars, mut rows) = (Vec::new(), Vec::new());
    let mut x = 40.0;
    for (day, allowed, refused) in weeks {
        let name = day.strftime("%-d %B").to_string();
        for (count, is_refused, what) in [(allowed, false, "allowed"), (refused, true, "refused")] {
            if count > FEW_MAX {
                let height = units(count) / units(most) * 180.0;
                let title = format!("Week of {name}: {} {what}", shown(count));
                bars.push(Bar { x, y: 200.0 - height, height, title, is_refused });
            }
            x += 24.0;
        }
        x += 10.0;
        rows.push(DayRow { day: name, allowed: shown(allowed), refused: shown(refused) });
    }
    (bars, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_not_shown() {
        let all: Vec<_> = [0, 1, 7, 8, 12, 13, 100].into_iter().map(shown).collect();
        assert_eq!(all, ["0", "*", "*", "10", "10", "15", "100"]);
        let flow = |count| Flow {
            from: "a".to_owned(),
            purpose: "p".to_owned(),
            to: "b".to_owned(),
            count,
            shown: shown(count),
        };
        assert!(sankey(&[flow(7)]).0.is_empty(), "too few to draw");
        let (nodes, bands) = sankey(&[flow(8)]);
        assert_eq!((nodes.len(), bands.len()), (3, 2));
    }
}
