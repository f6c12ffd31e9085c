//! Counts as they may be shown to people who could find somebody in them.
//!
//! Nothing stays nothing; from one to seven is not said; more is rounded to the nearest five. A total is made of the counts
//! themselves and then rounded alike. Where one part of a total alone would be left unsaid it could be worked out, and the next
//! smallest is left unsaid with it.
//!
//! Source: NHS England, small number suppression for sub-national publications.

use serde::{Serialize, Serializer};

/// The largest count that is not said.
const UNSAID_MAX: u64 = 7;

/// To what others are rounded.
const ROUNDED_TO: u64 = 5;

/// A count as it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// So many, or nearly.
    About(u64),
    /// A few, or it would say how few others were.
    Unsaid,
}

impl Shown {
    /// A count alone.
    pub fn of(count: u64) -> Self {
        match count {
            0 => Self::About(0),
            1..=UNSAID_MAX => Self::Unsaid,
            more => Self::About(more.saturating_add(ROUNDED_TO / 2) / ROUNDED_TO * ROUNDED_TO),
        }
    }

    /// How long to draw it: nothing that is not said is drawn, and nothing by more than is said.
    pub fn drawn(self) -> u64 {
        match self {
            Self::About(count) => count,
            Self::Unsaid => 0,
        }
    }

    /// The parts of a total, and the total.
    pub fn parts(counts: &[u64]) -> (Vec<Self>, Self) {
        let mut shown: Vec<_> = counts.iter().map(|count| Self::of(*count)).collect();
        let total = Self::of(counts.iter().sum());
        let unsaid = shown.iter().filter(|part| **part == Self::Unsaid).count();
        if unsaid == 1 {
            let said =
                shown.iter_mut().zip(counts).filter(|(part, count)| **part != Self::Unsaid && **count > 0);
            if let Some((next, _)) = said.min_by_key(|(_, count)| **count) {
                *next = Self::Unsaid;
            }
        }
        (shown, total)
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::About(count) => write!(formatter, "{count}"),
            Self::Unsaid => formatter.write_str("*"),
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::About(count) => serializer.serialize_u64(*count),
            Self::Unsaid => serializer.serialize_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_are_not_said_and_more_is_rounded() {
        let said: Vec<_> = [0, 1, 7, 8, 12, 13, 100].map(Shown::of).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["0", "*", "*", "10", "10", "15", "100"]);
    }

    #[test]
    fn what_is_drawn_is_what_is_said() {
        assert_eq!([0, 7, 8, 13, 16, 14].map(|count| Shown::of(count).drawn()), [0, 0, 10, 15, 15, 15]);
    }

    #[test]
    fn one_part_alone_is_not_left_unsaid() {
        let (parts, total) = Shown::parts(&[40, 3, 20, 0]);
        assert_eq!(parts, [Shown::About(40), Shown::Unsaid, Shown::Unsaid, Shown::About(0)]);
        assert_eq!(total, Shown::About(65));
        assert_eq!(Shown::parts(&[3, 0]), (vec![Shown::Unsaid, Shown::About(0)], Shown::Unsaid));
    }

    proptest! {
        #[test]
        fn nobody_finds_a_small_part_by_taking_away(counts in proptest::collection::vec(0_u64..40, 1..6)) {
            let (parts, total) = Shown::parts(&counts);
            let unsaid = parts.iter().filter(|part| **part == Shown::Unsaid).count();
            let alone = unsaid == 1 && total != Shown::Unsaid;
            prop_assert!(!alone, "{counts:?} {parts:?} {total}");
            for (part, count) in parts.iter().zip(&counts) {
                prop_assert!(*part == Shown::Unsaid || *count == 0 || *count > UNSAID_MAX);
            }
        }
    }
}
