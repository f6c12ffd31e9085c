//! Several gateways over one PostgreSQL server: one ledger, and what was taken back counts at every one of them from the next
//! request on.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use acceptance::{Answer, Replica, Server, World};
use gateway::clock::Clock as _;
use ledger::entry::Body;
use tokio::sync::Mutex;

const PEOPLE: [&str; 4] = ["SWR-2041", "SWR-2042", "SWR-2045", "SWR-2046"];
const ROUNDS: u64 = 6;
const ASKING: usize = 6;
const QUESTIONS: usize = 10;
const SUSPENSIONS: usize = 12;

/// Decisions whose records arrived.
type Received = Arc<Mutex<Vec<String>>>;

/// A world whose replicas stop nobody for guessing: who asks again and again after a withdrawal is told hundreds of times that
/// there is no record.
async fn raced(server: &str) -> World {
    let mut world = World::on(server).await;
    world.settings.limits.caller.no_record_at_least = u32::MAX;
    world.settings.limits.caller.no_record_per_system_at_least = u32::MAX;
    world
}

async fn three(world: &World) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for number in 1..=3 {
        replicas.push(world.replica(number).await);
    }
    replicas
}

/// One person: a consent is recorded at one gateway, asked about at all of them, taken back at another in the middle.
/// Whatever was asked after that was acknowledged brings no record.
async fn person(
    world: Arc<World>,
    ports: Vec<u16>,
    who: usize,
    received: Received,
    refused_after: Arc<AtomicU64>,
) {
    let reference = PEOPLE[who];
    let (council, fire) = (world.client("council"), world.client("fire"));
    for round in 0..ROUNDS {
        let at = |step: u64| ports[usize::try_from(round + step).unwrap() % ports.len()];
        // Each consent is younger than the withdrawal before it.
        world.clock.advance_s(1);
        let mut consent = world.consent(reference);
        let given_at = world.clock.now().to_string();
        consent.body.as_mut().unwrap()["given_at"] = given_at.into();
        world.clock.advance_s(1);
        let given = world.send_to(&council, at(0), &consent).await.unwrap();
        assert_eq!(given.status, 201, "{given:?}");
        let path = format!("/v1/consents/{}/withdraw", given.body["id"].as_str().unwrap());
        let withdrawn = Arc::new(AtomicBool::new(false));
        let came = Arc::new(AtomicU64::new(0));
        let asking = (0..ASKING).map(|number| {
            let (world, fire, ports) = (world.clone(), fire.clone(), ports.clone());
            let (received, withdrawn, refused_after) =
                (received.clone(), withdrawn.clone(), refused_after.clone());
            let came = came.clone();
            tokio::spawn(async move {
                for question in 0..QUESTIONS {
                    let port = ports[(number + question) % ports.len()];
                    let is_withdrawn = withdrawn.load(Ordering::SeqCst);
                    let answer = world.send_to(&fire, port, &world.referral(reference)).await.unwrap();
                    if answer.status == 200 {
                        assert!(
                            !is_withdrawn,
                            "a record came for a question that was asked after the withdrawal"
                        );
                        let decision = answer.body["receipt"]["decision_id"].as_str().unwrap();
                        received.lock().await.push(decision.to_owned());
                        came.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert_eq!(answer.status, 404, "{answer:?}");
                        refused_after.fetch_add(u64::from(is_withdrawn), Ordering::SeqCst);
                    }
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        while came.load(Ordering::SeqCst) < 3 + 4 * round {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let withdraw = world.bare("council", "POST", &path, "safe-and-well-referral");
        assert_eq!(world.send_to(&council, at(1), &withdraw).await.unwrap().status, 200);
        withdrawn.store(true, Ordering::SeqCst);
        for one in asking {
            one.await.unwrap();
        }
    }
}

/// Everything that a client received is in the ledger as released, and no question is open.
async fn check(world: &World, received: &[String]) {
    let report = world.verify().await; // order rules: no release after a withdrawal
    assert!(report.open_intents.is_empty(), "{:?}", report.open_intents);
    let entries = world.entries().await;
    let released: HashSet<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::Release { decision_id, .. } => Some(decision_id.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        received.iter().all(|decision| released.contains(decision.as_str())),
        "a record without its release"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_counts_at_every_replica_from_the_next_request_on() {
    let server = Server::start(&[]).await;
    let world = Arc::new(raced(&server.url).await);
    let replicas = three(&world).await;
    let ports: Vec<u16> = replicas.iter().map(|replica| replica.port).collect();
    let (received, refused_after) = (Received::default(), Arc::new(AtomicU64::new(0)));
    let people = (0..PEOPLE.len()).map(|who| {
        tokio::spawn(person(world.clone(), ports.clone(), who, received.clone(), refused_after.clone()))
    });
    for person in people.collect::<Vec<_>>() {
        person.await.unwrap();
    }
    let received = received.lock().await;
    assert!(received.len() > 50, "only {} records came, so that little was shown", received.len());
    assert!(refused_after.load(Ordering::SeqCst) > 50, "little was asked after a withdrawal");
    check(&world, &received).await;
    for replica in replicas {
        replica.stop().await;
    }
}

/// Questions at all gateways, on their way when one puts a suspension in force, and after: what is asked after brings no record.
async fn asking_while_suspended(
    world: Arc<World>,
    ports: Vec<u16>,
    is_suspended: Arc<AtomicBool>,
    received: Received,
) {
    let fire = world.client("fire");
    for question in 0..QUESTIONS / 2 {
        let after = is_suspended.load(Ordering::SeqCst);
        let port = ports[question % ports.len()];
        let answer = world.send_to(&fire, port, &world.referral(PEOPLE[0])).await.unwrap();
        if answer.status == 200 {
            assert!(!after, "a record came for a question that was asked after the suspension");
            let decision = answer.body["receipt"]["decision_id"].as_str().unwrap();
            received.lock().await.push(decision.to_owned());
        } else {
            assert_eq!(answer.status, 403, "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_counts_at_every_replica_from_the_next_request_on() {
    let server = Server::start(&[]).await;
    let world = Arc::new(raced(&server.url).await);
    let replicas = three(&world).await;
    let ports: Vec<u16> = replicas.iter().map(|replica| replica.port).collect();
    let (council, fire) = (world.client("council"), world.client("fire"));
    world.send_to(&council, ports[0], &world.consent(PEOPLE[0])).await.unwrap();
    let agreement = world.folder.path().join("policies/agreements/gm-safe-and-well-referral.toml");
    let text = std::fs::read_to_string(&agreement).unwrap();
    let suspended = text.replace("status = \"active\"", "status = \"suspended\"");
    let received = Received::default();
    for round in 0..SUSPENSIONS {
        for port in &ports {
            let answer = world.send_to(&fire, *port, &world.referral(PEOPLE[0])).await.unwrap();
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
        }
        let is_suspended = Arc::new(AtomicBool::new(false));
        let asking = (0..ASKING).map(|number| {
            let ports = ports.iter().copied().cycle().skip(number).take(ports.len()).collect();
            let asking = asking_while_suspended(world.clone(), ports, is_suspended.clone(), received.clone());
            tokio::spawn(asking)
        });
        let asking: Vec<_> = asking.collect();
        // Put in force at one, which alone reads its folder again; at another moment of the questions each time.
        tokio::time::sleep(Duration::from_millis(u64::try_from(round).unwrap() * 37 % 90)).await;
        let at = &replicas[round % 3];
        std::fs::write(&agreement, &suspended).unwrap();
        gateway::serve::reload_policies(&at.app, &world.settings.policies, gateway::policies::Put::IfChanged)
            .await;
        is_suspended.store(true, Ordering::SeqCst);
        for one in asking {
            one.await.unwrap();
        }
        for port in &ports {
            let answer = world.send_to(&fire, *port, &world.referral(PEOPLE[0])).await.unwrap();
            assert_eq!(answer.status, 403, "round {round}: {answer:?}");
        }
        std::fs::write(&agreement, &text).unwrap();
        gateway::serve::reload_policies(&at.app, &world.settings.policies, gateway::policies::Put::IfChanged)
            .await;
    }
    check(&world, &received.lock().await).await;
    for replica in replicas {
        replica.stop().await;
    }
}

/// Clocks of replicas differ by some milliseconds, and may by more. What was said counts from when it is in the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_has_expired_is_so_at_a_replica_whose_clock_is_behind() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let behind = world.clock.another();
    behind.go_back_s(3);
    let replica = world.replica_by(1, behind.clone()).await;
    let (council, fire) = (world.client("council"), world.client("fire"));
    let first = world.settings.listen.port();
    let ask = async |port| world.send_to(&fire, port, &world.referral("SWR-2044")).await.unwrap().status;
    let say = async |port, status: &str, expires_s: Option<i64>| {
        let mut request = world.consent("SWR-2044");
        let body = request.body.as_mut().unwrap();
        body["status"] = status.into();
        body.as_object_mut().unwrap().remove("given_at");
        if let Some(seconds) = expires_s {
            let expires = world.clock.now() + jiff::SignedDuration::from_secs(seconds);
            body["expires_at"] = expires.to_string().into();
        }
        let answer = world.send_to(&council, port, &request).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let later_s = |seconds| [&world.clock, &behind].map(|clock| clock.advance_s(seconds));
    say(first, "given", None).await;
    assert_eq!((ask(first).await.as_u16(), ask(replica.port).await.as_u16()), (200, 200), "given");
    later_s(1);
    say(first, "refused", None).await;
    assert_eq!((ask(replica.port).await.as_u16(), ask(first).await.as_u16()), (404, 404), "refused");
    later_s(1);
    say(first, "given", Some(5)).await;
    assert_eq!((ask(replica.port).await.as_u16(), ask(first).await.as_u16()), (200, 200), "given again");
    later_s(6);
    assert_eq!((ask(first).await.as_u16(), ask(replica.port).await.as_u16()), (404, 404), "expired");
    // A refusal that the replica behind records a second after a consent is later than it.
    later_s(1);
    say(first, "given", None).await;
    assert_eq!(ask(first).await, 200, "given once more");
    later_s(1);
    say(replica.port, "refused", None).await;
    assert_eq!((ask(first).await.as_u16(), ask(replica.port).await.as_u16()), (404, 404), "refused there");
    world.verify().await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_left_open_is_closed_by_the_others() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let replica = world.replica(1).await;
    let (council, fire) = (world.client("council"), world.client("fire"));
    world.send_to(&council, replica.port, &world.consent("FAULT-PAUSING")).await.unwrap();
    let asked = world.asked["council"].asked().len();
    let (port, question) = (replica.port, world.referral("FAULT-PAUSING"));
    let asking = async {
        let _ = tokio::time::timeout(Duration::from_secs(1), world.send_to(&fire, port, &question)).await;
    };
    let dying = async {
        while world.asked["council"].asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replica.die().await;
    };
    tokio::join!(asking, dying);
    assert_eq!(world.verify().await.open_intents.len(), 1);
    let mut open = 1;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        open = world.verify().await.open_intents.len();
        if open == 0 {
            break;
        }
    }
    assert_eq!(open, 0, "nobody closed it");
    let closure = world.entries().await.into_iter().rev().find_map(|entry| match entry.body {
        Body::Closure { outcome, reasons, .. } => Some((outcome, reasons)),
        _ => None,
    });
    assert_eq!(closure, Some(("indeterminate".to_owned(), vec!["process-ended".to_owned()])));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_nothing_is_answered_and_afterwards_everything() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let fire = world.client("fire");
    let port = world.settings.listen.port();
    let ask = async || world.send_to(&fire, port, &world.prevention("9732110317")).await.unwrap();
    assert_eq!(ask().await.status, 200);
    server.stop("immediate");
    let away = ask().await;
    assert_eq!((away.status.as_u16(), away.code()), (503, "ledger-unavailable"), "{away:?}");
    let ready = reqwest::get(format!("https://localhost:{port}/readyz")).await;
    assert!(ready.is_err(), "a certificate is needed there");
    server.again();
    let back = asked_until(&ask, 200, Duration::from_secs(10)).await;
    assert_eq!(back.status, 200, "without a restart: {back:?}");
    check(&world, &[back.body["receipt"]["decision_id"].as_str().unwrap().to_owned()]).await;
}

/// Whoever cannot confirm its policies within the bound of a request permits nothing and says that it is not ready; and each
/// decision names the revision that it was made under.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_confirm_its_policies_permits_nothing_and_is_not_ready() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let replica = world.replica(1).await;
    let (fire, port) = (world.client("fire"), replica.port);
    let ready = async || {
        let url = format!("https://localhost:{port}/readyz");
        let answer = fire.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let ask = async || world.send_to(&fire, port, &world.prevention("9732110317")).await.unwrap();
    assert_eq!((ready().await.0, ask().await.status.as_u16()), (200, 200));
    let signal = |name: &str| {
        let processes = server.processes().into_iter().map(|process| process.to_string());
        let sent = std::process::Command::new("kill").arg(format!("-{name}")).args(processes).status();
        assert!(sent.unwrap().success());
    };
    signal("STOP");
    let (refused, (status, said)) = tokio::join!(ask(), ready());
    signal("CONT");
    assert!(matches!(refused.status.as_u16(), 503 | 504), "{refused:?}");
    let checks = said["checks"].as_array().unwrap();
    let failing = |name: &str| checks.iter().any(|check| check["name"] == name && check["passed"] == false);
    assert!(status == 503 && failing("policies-in-force") && failing("database-readable"), "{said}");
    for _ in 0..100 {
        if ready().await.0 == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask().await.status, 200, "it goes on when it can confirm them again");
    let entries = world.entries().await;
    let (mut in_force, mut named) = (0, 0);
    for entry in &entries {
        match &entry.body {
            Body::PolicySetActivated { revision, .. } => in_force = *revision,
            Body::Intent(decided) => {
                assert_eq!(decided.policy_revision, in_force);
                named += 1;
            }
            Body::Release { policy_revision, .. } => assert_eq!(*policy_revision, in_force),
            _ => {}
        }
    }
    assert!(named >= 2 && in_force > 0);
    replica.stop().await;
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_lose_entries_is_refused() {
    for setting in ["fsync=off", "full_page_writes=off"] {
        let server = Server::start(&[setting]).await;
        let folder = tempfile::tempdir().unwrap();
        let database = store::scratch::on(&server.url, folder.path()).await;
        let settings = store::Settings {
            database,
            checkpoint_copy: folder.path().join("checkpoint.txt"),
            origin: "ledger.example/refused".to_owned(),
            signing_seeds: zeroize::Zeroizing::new(vec![[5; 32]]),
            lookup_key: store::LookupKey::new([6; 32]),
            wrapping_keys: store::WrappingKeys::new(vec![[8; 32]]),
            archived: None,
            skew_max: None,
            queue_max: 16,
            readers_max: 1,
        };
        let said =
            store::Store::open(settings, acceptance::NOW.parse().unwrap()).await.unwrap_err().to_string();
        assert!(said.contains(&setting.replace('=', " = ")), "{said}");
    }
}

/// Base backup and archived log, as in docs/backup.md: with the archive nothing is lost; without it what is lost is named, and no
/// gateway starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_put_back_shows_whether_it_has_everything() {
    let archive = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(archive.path(), mode).unwrap();
    let place = archive.path().display().to_string();
    let server = Server::start(&["archive_mode=on", &format!("archive_command=cp %p {place}/%f")]).await;
    let world = World::on(&server.url).await;
    let mut kept = vec![world.send(world.prevention("9732110317")).await.body];
    server.copy("base");
    kept.push(world.send(world.prevention("9732110317")).await.body);
    let later = kept[1]["receipt"]["decision_id"].as_str().unwrap().to_owned();
    server.tell("SELECT CAST(pg_switch_wal() AS TEXT)").await;
    for _ in 0..100 {
        let waiting = "SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal < pg_walfile_name(pg_current_wal_lsn() - 1) OR last_archived_wal IS NULL";
        if server.ask(waiting).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let folder = world.stop().await;
    let receipts = folder.path().join("kept.json");
    std::fs::write(&receipts, serde_json::to_string(&kept).unwrap()).unwrap();
    let check = || {
        let mut command = std::process::Command::new(acceptance::program());
        command.args(["restore", "check", "--json", "--config"]).arg(folder.path().join("concordat.toml"));
        let ran = command.arg("--receipts").arg(&receipts).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        let found: serde_json::Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&ran.stderr)));
        (ran.status.success(), found)
    };
    server.stop("immediate");
    server.restore("base", None);
    let (whole, found) = check();
    assert!(!whole && found["entries_lost"].as_u64().unwrap() > 0, "{found}");
    assert!(
        found["decisions_lost"].as_array().unwrap().iter().any(|lost| *lost == later.as_str()),
        "{found}"
    );
    let settings = gateway::config::load(&folder.path().join("concordat.toml")).unwrap();
    let refused = gateway::serve::app(&settings).await.map(drop).map_err(|error| format!("{error:#}"));
    assert!(refused.unwrap_err().contains("were checkpointed"));
    server.stop("immediate");
    server.restore("base", Some(&place));
    let (whole, found) = check();
    assert!(whole, "{found}");
    let world = World::again_on(&server.url, folder, 1_000).await;
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    world.verify().await;
}

/// A guardrail that was put in force while a record was on its way stops it: it is no agreement's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_while_a_record_is_on_its_way_is_not_released() {
    use gateway::policies::Put;
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let replica = world.replica(1).await;
    let fire = world.client("fire");
    let asked = world.asked["nhs"].asked().len();
    let asking = async { world.send_to(&fire, replica.port, &world.prevention("9990000204")).await.unwrap() };
    let forbidding = async {
        while world.asked["nhs"].asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let guardrails = world.settings.policies.join("guardrails/agreement.cedar");
        let text = std::fs::read_to_string(&guardrails).unwrap();
        let forbid = "@id(\"nothing\")\n@about(\"agreement\")\n@practitioner(\"not now\")\n@officer(\"not now\")\n\
            forbid(principal, action, resource);\n";
        std::fs::write(&guardrails, format!("{text}\n{forbid}")).unwrap();
        gateway::serve::reload_policies(&world.app, &world.settings.policies, Put::IfChanged).await;
        assert_eq!(world.last_kinds(1).await, ["policy_set_activated"]);
    };
    let (answer, ()) = tokio::join!(asking, forbidding);
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "guardrail-forbids"), "{answer:?}");
    world.verify().await;
    replica.stop().await;
}

/// Each gateway has a folder of its own. One that was left behind takes back nothing that was put in force elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_left_behind_lifts_no_suspension() {
    use gateway::policies::Put;
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let replica = world.replica(1).await;
    let policies = world.settings.policies.clone();
    let left_behind = tempfile::tempdir().unwrap();
    let left_behind = left_behind.path().join("policies");
    acceptance::copy_folder(&policies, &left_behind);
    let edit = |folder: &std::path::Path, from: &str, to: &str| {
        let agreement = folder.join("agreements/gm-fire-prevention-over-65s.toml");
        let text = std::fs::read_to_string(&agreement).unwrap();
        assert!(text.contains(from));
        std::fs::write(&agreement, text.replace(from, to)).unwrap();
    };
    let asked = async || world.send(world.prevention("9732110317")).await.status;
    edit(&policies, "status = \"active\"", "status = \"suspended\"");
    gateway::serve::reload_policies(&world.app, &policies, Put::IfChanged).await;
    assert_eq!(asked().await, 403);
    // For a certificate, say.
    gateway::serve::reload_policies(&replica.app, &left_behind, Put::IfChanged).await;
    assert_eq!(asked().await, 403);
    assert_eq!(world.last_kinds(1).await, ["refusal"]);
    // For another change.
    edit(&left_behind, "retain_days = 180", "retain_days = 170");
    gateway::serve::reload_policies(&replica.app, &left_behind, Put::IfChanged).await;
    assert_eq!(world.last_kinds(1).await, ["policy_set_rejected"]);
    assert_eq!(asked().await, 403);
    // Brought up to date first, the change goes through, and the suspension stays.
    std::fs::remove_dir_all(&left_behind).unwrap();
    acceptance::copy_folder(&policies, &left_behind);
    gateway::serve::reload_policies(&replica.app, &left_behind, Put::IfChanged).await;
    edit(&left_behind, "retain_days = 180", "retain_days = 170");
    gateway::serve::reload_policies(&replica.app, &left_behind, Put::IfChanged).await;
    assert_eq!(world.last_kinds(1).await, ["policy_set_activated"]);
    assert_eq!(asked().await, 403);
    // Whoever means it says so.
    edit(&policies, "status = \"suspended\"", "status = \"active\"");
    gateway::serve::reload_policies(&world.app, &policies, Put::IfChanged).await;
    assert_eq!(asked().await, 403);
    assert_eq!(world.last_kinds(1).await, ["refusal"]);
    gateway::serve::reload_policies(&world.app, &policies, Put::InAnyCase).await;
    assert_eq!(asked().await, 200);
    replica.stop().await;
}

/// Two gateways are told at once to read folders that were both changed from what is in force: one puts its own in force, and the
/// other is told that it is behind. Were both to, the second would take back what the first did, such as a suspension.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_folders_that_change_at_once_one_is_put_in_force() {
    use gateway::policies::{PoliciesError, Put, reload};
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let replica = world.replica(1).await;
    let policies = world.settings.policies.clone();
    let others = tempfile::tempdir().unwrap();
    let others = others.path().join("policies");
    acceptance::copy_folder(&policies, &others);
    for round in 0..40 {
        for folder in [&policies, &others] {
            let file = folder.join("retention.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("{text}# {round} {}\n", folder == &policies)).unwrap();
        }
        let (one, other) = tokio::join!(
            reload(&world.app, &policies, Put::IfChanged),
            reload(&replica.app, &others, Put::IfChanged)
        );
        let (winner, loser) = match (&one, &other) {
            (Ok(true), Err(PoliciesError::Behind(_))) => (&policies, &others),
            (Err(PoliciesError::Behind(_)), Ok(true)) => (&others, &policies),
            both => panic!("round {round}: {both:?}"),
        };
        let (text, file) =
            (std::fs::read_to_string(winner.join("retention.toml")).unwrap(), loser.join("retention.toml"));
        assert_eq!(
            world.app.store.policy_set().await.unwrap().unwrap().1,
            gateway::policies::load(winner).unwrap().digest()
        );
        std::fs::write(file, text).unwrap();
        // Both are what is in force.
        assert!(reload(&world.app, &policies, Put::IfChanged).await.unwrap());
        assert!(reload(&replica.app, &others, Put::IfChanged).await.unwrap());
    }
    replica.stop().await;
}

/// Asks until the answer has this status, or for so long: the last answer.
async fn asked_until(ask: &impl AsyncFn() -> Answer, wanted: u16, longest: Duration) -> Answer {
    const EVERY: Duration = Duration::from_millis(100);
    for _ in 0..longest.as_millis() / EVERY.as_millis() {
        let answer = ask().await;
        if answer.status == wanted {
            return answer;
        }
        tokio::time::sleep(EVERY).await;
    }
    ask().await
}

/// Asks whether a gateway is ready until it answers so.
async fn ready_until(world: &World, wanted: u16) {
    let (fire, url) = (world.client("fire"), format!("{}/readyz", world.settings.public_url));
    for _ in 0..120 {
        if fire.get(&url).send().await.unwrap().status() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("/readyz is never {wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_asks_says_that_no_commit_gets_through() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    ready_until(&world, 200).await;
    let entries = world.entries().await.len();
    server.set("synchronous_standby_names", "a_standby").await;
    ready_until(&world, 503).await;
    assert_eq!(world.entries().await.len(), entries, "nobody asked");
    server.set("synchronous_standby_names", "").await;
    ready_until(&world, 200).await;
    assert_eq!(world.entries().await.len(), entries, "it leaves no entry");
}

/// A server that waits for a standby has committed only what a standby has. The one that is to be waited for here is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_standby_has_is_not_acknowledged_and_readiness_says_so() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    ready_until(&world, 200).await;
    let before = world.entries().await.len();
    server.set("synchronous_standby_names", "a_standby").await;
    let objecting = world.send(world.objection("9732110317"));
    let restarting = async {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if server.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await > 0 {
                break;
            }
        }
        server.stop("immediate");
        server.again();
    };
    let (answer, ()) = tokio::join!(objecting, restarting);
    assert!(matches!(answer.status.as_u16(), 503 | 504), "{answer:?}");
    // It is in the ledger of this server, and might be gone with it.
    assert!(world.entries().await.len() > before);
    ready_until(&world, 503).await;
    server.set("synchronous_standby_names", "").await;
    ready_until(&world, 200).await;
    assert_eq!(world.send(world.prevention("9736363015")).await.status, 200);
    check(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_not_to_keep_what_it_acknowledges_is_not_written_to() {
    let server = Server::start(&[]).await;
    let world = World::on(&server.url).await;
    let (fire, url) = (world.client("fire"), format!("{}/readyz", world.settings.public_url));
    let asked = async || world.send(world.prevention("9732110317")).await;
    assert_eq!(asked().await.status, 200);
    for (setting, harmful) in [("fsync", "off"), ("full_page_writes", "off")] {
        server.set(setting, harmful).await;
        // The server's processes learn of it one after the other.
        let answer = asked_until(&asked, 503, Duration::from_secs(4)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (503, "ledger-unavailable"),
            "{setting}: {answer:?}"
        );
        let entries = world.entries().await.len();
        assert_eq!(fire.get(&url).send().await.unwrap().status(), 503, "{setting}");
        assert_eq!(asked().await.status, 503, "{setting}");
        assert_eq!(world.entries().await.len(), entries, "{setting}");
        server.set(setting, "on").await;
        let back = asked_until(&asked, 200, Duration::from_secs(20)).await;
        assert_eq!(back.status, 200, "without a restart: {back:?}");
    }
    check(&world, &[]).await;
}
