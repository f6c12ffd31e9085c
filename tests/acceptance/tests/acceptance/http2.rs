//! HTTP/2 as attackers write it, frame by frame over real TLS: pseudo-headers, lengths, names, values, paths and trailers that no
//! client writes. Whatever a case looks like, it is what it would be over HTTP/1.1, or its stream or connection ends: it is never
//! answered as if all was well, the record holder is not asked, and whoever comes next is answered.

use std::time::Duration;

use acceptance::World;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    floods::{CONTINUATION, DATA, GO_AWAY, HEADERS, PREFACE, RESET, SETTINGS, frame, frames},
    wire::{connect, port},
};

mod cases;

/// Whom the questions are about.
const ASKED: &str = "9732110317";

const ENDS_STREAM: u8 = 0x1;
const ENDS_HEAD: u8 = 0x4;

/// Most bytes in one frame before anything else is agreed on.
const FRAME_BYTES_MAX: usize = 16_384;

/// What a case comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// It is a question like any other.
    Through,
    /// It is none: an answer that refuses, or the end of the stream or of the connection.
    ToNothing,
    /// The gateway reads it, and answers with this status as it does over HTTP/1.1.
    To(u16),
}

/// What the other side did about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    Answer(u16),
    Reset,
    GoAway,
    Close,
    Nothing,
}

/// A name and a value, byte for byte.
type Field = (Vec<u8>, Vec<u8>);

fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Field {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

/// A question in parts.
#[derive(Clone)]
pub(crate) struct Question {
    head: Vec<Field>,
    body: Vec<u8>,
    trailers: Vec<Field>,
}

impl Question {
    /// One that is in order, with tokens of its own, since a signed context is good once.
    pub(crate) fn of(world: &World) -> Self {
        let request = world.prevention(ASKED);
        let (access, context) = world.headers(&request);
        let body = request.body.unwrap().to_string().into_bytes();
        let head = vec![
            field(":method", "POST"),
            field(":scheme", "https"),
            field(":path", "/v1/disclosures"),
            field(":authority", format!("localhost:{}", port(world))),
            field("authorization", format!("Bearer {access}")),
            field("sharing-context", context),
            field("content-type", "application/json"),
            field("content-length", body.len().to_string()),
        ];
        Self { head, body, trailers: Vec::new() }
    }

    /// Has another value for what it has.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let found = self.head.iter_mut().find(|(said, _)| said == name.as_bytes());
        found.unwrap().1 = value.as_ref().to_vec();
    }

    /// Has a field more, behind the others.
    pub(crate) fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.head.push(field(name, value));
    }

    fn drop(&mut self, name: &str) {
        self.head.retain(|(said, _)| said != name.as_bytes());
    }

    /// As a connection's first bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let has_body = !self.body.is_empty() || !self.trailers.is_empty();
        let mut bytes = begun();
        bytes.extend(head(1, !has_body, &self.head));
        if !self.body.is_empty() {
            let ends = if self.trailers.is_empty() { ENDS_STREAM } else { 0 };
            bytes.extend(frame(DATA, ends, 1, &self.body));
        }
        if !self.trailers.is_empty() {
            bytes.extend(head(1, true, &self.trailers));
        }
        bytes
    }
}

/// What a connection begins with.
fn begun() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A head in as many frames as it needs.
fn head(stream: u32, ends_stream: bool, fields: &[Field]) -> Vec<u8> {
    let block = block(fields);
    let pieces: Vec<_> = block.chunks(FRAME_BYTES_MAX).collect();
    let mut bytes = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        let kind = if place == 0 { HEADERS } else { CONTINUATION };
        let ends_head = if place + 1 == pieces.len() { ENDS_HEAD } else { 0 };
        let ends_stream = if place == 0 && ends_stream { ENDS_STREAM } else { 0 };
        bytes.extend(frame(kind, ends_head | ends_stream, stream, piece));
    }
    bytes
}

/// Fields as literals that nobody is to remember (RFC 7541, section 6.2.2): whatever is in them is sent.
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// Source: RFC 7541, section 5.1, with seven bits of the first byte.
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The status, which is the first of an answer's head (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x48 | 0x08 | 0x18, length, text @ ..] if length & 0x80 == 0 => {
            std::str::from_utf8(&text[..3]).unwrap().parse().unwrap()
        }
        [0x48 | 0x08 | 0x18, _, text @ ..] => {
            let mut bits =
                text.iter().flat_map(|byte| (0..8).rev().map(move |place| u16::from(byte >> place & 1)));
            (0..3).fold(0, |status, _| {
                let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
                // `0` to `2` have five bits, `3` to `9` six.
                let digit = if five < 3 { five } else { (five << 1 | bits.next().unwrap()) - 0b01_1001 + 3 };
                status * 10 + digit
            })
        }
        other => panic!("{other:?} is no head of an answer"),
    }
}

/// What the other side does about what is sent over a connection of its own.
pub(crate) async fn exchange(world: &World, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = connect(world.folder.path(), port(world), "h2").await;
    // It may close before all is written: what it said counts.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let Ok(read) = timeout(Duration::from_secs(10), stream.read(&mut buffer)).await else {
            return (seen, false);
        };
        let count = read.unwrap_or(0);
        seen.extend_from_slice(&buffer[..count]);
        if count == 0 || frames(&seen).any(|(kind, _)| [HEADERS, RESET, GO_AWAY].contains(&kind)) {
            return (seen, true);
        }
    }
}

async fn did(world: &World, bytes: &[u8]) -> Did {
    let (seen, ended) = exchange(world, bytes).await;
    let told = frames(&seen).find_map(|(kind, payload)| match kind {
        HEADERS => Some(Did::Answer(status(payload))),
        RESET => Some(Did::Reset),
        GO_AWAY => Some(Did::GoAway),
        _ => None,
    });
    told.unwrap_or(if ended { Did::Close } else { Did::Nothing })
}

#[tokio::test]
async fn nothing_that_is_no_http_2_is_a_question() {
    let world = World::new().await;
    let (cases, mut wrong) = (cases::cases(), Vec::new());
    let count = cases.len();
    let keys_from = |before: usize| {
        let asked = world.asked["nhs"].asked().split_off(before);
        asked.into_iter().map(|one| one.key.unwrap_or_default()).collect::<Vec<_>>()
    };
    for (name, comes, make) in cases {
        let before = world.asked["nhs"].asked().len();
        let did_this = did(&world, &make(&Question::of(&world))).await;
        let keys = keys_from(before);
        let is_right = match comes {
            Comes::Through => did_this == Did::Answer(200) && keys == [ASKED],
            Comes::To(status) => did_this == Did::Answer(status) && keys.is_empty(),
            Comes::ToNothing => {
                let ends = matches!(did_this, Did::Answer(400..500) | Did::Reset | Did::GoAway | Did::Close);
                ends && keys.is_empty()
            }
        };
        if !is_right {
            wrong.push(format!("{name}: {did_this:?} and not {comes:?}, asked {keys:?}"));
        }
        let before = world.asked["nhs"].asked().len();
        let next = did(&world, &Question::of(&world).bytes()).await;
        assert_eq!((next, keys_from(before)), (Did::Answer(200), vec![ASKED.to_owned()]), "after {name}");
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 200, "{count} cases");
    world.verify().await;
}
