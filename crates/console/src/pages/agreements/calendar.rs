//! The year of the agreements: what begins, is reviewed and ends in the twelve months from this one on, as a picture with a table.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{ToSpan as _, civil::Date};
use sharing::agreement::{Agreement, Status, london_day};

use super::{ManagedList, sees_agreements};
use crate::{
    Console,
    desk::Ask,
    fault::Fault,
    page::{Frame, render},
    session::Signed,
};

/// Where the months begin in the picture, how wide one is, and how high a line is.
const LEFT: f64 = 260.0;
const MONTH: f64 = 45.0;
const LINE: f64 = 26.0;
/// Longest name in the picture, in characters. The table has it whole.
const NAME_MAX: usize = 34;

/// A line of the picture.
struct Line {
    name: String,
    y: f64,
    from: f64,
    width: f64,
    /// Where it is reviewed, if in these months.
    review: Option<f64>,
    title: String,
}

/// Something that happens.
struct Event {
    day: Date,
    what: &'static str,
    id: String,
    title: String,
    is_late: bool,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPage {
    frame: Frame,
    months: Vec<(f64, String)>,
    lines: Vec<Line>,
    events: Vec<Event>,
    today: f64,
    height: f64,
    from: String,
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    // Of those that are managed here, the ones that are theirs to see.
    let seen: BTreeSet<String> = if sees_agreements(&signed.person) {
        let all: ManagedList = console.ask(&signed, Ask::get("/v1/agreements")).await?;
        all.agreements.into_iter().map(|one| one.id).collect()
    } else {
        BTreeSet::new()
    };
    let set = console.gateway.policies();
    let agreements: Vec<&Agreement> = set
        .agreements()
        .filter(|one| one.terms_sha256.is_none() || seen.contains(one.id().as_str()))
        .filter(|one| !matches!(one.status.get_ref(), Status::Draft | Status::Terminated))
        .collect();
    let today = london_day(console.gateway.now());
    let first = today.first_of_month();
    let last = first.checked_add(12.months()).unwrap_or(first);
    let place = |day: Date| LEFT + along(day, first, last) * MONTH * 12.0;
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    for one in agreements {
        let (from, until, review) = (one.effective_on.day(), one.ends_on.day(), one.review_on.day());
        events.extend(happens(one, (first, last), today));
        if from >= last || until <= first {
            continue;
        }
        let name: String = one.title.chars().take(NAME_MAX).collect();
        lines.push(Line {
            name: if name.len() < one.title.len() { format!("{}…", name.trim_end()) } else { name },
            y: 40.0 + LINE * f64::from(u32::try_from(lines.len()).unwrap_or_default()),
            from: place(from),
            width: place(until) - place(from),
            review: (first <= review && review < last).then(|| place(review)),
            title: format!("{}: from {from}, reviewed by {review}, until {until}", one.title),
        });
    }
    events.sort_by(|one, other| (one.day, &one.id).cmp(&(other.day, &other.id)));
    let months = (0..12_u8).filter_map(|month| {
        let day = first.checked_add(i32::from(month).months()).ok()?;
        Some((LEFT + MONTH * f64::from(month), day.strftime("%b").to_string()))
    });
    let page = CalendarPage {
        frame: Frame::of(&signed, "The year of the agreements", "/agreements")
            .back_to("/agreements", "Agreements"),
        months: months.collect(),
        height: 50.0 + LINE * f64::from(u32::try_from(lines.len()).unwrap_or_default()),
        today: place(today),
        from: first.strftime("%B %Y").to_string(),
        lines,
        events,
    };
    Ok(render(&page))
}

/// How far a day is on the way from one day to another, from 0 to 1.
fn along(day: Date, first: Date, last: Date) -> f64 {
    let days = |until: Date| {
        let span = first.until(until).map(|span| span.get_days()).unwrap_or_default();
        f64::from(span)
    };
    (days(day.clamp(first, last)) / days(last).max(1.0)).clamp(0.0, 1.0)
}

/// What happens to an agreement in these months; and a review that is late, whenever it was due.
fn happens(one: &Agreement, (first, last): (Date, Date), today: Date) -> Vec<Event> {
    let all = [
        (one.effective_on.day(), "Begins"),
        (one.review_on.day(), "Is reviewed by this day"),
        (one.ends_on.day(), "Ends: nothing flows from this day on"),
    ];
    let running = one.ends_on.day() > today;
    let event = |(day, what): (Date, &'static str)| Event {
        day,
        what,
        id: one.id().to_string(),
        title: one.title.clone(),
        is_late: running && what.starts_with("Is reviewed") && day < today,
    };
    let wanted = |event: &Event| (first <= event.day && event.day < last) || event.is_late;
    all.map(event).into_iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_where_it_is_in_the_year() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let at = |text| along(day(text), day("2026-11-01"), day("2027-11-01"));
        assert!(at("2026-10-01").abs() < f64::EPSILON, "before it: at its beginning");
        assert!((at("2028-01-01") - 1.0).abs() < f64::EPSILON, "after it: at its end");
        assert!((at("2027-05-02") - 182.0 / 365.0).abs() < 1e-9);
    }
}
