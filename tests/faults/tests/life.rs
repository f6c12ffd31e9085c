//! How a gateway begins and ends: what it tells its service manager, and what becomes of the requests that are on their way.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use faults::{
    Deployment, Store,
    deployment::{Replica, signal},
};

/// A record holder takes longer over this one than a gateway needs to end, and answers.
const PAUSING: &str = "9990000204";
const ORDINARY: &str = "9732110317";

/// While load balancers have not noticed yet, requests are still answered.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_a_gateway_says_so_and_answers_for_a_while() {
    let settings = |_, replica: &mut Replica| {
        replica.append_settings("[limits]\ndrain_notice_s = 3\n");
    };
    let mut deployment = Deployment::start(Store::File, 1, settings).await;
    let (client, port) = (deployment.partners.client("fire"), deployment.replicas[0].port);
    signal("TERM", &[deployment.replicas[0].process()]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (status, said) = deployment.replicas[0].ready().await.expect("an answer");
    assert!(status == 503 && said.contains(r#"{"name":"not-stopping","passed":false}"#), "{said}");
    let question = deployment.partners.prevention(ORDINARY);
    let answer = deployment.partners.send_to(&client, port, &question).await.expect("an answer");
    assert_eq!(answer.status, 200);
    deployment.replicas[0].terminate().await;
    assert!(deployment.partners.send_to(&client, port, &question).await.is_err(), "it has ended");
}

/// Requests that wait for a record holder when the gateway is told to stop have their answers, and the ledger has each of them once;
/// nobody is let in meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_finished_before_a_gateway_ends() {
    let mut deployment = Deployment::start(Store::File, 1, |_, _| {}).await;
    let (partners, port) = (deployment.partners.clone(), deployment.replicas[0].port);
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let partners = partners.clone();
            tokio::spawn(async move {
                let client = partners.client("fire");
                partners.send_to(&client, port, &partners.prevention(PAUSING)).await
            })
        })
        .collect();
    let export = deployment.folder().join("while.ndjson");
    let begun = Instant::now();
    let count = |deployment: &Deployment, kind: &str| {
        let _ = std::fs::remove_file(&export);
        let ran = deployment.run(&["audit", "export", "--out", export.to_str().expect("a path")]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let text = std::fs::read_to_string(&export).expect("an export");
        text.matches(&format!(r#""kind":"{kind}""#)).count()
    };
    while count(&deployment, "intent") < 8 {
        assert!(begun.elapsed() < Duration::from_secs(30), "they are not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal("TERM", &[deployment.replicas[0].process()]);
    let mut records = 0;
    for one in asking {
        let answer = one.await.expect("an end").expect("an answer, not a broken connection");
        assert!(
            answer.status == 200 || answer.headers["content-type"].starts_with("application/problem+json")
        );
        records += usize::from(answer.status == 200);
    }
    deployment.replicas[0].terminate().await;
    assert_eq!((count(&deployment, "release"), count(&deployment, "closure")), (records, 8 - records));
}

/// As systemd does (sd_notify(3)): a socket of datagrams, on which a service says when it is ready and when it stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("notify");
    let socket = UnixDatagram::bind(&at).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    let hear = || {
        let mut bytes = [0; 1_024];
        let count = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let settings = |_, replica: &mut Replica| {
        replica.append_settings("[limits]\ndrain_notice_s = 2\n");
        replica.environment.push(("NOTIFY_SOCKET".to_owned(), at.display().to_string()));
    };
    let mut deployment = Deployment::start(Store::File, 1, settings).await;
    assert!(hear().lines().any(|line| line == "READY=1"));
    // Whoever is told that it is ready is not turned away.
    let (client, port) = (deployment.partners.client("fire"), deployment.replicas[0].port);
    let question = deployment.partners.prevention(ORDINARY);
    assert_eq!(deployment.partners.send_to(&client, port, &question).await.expect("an answer").status, 200);
    let begun = Instant::now();
    signal("TERM", &[deployment.replicas[0].process()]);
    assert!(hear().lines().any(|line| line == "STOPPING=1"));
    assert!(
        deployment.replicas[0].is_running(),
        "it is told before it ends, not after {:?}",
        begun.elapsed()
    );
    deployment.replicas[0].terminate().await;
    // One that does not become ready says nothing: the database is taken.
    deployment.replicas[0].start();
    assert!(hear().lines().any(|line| line == "READY=1"));
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a time");
    let mut second = deployment.another_of(0);
    assert!(second.ends_within(Duration::from_secs(20)).await, "two use one file");
    assert!(socket.recv(&mut [0; 64]).is_err(), "it said that it is ready");
}
