//! A version as people read it, on a page and as a PDF, read by programs that are not ours: Poppler and qpdf.

use super::*;

/// What a program says of a file.
fn said_of(file: &std::path::Path, program: &str, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    // A file of `-` at the end is standard output, of pdftotext.
    let is_text = program == "pdftotext";
    let ran = command.args(arguments).arg(file).args(is_text.then_some("-")).output().unwrap();
    assert!(ran.status.success(), "{program}: {ran:?}");
    // pdfinfo writes some titles as they are in the file, in UTF-16.
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

async fn fetched(world: &World, partner: &'static str, rest: &str) -> (Answer, Vec<u8>) {
    let path = format!("/v1/agreements/pilot/versions/1/{rest}");
    let request = by(world.bare(partner, "GET", &path, PURPOSE), lead);
    let (access, context) = world.headers(&request);
    let url = format!("{}{path}", world.settings.public_url);
    let sent = world.client(request.certificate_of).get(url).bearer_auth(access);
    let response = sent.header("sharing-context", context).send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status();
    let bytes = response.bytes().await.unwrap().to_vec();
    let answer = Answer {
        status,
        headers: [("content-type".to_owned(), kind)].into(),
        body: Value::Null,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    };
    (answer, bytes)
}

#[tokio::test]
async fn a_version_is_a_pdf_that_others_read_with_its_hash_on_every_page() {
    let world = deployment().await;
    offices(&world).await;
    let terms_of_draft = terms();
    let mut hostile = terms();
    hostile["title"] = json!("Oedolion mewn perygl: Sŵn");
    hostile["flows"][0]["items"][1]["justification"] = json!("Sŵn gnp");
    hostile["owner"] = json!("Ştefan Łukasz, Λάρισα \u{1f600} שלום <b>&amp;");
    hostile["flows"][0]["items"][0]["justification"] =
        json!(format!("{} {}", "Llanfairpwllgwyngyll".repeat(20), "The crew has to find them. ".repeat(55)));
    proposed(&world, &hostile).await;
    agreed(&world).await;
    all_sign(&world, 1).await;
    let terms =
        world.send(by(world.bare("fire", "GET", "/v1/agreements/pilot/versions/1", PURPOSE), lead)).await;
    let hash = terms.headers["etag"].trim_matches('"').to_owned();
    let (page, _) = fetched(&world, "fire", "document").await;
    assert!(page.text.contains(&hash) && page.text.contains("Sŵn gnp"), "{}", page.text);
    assert!(page.text.contains("😀 שלום &#60;b&#62;&#38;amp;"), "{}", page.text);
    let (answer, bytes) = fetched(&world, "fire", "document.pdf").await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (StatusCode::OK, "application/pdf"));
    assert!(bytes == fetched(&world, "nhs", "document.pdf").await.1, "the same for everybody, each time");
    let file = world.folder.path().join("pilot.pdf");
    std::fs::write(&file, &bytes).unwrap();
    let checked = said_of(&file, "qpdf", &["--check"]);
    assert!(checked.contains("No syntax or stream encoding errors found"), "{checked}");
    let about = said_of(&file, "pdfinfo", &[]);
    for line in
        ["Title:           Oedolion mewn perygl: Sŵn – version 1", "Tagged:          yes", "(A4)", &hash]
    {
        assert!(about.contains(line), "{line}: {about}");
    }
    let metadata = said_of(&file, "pdfinfo", &["-meta"]);
    for claim in ["<pdfuaid:part>1<", "<pdfaid:part>2<", "<pdfaid:conformance>A<", "<rdf:li>en-GB<"] {
        assert!(metadata.contains(claim), "{claim}: {metadata}");
    }
    let text = said_of(&file, "pdftotext", &["-layout"]);
    let pages: Vec<_> = text.split_terminator('\u{c}').collect();
    assert!(pages.len() > 1, "{text}");
    for (number, page) in pages.iter().enumerate() {
        assert!(page.contains(&format!("Page {} of {}", number + 1, pages.len())), "{page}");
        assert!(page.contains(&hash) && page.contains("Agreement pilot, version 1"), "{page}");
    }
    for line in [
        "siro of fire",
        "Ştefan Łukasz, Λάρισα [U+1F600]",
        "[U+05E9][U+05DC][U+05D5][U+05DD]",
        "<b>&amp;",
        "What moves",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let fonts = said_of(&file, "pdffonts", &[]);
    assert_eq!(fonts.lines().skip(2).filter(|line| line.contains("yes yes yes")).count(), 2, "{fonts}");
    // For a screen reader: what is a heading, a table, the name of a column.
    let read = said_of(&file, "pdfinfo", &["-struct-text"]);
    for piece in ["H1", "H2", "H3", "Table", "THead", "TH:", "TD", "\"Organisation\"", "\"What moves\""] {
        assert!(read.contains(piece), "{piece}: {read}");
    }
    assert!(!read.contains("Page 1 of"), "what is at the foot is not read out");
    let path = "/v1/agreements/pilot/versions/2/document.pdf";
    let none = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    assert_eq!(none.code(), "no-such-entry");
    // A draft is its authors'.
    let draft = json!({ "id": "draft", "terms": terms_of_draft });
    let begun = world.send(begin(&world, &draft)).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let path = "/v1/agreements/draft/versions/1/document.pdf";
    let unseen = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    assert_eq!(unseen.code(), "no-such-entry");
    assert_eq!(world.send(by(world.bare("nhs", "GET", path, PURPOSE), lead)).await.status, StatusCode::OK);
    world.verify().await;
}
