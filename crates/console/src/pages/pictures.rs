//! Pictures of what was shared, each with a table beside it. They are made here, as SVG, of what the person may see of the
//! trail, which the gateway counts. Numbers that few people are behind are not shown: 1 to 7 as a star, others to the nearest 5.
//!
//! Source of the rule: the usual one of NHS sub-national publications.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{ToSpan as _, civil::Date};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, organisation, record_holder, render, sentence},
    person::Right,
    session::Signed,
};

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
    released: String,
    not_released: String,
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
    since: String,
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if !signed.person.may(Right::Review) && !signed.person.may(Right::Audit) {
        return Err(Fault::forbidden());
    }
    let today = sharing::agreement::london_day(console.gateway.now());
    let first = today.checked_sub(89.days()).unwrap_or(today);
    let of = ["provider", "purpose", "recipient"];
    let flows = flows(&console, &counts(&console, &signed, &of, (first, today)).await?);
    let (nodes, bands) = sankey(&flows);
    let by_day = counts(&console, &signed, &["day"], (first, today)).await?;
    let (bars, days) = by_week(&by_day, first, today);
    let by_reason = counts(&console, &signed, &["reason"], (first, today)).await?;
    let refused = by_reason.iter().filter(|count| count.outcome == "not_released");
    let mut reasons: Vec<_> = refused.map(|count| (sentence(&count.reason), count.decisions)).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let page = PicturesPage {
        frame: Frame::of(&signed, "Pictures of what was shared", "/flows"),
        flows,
        nodes,
        bands,
        bars,
        days,
        reasons: reasons.into_iter().map(|(reason, count)| (reason, shown(count))).collect(),
        since: first.strftime("%-d %B %Y").to_string(),
    };
    Ok(render(&page))
}

/// How many decisions there were that are alike in what was asked about; what was not is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Count {
    pub(super) day: String,
    pub(super) weekday: String,
    pub(super) hour: String,
    pub(super) outcome: String,
    pub(super) provider: String,
    pub(super) purpose: String,
    pub(super) recipient: String,
    pub(super) reason: String,
    pub(super) decisions: u64,
}

#[derive(Deserialize)]
struct Counts {
    counts: Vec<Count>,
}

/// Decisions of these days, the last one among them, as far as the person may see them.
pub(super) async fn counts(
    console: &Console,
    signed: &Signed,
    by: &[&str],
    (first, last): (Date, Date),
) -> Result<Vec<Count>, Fault> {
    let until = last.tomorrow().unwrap_or(last);
    let asked = json!({ "by": by, "from": first.to_string(), "until": until.to_string() });
    let answer: Counts = console.ask(signed, Ask::post("/v1/trail/counts", &asked)).await?;
    Ok(answer.counts)
}

fn flows(console: &Console, counts: &[Count]) -> Vec<Flow> {
    let mut named = BTreeMap::<(String, String, String), u64>::new();
    for count in counts.iter().filter(|count| count.outcome == "released") {
        let key = (
            record_holder(console, &count.provider),
            sentence(&count.purpose),
            organisation(console, &count.recipient),
        );
        *named.entry(key).or_default() += count.decisions;
    }
    named
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
            nodes.push(Node { x: *x, y, height, label: shortened(label), label_x, anchor });
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

/// A name as long as there is room for beside a node. It is whole in the table.
fn shortened(label: &str) -> String {
    const ROOM: usize = 42;
    if label.chars().count() <= ROOM {
        return label.to_owned();
    }
    let begin: String = label.chars().take(ROOM - 1).collect();
    format!("{}…", begin.trim_end())
}

/// A band from one column to the next.
fn ribbon((from_x, to_x): (f64, f64), (from_y, to_y): (f64, f64), height: f64) -> String {
    let middle = f64::midpoint(from_x, to_x);
    let (from_end, to_end) = (from_y + height, to_y + height);
    format!(
        "M{from_x:.1},{from_y:.1} C{middle:.1},{from_y:.1} {middle:.1},{to_y:.1} {to_x:.1},{to_y:.1} L{to_x:.1},{to_end:.1} C{middle:.1},{to_end:.1} {middle:.1},{from_end:.1} {from_x:.1},{from_end:.1} Z"
    )
}

/// What was released and what was not, week by week.
fn by_week(counts: &[Count], first: Date, today: Date) -> (Vec<Bar>, Vec<DayRow>) {
    let mut weeks = Vec::new();
    let mut begin = first;
    while begin <= today && weeks.len() < 20 {
        let end = begin.checked_add(7.days()).unwrap_or(today);
        let within = |outcome: &str| {
            let is_within = |count: &&Count| {
                count.outcome == outcome
                    && count.day.parse::<Date>().is_ok_and(|day| begin <= day && day < end)
            };
            counts.iter().filter(is_within).map(|count| count.decisions).sum::<u64>()
        };
        weeks.push((begin, within("released"), within("not_released")));
        begin = end;
    }
    let most =
        weeks.iter().map(|(_, released, not_released)| *released.max(not_released)).max().unwrap_or(1).max(1);
    let (mut bars, mut rows) = (Vec::new(), Vec::new());
    let mut x = 40.0;
    for (day, released, not_released) in weeks {
        let name = day.strftime("%-d %B").to_string();
        for (count, is_refused, what) in [(released, false, "released"), (not_released, true, "not released")]
        {
            if count > FEW_MAX {
                let height = units(count) / units(most) * 180.0;
                let title = format!("Week of {name}: {} {what}", shown(count));
                bars.push(Bar { x, y: 200.0 - height, height, title, is_refused });
            }
            x += 24.0;
        }
        x += 10.0;
        rows.push(DayRow { day: name, released: shown(released), not_released: shown(not_released) });
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
