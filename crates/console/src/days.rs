//! Days as people in England write them, and back.

use jiff::{Timestamp, civil::Date};
use sharing::agreement::{last_whole_day, london_midnight};

/// Ways to write a day, beside `2026-11-01`. The day comes first: nobody here means the eleventh of January by 1/11.
const WRITTEN: [&str; 6] = ["%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d %m %Y", "%d %B %Y", "%d %b %Y"];

/// What to write, for a field that was not understood.
pub(crate) const SUCH_AS: &str = "write a date such as 23 November 2026, 23/11/2026 or 2026-11-23";

/// A day.
pub(crate) fn read(text: &str) -> Option<Date> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let day = text.parse().ok().filter(|_| !text.contains(['T', ':']));
    let day = day.or_else(|| WRITTEN.iter().find_map(|written| Date::strptime(written, &text).ok()));
    // A year is written in full.
    day.filter(|day| day.year() >= 1_900)
}

/// A day as people write it.
pub(crate) fn in_words(day: Date) -> String {
    day.strftime("%-d %B %Y").to_string()
}

/// The first instant of a day in London.
pub(crate) fn beginning(day: Date) -> Timestamp {
    london_midnight(day)
}

/// The first instant after a day in London.
pub(crate) fn end(day: Date) -> Timestamp {
    london_midnight(day.tomorrow().unwrap_or(day))
}

/// Until when something holds, as people write it: what ends at midnight holds for the whole day before.
pub(crate) fn until(text: impl AsRef<str>) -> String {
    match text.as_ref().parse::<Timestamp>().ok().and_then(last_whole_day) {
        Some(day) => format!("the end of {}", in_words(day)),
        None => crate::page::when(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_people_write_them() {
        let day: Date = "2026-11-01".parse().unwrap();
        for text in [
            "2026-11-01",
            " 1/11/2026",
            "01/11/2026",
            "1-11-2026",
            "1.11.2026",
            "1 11 2026",
            "1 November 2026",
            "1  nov 2026",
        ] {
            assert_eq!(read(text), Some(day), "{text}");
        }
        for text in ["", "yesterday", "11/31/2026", "1/11/26", "32/1/2026", "2026-11-01T10:00:00Z", "1/11"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_ends_on_a_day_holds_for_the_whole_of_it() {
        let day = read("31 December 2027").unwrap();
        assert_eq!(end(day).to_string(), "2028-01-01T00:00:00Z");
        assert_eq!(until(end(day).to_string()), "the end of 31 December 2027");
        // In summer midnight in London is eleven o'clock in the evening by UTC.
        assert_eq!(until(end(read("1/7/2027").unwrap()).to_string()), "the end of 1 July 2027");
        assert_eq!(until("2027-12-31T10:30:00Z"), "31 December 2027 at 10:30am");
    }
}
