//! HTTP as attackers write it: smuggling, desynchronisation, odd hosts, paths and headers, over raw sockets, to the gateway
//! itself and through nginx and haproxy. Whatever a case looks like, the record holder is asked once, well-formed and about the
//! person whose context was signed, or not at all; what is hidden in a body is never answered as a request of its own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use acceptance::{World, unused_port};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// Whom the questions are about, and whom the hidden ones are about.
const ASKED: &str = "9732110317";
const HIDDEN: &str = "9736363015";

/// What a case comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// It is a question like any other.
    Through,
    /// The gateway takes it for none.
    ToNothing,
    /// Either, as long as nothing hidden is taken for a question.
    ToOneAtMost,
}

/// One case: where it differs from a question that is in order.
struct Case {
    name: String,
    bytes: Vec<u8>,
    comes: Comes,
}

/// A question that is in order, in parts.
struct Parts {
    line: String,
    host: String,
    tokens: String,
    body: String,
    hidden: String,
}

impl Parts {
    fn of(world: &World) -> Self {
        let host = format!("localhost:{}", port(world));
        let head = |person: &str| {
            let request = world.prevention(person);
            let (access, context) = world.headers(&request);
            let tokens = format!("Authorization: Bearer {access}\r\nSharing-Context: {context}\r\n");
            (tokens, request.body.unwrap().to_string())
        };
        let ((tokens, body), (hidden_tokens, hidden_body)) = (head(ASKED), head(HIDDEN));
        let line = "POST /v1/disclosures HTTP/1.1\r\n".to_owned();
        let hidden = format!(
            "{line}Host: {host}\r\n{hidden_tokens}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{hidden_body}",
            hidden_body.len()
        );
        Self { line, host, tokens, body, hidden }
    }

    fn usual(&self) -> String {
        format!("Host: {}\r\n{}Content-Type: application/json\r\n", self.host, self.tokens)
    }

    fn length(&self) -> String {
        format!("Content-Length: {}\r\n", self.body.len())
    }

    /// The question with further headers.
    fn with(&self, more: &str) -> Vec<u8> {
        let (line, usual, length, body) = (&self.line, self.usual(), self.length(), &self.body);
        format!("{line}{usual}{length}{more}\r\n{body}").into_bytes()
    }

    /// The question in these words for its length, and then the hidden one.
    fn lengths(&self, said: &str, body: &str) -> Vec<u8> {
        let (line, usual, hidden) = (&self.line, self.usual(), &self.hidden);
        format!("{line}{usual}{said}\r\n{body}{hidden}").into_bytes()
    }

    /// The question with another first line.
    fn line(&self, line: &str) -> Vec<u8> {
        let (usual, length, body) = (self.usual(), self.length(), &self.body);
        format!("{line}{usual}{length}\r\n{body}").into_bytes()
    }

    /// The question with other words in the place of its host.
    fn host(&self, said: &str) -> Vec<u8> {
        let (line, tokens, length, body) = (&self.line, &self.tokens, self.length(), &self.body);
        format!("{line}{said}{tokens}Content-Type: application/json\r\n{length}\r\n{body}").into_bytes()
    }

    fn chunked(&self) -> String {
        format!("{:x}\r\n{}\r\n0\r\n\r\n", self.body.len(), self.body)
    }
}

pub(super) fn port(world: &World) -> u16 {
    world.settings.public_url.rsplit(':').next().unwrap().parse().unwrap()
}

/// Makes a case with tokens of its own, since a signed context is good once.
type Make = Box<dyn Fn(&Parts) -> Vec<u8>>;

fn cases() -> Vec<(String, Comes, Make)> {
    use Comes::{Through, ToNothing, ToOneAtMost};
    let mut all: Vec<(String, Comes, Make)> = Vec::new();
    let mut add = |name: String, comes: Comes, make: Make| all.push((name, comes, make));
    add("as it should be".to_owned(), Through, Box::new(|parts| parts.with("")));
    add(
        "two in a row".to_owned(),
        Through,
        Box::new(|parts| {
            // Pipelining: the second is a question in its own right, and says so.
            let mut both = parts.with("");
            both.extend_from_slice(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
            both
        }),
    );
    for more in [
        "x-request-id: 6f1c7c2e-0000-4000-8000-000000000001\r\n",
        "Connection: keep-alive\r\n",
        "connection: close\r\n",
    ] {
        add(format!("plain {more:?}"), Through, Box::new(move |parts| parts.with(more)));
    }
    transfer_encodings(&mut add);
    lengths(&mut add);
    chunks(&mut add);
    first_lines(&mut add);
    hosts(&mut add);
    headers(&mut add);
    // A line that ends in LF alone is one line to everybody who takes it at all.
    add(
        "lf alone".to_owned(),
        ToOneAtMost,
        Box::new(|parts| String::from_utf8(parts.with("")).unwrap().replace("\r\n", "\n").into_bytes()),
    );
    add(
        "http/2 preface".to_owned(),
        ToNothing,
        Box::new(|parts| {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(parts.with(""));
            bytes
        }),
    );
    all
}

fn transfer_encodings(add: &mut impl FnMut(String, Comes, Make)) {
    let said = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding:chunked",
        "transfer-encoding: chunked",
        "Transfer-Encoding: Chunked",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: cow",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:\x0cchunked",
        "Transfer-Encoding:\0chunked",
        "Transfer-Encoding: chun\u{212a}ed",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ];
    for said in said {
        for with_length in [false, true] {
            let comes = Comes::ToNothing;
            // With a length, and a header that is not the one it looks like, it is a question with a strange header.
            let comes = if with_length && said.starts_with("X: y\n") { Comes::ToOneAtMost } else { comes };
            for zero_first in [true, false] {
                if !with_length && !zero_first {
                    continue;
                }
                let name = format!("{said:?}, length {with_length}, chunks end at once {zero_first}");
                add(
                    name,
                    comes,
                    Box::new(move |parts| {
                        let body = if zero_first { "0\r\n\r\n".to_owned() } else { parts.chunked() };
                        let length = if with_length {
                            format!("Content-Length: {}\r\n", body.len())
                        } else {
                            String::new()
                        };
                        parts.lengths(&format!("{said}\r\n{length}"), &body)
                    }),
                );
            }
        }
    }
    add(
        "length first, chunked second".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| parts.lengths("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    );
    add(
        "chunked between two lengths".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| {
            parts.lengths(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "0\r\n\r\n",
            )
        }),
    );
}

fn lengths(add: &mut impl FnMut(String, Comes, Make)) {
    // Where `N` is, the body's length goes in. The hidden question follows the body.
    let said = [
        "Content-Length: +N",
        "Content-Length: -N",
        "Content-Length: 0xN",
        "Content-Length: N, N",
        "Content-Length: N,N",
        "Content-Length: N N",
        "Content-Length: N;",
        "Content-Length: N.0",
        "Content-Length: Ne0",
        "Content-Length: \"N\"",
        "Content-Length: N\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: N",
        "Content-Length: N\r\ncontent-length: 7",
        "Content-Length: N\0",
        "Content-Length: N\x0b",
        "Content-Length: \u{661}",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999",
        "Content-Length: -1",
        "Content-Length:",
        "Content-Length: zero",
        "Content-Length : N",
        "Content-Length\t: N",
        "Content-Length:\r\n N",
        "Content-Length: N\r\n\tN",
    ];
    for said in said {
        add(
            format!("{said:?}"),
            Comes::ToNothing,
            Box::new(move |parts| {
                let length = parts.body.len().to_string();
                parts.lengths(&format!("{}\r\n", said.replace('N', &length)), &parts.body)
            }),
        );
    }
    for said in ["Content_Length: 7", "X-Content-Length: 7", "Content-Length2: 7"] {
        add(
            format!("no length but {said:?}"),
            Comes::ToNothing,
            Box::new(move |parts| parts.lengths(&format!("{said}\r\n"), &parts.body)),
        );
    }
    add(
        "a length beyond what comes".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| {
            let (line, usual, body) = (&parts.line, parts.usual(), &parts.body);
            format!("{line}{usual}Content-Length: 60000\r\n\r\n{body}").into_bytes()
        }),
    );
    add(
        "a length below what comes".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| parts.lengths("Content-Length: 10\r\n", &parts.body)),
    );
    add(
        "the same length twice".to_owned(),
        Comes::ToOneAtMost,
        Box::new(|parts| {
            let twice = format!("{}{}", parts.length(), parts.length());
            let (line, usual, body) = (&parts.line, parts.usual(), &parts.body);
            format!("{line}{usual}{twice}\r\n{body}").into_bytes()
        }),
    );
}

fn chunks(add: &mut impl FnMut(String, Comes, Make)) {
    // The size line, in the place of the first chunk's.
    let sizes = [
        "N;a=b",
        "N;a",
        "N;",
        "N ;a=b",
        "N\t",
        " N",
        "0xN",
        "+N",
        "-N",
        "00000000000N",
        "N\r",
        "N;\n",
        "N;a=\"\r\n\"",
        "N;a\rb",
        "FFFFFFFFFFFFFFFF",
        "10000000000000000N",
        "G",
        "",
        "N;\0",
    ];
    for size in sizes {
        add(
            format!("chunk {size:?}"),
            Comes::ToNothing,
            Box::new(move |parts| {
                let size = size.replace('N', &format!("{:x}", parts.body.len()));
                let body = format!("{size}\r\n{}\r\n0\r\n\r\n", parts.body);
                parts.lengths("Transfer-Encoding: chunked\r\n", &body)
            }),
        );
    }
    for trailer in [
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "Host: evil.example",
        "Authorization: Bearer x",
        "X: y",
    ] {
        add(
            format!("trailer {trailer:?}"),
            Comes::ToNothing,
            Box::new(move |parts| {
                let body = format!("{:x}\r\n{}\r\n0\r\n{trailer}\r\n\r\n", parts.body.len(), parts.body);
                parts.lengths("Transfer-Encoding: chunked\r\n", &body)
            }),
        );
    }
}

fn first_lines(add: &mut impl FnMut(String, Comes, Make)) {
    let lines = [
        "POST /v1/disclosures HTTP/1.0",
        "POST /v1/disclosures HTTP/0.9",
        "POST /v1/disclosures HTTP/1.2",
        "POST /v1/disclosures HTTP/2.0",
        "POST /v1/disclosures HTTP/1.1 ",
        "POST  /v1/disclosures HTTP/1.1",
        "POST\t/v1/disclosures\tHTTP/1.1",
        " POST /v1/disclosures HTTP/1.1",
        "POST /v1/disclosures",
        "POST /v1/disclosures HTTP",
        "POST /v1/disclosures http/1.1",
        "post /v1/disclosures HTTP/1.1",
        "PO ST /v1/disclosures HTTP/1.1",
        "P\0ST /v1/disclosures HTTP/1.1",
        "POST /v1/disclosures\0 HTTP/1.1",
        "POST /v1/dis closures HTTP/1.1",
        "CONNECT localhost:443 HTTP/1.1",
        "CONNECT /v1/disclosures HTTP/1.1",
        "TRACE /v1/disclosures HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "POST * HTTP/1.1",
        "POST http://evil.example/v1/disclosures HTTP/1.1",
        "POST http://169.254.169.254/latest/meta-data HTTP/1.1",
        "POST http://me@localhost/v1/disclosures HTTP/1.1",
        "POST //evil.example/v1/disclosures HTTP/1.1",
        "POST http:///v1/disclosures HTTP/1.1",
        "POST file:///etc/passwd HTTP/1.1",
        "POST v1/disclosures HTTP/1.1",
        "POST \\v1\\disclosures HTTP/1.1",
        "POST /v1/../v1/disclosures HTTP/1.1",
        "POST /v1/./disclosures HTTP/1.1",
        "POST /v1//disclosures HTTP/1.1",
        "POST /v1/%64isclosures HTTP/1.1",
        "POST /v1/x%2f..%2fdisclosures HTTP/1.1",
        "POST /v1/x/%2e%2e/disclosures HTTP/1.1",
        "POST /v1/x/%252e%252e/disclosures HTTP/1.1",
        "POST /v1/disclosures;a=b HTTP/1.1",
        "POST /v1/..;/v1/disclosures HTTP/1.1",
        "POST /v1/disclosures%00 HTTP/1.1",
        "POST /v1/disclosures%0d%0aX:y HTTP/1.1",
        "POST /v1/x/%c0%ae%c0%ae/disclosures HTTP/1.1",
        "POST /v1/x/..%5cdisclosures HTTP/1.1",
        "POST /v1/disclosures/ HTTP/1.1",
        "POST /V1/DISCLOSURES HTTP/1.1",
        "GET /fhir/nhs-pds/Patient/..%2f..%2fmetrics HTTP/1.1",
        "GET /fhir/nhs-pds/Patient/9732110317%2f..%2f9000000009 HTTP/1.1",
        "GET /fhir/nhs-pds/Patient/9732110317;v=2 HTTP/1.1",
        "GET /fhir/nhs-pds/Patient/9732110317%00 HTTP/1.1",
        "GET /fhir/..%2fPatient/9732110317 HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET /healthz HTTP/1.1",
        "HEAD /healthz HTTP/1.1",
    ];
    for line in lines {
        // Proxies put some of these in order, and then they are a question in order.
        add(line.to_owned(), Comes::ToNothing, Box::new(move |parts| parts.line(&format!("{line}\r\n"))));
    }
    add(
        "a path of 40,000 bytes".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| parts.line(&format!("POST /{} HTTP/1.1\r\n", "x".repeat(40_000)))),
    );
    add(
        "a method of 40,000 bytes".to_owned(),
        Comes::ToNothing,
        Box::new(|parts| parts.line(&format!("{} /v1/disclosures HTTP/1.1\r\n", "P".repeat(40_000)))),
    );
}

fn hosts(add: &mut impl FnMut(String, Comes, Make)) {
    let said = [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: <own>\r\nHost: <own>\r\n",
        "Host: <own>\r\nHost: evil.example\r\n",
        "Host: evil.example\r\nHost: <own>\r\n",
        "Host: evil.example\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: 169.254.169.254\r\n",
        "Host: me@<own>\r\n",
        "Host: <own>/x\r\n",
        "Host: <own>,evil.example\r\n",
        "Host: <own> evil.example\r\n",
        "Host : <own>\r\n",
        " Host: <own>\r\n",
        "Host:\r\n <own>\r\n",
        "Host: <own>\0\r\n",
        "Host: localhost:99999999\r\n",
        "Host: [::1]\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: <own>\r\n evil.example\r\n",
    ];
    for said in said {
        add(
            format!("host {said:?}"),
            Comes::ToNothing,
            Box::new(move |parts| parts.host(&said.replace("<own>", &parts.host))),
        );
    }
    for said in [
        "X-Forwarded-Host: evil.example\r\n",
        "Forwarded: host=evil.example;for=\"[::1]\"\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Original-URL: /metrics\r\n",
        "X-Rewrite-URL: /metrics\r\n",
        "X-HTTP-Method-Override: DELETE\r\n",
    ] {
        add(
            format!("{said:?} says nothing to anybody"),
            Comes::Through,
            Box::new(move |parts| parts.with(said)),
        );
    }
}

fn headers(add: &mut impl FnMut(String, Comes, Make)) {
    let strange = [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\n",
        "HTTP2-Settings: AAMAAABk\r\n",
        "Connection: sharing-context\r\n",
        "Connection: authorization\r\n",
        "Connection: close, content-length\r\n",
        "Connection: host\r\n",
        "Connection: x-request-id, keep-alive\r\n",
        "Connection: transfer-encoding\r\n",
        "TE: trailers\r\nConnection: TE\r\n",
        "TE: chunked\r\n",
        "Trailer: host\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Authorization: Basic eDp5\r\n",
        "X\0: y\r\n",
        "X: y\0z\r\n",
        "X y: z\r\n",
        ": y\r\n",
        "X\r\n",
        "X: y\r\n folded\r\n",
        " X: y\r\n",
        "X : y\r\n",
        "X\u{e9}: y\r\n",
        "X: y\rZ: a\r\n",
        "(X): y\r\n",
        "X: \x1b[31m\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Type: application/json\r\n",
        "Content-Type: application/xml\r\n",
        "Expect: 200-maybe\r\n",
        "Sharing-Context: x\r\n",
        "Authorization: Basic eDp5\r\n",
    ];
    for said in strange {
        // What a proxy drops, as it must, is not there any more when it arrives.
        let comes = if said.starts_with("Expect") { Comes::ToOneAtMost } else { Comes::ToNothing };
        add(format!("{said:?}"), comes, Box::new(move |parts| parts.with(said)));
    }
    add(
        "lines that end in a line feed alone".to_owned(),
        Comes::ToOneAtMost,
        Box::new(|parts| {
            let (line, usual, length) = (&parts.line, parts.usual(), parts.length());
            let head = format!("{line}{usual}{length}\r\n").replace("\r\n", "\n");
            format!("{head}{}", parts.body).into_bytes()
        }),
    );
    for (name, count, size) in
        [("many headers", 200, 10), ("large headers", 10, 8_000), ("one large header", 1, 70_000)]
    {
        add(
            name.to_owned(),
            Comes::ToNothing,
            Box::new(move |parts| {
                let more = (0..count)
                    .map(|number| format!("X-{number}: {}\r\n", "y".repeat(size)))
                    .collect::<Vec<_>>()
                    .concat();
                parts.with(&more)
            }),
        );
    }
}

/// What came back, as far as it came before the other side had nothing more to say.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    // The other side may close before all is written: what it said counts.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut said = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut patience = Duration::from_secs(8);
    let carries = bytes.windows(5).filter(|part| part.starts_with(b"POST ")).count() > 1;
    let afterwards = Duration::from_millis(if carries { 1_000 } else { 150 });
    while let Ok(Ok(read)) = timeout(patience, stream.read(&mut buffer)).await {
        if read == 0 {
            break;
        }
        said.extend_from_slice(&buffer[..read]);
        // After a first answer another one follows soon or not at all.
        patience = afterwards;
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// A connection with a partner's certificate.
pub(super) async fn connect(folder: &Path, port: u16, protocol: &str) -> TlsStream<TcpStream> {
    acceptance::tls::connect(&acceptance::tls::connector(folder, "fire", protocol), port).await.unwrap()
}

async fn directly(world: &World, bytes: &[u8]) -> String {
    exchange(connect(world.folder.path(), port(world), "http/1.1").await, bytes).await
}

/// Runs every case and says how many there were.
async fn all_cases(world: &World, proxy: Option<u16>) -> usize {
    let cases = cases();
    let (count, mut wrong) = (cases.len(), Vec::new());
    for (name, comes, make) in cases {
        let parts = Parts::of(world);
        let case = Case { name, bytes: make(&parts), comes };
        let before = world.asked["nhs"].asked().len();
        let said = match proxy {
            None => directly(world, &case.bytes).await,
            Some(port) => exchange(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), &case.bytes).await,
        };
        let asked: Vec<_> = world.asked["nhs"].asked().split_off(before);
        let keys: Vec<_> = asked.iter().map(|one| one.key.clone().unwrap_or_default()).collect();
        let answers = said.matches("HTTP/1.1 ").count();
        let is_right = match (proxy, case.comes) {
            (_, Comes::Through) => keys == [ASKED] && said.starts_with("HTTP/1.1 200"),
            (None, Comes::ToNothing) => keys.is_empty() && !said.contains("HTTP/1.1 200"),
            (None, Comes::ToOneAtMost) => keys.is_empty() || keys == [ASKED],
            // A proxy may mend a case, or see two requests where it is two. Then both are answered here: an answer too few is
            // one that somebody else would be given.
            (Some(_), _) => {
                keys.iter().all(|key| key == ASKED || key == HIDDEN)
                    && keys.iter().filter(|key| *key == ASKED).count() <= 1
                    && keys.iter().filter(|key| *key == HIDDEN).count() <= answers.saturating_sub(1)
            }
        };
        if !is_right {
            let first = said.lines().next().unwrap_or("").to_owned();
            wrong.push(format!("{}: asked {keys:?}, said {first:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    world.verify().await;
    count
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

async fn started(mut command: Command, port: u16) -> Proxy {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let proxy = Proxy(child);
    for _ in 0..300 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return proxy;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the proxy does not listen");
}

/// A partner's own nginx, that shows the partner's certificate.
async fn nginx(folder: &Path, to: u16) -> (Proxy, u16) {
    let port = unused_port();
    let at = folder.display();
    let text = format!(
        "daemon off; pid {at}/nginx.pid; error_log stderr crit; worker_processes 1;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off;\n\
           client_body_temp_path {at}/nginx-body; proxy_temp_path {at}/nginx-proxy; fastcgi_temp_path {at}/nginx-f;\n\
           uwsgi_temp_path {at}/nginx-u; scgi_temp_path {at}/nginx-s;\n\
           upstream gateway {{ server 127.0.0.1:{to}; keepalive 4; }}\n\
           server {{ listen 127.0.0.1:{port}; location / {{\n\
             proxy_pass https://gateway; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             proxy_ssl_certificate {at}/fire.pem; proxy_ssl_certificate_key {at}/fire.key;\n\
             proxy_ssl_trusted_certificate {at}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on;\n\
         }} }} }}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    (started(command, port).await, port)
}

async fn haproxy(folder: &Path, to: u16) -> (Proxy, u16) {
    let port = unused_port();
    let at = folder.display();
    let pem = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    std::fs::write(folder.join("fire-both.pem"), format!("{}\n{}", pem("fire.pem"), pem("fire.key")))
        .unwrap();
    let text = format!(
        "global\n  maxconn 256\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 15s\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
         backend out\n  http-reuse always\n\
           server gateway 127.0.0.1:{to} ssl verify required ca-file {at}/ca.pem crt {at}/fire-both.pem sni str(localhost) verifyhost localhost\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    (started(command, port).await, port)
}

#[tokio::test]
async fn nothing_hidden_in_a_request_is_a_request() {
    let world = World::new().await;
    let count = all_cases(&world, None).await;
    assert!(count >= 200, "{count} cases");
}

#[tokio::test]
async fn nothing_hidden_in_a_request_is_a_request_behind_nginx() {
    let world = World::new().await;
    let (_proxy, port) = nginx(world.folder.path(), port(&world)).await;
    all_cases(&world, Some(port)).await;
}

#[tokio::test]
async fn nothing_hidden_in_a_request_is_a_request_behind_haproxy() {
    let world = World::new().await;
    let (_proxy, port) = haproxy(world.folder.path(), port(&world)).await;
    all_cases(&world, Some(port)).await;
}

/// What a request for `/healthz` over HTTP/2 is answered with, whose scheme is said so and whose head does or does not end it.
async fn status_over_http2(world: &World, scheme: u8, body: &[u8]) -> u8 {
    let mut block = vec![0x82, scheme, 0x04, 8];
    block.extend(b"/healthz");
    block.extend([0x41, 9]);
    block.extend(b"localhost");
    let mut stream = connect(world.folder.path(), port(world), "h2").await;
    stream.write_all(&crate::floods::request(&block, body)).await.unwrap();
    // The first of a head is its status: 200 is 0x88, and 400 is 0x8c (RFC 7541, appendix A).
    timeout(Duration::from_secs(20), crate::floods::head(&mut stream)).await.unwrap()[0]
}

#[tokio::test]
async fn what_http2_says_beside_its_words_counts_too() {
    let world = World::new().await;
    let (http, https) = (0x86, 0x87);
    assert_eq!(status_over_http2(&world, https, b"").await, 0x88);
    assert_eq!(status_over_http2(&world, http, b"").await, 0x8c, "another scheme");
    assert_eq!(status_over_http2(&world, https, b"{}").await, 0x8c, "a body of what only reads");
}
