//! What is unusual: at what hours of which days there are questions, and who asks more than in other weeks. Pictures with tables;
//! numbers that few people are behind are neither drawn nor said, as in the other pictures.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{ToSpan as _, civil::Date};

use sharing::small_numbers::Shown;

use super::pictures::{self, Count};
use crate::{
    Console,
    fault::Fault,
    page::{Frame, organisation, render, sentence},
    person::Right,
    session::Signed,
};

/// Hours that are counted together, and how many times that is in a day.
const BAND_HOURS: u8 = 3;
const BANDS: usize = 8;
/// Weeks before the newest, which say what is usual.
const WEEKS: u64 = 12;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A day of the week: how many questions there were in each part of it.
struct DayRow {
    day: &'static str,
    counts: Vec<Shown>,
}

/// A part of a day in the picture.
struct Cell {
    x: f64,
    y: f64,
    /// From 1, few, to 4, most.
    class: u64,
    title: String,
}

/// Somebody who asks, for something.
struct Asker {
    name: String,
    newest: Shown,
    usual: Shown,
    y: f64,
    newest_width: f64,
    usual_width: f64,
}

impl Asker {
    /// More than twice what is usual, and no handful; by what is said of both, so that it says no more.
    fn is_unusual(&self) -> bool {
        is_unusual(self.newest, self.usual)
    }
}

fn is_unusual(newest: Shown, usual: Shown) -> bool {
    newest.drawn() > 0 && newest.drawn() > usual.drawn().saturating_mul(2)
}

#[derive(Template)]
#[template(path = "unusual.html")]
struct UnusualPage {
    frame: Frame,
    bands: Vec<(f64, String)>,
    rows: Vec<DayRow>,
    cells: Vec<Cell>,
    askers: Vec<Asker>,
    height: f64,
    since: String,
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if !signed.person.may(Right::Review) && !signed.person.may(Right::Audit) {
        return Err(Fault::forbidden());
    }
    let today = sharing::agreement::london_day(console.gateway.now());
    let days = i32::try_from(7 * (WEEKS + 1) - 1).unwrap_or(90);
    let first = today.checked_sub(days.days()).unwrap_or(today);
    let of = ["weekday", "hour"];
    let by_hour = by_hour(&pictures::counts(&console, &signed, &of, (first, today)).await?);
    let (rows, cells) = hours(&by_hour);
    let of = ["day", "purpose", "recipient"];
    let askers = askers(&console, &pictures::counts(&console, &signed, &of, (first, today)).await?, today);
    let page = UnusualPage {
        frame: Frame::of(&signed, "What is unusual", "/flows").back_to("/flows", "Pictures"),
        bands: (0..BANDS).map(|band| (130.0 + 80.0 * part(band), band_name(band))).collect(),
        rows,
        cells,
        height: 20.0 + 50.0 * f64::from(u32::try_from(askers.len()).unwrap_or_default()),
        askers,
        since: crate::days::in_words(first),
    };
    Ok(render(&page))
}

fn part(of: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap_or_default())
}

fn band_name(band: usize) -> String {
    let from = band * usize::from(BAND_HOURS);
    format!("{from:02}:00–{:02}:00", from + usize::from(BAND_HOURS))
}

/// A question, whatever became of it.
fn is_asked(count: &Count) -> bool {
    ["allowed", "refused", "referred"].contains(&count.outcome.as_str())
}

/// Questions by day of the week and part of the day, in London.
fn by_hour(asked: &[Count]) -> [[u64; BANDS]; 7] {
    let mut counts = [[0; BANDS]; 7];
    for count in asked.iter().filter(|count| is_asked(count)) {
        let place = count.weekday.parse::<usize>().ok().zip(count.hour.parse::<usize>().ok());
        let Some((day, hour)) = place else { continue };
        let of = counts.get_mut(day.wrapping_sub(1));
        if let Some(of) = of.and_then(|of: &mut [u64; BANDS]| of.get_mut(hour / usize::from(BAND_HOURS))) {
            *of += count.decisions;
        }
    }
    counts
}

fn hours(counts: &[[u64; BANDS]; 7]) -> (Vec<DayRow>, Vec<Cell>) {
    let (said, _) = Shown::parts(counts.as_flattened());
    let most = said.iter().map(|count| count.drawn()).max().unwrap_or(1).max(1);
    let mut cells = Vec::new();
    for (row, (day, bands)) in DAYS.iter().zip(said.chunks(BANDS)).enumerate() {
        for (band, count) in bands.iter().enumerate().filter(|(_, count)| count.drawn() > 0) {
            cells.push(Cell {
                x: 130.0 + 80.0 * part(band),
                y: 30.0 + 32.0 * part(row),
                class: (count.drawn() * 4).div_ceil(most).clamp(1, 4),
                title: format!("{day}, {}: {count}", band_name(band)),
            });
        }
    }
    let row = |(day, bands): (&&'static str, &[Shown])| DayRow { day, counts: bands.to_vec() };
    (DAYS.iter().zip(said.chunks(BANDS)).map(row).collect(), cells)
}

/// The newest seven days beside the usual week before them, by who asks for what. Whoever never asks more than a few is left out:
/// that they ask at all could be about one person.
fn askers(console: &Console, questions: &[Count], today: Date) -> Vec<Asker> {
    let newest_from = today.checked_sub(6.days()).unwrap_or(today);
    let mut counts = BTreeMap::<(String, String), (u64, u64)>::new();
    for count in questions.iter().filter(|count| is_asked(count)) {
        let key = (organisation(console, &count.recipient), sentence(&count.purpose));
        let (newest, before) = counts.entry(key).or_default();
        let is_newest = count.day.parse::<Date>().is_ok_and(|day| day >= newest_from);
        *(if is_newest { newest } else { before }) += count.decisions;
    }
    let mut found: Vec<_> = counts
        .into_iter()
        .map(|((who, what), (newest, before))| {
            (format!("{who}: {what}"), Shown::of(newest), Shown::of(before / WEEKS))
        })
        .filter(|(_, newest, usual)| newest.drawn().max(usual.drawn()) > 0)
        .collect();
    found.sort_by_key(|(_, newest, usual)| std::cmp::Reverse((is_unusual(*newest, *usual), newest.drawn())));
    let most = found.iter().map(|(_, newest, usual)| newest.drawn().max(usual.drawn())).max().unwrap_or(1);
    let width = |count: Shown| {
        let units = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        units(count.drawn()) / units(most) * 700.0
    };
    let asker = |(place, (name, newest, usual)): (usize, (String, Shown, Shown))| Asker {
        name,
        newest,
        usual,
        y: 10.0 + 50.0 * part(place),
        newest_width: width(newest),
        usual_width: width(usual),
    };
    found.into_iter().enumerate().map(asker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_neither_drawn_nor_said() {
        let mut counts = [[0; BANDS]; 7];
        counts[0][3] = 7;
        counts[6][0] = 8;
        counts[6][1] = 40;
        let (rows, cells) = hours(&counts);
        // One that is too few is not found by taking the others from their sum.
        assert_eq!((rows[0].counts[3], rows[6].counts[0]), (Shown::Unsaid, Shown::Unsaid));
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].title, "Sunday, 03:00–06:00: 40");
    }

    #[test]
    fn bars_are_as_long_as_what_is_said() {
        assert_eq!(Shown::of(16).drawn(), Shown::of(14).drawn());
        assert!(!is_unusual(Shown::of(16), Shown::of(8)), "15 is not more than twice 10");
    }

    #[test]
    fn more_than_twice_is_unusual_unless_it_is_a_handful() {
        let asker = |newest, usual| Asker {
            name: String::new(),
            newest: Shown::of(newest),
            usual: Shown::of(usual),
            y: 0.0,
            newest_width: 0.0,
            usual_width: 0.0,
        };
        assert!(asker(23, 10).is_unusual());
        assert!(!asker(20, 10).is_unusual());
        assert!(!asker(7, 0).is_unusual());
    }
}
