//! The database server: stopped, hung, cut off, failed over.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use acceptance::Server;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, ORDINARY, Running, loaded, ms, running};
use crate::{
    deployment::{Deployment, Replica, Store, signal},
    proxy::{Mode, Proxy},
};

pub async fn server_restarts(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..length.or(2, 20) {
        sleep(Duration::from_millis(700)).await;
        let server = running.deployment.server.take().unwrap();
        server.stop("immediate");
        server.again();
        running.deployment.server = Some(server);
        slowest = slowest.max(running.answers_within(Duration::from_secs(20)).await);
    }
    running.end(json!({ "restarts": length.or(2, 20), "records_again_ms_max": ms(slowest) })).await
}

pub async fn server_hangs(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let processes = running.deployment.server.as_ref().unwrap().processes();
    signal("STOP", &processes);
    running.unrecordable(sleep(Duration::from_secs(length.or(8, 60)))).await;
    let unready = running.deployment.replicas[0].ready().await;
    assert!(unready.is_none_or(|(status, _)| status == 503), "ready without a database");
    signal("CONT", &processes);
    let recovered = running.answers_within(Duration::from_secs(30)).await;
    let idle = running.deployment.server.as_ref().unwrap().ask(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND xact_start < now() - interval '11 s'",
    );
    assert_eq!(idle.await, 0, "a transaction is held open");
    running.end(json!({ "hung_s": length.or(8, 60), "records_again_ms": ms(recovered) })).await
}

pub async fn cut_at_commit(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    for _ in 0..length.or(3, 100) {
        for mode in [Mode::CutBeforeCommit, Mode::CutAfterCommit] {
            let proxy = running.deployment.replicas[0].proxy.clone().unwrap();
            let before = proxy.cuts();
            proxy.set(mode);
            let begun = Instant::now();
            while proxy.cuts() == before {
                assert!(begun.elapsed() < Duration::from_secs(20), "nothing was committed");
                sleep(Duration::from_millis(2)).await;
            }
            proxy.set(Mode::Pass);
            running.answers_within(Duration::from_secs(20)).await;
        }
    }
    let cuts = running.deployment.replicas[0].proxy.as_ref().unwrap().cuts();
    running.end(json!({ "cuts": cuts })).await
}

pub async fn partitioned(length: Length) -> Value {
    let running = running(Store::Server, 3, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for mode in [Mode::Hole, Mode::Deaf, Mode::Refuse] {
        let replica = &running.deployment.replicas[1];
        let proxy = replica.proxy.clone().unwrap();
        proxy.set(mode);
        sleep(Duration::from_secs(length.or(4, 40))).await;
        let ready = replica.ready().await;
        assert!(ready.is_none_or(|(status, _)| status == 503), "{mode:?}: ready without a database");
        // The others go on: whoever held the head has lost it.
        running.answers_within(Duration::from_secs(30)).await;
        proxy.set(Mode::Pass);
        let begun = Instant::now();
        assert!(replica.is_ready_within(Duration::from_mins(1)).await, "{mode:?}: {}", replica.said());
        slowest = slowest.max(begun.elapsed());
    }
    running.end(json!({ "partitions": 3, "ready_again_ms_max": ms(slowest) })).await
}

pub async fn failover(_: Length) -> Value {
    let primary = Server::start(&["wal_level=replica", "max_wal_senders=4", "max_connections=200"]).await;
    let standby = primary.standby().await;
    primary.set("synchronous_standby_names", "*").await;
    let running = running_on(primary, 2).await;
    sleep(Duration::from_secs(1)).await;
    running.deployment.server.as_ref().unwrap().stop("immediate");
    standby.promote();
    for replica in &running.deployment.replicas {
        replica.proxy.as_ref().unwrap().point_at(standby.port());
    }
    let recovered = running.answers_within(Duration::from_secs(40)).await;
    running.end(json!({ "records_again_ms": ms(recovered) })).await
}

async fn running_on(server: Server, gateways: usize) -> Running {
    loaded(Deployment::start_on(Some(server), gateways, |_, _| {}).await, &ORDINARY).await
}

/// The negative control: an asynchronous standby that was behind. Every gateway notices, and nobody is given anything.
pub async fn failover_that_loses(_: Length) -> Value {
    let primary = Server::start(&["wal_level=replica", "max_wal_senders=4", "max_connections=200"]).await;
    let mut running = running_on(primary, 2).await;
    let between = Proxy::before(running.deployment.server.as_ref().unwrap().port()).await;
    let standby = Server::standby_of(between.port).await;
    // The standby hears nothing more, and what is acknowledged meanwhile it does not have.
    sleep(Duration::from_millis(500)).await;
    between.set(Mode::Hole);
    running.answers_within(Duration::from_secs(20)).await;
    running.answers_within(Duration::from_secs(20)).await;
    running.deployment.server.as_ref().unwrap().stop("immediate");
    between.set(Mode::Refuse);
    standby.promote();
    for replica in &running.deployment.replicas {
        replica.proxy.as_ref().unwrap().point_at(standby.port());
    }
    let before = running.account.received.load(Ordering::Relaxed);
    let begun = Instant::now();
    let notices = |replica: &Replica| replica.said().contains("does not extend them");
    while !running.deployment.replicas.iter().all(notices) && begun.elapsed() < Duration::from_mins(1) {
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let after = running.account.received.load(Ordering::Relaxed);
    for replica in &mut running.deployment.replicas {
        let said = replica.said();
        assert!(said.contains("does not extend them"), "{said}");
        assert!(
            replica.ready().await.is_none_or(|(status, _)| status == 503),
            "ready on a ledger that lost entries"
        );
        // Started again it refuses too: the copy of its checkpoint has more.
        replica.kill();
        replica.start();
        sleep(Duration::from_secs(3)).await;
        assert!(!replica.is_running(), "it started on a ledger that lost entries");
        assert!(replica.said().contains("were checkpointed"), "{}", replica.said());
    }
    running.load.abort();
    json!({ "received_after_the_loss": after - before, "gateways_refused": 2 })
}
