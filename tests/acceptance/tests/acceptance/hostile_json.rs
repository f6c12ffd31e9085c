//! JSON that is not quite JSON, from both sides: some hundreds of documents, made here by rule. What must be read is read as it
//! was written, and whatever else is refused whole; nothing is repaired.

use acceptance::{Answer, World, answer as received};
use serde_json::{Value, json};

use crate::holder::{Holder, Says};

const NUMBER: &str = "9736363023";
const GOOD: &str = include_str!("../../../upstreams/records/pds/patients/patient_9736363023.json");

/// A name of a document, and its bytes.
type Document = (String, Vec<u8>);

fn all(name: &str, texts: impl IntoIterator<Item = String>) -> Vec<Document> {
    texts
        .into_iter()
        .enumerate()
        .map(|(place, text)| (format!("{name} {place}"), text.into_bytes()))
        .collect()
}

fn listed(name: &str, texts: &[&str]) -> Vec<Document> {
    all(name, texts.iter().map(|text| (*text).to_owned()))
}

/// Values that every reader must take.
fn values() -> Vec<Document> {
    let mut taken = listed(
        "number",
        &[
            "0",
            "-0",
            "1",
            "-1",
            "10",
            "0.1",
            "-0.5",
            "1.50",
            "1e5",
            "1E5",
            "1e+5",
            "1E-5",
            "0e0",
            "0.0e-0",
            "123456789012345678901234567890",
            "-9223372036854775809",
            "18446744073709551616",
            "1e400",
            "-1e400",
            "1e-400",
            "0.1e1000",
            "3.141592653589793238462643383279502884197169399375105820974944592307816406286",
        ],
    );
    taken
        .extend(all("long number", [format!("1{}", "0".repeat(1_000)), format!("0.{}1", "0".repeat(1_000))]));
    taken.extend(listed("literal", &["null", "true", "false", " null ", "\ttrue\n", "\r\nfalse"]));
    taken.extend(listed(
        "string",
        &[
            r#""""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u0000""#,
            r#""\u001f""#,
            r#""\u0041\u00e9\u20ac""#,
            r#""\ud83d\ude00""#,
            r#""\uDBFF\uDFFF""#,
            r#""\uffff""#,
            r#""\ufdd0""#,
            "\"\u{7f}\"",
            "\"é\"",
            "\"e\u{301}\"",
            "\"😀\"",
            "\"\u{10ffff}\"",
            "\"\u{fffe}\"",
            "\"\u{202e}txt\"",
            "\"\u{2028}\u{2029}\"",
            "\"\u{feff}\"",
            "\"/\"",
            "\"'\"",
            r#""\\u0000""#,
            "\"//\"",
            "\"/**/\"",
            "\"\u{1d11e}\"",
            "\"\u{a0}\"",
            "\"\u{200b}\"",
        ],
    ));
    taken.extend(listed(
        "structure",
        &[
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "{\"\":0}",
            "{\"a\":{\"a\":{\"a\":0}}}",
            "[1,2,3]",
            " [ 1 , 2 ] ",
            "{\"a\" : [ ] }",
            "[null,true,\"x\",0,{},[]]",
            "{\"a\":1,\"A\":2}",
            "{\"\u{e9}\":1,\"e\u{301}\":2}",
            "{\"a\":1,\"a \":2}",
            "[{\"a\":1},{\"a\":1}]",
            "{\"\\u0000\":1}",
            "{\"__proto__\":{}}",
            "{\"constructor\":1}",
            "{\"a.b\":1,\"a\":{\"b\":2}}",
        ],
    ));
    for depth in 1..=30 {
        taken.extend(all(
            &format!("depth {depth}"),
            [
                format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
                format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
            ],
        ));
    }
    taken
}

/// Texts that are no values.
fn no_values() -> Vec<Document> {
    let mut refused = listed(
        "number",
        &[
            "01",
            "-01",
            "00",
            "+1",
            ".5",
            "-.5",
            "1.",
            "-1.",
            "1.e5",
            "1e",
            "1e+",
            "1E-",
            "1e5.5",
            "1ee5",
            "0x1",
            "0b1",
            "0o7",
            "1_000",
            "1,5",
            "- 1",
            "--1",
            "-",
            "+",
            "1-",
            "1 2",
            "１",
            "٣",
            "NaN",
            "-NaN",
            "nan",
            "Infinity",
            "-Infinity",
            "inf",
            "1d",
            "1f",
            "1n",
            "$1",
            "1e\u{2212}5",
            "\u{2212}1",
            "1\u{0}",
            "0.1.2",
            "1'000",
            "½",
        ],
    );
    refused.extend(listed(
        "literal",
        &[
            "True",
            "TRUE",
            "nul",
            "nulll",
            "tru",
            "undefined",
            "None",
            "nil",
            "yes",
            "null\u{0}",
            "truefalse",
            "n\u{75}ll\u{200b}",
            "",
        ],
    ));
    refused.extend((0_u8..0x20).map(|byte| (format!("control {byte}"), vec![b'"', byte, b'"'])));
    let letters = (b'!'..=b'~').filter(|letter| !br#""\/bfnrtu"#.contains(letter));
    refused.extend(
        letters.map(|letter| (format!("escape {}", char::from(letter)), vec![b'"', b'\\', letter, b'"'])),
    );
    refused.extend(listed(
        "string",
        &[
            "\"",
            "\"a",
            "a\"",
            "'a'",
            "\"\\\"",
            "\"\\u\"",
            "\"\\u1\"",
            "\"\\u12\"",
            "\"\\u123\"",
            "\"\\uGGGG\"",
            "\"\\u 123\"",
            "\"\\u+123\"",
            "\"\\x41\"",
            "\"\\u{41}\"",
            "\"a\"b\"",
            "\"a\" \"b\"",
            "`a`",
            "“a”",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\ud800x\"",
            "\"\\ud800\\u0041\"",
            "\"\\ud800\\n\"",
            "\"\\uD834\\\"",
            "\"\\ud800\\udbff\"",
        ],
    ));
    let not_text: &[&[u8]] = &[
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xe9",
        b"\xc3\x28",
    ];
    refused
        .extend(not_text.iter().map(|bytes| (format!("bytes {bytes:x?}"), [b"\"", *bytes, b"\""].concat())));
    refused.extend(
        not_text.iter().map(|bytes| (format!("key {bytes:x?}"), [b"{\"", *bytes, b"\":1}"].concat())),
    );
    refused.extend(listed(
        "structure",
        &[
            "[",
            "]",
            "{",
            "}",
            "[1",
            "1]",
            "[1,",
            "[1,]",
            "[,1]",
            "[,]",
            "[1,,2]",
            "[1 2]",
            "[1;2]",
            "[1:2]",
            "{\"a\"}",
            "{\"a\":}",
            "{:1}",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "{,\"a\":1}",
            "{\"a\":1,,\"b\":2}",
            "{\"a\":1 \"b\":2}",
            "{\"a\"::1}",
            "{\"a\"=1}",
            "{a:1}",
            "{1:1}",
            "{'a':1}",
            "{null:1}",
            "{[]:1}",
            "{\"a\":1}}",
            "[1]]",
            "[}",
            "{]",
            "[1}",
            "{\"a\":1]",
            "[//x\n1]",
            "[/*x*/1]",
            "[#x\n1]",
            "[1\u{a0}]",
            "[1\u{b}]",
            "[1\u{c}]",
            "[\u{2028}1]",
            "[1]x",
            "<1>",
            "(1)",
            "[1}{2]",
            "{\"a\":1}{\"b\":2}",
            "*",
            "@",
            "[\u{feff}1]",
            "{\"a\":\u{feff}1}",
            "...",
            "[...]",
            "{\"a\":b}",
        ],
    ));
    for depth in 0..28 {
        let (open, close) = ("{\"o\":".repeat(depth), "}".repeat(depth));
        let twice = [r#"{"a":1,"a":2}"#, r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"":1,"":2}"#];
        refused.extend(all(
            &format!("twice at depth {depth}"),
            twice.map(|inner| format!("{open}{inner}{close}")),
        ));
    }
    for depth in [33, 64, 128, 1_000, 20_000] {
        refused.extend(all(
            &format!("depth {depth}"),
            [
                format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
                "[".repeat(depth),
                "{\"a\":".repeat(depth),
            ],
        ));
    }
    refused.push(("many values".to_owned(), format!("[0{}]", ",0".repeat(100_001)).into_bytes()));
    refused
}

/// Whole documents that are none, of one that is.
fn no_documents(good: &[u8]) -> Vec<Document> {
    let text = String::from_utf8(good.to_vec()).unwrap();
    let text = text.trim();
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let mut refused = vec![
        ("nothing".to_owned(), Vec::new()),
        ("a space".to_owned(), b" ".to_vec()),
        ("utf-16".to_owned(), wide(u16::to_le_bytes)),
        ("utf-16 backwards".to_owned(), wide(u16::to_be_bytes)),
        ("utf-16 with a mark".to_owned(), [vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat()),
        ("a mark".to_owned(), [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("a guard".to_owned(), format!(")]}}',\n{text}").into_bytes()),
        ("twice".to_owned(), format!("{text}{text}").into_bytes()),
        ("lines".to_owned(), format!("{text}\n{text}").into_bytes()),
        ("a call".to_owned(), format!("callback({text})").into_bytes()),
        ("a nul".to_owned(), format!("{text}\0").into_bytes()),
        ("a record separator".to_owned(), format!("\u{1e}{text}\n").into_bytes()),
        ("xml".to_owned(), b"<Patient xmlns=\"http://hl7.org/fhir\"/>".to_vec()),
        ("yaml".to_owned(), b"resourceType: Patient\n".to_vec()),
        ("bytes".to_owned(), vec![0; 64]),
    ];
    // Broken off in every twentieth place.
    refused.extend(
        (1..text.len())
            .step_by(text.len() / 20)
            .map(|place| (format!("to byte {place}"), text.as_bytes()[..place].to_vec())),
    );
    refused
}

fn record_with(value: &[u8]) -> Vec<u8> {
    let rest = GOOD.trim().strip_prefix('{').unwrap();
    [b"{\"unlisted\":", value, b",", rest.as_bytes()].concat()
}

async fn fetched(world: &World, client: &reqwest::Client, port: u16) -> Answer {
    let question = world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER));
    world.send_to(client, port, &question).await.unwrap()
}

fn port(world: &World) -> u16 {
    world.settings.public_url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_record_is_json_to_the_letter_or_it_is_refused() {
    let (world, holder) = Holder::world().await;
    let (client, port) = (world.client("council"), port(&world));
    let (taken, refused) = (values(), no_values());
    assert!(taken.len() >= 120 && refused.len() >= 350, "{} {}", taken.len(), refused.len());
    for (name, value) in &taken {
        holder.says(Says::Fhir(record_with(value)));
        let answer = fetched(&world, &client, port).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.body["record"]["person.name"]["family"], "MELLOY", "{name}");
        assert!(answer.body["record"].get("unlisted").is_none());
    }
    let documents = no_documents(GOOD.as_bytes());
    let in_record = refused.iter().map(|(name, value)| (name.clone(), record_with(value)));
    for (name, body) in in_record.chain(documents) {
        holder.says(Says::Fhir(body));
        let answer = fetched(&world, &client, port).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-answer-refused"), "{name}");
        assert!(!answer.text.contains("MELLOY"), "{name}");
    }
}

/// What leaves is what was written: no number is rounded, no text is repaired.
#[tokio::test]
async fn what_is_released_is_as_it_was_written() {
    let (world, holder) = Holder::world().await;
    for family in [
        "O\u{2019}Connor-\u{c9}",
        "e\u{301}",
        "\u{e9}",
        "\u{1f600}",
        "<script>",
        "\\u0041",
        "\u{fffd}",
        "x\u{2028}y",
    ] {
        let mut record: Value = serde_json::from_str(GOOD).unwrap();
        record["name"][0]["family"] = json!(family);
        holder.says(Says::Fhir(record.to_string().into_bytes()));
        let answer =
            world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
        assert_eq!(answer.body["record"]["person.name"]["family"], json!(family), "{answer:?}");
    }
    let named = async |family: &str| {
        holder.says(Says::Fhir(GOOD.replacen("\"MELLOY\"", family, 1).into_bytes()));
        let answer =
            world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
        assert_eq!(answer.status, 200, "{family}");
        answer
    };
    let exact = named("12345678901234.10e+0").await;
    assert!(exact.text.contains("12345678901234.10e+0"), "{}", exact.text);
    // What people cannot see, they see.
    for (odd, seen) in [
        ("\"\u{202e}YOLLEM\"", "\u{fffd}YOLLEM"),
        ("\"\u{2067}YOLLEM\"", "\u{fffd}YOLLEM"),
        ("\"a\\u0000b\"", "a\u{fffd}b"),
        ("\"a\u{85}b\"", "a\u{fffd}b"),
    ] {
        let answer = named(odd).await;
        assert_eq!(answer.body["record"]["person.name"]["family"], json!(seen), "{odd}: {}", answer.text);
    }
    // What readers make different things of stays where it is.
    let long = "1".repeat(5_000);
    for odd in ["1e999999999", "-1e16", "123456789012345678", &long] {
        let answer = named(odd).await;
        assert!(answer.body["record"]["person.name"].get("family").is_none(), "{odd}: {}", answer.text);
        assert!(answer.body["record"]["person.name"].get("given").is_some(), "{odd}");
    }
}

#[tokio::test]
async fn a_request_is_json_to_the_letter_or_it_is_refused() {
    let world = World::new().await;
    let request = world.prevention("9732110317");
    let good = request.body.as_ref().unwrap().to_string();
    let client = world.client("fire");
    let url = format!("{}/v1/disclosures", world.settings.public_url);
    // The context is used up by what is decided, and none of these is.
    let (access, context) = world.headers(&request);
    let send = |body: Vec<u8>| {
        let sent = client.post(&url).bearer_auth(&access).header("Sharing-Context", &context);
        let sent = sent.header("Content-Type", "application/json").body(body);
        async move { received(sent.send().await.unwrap()).await }
    };
    let inserted = |value: &[u8]| [b"{\"unlisted\":", value, b",", &good.as_bytes()[1..]].concat();
    let mut tried = 0;
    for (name, body) in no_values()
        .into_iter()
        .map(|(name, value)| (name, inserted(&value)))
        .chain(no_documents(good.as_bytes()))
    {
        let is_large = body.len() > 64 * 1024;
        let answer = send(body).await;
        let expected = if is_large { (413, "body-too-large") } else { (400, "invalid-request") };
        assert_eq!((answer.status.as_u16(), answer.code()), expected, "{name}: {answer:?}");
        let said = answer.body["detail"].as_str().unwrap();
        assert!(is_large || said.starts_with("the body is not usable json"), "{name}: {said}");
        assert!(!answer.text.contains("9732110317"), "{name}");
        tried += 1;
    }
    assert!(tried >= 350, "{tried}");
    // What is JSON is read, and is not known.
    for (name, value) in values().into_iter().filter(|(name, _)| !name.starts_with("depth")) {
        let answer = send(inserted(&value)).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(
            answer.body["detail"].as_str().unwrap().starts_with("the body has a member that is not known"),
            "{name}: {answer:?}"
        );
    }
    // Members whose names are only alike.
    for name in [
        "Purpose",
        "PURPOSE",
        "purpose ",
        " purpose",
        "purp\u{43e}se",
        "purpose\u{0}",
        "purpose\u{200b}",
        "\u{feff}purpose",
        "ｐurpose",
    ] {
        let mut body = request.body.clone().unwrap();
        let purpose = body.as_object_mut().unwrap().remove("purpose").unwrap();
        body[name] = purpose;
        let answer = send(body.to_string().into_bytes()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid-request"), "{name:?}");
    }
    assert!(world.asked["nhs"].asked().is_empty());
    assert_eq!(send(good.clone().into_bytes()).await.status, 200, "the good one is taken");
}

fn gzipped(bytes: &str) -> Vec<u8> {
    let script = format!("head -c {bytes} /dev/zero | gzip -9");
    let packed = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(packed.status.success());
    packed.stdout
}

/// Compression is refused on both sides, so that no few bytes become many.
#[tokio::test]
async fn nothing_is_unpacked() {
    let (world, holder) = Holder::world().await;
    let bomb = gzipped("100M");
    assert!(bomb.len() < 200_000);
    for coding in
        ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "identity", "gzip, gzip", "", "*"]
    {
        for body in [bomb.clone(), GOOD.as_bytes().to_vec()] {
            holder.says(Says::Kind(
                format!("Content-Type: application/fhir+json\r\nContent-Encoding: {coding}"),
                body,
            ));
            let answer =
                world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-answer-refused"), "{coding}");
        }
    }
    holder.says(Says::Fhir(bomb.clone()));
    let answer =
        world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
    assert_eq!(answer.code(), "provider-answer-refused", "without a word about it");
    assert!(
        holder.asked().iter().all(|head| !head.to_lowercase().contains("accept-encoding")),
        "nobody asked for it"
    );
    for (coding, status) in [("chunked", 200), ("gzip, chunked", 502), ("deflate, chunked", 502)] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n{:x}\r\n",
            GOOD.len()
        );
        holder.says(Says::Raw([head.as_bytes(), GOOD.as_bytes(), b"\r\n0\r\n\r\n"].concat()));
        let answer =
            world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
        assert_eq!(answer.status.as_u16(), status, "{coding}: {answer:?}");
    }
    let request = world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER));
    let client = world.client("council");
    for coding in ["gzip", "deflate", "br", "identity", ""] {
        let (access, context) = world.headers(&request);
        let sent = client
            .post(format!("{}/v1/disclosures", world.settings.public_url))
            .bearer_auth(access)
            .header("Sharing-Context", context);
        let sent = sent.header("Content-Type", "application/json").header("Content-Encoding", coding);
        let small = gzipped("10M");
        let answer = received(sent.body(small).send().await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (415, "unsupported-media-type"), "{coding}");
    }
}

#[tokio::test]
async fn documents_of_other_kinds_are_not_read() {
    let (world, holder) = Holder::world().await;
    let kinds = [
        "application/json",
        "text/html",
        "text/plain",
        "application/xml",
        "application/fhir+xml",
        "application/fhir+ndjson",
        "application/octet-stream",
        "multipart/mixed; boundary=x",
        "application/fhir+json+zip",
        "application/fhir json",
        "fhir+json",
        "*/*",
        "",
        "application/fhir+json, text/html",
        "application/fhir+jsonx",
        "text/html; application/fhir+json",
        "application/fhir+json; charset=utf-16",
        "application/fhir+json\r\nContent-Type: text/html",
        "application/fhir+json\r\nContent-Type: application/fhir+json",
    ];
    for kind in kinds {
        holder.says(Says::Kind(format!("Content-Type: {kind}"), GOOD.as_bytes().to_vec()));
        let answer =
            world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-answer-refused"), "{kind}");
    }
    holder.says(Says::Kind("X: y".to_owned(), GOOD.as_bytes().to_vec()));
    let answer =
        world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
    assert_eq!(answer.code(), "provider-answer-refused", "no kind at all");
    for kind in ["application/fhir+json; charset=utf-8", "Application/FHIR+JSON"] {
        holder.says(Says::Kind(format!("Content-Type: {kind}"), GOOD.as_bytes().to_vec()));
        let answer =
            world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await;
        assert_eq!(answer.status, 200, "{kind}");
    }
    let request = world.prevention("9732110317");
    let client = world.client("fire");
    for kind in [
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "application/problem+json",
        "application/jsonl",
        "text/plain; application/json",
        "",
    ] {
        let (access, context) = world.headers(&request);
        let sent = client
            .post(format!("{}/v1/disclosures", world.settings.public_url))
            .bearer_auth(access)
            .header("Sharing-Context", context);
        let answer = received(
            sent.header("Content-Type", kind)
                .body(request.body.as_ref().unwrap().to_string())
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!((answer.status.as_u16(), answer.code()), (415, "unsupported-media-type"), "{kind}");
    }
}

/// Ten gigabytes, at once or drop by drop: what is taken is bounded, and so is the time.
#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let (world, holder) = Holder::world().await;
    let ask = || async {
        world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", NUMBER))).await
    };
    holder.says(Says::Endless { piece_bytes: 64 * 1024, pause_ms: 0 });
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-answer-refused"));
    // One megabyte is the limit; what lies in buffers on the way comes on top.
    assert!(holder.sent_bytes() < 16_000_000, "{}", holder.sent_bytes());
    holder.says(Says::Endless { piece_bytes: 1, pause_ms: 100 });
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-unavailable"));
    holder.says(Says::Kind(
        "Content-Type: application/fhir+json\r\nX-Length: 1".to_owned(),
        vec![b' '; 2 << 20],
    ));
    assert_eq!(ask().await.code(), "provider-answer-refused");
    holder.says(Says::Fhir(GOOD.as_bytes().to_vec()));
    assert_eq!(ask().await.status, 200, "and the next is answered");
}
