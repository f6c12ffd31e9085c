//! What is replaced while gateways run: certificates, keys, policies, and the gateways themselves.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use gateway::mint::MintingKey;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, ORDINARY, Running, loaded, ms, running, shell};
use crate::deployment::{Deployment, Place, Replica, Site, Store, signal};

/// Another certificate of the gateway's, with another key.
const CERTIFICATE: &str = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout next.key -out next.csr -subj /CN=gateway &&
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=clientAuth,serverAuth\n' > next.ext &&
    openssl x509 -req -in next.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile next.ext -out gateway.pem && mv next.key gateway.key";

pub async fn keys_replaced(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let folder = running.deployment.folder().to_owned();
    let failed_before = running.account.failed();
    for round in 0..length.or(3, 50) {
        shell(&folder, CERTIFICATE);
        let name = format!("issuer-key-{round}");
        shell(
            &folder,
            &format!("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"),
        );
        // The new key is published beside the others before anything is signed with it.
        let published = folder.join("issuer.jwks.json");
        let mut keys: Value = serde_json::from_str(&fs::read_to_string(&published).unwrap()).unwrap();
        let pem = fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
        let next = MintingKey::from_pem(&pem, &name).unwrap().jwks().unwrap();
        keys["keys"].as_array_mut().unwrap().push(next["keys"][0].clone());
        fs::write(&published, keys.to_string()).unwrap();
        for replica in &running.deployment.replicas {
            signal("HUP", &[replica.process()]);
        }
        sleep(Duration::from_secs(1)).await;
        running.deployment.partners.issue_with(&name);
        running.answers_within(Duration::from_secs(10)).await;
    }
    // Nobody was refused for it either.
    let refused = running.account.unauthenticated();
    assert_eq!(refused, 0, "somebody's token was refused");
    assert_eq!(running.account.failed(), failed_before, "a request failed");
    running.end(json!({ "replacements": length.or(3, 50) })).await
}

pub async fn broken_policies(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let file = running.deployment.folder().join("policies/agreements/gm-safe-and-well-referral.toml");
    let good = fs::read(&file).unwrap();
    let failed_before = running.account.failed();
    let total = length.or(10, 100);
    for number in 0..total {
        let mut bad = good.clone();
        let place = usize::try_from(number).unwrap() * 97 % bad.len();
        match number % 3 {
            0 => bad.truncate(place),
            1 => bad[place] = 0xff,
            _ => bad.splice(place..place, *b"\n[[[\n").for_each(drop),
        }
        fs::write(&file, bad).unwrap();
        signal("HUP", &[running.deployment.replicas[0].process()]);
        running.answers_within(Duration::from_secs(10)).await;
    }
    fs::write(&file, &good).unwrap();
    signal("HUP", &[running.deployment.replicas[0].process()]);
    running.answers_within(Duration::from_secs(10)).await;
    assert_eq!(running.account.failed(), failed_before, "a request failed");
    running.end(json!({ "broken_files": total })).await
}

/// As a service manager does: the socket is its own, and a new process takes it when the old one has ended.
pub async fn replaced_behind_its_socket(length: Length) -> Value {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    // The shell hands standard input on as descriptor 3, and says so.
    let shell = ["sh", "-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"];
    let passed = |command: &mut Command| {
        let socket = std::os::fd::OwnedFd::from(socket.try_clone().unwrap());
        command.stdin(socket);
    };
    let mut deployment = Deployment::start(Store::File, 1, |_, _| {}).await;
    deployment.replicas[0].terminate().await;
    deployment.replicas[0].through = shell.map(str::to_owned).into();
    deployment.replicas[0].port = port;
    deployment.replicas[0].start_with(passed);
    let mut running = loaded(deployment, &ORDINARY).await;
    let total = length.or(4, 20);
    for _ in 0..total {
        sleep(Duration::from_millis(500)).await;
        let replica = &mut running.deployment.replicas[0];
        replica.terminate().await;
        replica.start_with(passed);
        running.answers_within(Duration::from_secs(20)).await;
    }
    assert_eq!(running.account.unconnected(), 0, "a connection was refused");
    let broken = running.account.failed();
    running.end(json!({ "replacements": total, "requests_broken_off": broken })).await
}

pub async fn replaced_in_turn(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let rounds = length.or(1, 10);
    for _ in 0..rounds {
        for number in 0..2 {
            let port = running.deployment.replicas[number].port;
            // The load balancer sends nobody there any more.
            running.ports.lock().unwrap().retain(|other| *other != port);
            running.deployment.replicas[number].terminate().await;
            running.deployment.replicas[number].start();
            assert!(running.deployment.replicas[number].is_ready_within(Duration::from_secs(20)).await);
            running.ports.lock().unwrap().push(port);
            running.answers_within(Duration::from_secs(10)).await;
        }
    }
    let broken = running.account.failed();
    running.end(json!({ "replacements": 2 * rounds, "requests_broken_off": broken })).await
}

/// Lists of what the demonstration's authority has revoked: nothing, and the fire service's certificate. And another authority.
const LISTS: &str = "mkdir authority && touch authority/index && echo 01 > authority/number &&
    printf '[ca]\\ndefault_ca = one\\n[one]\\ndatabase = authority/index\\ncrlnumber = authority/number\\ndefault_md = sha256\\ndefault_crl_days = 2\\ncrl_extensions = with\\n[with]\\nauthorityKeyIdentifier = keyid\\n' > authority/settings &&
    openssl ca -config authority/settings -cert ca.pem -keyfile ca.key -gencrl -out none.crl &&
    openssl ca -config authority/settings -cert ca.pem -keyfile ca.key -revoke fire.pem &&
    openssl ca -config authority/settings -cert ca.pem -keyfile ca.key -gencrl -out fire.crl &&
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other-ca.key -out other-ca.pem -subj /CN=other -days 2 &&
    cp none.crl partners.crl && cp ca.pem partners.pem";

fn with_list(_: usize, replica: &mut Replica) {
    replica.change_settings(
        "client_ca = \"ca.pem\"",
        "client_ca = \"partners.pem\"\nrevocation_lists = [\"partners.crl\"]",
    );
}

/// From a moment after the files are there nobody's question is answered with a record, also over connections that were open;
/// and from a moment after they are as before everybody's is.
async fn refused_for(running: &mut Running, files: &str, longest: &mut Duration) {
    let folder = running.deployment.folder().to_owned();
    let hang_up = |deployment: &Deployment| {
        for replica in &deployment.replicas {
            signal("HUP", &[replica.process()]);
        }
    };
    shell(&folder, files);
    hang_up(&running.deployment);
    let begun = Instant::now();
    let mut last = (running.account.records(), Instant::now());
    while last.1.elapsed() < Duration::from_secs(2) {
        assert!(begun.elapsed() < Duration::from_secs(20), "records still come");
        sleep(Duration::from_millis(20)).await;
        if running.account.records() > last.0 {
            last = (running.account.records(), Instant::now());
        }
    }
    *longest = (*longest).max(last.1.duration_since(begun));
    running.unrecordable(sleep(Duration::from_secs(1))).await;
    shell(&folder, "cp none.crl partners.crl && cp ca.pem partners.pem");
    hang_up(&running.deployment);
    running.answers_within(Duration::from_secs(30)).await;
}

pub async fn certificates_refused(length: Length) -> Value {
    let prepare: fn(&Path) = |disk| {
        fs::create_dir(disk).unwrap();
        shell(disk.parent().unwrap(), LISTS);
    };
    let server = Some(acceptance::Server::start(&["max_connections=200"]).await);
    let site = Site { server, places: vec![Place::default(); 2], disk: Some(prepare) };
    let mut running = loaded(Deployment::start_in(site, with_list).await, &ORDINARY).await;
    let mut longest = Duration::ZERO;
    for _ in 0..length.or(1, 20) {
        refused_for(&mut running, "cp fire.crl partners.crl", &mut longest).await;
        refused_for(&mut running, "cp other-ca.pem partners.pem", &mut longest).await;
    }
    running
        .end(json!({ "times_refused": 2 * length.or(1, 20), "last_record_after_ms_max": ms(longest) }))
        .await
}
