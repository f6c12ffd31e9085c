//! What people would see of a text, and where a link leads: for what others write and people sign, read or follow.

/// Whether a character has nothing to be seen by, whatever the font has for it: those that are ignorable by default, those of
/// private use, and the Braille pattern without a dot.
///
/// Source: Unicode Standard, `Default_Ignorable_Code_Point`.
pub fn is_unseen(char: char) -> bool {
    char.is_control()
        || !is_character(char)
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Whether a code point is there for text at all.
pub fn is_character(char: char) -> bool {
    let code = u32::from(char);
    !(matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe || matches!(code, 0xe0000..=0xe0fff))
}

/// What people write to each other: the first character in it that shows as nothing, or turns others round. Lines, and what an
/// emoji is joined by, are no such.
pub fn hidden(text: &str) -> Option<char> {
    text.chars().find(|char| is_hidden(*char))
}

/// Whether a character shows as nothing or turns others round, as [`hidden`] has it.
fn is_hidden(char: char) -> bool {
    is_unseen(char) && !matches!(char, '\n' | '\r' | '\t' | '\u{200d}' | '\u{fe0f}')
}

/// What people wrote, for others to read: what [`hidden`] finds stands as its number in Unicode.
pub fn readable(text: &str) -> String {
    shown(text, is_hidden)
}

/// Text with the number of every character that is hidden in its place. Lines stay lines.
pub fn shown(text: &str, is_hidden: impl Fn(char) -> bool) -> String {
    let mut said = String::with_capacity(text.len());
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\n' => said.push('\n'),
            '\t' => said.push(' '),
            hidden if is_hidden(hidden) => said.push_str(&format!("[U+{:04X}]", u32::from(hidden))),
            char => said.push(char),
        }
    }
    said
}

/// Whether a text is a link that a page may have: to the web and nowhere else. `javascript:` would run as the page's own, and
/// `data:` shows what its writer likes under the page's name.
pub fn is_web_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    let is_plain =
        |char: char| !char.is_whitespace() && !is_unseen(char) && !matches!(char, '"' | '<' | '>' | '\\');
    // A name before an @ is shown like a host and is none.
    host.is_some_and(|host| host.starts_with(char::is_alphanumeric) && !host.contains('@'))
        && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_web() {
        for good in ["https://example.org/a?b=c#d", "http://127.0.0.1:8080/notice", "https://example.org"] {
            assert!(is_web_link(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "https:/example.org",
            "https://",
            "https:///x",
            "//example.org",
            " https://example.org",
            "https://example.org/a b",
            "https://example.org/\u{202e}x",
            "https://nhs.uk@example.org/",
            "https://example.org\\x",
            "",
        ] {
            assert!(!is_web_link(bad), "{bad}");
        }
    }

    #[test]
    fn what_people_write_is_seen() {
        assert_eq!(hidden("Two\r\nlines,\ta tab, \u{2764}\u{fe0f} and \u{1f468}\u{200d}\u{1f692}"), None);
        for hides in ["a\u{202e}b", "a\u{200b}b", "a\u{7}b"] {
            assert!(hidden(hides).is_some(), "{hides:?}");
        }
        assert_eq!(
            readable("from\u{202e}42\u{ad}, \u{1f468}\u{200d}\u{1f692}\nand so on"),
            "from[U+202E]42[U+00AD], \u{1f468}\u{200d}\u{1f692}\nand so on"
        );
    }

    #[test]
    fn what_shows_as_nothing_is_found() {
        assert!("\u{200b}\u{202e}\u{2800}\u{3164}\u{e000}\u{0}\n".chars().all(is_unseen));
        assert!(!"Cyngor Sŵn, Λάρισα, שלום".chars().any(is_unseen));
    }
}
