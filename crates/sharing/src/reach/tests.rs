//! The pass over bytes against the reader that makes a tree: both accept the same, and refuse alike.

use proptest::prelude::*;

use super::{bytes::Print, *};
use crate::{json::parse, policy::PolicySet};

fn places() -> std::sync::Arc<Automaton> {
    static SET: std::sync::OnceLock<PolicySet> = std::sync::OnceLock::new();
    let set = SET.get_or_init(crate::decide::tests::policies);
    std::sync::Arc::clone(set.provider(&"nhs-pds".parse().unwrap()).unwrap().places())
}

/// Both accept, or both refuse for the same reason at the same byte.
fn agree(document: &[u8], limits: &Limits) {
    let read = Reached::read(&places(), document, limits);
    let parsed = parse(document, limits);
    assert_eq!(read.err(), parsed.err(), "{}", String::from_utf8_lossy(document));
}

#[test]
fn what_parsers_disagree_on_is_refused_alike() {
    let documents = [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "NaN",
        "01",
        "1.",
        "+1",
        "-",
        "-x",
        "1e",
        "1e+",
        "1.e1",
        "'a'",
        "[1] 2",
        "\"\t\"",
        "tru",
        "nul",
        "falsey",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "\u{feff}{}",
        "\"",
        "\"abc",
        "\"abcdefgh",
        "\"abcdefghi\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u12é\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\u0061\"",
        "\"\\ud800\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\\ude0\"",
        "\"\\",
        "\"\\u",
        "{\"id\":\"1\",\"id\":\"2\"}",
        "{\"a\":{\"b\":1,\"\\u0062\":2}}",
        "{\"\\u0062\":1,\"b\":2}",
        "{\"\":1,\"\":2}",
        "{\"a\\u0000\":1,\"a\":2}",
        "[[],{},[{}]]",
        "\u{1}",
        "{}\u{0}",
        "{} x",
    ];
    for document in documents {
        agree(document.as_bytes(), &Limits::default());
    }
    agree(b"\"\xff\"", &Limits::default());
    agree(b"{\"abcdefgh\xc3\":1}", &Limits::default());
}

#[test]
fn limits_are_reached_alike() {
    let limits = Limits { bytes_max: 100, depth_max: 3, values_max: 10 };
    for document in [
        "[[[1]]]",
        "[[[[1]]]]",
        "[1,1,1,1,1,1,1,1,1,1]",
        "{\"a\":{\"a\":{\"a\":{}}}}",
        "[1,2,3,4,5,6,7,8,9,",
        "[[[[",
    ] {
        agree(document.as_bytes(), &limits);
    }
    agree(&[b' '; 101], &limits);
    agree("[".repeat(100_000).as_bytes(), &Limits::default());
    agree("[{\"name\":".repeat(40).as_bytes(), &Limits::default());
}

#[test]
fn a_name_that_comes_twice_is_noticed_however_many_there_are() {
    for count in [1, 2, 31, 63, 64, 65, 66, 130, 1_000] {
        for again in [0, count / 2, count - 1] {
            for spelling in [format!("a-name-of-length-{again}"), format!("\\u0061-name-of-length-{again}")] {
                let names = (0..count).map(|number| format!("\"a-name-of-length-{number}\":[{{\"x\":1}}],"));
                let document = format!("{{{}\"{spelling}\":0}}", names.collect::<String>());
                let refused = Reached::read(&places(), document.as_bytes(), &Limits::default()).err();
                assert_eq!(
                    refused.map(|error| error.fault),
                    Some(JsonFault::DuplicateKey),
                    "{count} {again}"
                );
                agree(document.as_bytes(), &Limits::default());
            }
        }
    }
}

#[test]
fn names_made_to_share_a_print_are_told_apart() {
    let name = |inside: char| format!("12345678{inside}12345678");
    assert!(Print::of_text(&name('a')) == Print::of_text(&name('b')));
    agree(format!("{{\"{}\":1,\"{}\":2}}", name('a'), name('b')).as_bytes(), &Limits::default());
    agree(format!("{{\"{}\":1,\"{}\":2}}", name('a'), name('a')).as_bytes(), &Limits::default());
    agree(br#"{"a":1,"a\u0000":2,"a\u0000\u0000":3}"#, &Limits::default());
}

#[test]
fn a_print_is_of_the_name_alone() {
    let document = r#"{"abc":1,"abcdefgh":2,"abcdefghijk":3,"é":4}"#.as_bytes();
    for (start, name) in [(2, "abc"), (10, "abcdefgh"), (23, "abcdefghijk"), (39, "é")] {
        assert!(Print::of(document, start, start + name.len()) == Print::of_text(name), "{name}");
    }
    assert!(Print::of(b"x\"a", 2, 3) == Print::of_text("a"), "at the very end");
}

#[test]
fn nothing_is_noted_of_what_no_place_leads_to() {
    let document = br#"{"contained":[{"id":"x"}],"name":[{"use":"usual","text":"x","family":"y"}]}"#;
    let reached = Reached::read(&places(), document, &Limits::default()).unwrap();
    let all: Vec<_> =
        (0..).map_while(|index| reached.place(index)).map(|place| place.written().to_owned()).collect();
    let name = r#"{"use":"usual","text":"x","family":"y"}"#;
    assert_eq!(all[1..], [format!("[{name}]"), name.to_owned(), "\"usual\"".to_owned(), "\"y\"".to_owned()]);
}

#[test]
fn unescaping_is_what_the_other_reader_does() {
    for written in [r"a\u00e9\ud83d\ude00\n\/\\\b\f\r\t\u0000z", "", r"\\u0061", "é"] {
        let parsed = parse(format!("\"{written}\"").as_bytes(), &Limits::default()).unwrap();
        assert_eq!(parsed.as_str(), Some(bytes::unescaped(written).as_str()));
    }
}

/// Pieces of documents, so that much of what is put together is nearly one.
fn any_document() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"a\":",
        "\"id\":\"1\"",
        "\"name\":[",
        "\"\\u0061\":",
        "\\ud83d",
        "\\ude00",
        "null",
        "true",
        "-0.5e3",
        "12",
        " ",
        "\n        ",
        "\t",
        "é",
        "\u{1}",
        "\"a text of some length\"",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_pieces_are_read_or_refused_alike(document in any_document(), depth_max in 0usize..6, values_max in 0usize..12) {
        agree(&document, &Limits::default());
        agree(&document, &Limits { depth_max, values_max, bytes_max: 64 });
    }

    #[test]
    fn any_string_is_read_alike(text in "\\PC{0,40}", before in " {0,9}") {
        let document = format!("{before}{{\"{text}\" : \"{text}\"}}");
        agree(document.as_bytes(), &Limits::default());
    }
}
