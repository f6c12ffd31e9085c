//! Characters that people would not see, or that change what they see: they stand as their number in Unicode.

use sharing::seen::{is_character, is_unseen, shown};

/// Text without what changes the order in which it is shown, and without control characters.
///
/// Source: Unicode Standard Annex 9, section 2; Unicode Technical Report 36, section 2.5.
pub(super) fn unambiguous(text: &str) -> String {
    shown(text, |char| char.is_control() || turns(char) || !is_character(char))
}

/// The same, for text of others on a page: what has nothing to be seen by stands as its number, too.
pub(crate) fn visible(text: &str) -> String {
    shown(text, |char| is_unseen(char) || turns(char))
}

fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_round_stands_as_its_number() {
        assert_eq!(unambiguous("a\u{202e}b\u{0}c\r\nd\te"), "a[U+202E]b[U+0000]c\nd e");
        assert_eq!(unambiguous("Cyngor Sŵn, Λάρισα, שלום"), "Cyngor Sŵn, Λάρισα, שלום");
    }
}
