//! A witness over its state file: it goes on where it stopped, and cannot be led back or aside.

use jiff::Timestamp;
use ledger::{
    note::NoteSigner,
    tree::{Frontier, Hash, leaf_hash},
};
use tempfile::TempDir;

use super::*;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap()
    }
}

fn log() -> NoteSigner {
    NoteSigner::from_seed("log.example", &[1; 32])
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed("witness.example", &[2; 32])
}

fn open(folder: &TempDir) -> anyhow::Result<Witness> {
    Witness::open(&folder.path().join("state"), cosigner(), &[log().verifier_key()], Arc::new(Noon))
}

fn begun() -> TempDir {
    let folder = TempDir::new().unwrap();
    Witness::begin(&folder.path().join("state"), &cosigner()).unwrap();
    folder
}

/// A checkpoint over so many entries, of one history or another.
fn at(size: u64, history: u8) -> Checkpoint {
    let mut tree = Frontier::empty();
    (0..size).for_each(|entry| drop(tree.push(leaf_hash(&[u8::try_from(entry).unwrap(), history]))));
    Checkpoint { origin: "log.example".to_owned(), size, root: tree.root() }
}

fn ask(old: u64, proof: Vec<Hash>, checkpoint: &Checkpoint) -> String {
    AddCheckpoint { old, proof, checkpoint: checkpoint.sign(&log()) }.to_text()
}

fn status(answer: &Result<String, Refused>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(Refused::Protocol(refusal)) => refusal.status(),
        Err(Refused::NotKept(_)) => 500,
    }
}

#[test]
fn what_was_cosigned_is_kept_over_a_restart() {
    let folder = begun();
    let witness = open(&folder).unwrap();
    let first = at(2, 0);
    let line = witness.add(&ask(0, Vec::new(), &first)).ok().unwrap();
    let keys = [NoteVerifier::parse(&cosigner().verifier_key()).unwrap()];
    let log_key = NoteVerifier::parse(&log().verifier_key()).unwrap();
    let opened = Checkpoint::open_witnessed(&(first.sign(&log()) + &line), &log_key, &keys).unwrap();
    assert_eq!(opened.cosignatures[0].time_s, Some(1_795_000_000));
    drop(witness);
    let again = open(&folder).unwrap();
    assert_eq!(status(&again.add(&ask(0, Vec::new(), &first))), 409);
    let next = [leaf_hash(&[2, 0])].to_vec();
    assert_eq!(status(&again.add(&ask(2, next.clone(), &at(3, 1)))), 422, "a fork");
    assert_eq!(status(&again.add(&ask(2, Vec::new(), &at(2, 1)))), 422, "a fork of the same size");
    assert_eq!(status(&again.add(&ask(2, next, &at(3, 0)))), 200);
    assert_eq!(status(&again.add(&ask(2, Vec::new(), &first))), 409, "a rollback");
    let name = hexadecimal(&Sha256::digest("log.example"));
    assert!(again.latest(&name).unwrap().starts_with("log.example\n3\n"));
    assert_eq!(again.latest("00"), None);
}

#[test]
fn a_witness_without_its_state_or_with_anothers_does_not_start() {
    let folder = begun();
    let path = folder.path().join("state");
    assert!(Witness::begin(&path, &cosigner()).is_err());
    let other = Cosigner::from_seed("witness.example", &[3; 32]);
    let keys = [log().verifier_key()];
    assert!(Witness::open(&path, other, &keys, Arc::new(Noon)).is_err());
    let witness = open(&folder).unwrap();
    let said = open(&folder).err().unwrap().to_string();
    assert!(said.contains("another witness is using"), "{said}");
    witness.add(&ask(0, Vec::new(), &at(2, 0))).ok().unwrap();
    drop(witness);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\\n2\\n", "\\n1\\n", 1)).unwrap();
    assert!(open(&folder).is_err(), "a changed state");
    fs::remove_file(&path).unwrap();
    assert!(open(&folder).err().unwrap().to_string().contains("lost its state"));
}

#[test]
fn nothing_is_said_that_was_not_kept() {
    let folder = begun();
    let witness = open(&folder).unwrap();
    fs::create_dir(folder.path().join("state.new")).unwrap();
    assert_eq!(status(&witness.add(&ask(0, Vec::new(), &at(2, 0)))), 500);
    fs::remove_dir(folder.path().join("state.new")).unwrap();
    assert_eq!(status(&witness.add(&ask(0, Vec::new(), &at(2, 1)))), 200, "the first was never cosigned");
}

async fn answered(witness: &Arc<Witness>, method: &str, path: &str, body: String) -> (u16, String, String) {
    use tower::ServiceExt as _;
    let request = axum::http::Request::builder().method(method).uri(path);
    let request = request.body(axum::body::Body::from(body)).unwrap();
    let answer = routes(Arc::clone(witness)).oneshot(request).await.unwrap();
    let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn over_http_the_answers_are_those_of_the_protocol() {
    let folder = begun();
    let witness = Arc::new(open(&folder).unwrap());
    let post = async |body: String| answered(&witness, "POST", "/add-checkpoint", body).await;
    let read = format!("/{}/checkpoint", hexadecimal(&Sha256::digest("log.example")));
    assert_eq!(answered(&witness, "GET", &read, String::new()).await.0, 404);
    let (status, _, line) = post(ask(0, Vec::new(), &at(2, 0))).await;
    assert_eq!(status, 200);
    assert!(line.starts_with("\u{2014} witness.example ") && line.ends_with('\n'), "{line}");
    let (status, kind, size) = post(ask(0, Vec::new(), &at(3, 0))).await;
    assert_eq!((status, kind.as_str(), size.as_str()), (409, "text/x.tlog.size", "2\n"));
    assert_eq!(post(ask(2, Vec::new(), &at(3, 0))).await.0, 422);
    assert_eq!(post("old 2".to_owned()).await.0, 400);
    assert_eq!(post(ask(3, Vec::new(), &at(2, 0))).await.0, 400);
    let other = NoteSigner::from_seed("other.example", &[4; 32]);
    let unknown = Checkpoint { origin: "other.example".to_owned(), ..at(2, 0) }.sign(&other);
    let unknown = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: unknown };
    assert_eq!(post(unknown.to_text()).await.0, 404);
    let unsigned = AddCheckpoint {
        checkpoint: at(2, 0).sign(&NoteSigner::from_seed("log.example", &[9; 32])),
        ..unknown
    };
    assert_eq!(post(unsigned.to_text()).await.0, 403);
    assert_eq!(post("x".repeat(REQUEST_BYTES_MAX + 1)).await.0, 413);
    let (status, _, note) = answered(&witness, "GET", &read, String::new()).await;
    assert_eq!(status, 200);
    assert!(note.starts_with("log.example\n2\n") && note.ends_with(&line), "{note}");
}
