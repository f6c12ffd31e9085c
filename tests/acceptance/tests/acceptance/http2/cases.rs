//! What is sent as HTTP/2, case by case, and what it comes to.

use super::{Comes, ENDS_HEAD, ENDS_STREAM, FRAME_BYTES_MAX, Question, begun, block, field, head};
use crate::floods::{CONTINUATION, DATA, HEADERS, PREFACE, RESET, SETTINGS, frame};

const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Makes a case out of a question that is in order.
pub(super) type Make = Box<dyn Fn(&Question) -> Vec<u8>>;

struct Cases(Vec<(String, Comes, Make)>);

impl Cases {
    fn add(&mut self, name: String, comes: Comes, change: impl Fn(&mut Question) + 'static) {
        let make = move |good: &Question| {
            let mut question = good.clone();
            change(&mut question);
            question.bytes()
        };
        self.0.push((name, comes, Box::new(make)));
    }

    fn raw(&mut self, name: &str, comes: Comes, make: impl Fn(&Question) -> Vec<u8> + 'static) {
        self.0.push((name.to_owned(), comes, Box::new(make)));
    }
}

/// Every case, by name.
pub(super) fn cases() -> Vec<(String, Comes, Make)> {
    let mut cases = Cases(Vec::new());
    cases.add("as it should be".to_owned(), Comes::Through, |_| {});
    cases.add("without a length".to_owned(), Comes::Through, |question| question.drop("content-length"));
    pseudo_headers(&mut cases);
    hosts(&mut cases);
    methods_and_paths(&mut cases);
    lengths(&mut cases);
    fields(&mut cases);
    trailers(&mut cases);
    broken_frames(&mut cases);
    cases.0
}

fn pseudo_headers(cases: &mut Cases) {
    use Comes::ToNothing;
    for name in [":method", ":scheme", ":path", ":authority"] {
        cases.add(format!("without {name}"), ToNothing, move |question| question.drop(name));
        cases.add(format!("{name} behind the others"), ToNothing, move |question| {
            let place = question.head.iter().position(|(said, _)| said == name.as_bytes()).unwrap();
            let moved = question.head.remove(place);
            question.head.push(moved);
        });
        for value in ["", "x", "/metrics", "GET", "https", "localhost"] {
            cases.add(format!("{name} again, {value:?}"), ToNothing, move |question| {
                question.head.insert(0, field(name, value));
            });
        }
        cases.add(format!("{name} again, the same"), ToNothing, move |question| {
            let same = question.head.iter().find(|(said, _)| said == name.as_bytes()).unwrap().clone();
            question.head.insert(0, same);
        });
        cases.add(format!("{name} in capitals"), ToNothing, move |question| {
            let value = question.head.iter().find(|(said, _)| said == name.as_bytes()).unwrap().1.clone();
            question.drop(name);
            question.head.insert(0, field(name.to_uppercase(), value));
        });
    }
    cases.add("nothing at all".to_owned(), ToNothing, |question| question.head.clear());
    for (name, value) in [
        (":status", "200"),
        (":protocol", "websocket"),
        (":host", "localhost"),
        (":", "x"),
        (":path ", "/v1/disclosures"),
        (":path\0", "/v1/disclosures"),
    ] {
        cases.add(format!("{name:?} too"), ToNothing, move |question| {
            question.head.insert(0, field(name, value));
        });
    }
    for scheme in [
        "",
        "http",
        "ftp",
        "file",
        "HTTPS",
        "https ",
        "https:",
        "https://localhost/?",
        "https\r\nx: y",
        "javascript",
    ] {
        cases.add(format!("scheme {scheme:?}"), ToNothing, move |question| question.set(":scheme", scheme));
    }
}

fn hosts(cases: &mut Cases) {
    use Comes::{Through, To, ToNothing};
    for (said, comes) in [
        ("", ToNothing),
        ("evil.example", To(421)),
        ("127.0.0.1", To(421)),
        ("169.254.169.254", To(421)),
        ("localhost.evil.example", To(421)),
        ("me@<own>", ToNothing),
        ("<own>/x", ToNothing),
        ("<own>?x", ToNothing),
        ("<own>#x", ToNothing),
        ("<own>,evil.example", ToNothing),
        ("<own> evil.example", ToNothing),
        ("<own>\0", ToNothing),
        ("<own>\r\nx: y", ToNothing),
        ("localhost:99999999", ToNothing),
        ("localhost:", ToNothing),
        ("[::1]", ToNothing),
    ] {
        cases.add(format!("authority {said:?}"), comes, move |question| {
            let own = value(question, ":authority");
            question.set(":authority", said.replace("<own>", &own));
        });
    }
    for (said, comes) in [
        (&["<own>"][..], Through),
        (&["evil.example"], To(400)),
        (&["127.0.0.1"], To(400)),
        (&[""], To(400)),
        (&["<own>", "<own>"], To(400)),
        (&["<own>", "evil.example"], To(400)),
        (&["evil.example", "<own>"], To(400)),
        (&["me@<own>"], To(400)),
        (&["<own>/x"], To(400)),
        (&["<own>,evil.example"], To(400)),
    ] {
        cases.add(format!("host {said:?} too"), comes, move |question| {
            let own = value(question, ":authority");
            said.iter().for_each(|said| question.add("host", said.replace("<own>", &own)));
        });
    }
    for (said, comes) in [("<own>", Through), ("evil.example", To(421)), ("", To(400))] {
        cases.add(format!("host {said:?} in the place of authority"), comes, move |question| {
            let own = value(question, ":authority");
            question.drop(":authority");
            question.add("host", said.replace("<own>", &own));
        });
    }
}

fn value(question: &Question, name: &str) -> String {
    let found = question.head.iter().find(|(said, _)| said == name.as_bytes());
    String::from_utf8(found.unwrap().1.clone()).unwrap()
}

fn methods_and_paths(cases: &mut Cases) {
    use Comes::{To, ToNothing};
    for (method, comes) in [
        ("", ToNothing),
        (" ", ToNothing),
        ("POST ", ToNothing),
        ("PO ST", ToNothing),
        ("POST\0", ToNothing),
        ("POST\r\nx: y", ToNothing),
        ("POST /x HTTP/1.1", ToNothing),
        ("post", To(405)),
        ("TRACE", ToNothing),
        ("CONNECT", ToNothing),
        ("OPTIONS", ToNothing),
        ("GET", ToNothing),
        ("HEAD", ToNothing),
        ("DELETE", To(405)),
        ("PURGE", To(405)),
        ("PRI", To(405)),
    ] {
        cases.add(format!("method {method:?}"), comes, move |question| question.set(":method", method));
    }
    for path in [
        "",
        " ",
        "*",
        "/",
        "v1/disclosures",
        "?/v1/disclosures",
        "//",
        "//evil.example/v1/disclosures",
        "/v1//disclosures",
        "https://localhost/v1/disclosures",
        "https://evil.example/v1/disclosures",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "\\v1\\disclosures",
        "/v1/../v1/disclosures",
        "/v1/./disclosures",
        "/v1/disclosures/..",
        "/v1/%64isclosures",
        "/v1/x%2f..%2fdisclosures",
        "/v1/x/%2e%2e/disclosures",
        "/v1/x/%252e%252e/disclosures",
        "/v1/disclosures;a=b",
        "/v1/..;/v1/disclosures",
        "/v1/disclosures%00",
        "/v1/disclosures%0d%0ax:y",
        "/v1/x/%c0%ae%c0%ae/disclosures",
        "/v1/x/..%5cdisclosures",
        "/v1/disclosures/",
        "/V1/DISCLOSURES",
        "/v1/dis closures",
        "/v1/disclosures HTTP/1.1",
        "/v1/disclosures HTTP/1.1\r\nx: y\r\n\r\n",
        "/v1/disclosures\0",
        "/v1/disclosures\n",
        "/v1/disclosures\t",
        "/v1/disclosures\u{e9}",
        "/healthz/../v1/disclosures",
        "/metrics",
    ] {
        cases.add(format!("path {path:?}"), ToNothing, move |question| question.set(":path", path));
    }
    cases.add("a path of 40,000 bytes".to_owned(), ToNothing, |question| {
        question.set(":path", format!("/{}", "x".repeat(40_000)));
    });
    cases.add("a method of 40,000 bytes".to_owned(), ToNothing, |question| {
        question.set(":method", "P".repeat(40_000));
    });
}

fn lengths(cases: &mut Cases) {
    use Comes::ToNothing;
    for said in [
        "0",
        "10",
        "60000",
        "+<own>",
        "-<own>",
        "-1",
        "0x<own>",
        "<own>,<own>",
        "<own>, <own>",
        "<own>;",
        "<own>.0",
        "",
        "zero",
        "18446744073709551616",
        "\u{661}",
    ] {
        cases.add(format!("length {said:?}"), ToNothing, move |question| {
            let own = value(question, "content-length");
            question.set("content-length", said.replace("<own>", &own));
        });
    }
    for said in ["<own>", "0", "7"] {
        cases.add(format!("another length, {said:?}"), ToNothing, move |question| {
            let own = value(question, "content-length");
            question.add("content-length", said.replace("<own>", &own));
        });
        cases.add(format!("another length before, {said:?}"), ToNothing, move |question| {
            let own = value(question, "content-length");
            question.head.insert(4, field("content-length", said.replace("<own>", &own)));
        });
    }
    cases.add("a length, and no body".to_owned(), ToNothing, |question| question.body.clear());
    cases.raw("more data than it says, in a second frame", ToNothing, |good| {
        let mut bytes = begun();
        bytes.extend(head(1, false, &good.head));
        bytes.extend(frame(DATA, 0, 1, &good.body));
        bytes.extend(frame(DATA, ENDS_STREAM, 1, b" "));
        bytes
    });
}

fn fields(cases: &mut Cases) {
    use Comes::{Through, To, ToNothing};
    for (name, value, comes) in [
        ("te", "trailers", Through),
        ("x-forwarded-host", "evil.example", Through),
        ("x-http-method-override", "DELETE", Through),
        ("x-original-url", "/metrics", Through),
        // HTTP/2 forbids less in a name than HTTP/1.1 does (RFC 9113, section 8.2.1). Nobody reads it.
        ("x\"", "y", Through),
        ("te", "gzip", ToNothing),
        ("te", "trailers, gzip", ToNothing),
        ("te", "chunked", ToNothing),
        ("te", "", ToNothing),
        ("connection", "close", ToNothing),
        ("connection", "keep-alive", ToNothing),
        ("connection", "sharing-context", ToNothing),
        ("connection", "", ToNothing),
        ("keep-alive", "timeout=5", ToNothing),
        ("proxy-connection", "keep-alive", ToNothing),
        ("transfer-encoding", "chunked", ToNothing),
        ("transfer-encoding", "identity", ToNothing),
        ("transfer-encoding", "", ToNothing),
        ("upgrade", "h2c", ToNothing),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA", To(400)),
        ("proxy-authorization", "Basic eDp5", To(400)),
        ("trailer", "host", To(400)),
        ("content-type", "application/json", To(400)),
        ("content-type", "application/xml", To(400)),
        ("content-encoding", "gzip", To(415)),
        ("sharing-context", "x", To(401)),
        ("authorization", "Basic eDp5", To(401)),
    ] {
        cases.add(format!("{name}: {value:?} too"), comes, move |question| question.add(name, value));
    }
    for name in [
        "",
        "X-A",
        "Content-Length",
        "Transfer-Encoding",
        "x a",
        " x",
        "x ",
        "x\t",
        "x\r\ny",
        "x\n",
        "x\r",
        "x\0",
        "x:",
        "x: y\r\nz",
        "(x)",
        "x\u{7f}",
        "x\u{e9}",
        "x/y",
    ] {
        cases.add(format!("a field called {name:?}"), ToNothing, move |question| question.add(name, "y"));
    }
    for value in [
        "a\r\ntransfer-encoding: chunked",
        "a\r\n\r\nGET /metrics HTTP/1.1\r\n",
        "a\nb: c",
        "a\rb",
        "\r\n",
        "\n",
        "a\0b",
        "\0",
        "\u{1b}[31m",
        "a\u{8}b",
        "\u{7f}",
    ] {
        for name in ["x-a", "content-type", "x-request-id"] {
            cases.add(format!("{name} that says {value:?}"), ToNothing, move |question| {
                question.drop(name);
                question.add(name, value);
            });
        }
    }
    for (name, count, size) in [("large fields", 10, 8_000), ("one large field", 1, 70_000)] {
        cases.add(name.to_owned(), ToNothing, move |question| {
            (0..count).for_each(|number| question.add(format!("x-{number}"), "y".repeat(size)));
        });
    }
}

fn trailers(cases: &mut Cases) {
    use Comes::{Through, ToNothing};
    // Nobody reads them: what is taken changes nothing. Pseudo-headers among them are none of RFC 9113's (section 8.1), and are dropped
    // by what reads the frames, which leaves a question as its head has it.
    for (name, value, comes) in [
        ("x-y", "z", Through),
        ("authorization", "Bearer x", Through),
        ("sharing-context", "x", Through),
        ("host", "evil.example", Through),
        (":path", "/metrics", Through),
        (":method", "GET", Through),
        (":authority", "evil.example", Through),
        (":status", "200", Through),
        ("transfer-encoding", "chunked", ToNothing),
        ("connection", "close", ToNothing),
        ("keep-alive", "x", ToNothing),
        ("proxy-connection", "x", ToNothing),
        ("upgrade", "h2c", ToNothing),
        ("te", "gzip", ToNothing),
        ("X-Y", "z", ToNothing),
        ("x y", "z", ToNothing),
        ("x-y", "a\r\nb: c", ToNothing),
        ("x-y", "a\0b", ToNothing),
        ("", "z", ToNothing),
    ] {
        cases.add(format!("trailer {name:?}: {value:?}"), comes, move |question| {
            question.trailers.push(field(name, value));
        });
    }
    cases.raw("trailers that do not end it", ToNothing, |good| {
        let mut bytes = Question { trailers: vec![field("x", "y")], ..good.clone() }.bytes();
        // The last of the frames is theirs.
        let last = block(&[field("x", "y")]).len();
        let flags = bytes.len() - last - 5;
        bytes[flags] = ENDS_HEAD;
        bytes
    });
    cases.raw("data behind the end", ToNothing, |good| {
        let mut bytes = begun();
        bytes.extend(head(1, true, &good.head));
        bytes.extend(frame(DATA, ENDS_STREAM, 1, &good.body));
        bytes
    });
}

/// The frames of a question, without what a connection begins with.
fn question(good: &Question) -> Vec<u8> {
    good.bytes().split_off(begun().len())
}

/// Whole frames that are none, before a question that is in order.
fn broken_frames(cases: &mut Cases) {
    use Comes::ToNothing;
    let before: [(&str, Vec<u8>); 16] = [
        ("data on the connection", frame(DATA, 0, 0, b"x")),
        ("data on a stream that is not open", frame(DATA, 0, 3, b"x")),
        ("a head on the connection", frame(HEADERS, ENDS_HEAD | ENDS_STREAM, 0, &block(&[field("x", "y")]))),
        ("a head on a stream of the server's", frame(HEADERS, ENDS_HEAD, 2, &block(&[field("x", "y")]))),
        ("a continuation of nothing", frame(CONTINUATION, ENDS_HEAD, 1, &block(&[field("x", "y")]))),
        ("a promise", frame(5, ENDS_HEAD, 1, &[0, 0, 0, 2, 0x88])),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0])),
        ("an acknowledgement with settings", frame(SETTINGS, 1, 0, &[0, 4, 0, 0, 255, 255])),
        ("a window beyond the largest", frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("a ping of seven bytes", frame(6, 0, 0, &[0; 7])),
        ("a ping on a stream", frame(6, 0, 1, &[0; 8])),
        ("no window", frame(8, 0, 0, &[0; 4])),
        ("a reset of what is not there", frame(RESET, 0, 1, &8_u32.to_be_bytes())),
        ("a frame beyond the largest", frame(DATA, 0, 1, &vec![0; FRAME_BYTES_MAX + 1])),
        ("http/1.1", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in before {
        cases.raw(name, ToNothing, move |good| [begun(), bytes.clone(), question(good)].concat());
    }
    // Heads that say nothing that can be read, before one that does.
    let blocks: [(&str, &[u8]); 9] = [
        ("field 0", &[0x80]),
        ("field 200", &[0xff, 0x49]),
        ("a number without end", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a name that is not there", &[0x00, 0x05, b'x']),
        ("a value that is not there", &[0x00, 0x01, b'x', 0x05, b'y']),
        ("half a field", &[0x00, 0x01, b'x']),
        ("huffman's end in a name", &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]),
        ("padding of huffman's that is none", &[0x00, 0x01, b'x', 0x81, 0x00]),
        ("a table beyond the largest", &[0x3f, 0xe1, 0xff, 0xff, 0x03]),
    ];
    for (name, said) in blocks {
        cases.raw(name, ToNothing, move |good| {
            let first = frame(HEADERS, ENDS_HEAD | ENDS_STREAM, 1, said);
            let next = [head(3, false, &good.head), frame(DATA, ENDS_STREAM, 3, &good.body)].concat();
            [begun(), first, next].concat()
        });
    }
    cases.raw("padding beyond the frame", ToNothing, move |good| {
        let padded = [&[255][..], &block(&[field("x", "y")])].concat();
        [begun(), frame(HEADERS, ENDS_HEAD | PADDED, 1, &padded), question(good)].concat()
    });
    cases.raw("a stream that waits for itself", ToNothing, move |good| {
        let waits = [&[0, 0, 0, 1, 16][..], &block(&good.head)].concat();
        let data = frame(DATA, ENDS_STREAM, 1, &good.body);
        [begun(), frame(HEADERS, ENDS_HEAD | PRIORITY, 1, &waits), data].concat()
    });
    cases.raw("another frame within a head", ToNothing, move |good| {
        let block = block(&good.head);
        let (one, other) = block.split_at(block.len() / 2);
        let (first, second) = (frame(HEADERS, 0, 1, one), frame(CONTINUATION, ENDS_HEAD, 1, other));
        let data = frame(DATA, ENDS_STREAM, 1, &good.body);
        [begun(), first, frame(6, 0, 0, &[0; 8]), second, data].concat()
    });
    cases.raw("a head that another stream goes on with", ToNothing, move |good| {
        let block = block(&good.head);
        let (one, other) = block.split_at(block.len() / 2);
        let (first, second) = (frame(HEADERS, 0, 1, one), frame(CONTINUATION, ENDS_HEAD, 3, other));
        [begun(), first, second, frame(DATA, ENDS_STREAM, 1, &good.body)].concat()
    });
    cases.raw("no preface", ToNothing, question);
    cases.raw("half a preface", ToNothing, move |good| [&PREFACE[..12], &question(good)].concat());
}
