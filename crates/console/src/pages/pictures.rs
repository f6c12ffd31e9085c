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
use sharing::small_numbers::Shown;

use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, organisation, record_holder, render, sentence},
    person::Right,
    session::Signed,
};

/// The picture of flows, in its own units.
const HEIGHT: f64 = 380.0;
const GAP: f64 = 14.0;

struct Flow {
    from: String,
    purpose: String,
    to: String,
    count: Shown,
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
    /// The number, above it.
    count: Shown,
    is_refused: bool,
}

struct DayRow {
    day: String,
    /// Where its label is in the picture.
    x: f64,
    released: Shown,
    not_released: Shown,
}

/// A reason, week by week.
struct ReasonRow {
    reason: String,
    y: f64,
    weeks: Vec<Shown>,
    total: Shown,
}

/// A week of a reason in the picture.
struct Cell {
    x: f64,
    y: f64,
    /// From 1, few, to 3, most; 0 where it is too few to say.
    class: u64,
    count: Shown,
    title: String,
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
    reasons: Vec<ReasonRow>,
    cells: Vec<Cell>,
    reasons_height: f64,
    since: String,
    /// Whoever looks sees everybody's records.
    everything: bool,
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
    let by_reason = counts(&console, &signed, &["day", "reason"], (first, today)).await?;
    let (reasons, cells) = reasons_by_week(&by_reason, first, today);
    let page = PicturesPage {
        frame: Frame::of(&signed, "Pictures of what was shared", "/flows"),
        flows,
        nodes,
        bands,
        bars,
        days,
        reasons_height: REASONS_TOP + REASON_HEIGHT * units(reasons.len() as u64) + 10.0,
        reasons,
        cells,
        since: crate::days::in_words(first),
        everything: signed.person.may(Right::Audit),
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
    let exact: Vec<_> = named.values().copied().collect();
    let (counts, _) = Shown::parts(&exact);
    named
        .into_keys()
        .zip(counts)
        .map(|((from, purpose, to), count)| Flow { from, purpose, to, count })
        .collect()
}

/// What a column of the picture is of.
type NameOf = fn(&Flow) -> &str;

/// A number of decisions, as it is said, as a length.
fn units(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Record holders on the left, purposes in the middle, recipients on the right; bands as wide as there were decisions. What is
/// too few to show is not drawn.
fn sankey(flows: &[Flow]) -> (Vec<Node>, Vec<Band>) {
    let drawn: Vec<&Flow> = flows.iter().filter(|flow| flow.count.drawn() > 0).collect();
    let total = units(drawn.iter().map(|flow| flow.count.drawn()).sum());
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
            let of_it = drawn.iter().filter(|flow| name(flow) == label);
            let count = of_it.map(|flow| flow.count.drawn()).sum();
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
        let height = units(flow.count.drawn()) * scale;
        let class = purposes.iter().position(|purpose| *purpose == flow.purpose).unwrap_or(0) % 4 + 1;
        let title = format!("{} to {} for {}: {}", flow.from, flow.to, flow.purpose, flow.count);
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

/// The first days of the weeks from `first` to `today`.
fn weeks(first: Date, today: Date) -> Vec<Date> {
    let mut weeks = Vec::new();
    let mut begin = first;
    while begin <= today && weeks.len() < 20 {
        weeks.push(begin);
        begin = begin.checked_add(7.days()).unwrap_or(Date::MAX);
    }
    weeks
}

/// How many of these there were in each week.
fn in_weeks<'a>(weeks: &[Date], counts: impl Iterator<Item = &'a Count>) -> Vec<u64> {
    let mut sums = vec![0; weeks.len()];
    for count in counts {
        let Ok(day) = count.day.parse::<Date>() else { continue };
        let place = weeks.partition_point(|begin| *begin <= day).checked_sub(1);
        if let Some(sum) = place.and_then(|place| sums.get_mut(place)) {
            *sum += count.decisions;
        }
    }
    sums
}

fn week_name(day: Date) -> String {
    day.strftime("%-d %b").to_string()
}

/// What was released and what was not, week by week.
fn by_week(counts: &[Count], first: Date, today: Date) -> (Vec<Bar>, Vec<DayRow>) {
    let weeks = weeks(first, today);
    let of = |outcome: &str| {
        let sums = in_weeks(&weeks, counts.iter().filter(|count| count.outcome == outcome));
        Shown::parts(&sums).0
    };
    let (released, not_released) = (of("released"), of("not_released"));
    let all = released.iter().chain(&not_released);
    let most = all.map(|count| count.drawn()).max().unwrap_or(1).max(1);
    let (mut bars, mut rows) = (Vec::new(), Vec::new());
    let mut x = 40.0;
    for ((day, released), not_released) in weeks.iter().zip(released).zip(not_released) {
        let (name, label_x) = (week_name(*day), x);
        for (count, is_refused, what) in [(released, false, "released"), (not_released, true, "not released")]
        {
            // What is too few to say is a star on the line: it is not nothing.
            if count != Shown::of(0) {
                let height = units(count.drawn()) / units(most) * 165.0;
                let title = format!("Week of {name}: {count} {what}");
                bars.push(Bar { x, y: 200.0 - height, height, title, count, is_refused });
            }
            x += 24.0;
        }
        x += 10.0;
        rows.push(DayRow { day: name, x: label_x, released, not_released });
    }
    (bars, rows)
}

/// Most reasons in the picture and its table.
const REASONS_MAX: usize = 12;
const REASONS_TOP: f64 = 30.0;
const REASON_HEIGHT: f64 = 44.0;

/// Why nothing was released, week by week: the most frequent reasons, each with its own total.
fn reasons_by_week(counts: &[Count], first: Date, today: Date) -> (Vec<ReasonRow>, Vec<Cell>) {
    let weeks = weeks(first, today);
    let mut by_reason = BTreeMap::<&str, Vec<&Count>>::new();
    for count in counts.iter().filter(|count| count.outcome == "not_released") {
        by_reason.entry(count.reason.as_str()).or_default().push(count);
    }
    let mut sums: Vec<_> = by_reason
        .into_iter()
        .map(|(reason, counts)| (reason, in_weeks(&weeks, counts.into_iter())))
        .collect();
    sums.sort_by_key(|(reason, weeks)| (std::cmp::Reverse(weeks.iter().sum::<u64>()), *reason));
    let row = |(place, (reason, sums)): (usize, (&str, Vec<u64>))| {
        let (weeks, total) = Shown::parts(&sums);
        ReasonRow {
            reason: sentence(reason),
            y: REASONS_TOP + REASON_HEIGHT * units(place as u64),
            weeks,
            total,
        }
    };
    let rows: Vec<_> = sums.into_iter().take(REASONS_MAX).enumerate().map(row).collect();
    let most = rows.iter().flat_map(|row| &row.weeks).map(|count| count.drawn()).max().unwrap_or(1).max(1);
    let mut cells = Vec::new();
    for row in &rows {
        for ((day, count), place) in weeks.iter().zip(&row.weeks).zip(0_u32..) {
            if *count != Shown::of(0) {
                cells.push(Cell {
                    x: 40.0 + 58.0 * f64::from(place),
                    y: row.y + 18.0,
                    class: (count.drawn() * 3).div_ceil(most).min(3),
                    count: *count,
                    title: format!("{}, week of {}: {count}", row.reason, week_name(*day)),
                });
            }
        }
    }
    (rows, cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_not_shown() {
        let flow = |count| Flow {
            from: "a".to_owned(),
            purpose: "p".to_owned(),
            to: "b".to_owned(),
            count: Shown::of(count),
        };
        assert!(sankey(&[flow(7)]).0.is_empty(), "too few to draw");
        let (nodes, bands) = sankey(&[flow(8)]);
        assert_eq!((nodes.len(), bands.len()), (3, 2));
    }

    fn of(day: &str, outcome: &str, reason: &str, decisions: u64) -> Count {
        let text = |text: &str| text.to_owned();
        Count { day: text(day), outcome: text(outcome), reason: text(reason), decisions, ..Count::default() }
    }

    fn days() -> (Date, Date) {
        ("2026-09-01".parse().unwrap(), "2026-11-28".parse().unwrap())
    }

    #[test]
    fn pictures_are_drawn_of_what_is_said_and_not_of_what_was_counted() {
        let (first, today) = days();
        let drawn = |counts: [u64; 3]| {
            let counts = ["2026-09-01", "2026-09-08", "2026-09-15"]
                .iter()
                .zip(counts)
                .map(|(day, count)| of(day, "released", "", count));
            by_week(&counts.collect::<Vec<_>>(), first, today)
        };
        let heights = |counts| {
            let bars = drawn(counts).0;
            bars.iter().map(|bar| format!("{:.3}", bar.height)).collect::<Vec<_>>()
        };
        // 16 and 14 are both said to be 15.
        assert_eq!(heights([40, 16, 0]), heights([41, 14, 0]));
        // One week that is too few is not found by taking the others from their sum.
        let (_, rows) = drawn([40, 16, 3]);
        let said: Vec<_> = rows.iter().take(3).map(|row| row.released.to_string()).collect();
        assert_eq!(said, ["40", "*", "*"]);
        let stars = drawn([40, 16, 3]).0.into_iter().filter(|bar| bar.height == 0.0);
        assert_eq!(stars.map(|bar| bar.count.to_string()).collect::<String>(), "**", "on the line");
        assert_eq!(drawn([40, 16, 0]).0.len(), 2, "nothing is nothing");
    }

    #[test]
    fn reasons_are_counted_week_by_week() {
        let (first, today) = days();
        let counts = [
            of("2026-09-02", "not_released", "no-agreement", 20),
            of("2026-09-10", "not_released", "no-agreement", 9),
            of("2026-09-10", "not_released", "objection", 3),
            of("2026-09-10", "released", "", 50),
        ];
        let (rows, cells) = reasons_by_week(&counts, first, today);
        let said: Vec<_> = rows.iter().map(|row| format!("{} {}", row.reason, row.total)).collect();
        assert_eq!(said, ["No agreement 30", "Objection *"]);
        assert_eq!(cells.len(), 3, "what is too few is a star, and not as if it were nothing");
        assert_eq!((cells[2].class, cells[2].title.as_str()), (0, "Objection, week of 8 Sep: *"));
        assert_eq!(cells[1].title, "No agreement, week of 8 Sep: 10");
        assert_eq!((cells[0].class, cells[1].class), (3, 2));
    }
}
