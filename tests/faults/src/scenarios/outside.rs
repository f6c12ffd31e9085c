//! What a gateway depends on beside its database: record holders, the clock, the collector of traces.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, Running, loaded, preloaded, running};
use crate::{
    deployment::{Deployment, Store},
    load::MADE_UP,
};

pub async fn record_holders_fail(length: Length) -> Value {
    let faults = upstreams::faults::ALL.iter().map(|(_, number, _)| *number);
    let steady: Vec<&str> = faults.chain(["", ""]).collect();
    let running = loaded(Deployment::start(Store::Server, 2, |_, _| {}).await, &steady).await;
    sleep(Duration::from_secs(length.or(5, 120))).await;
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "ways": upstreams::faults::ALL.len() })).await
}

/// One record holder goes away and comes back, again and again. Others' records come meanwhile, and its own when it is there.
pub async fn record_holder_flaps(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let rounds = length.or(8, 120);
    for round in 0..rounds {
        // Nor do the council's records leave while nobody can be asked whether they are restricted.
        running.deployment.end_holders("nhs");
        sleep(Duration::from_millis(200 + round * 53 % 400)).await;
        running.deployment.start_holders("nhs");
        running.answers_within(Duration::from_secs(20)).await;
    }
    let (client, partners) =
        (running.deployment.partners.client("fire"), running.deployment.partners.clone());
    let (port, begun) = (running.deployment.replicas[0].port, Instant::now());
    let mut asked = 0;
    loop {
        let answer = partners.send_to(&client, port, &partners.prevention("9732110317")).await.unwrap();
        asked += 1;
        if answer.status == 200 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "it is there and is not asked: {answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let again = super::ms(begun.elapsed());
    running.end_with_unnoticed(json!({ "times_away": rounds, "records_again_ms": again }), asked).await
}

pub async fn clock_wrong(length: Length) -> Value {
    let found =
        Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"]).output().unwrap();
    let library = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    fs::write(&time, "+0").unwrap();
    let mut running = running(Store::Server, 2, |number, replica| {
        if number == 1 {
            preloaded(replica, &library);
            for (name, value) in [
                ("FAKETIME_TIMESTAMP_FILE", time.to_str().unwrap()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ] {
                replica.environment.push((name.to_owned(), value.to_owned()));
            }
        }
    })
    .await;
    let now = Command::new("date").arg("+%Y-%m-%d %H:%M:%S").output().unwrap();
    // An hour and ten years either way, and a clock that stands still.
    let stopped = String::from_utf8(now.stdout).unwrap().trim().to_owned();
    let moves = ["+3600", "-3600", "+10y", "-10y", &stopped];
    for moved in moves {
        fs::write(&time, moved).unwrap();
        // One that stands still is noticed when it is minutes behind.
        let longest = Duration::from_secs(if moved == stopped { 400 } else { 10 });
        if moved == stopped && length == Length::Short {
            sleep(Duration::from_secs(2)).await;
        } else {
            let begun = Instant::now();
            loop {
                let ready = running.deployment.replicas[1].ready().await;
                if ready.is_some_and(|(status, said)| status == 503 && said.contains("clock-steady")) {
                    break;
                }
                assert!(begun.elapsed() < longest, "{moved}: it is ready");
                sleep(Duration::from_millis(100)).await;
            }
        }
        running.answers_within(Duration::from_secs(30)).await;
        fs::write(&time, "+0").unwrap();
        assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(20)).await, "{moved}");
    }
    assert!(
        running.deployment.replicas[0].ready().await.is_some_and(|(status, _)| status == 200),
        "the other stays right"
    );
    expires_for_the_one_behind(&mut running, &time).await;
    running.end(json!({ "moves": moves.len() + 1 })).await
}

/// A gateway that is a little behind is ready, and while nothing is written it hears of no later time from the others. What has
/// ended by the clock that all share has ended there. Further behind it takes no fresh tokens.
async fn expires_for_the_one_behind(running: &mut Running, time: &Path) {
    static PERSON: LazyLock<String> = LazyLock::new(|| format!("{MADE_UP}00001"));
    let workers = running.pause().await;
    let received = || running.account.received.load(Ordering::Relaxed);
    let behind = &running.deployment.replicas[1];
    assert!(workers[0].give_for(&PERSON, Some(Duration::from_secs(8))).await.is_some());
    fs::write(time, "-4").unwrap();
    // It compares the clocks every two seconds.
    sleep(Duration::from_secs(3)).await;
    *running.ports.lock().unwrap() = vec![behind.port];
    let before = received();
    workers[0].clone().ask(&PERSON, 1).await;
    assert_eq!(received(), before + 1, "it answers");
    sleep(Duration::from_secs(6)).await;
    assert!(behind.ready().await.is_some_and(|(status, _)| status == 200), "it is ready");
    workers[0].clone().ask(&PERSON, 3).await;
    assert_eq!(received(), before + 1, "the consent has ended");
    fs::write(time, "+0").unwrap();
}

pub async fn collector_hangs(length: Length) -> Value {
    // It takes connections and never answers.
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = collector.accept().await {
            held.push(stream);
        }
    });
    let running = running(Store::Server, 2, move |number, replica| {
        if number == 1 {
            replica.append_settings(&format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n"));
        }
    })
    .await;
    sleep(Duration::from_secs(length.or(3, 60))).await;
    running.answers_within(Duration::from_secs(10)).await;
    running.end(json!({})).await
}
