use super::{super::Table, *};

fn document(parts: Vec<Part>) -> Document {
    Document {
        title: "Adults at risk of fire".to_owned(),
        id: "pilot".to_owned(),
        version: 1,
        terms_sha256: "ab".repeat(32),
        written: jiff::Timestamp::from_second(1_790_000_000).unwrap(),
        parts,
    }
}

fn pages(document: &Document) -> Vec<Vec<String>> {
    let faces = Faces::new().unwrap();
    let mut sheets = Sheets::new(&faces, (LEFT, TOP, WIDTH, BOTTOM));
    set(document, &faces, &mut sheets);
    let text = |ink: &Ink| match ink {
        Ink::Text { text, .. } => Some(text.clone()),
        Ink::Rule { .. } => None,
    };
    sheets.pages().iter().map(|page| page.iter().filter_map(text).collect()).collect()
}

#[test]
fn the_same_is_the_same_bytes_and_nothing_goes_beyond_its_column() {
    let hostile = "a\u{202e}b \u{1f600}\u{0} שלום \u{fffe}\u{e000} e\u{301} \u{200b}\u{a0}x".to_owned();
    let word = "Llanfairpwllgwyngyll".repeat(60);
    let provision = "A provision that goes on, as provisions do when many have a hand in them. ".repeat(900);
    let rows = (0..60).map(|number| vec![format!("Organisation {number}"), word.clone(), hostile.clone()]);
    let table = |rows: Vec<Vec<String>>| {
        Part::Table(Table { caption: Some("Items"), columns: &[("One", 2), ("Two", 3), ("Three", 4)], rows })
    };
    let parts = vec![
        Part::Facts(vec![("Hostile", hostile.clone()), ("Long", provision.clone())]),
        Part::Heading(2, hostile.clone()),
        Part::Heading(3, word.clone()),
        table(rows.collect()),
        table(vec![vec![word.clone(), provision.clone(), String::new()]]),
        table(Vec::new()),
        Part::Paragraph(provision),
    ];
    let document = document(parts);
    let made = make(&document).unwrap();
    assert!(made == make(&document).unwrap() && made.starts_with(b"%PDF-1.7"));
    let faces = Faces::new().unwrap();
    let face = faces.of(BODY);
    for text in [hostile.as_str(), word.as_str(), "x", "", " ", "a\nb"] {
        let said = sharing::seen::shown(text, |char| sharing::seen::is_unseen(char) || !faces.have(char));
        for width in [1.0, 4.0, 30.0] {
            let lines = face.lines(&said, width);
            assert_eq!(lines.concat(), said.replace('\n', ""), "nothing is lost");
            for line in lines {
                let wide = face.width(line.trim_end());
                assert!(wide <= width || line.chars().count() == 1, "{line}: {wide} of {width}");
            }
        }
    }
}

#[test]
fn what_cannot_be_shown_stands_as_its_number_and_the_document_says_so() {
    let said = |text: &str| {
        pages(&document(vec![Part::Paragraph(text.to_owned())]))
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("|")
    };
    assert_eq!(
        said("a\u{202e}\u{1f600}\u{5e9} Cyngor Sŵn ŷ Ł Ω Ж"),
        "Adults at risk of fire|a[U+202E][U+1F600][U+05E9] Cyngor Sŵn ŷ Ł Ω Ж"
    );
    let plain = make(&document(vec![Part::Paragraph("plain".to_owned())])).unwrap();
    let replaced = make(&document(vec![Part::Paragraph("pl\u{200b}n".to_owned())])).unwrap();
    assert!(replaced.len() > plain.len());
}

#[test]
fn a_row_is_whole_where_a_sheet_can_hold_it_and_a_new_sheet_names_the_columns_again() {
    let rows = (0..80).map(|number| vec![format!("row {number}"), "two lines\nof text".to_owned()]).collect();
    let table = Table { caption: None, columns: &[("Name", 1), ("What", 3)], rows };
    let pages = pages(&document(vec![Part::Table(table)]));
    assert!(pages.len() > 2);
    for page in pages.iter().skip(1) {
        let [name, what, first, ..] = page.as_slice() else { panic!("{page:?}") };
        assert_eq!((name.as_str(), what.as_str()), ("Name", "What"));
        assert!(first.starts_with("row ") && page.last().is_some_and(|last| last == "of text"), "{page:?}");
    }
}
