//! An auditor's copy of a live ledger: what is new is fetched, all of it is verified, and a ledger that lies does not get
//! into the copy.

use std::{path::Path, sync::Mutex};

use acceptance::World;
use gateway::mirror::{Expected, Live, Outcome, bring_up_to_date};
use verify::{Request, VerifyError};

const NUMBER: &str = "9732110317";

/// The gateway as an auditor's tool asks it, and what is done to its answers on the way.
struct Over<'a> {
    world: &'a World,
    partner: &'static str,
    asked: Mutex<Vec<String>>,
    spoil: fn(&str, &mut Vec<u8>),
}

impl<'a> Over<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, partner: "auditor", asked: Mutex::default(), spoil: |_, _| () }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Live for Over<'_> {
    async fn get(&self, path: &str, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        self.asked.lock().unwrap().push(path.to_owned());
        let url = format!("{}/.well-known/audit/{path}", self.world.settings.public_url);
        let answer = self.world.client(self.partner).get(url).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{} for {path}", answer.status());
        let mut bytes = answer.bytes().await?.to_vec();
        assert!(bytes.len() <= bytes_max);
        (self.spoil)(path, &mut bytes);
        Ok(bytes)
    }
}

fn expected(world: &World) -> Expected {
    Expected { key: world.app.store.verifiers()[0].to_string(), ..Expected::default() }
}

async fn mirrored(over: &Over<'_>, folder: &Path) -> Result<u64, String> {
    match bring_up_to_date(over, folder, &expected(over.world), &mut |_| ()).await.unwrap() {
        Outcome::Verified(verified) => Ok(verified.report.entries),
        Outcome::Refused(VerifyError::Fault(fault), aside) => {
            assert!(aside.join("checkpoint").exists(), "what was said is kept");
            Err(fault.code.to_owned())
        }
        Outcome::Refused(error, _) => panic!("{error}"),
    }
}

/// What stands in the folder, by the auditor's own program.
fn stands(folder: &Path, key: &str) -> u64 {
    let request = Request { path: folder.to_owned(), key: Some(key.to_owned()), ..Request::default() };
    verify::verify(&request, &mut |_, _| ()).unwrap().report.entries
}

#[tokio::test]
async fn a_copy_is_brought_up_to_date_and_verified_every_time() {
    let world = World::new().await;
    for _ in 0..130 {
        world.send(world.prevention(NUMBER)).await;
    }
    let (folder, over) = (tempfile::tempdir().unwrap(), Over::new(&world));
    let first = mirrored(&over, folder.path()).await.unwrap();
    assert!(first > 256, "{first}");
    assert!(over.asked().iter().any(|path| path == "tile/entries/000"));
    world.send(world.prevention(NUMBER)).await;
    let second = mirrored(&over, folder.path()).await.unwrap();
    assert!(second > first);
    let asked = over.asked();
    assert!(asked.iter().all(|path| path == "checkpoint" || path.contains(".p/")), "{asked:?}");
    assert_eq!(stands(folder.path(), &expected(&world).key), second);
    // Nothing is left of narrower tiles.
    let widths = std::fs::read_dir(folder.path().join("tile/entries/001.p")).unwrap().count();
    assert_eq!(widths, 1);
    // Reading entries is an entry; and a partner that may not read them gets none.
    assert!(world.entries().await.iter().any(|entry| entry.body.kind() == "audit_read"));
    let other = tempfile::tempdir().unwrap();
    let fire = Over { partner: "fire", ..Over::new(&world) };
    let refused = bring_up_to_date(&fire, other.path(), &expected(&world), &mut |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    // The program, as an auditor runs it.
    let at = |name: &str| world.folder.path().join(name).display().to_string();
    let run = tokio::process::Command::new(acceptance::program())
        .args(["audit", "mirror", "--url", &world.settings.public_url, "--key", &expected(&world).key])
        .args(["--certificate", &at("auditor.pem"), "--certificate-key", &at("auditor.key")])
        .args(["--trusted", &at("ca.pem"), "--to"])
        .arg(other.path())
        .output()
        .await
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stdout).contains("entries"), "{run:?}");
}

#[tokio::test]
async fn a_ledger_that_lies_does_not_get_into_the_copy() {
    let world = World::new().await;
    world.send(world.prevention(NUMBER)).await;
    let folder = tempfile::tempdir().unwrap();
    let honest = Over::new(&world);
    let first = mirrored(&honest, folder.path()).await.unwrap();
    world.send(world.prevention(NUMBER)).await;
    let spoils: [fn(&str, &mut Vec<u8>); 3] = [
        |path, bytes| {
            if path.starts_with("tile/entries") {
                bytes[9] ^= 1
            }
        },
        |path, bytes| {
            if path.starts_with("tile/0") {
                bytes[9] ^= 1
            }
        },
        |path, bytes| {
            if path == "checkpoint" {
                *bytes.last_mut().unwrap_or(&mut 0) = b'!'
            }
        },
    ];
    for spoil in spoils {
        let liar = Over { spoil, ..Over::new(&world) };
        mirrored(&liar, folder.path()).await.unwrap_err();
        assert_eq!(stands(folder.path(), &expected(&world).key), first, "the copy is as it was");
    }
    assert!(mirrored(&honest, folder.path()).await.unwrap() > first, "and goes on with the truth");
    // Another history under the same key, and a shorter one.
    let key = expected(&world).key;
    let now = stands(folder.path(), &key);
    let database = world.settings.ledger.database.clone();
    let state = world.stop().await;
    store::scratch::lose(&database, state.path()).await;
    acceptance::lose_checkpoints(state.path());
    let rewritten = World::start(state, 5_000_000).await;
    assert_eq!(mirrored(&Over::new(&rewritten), folder.path()).await, Err("truncated".to_owned()));
    while u64::try_from(rewritten.entries().await.len()).unwrap() <= now {
        rewritten.send(rewritten.prevention("9736363023")).await;
    }
    assert_eq!(mirrored(&Over::new(&rewritten), folder.path()).await, Err("prefix".to_owned()));
    assert_eq!(stands(folder.path(), &key), now);
}
