//! Gateways that are killed, stopped, starved, or held up by their callers.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, ms, running};
use crate::{
    deployment::{Store, signal},
    usage::Usage,
};

pub async fn killed_on_a_file(length: Length) -> Value {
    let mut running = running(Store::File, 1, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for round in 0..length.or(4, 500) {
        sleep(Duration::from_millis(100 + round * 53 % 400)).await;
        let replica = &mut running.deployment.replicas[0];
        replica.kill();
        let begun = Instant::now();
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
        slowest = slowest.max(begun.elapsed());
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "kills": length.or(4, 500), "ready_again_ms_max": ms(slowest) })).await
}

pub async fn killed(length: Length) -> Value {
    let mut running = running(Store::Server, 3, |_, _| {}).await;
    for round in 0..length.or(5, 500) {
        sleep(Duration::from_millis(200 + round * 53 % 300)).await;
        let replica = &mut running.deployment.replicas[usize::try_from(round * 7 % 3).unwrap()];
        replica.kill();
        sleep(Duration::from_millis(100)).await;
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "kills": length.or(5, 500) })).await
}

pub async fn stopped(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let process = running.deployment.replicas[0].process();
    for _ in 0..length.or(1, 10) {
        signal("STOP", &[process]);
        // The load balancer notices.
        let port = running.deployment.replicas[0].port;
        running.ports.lock().unwrap().retain(|other| *other != port);
        sleep(Duration::from_secs(18)).await; // longer than the others wait for it
        running.answers_within(Duration::from_secs(20)).await;
        signal("CONT", &[process]);
        assert!(running.deployment.replicas[0].is_ready_within(Duration::from_secs(30)).await);
        running.ports.lock().unwrap().push(port);
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.end(json!({ "stops": length.or(1, 10) })).await
}

pub async fn callers_break_off(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let (client, partners) =
        (running.deployment.partners.client("fire"), running.deployment.partners.clone());
    let total = length.or(200, 10_000);
    for number in 0..total {
        let port = running.deployment.replicas[usize::try_from(number % 2).unwrap()].port;
        let request = partners.prevention("9732110317");
        let longest = Duration::from_micros(number * 7919 % 60_000);
        let _ = tokio::time::timeout(longest, partners.send_to(&client, port, &request)).await;
    }
    let stuck = running.deployment.server.as_ref().unwrap().ask(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'",
    );
    assert_eq!(stuck.await, 0);
    running.end_with_unnoticed(json!({ "broken_off": total }), total).await
}

pub async fn no_descriptors(_: Length) -> Value {
    let limited = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"].map(str::to_owned);
    let running = running(Store::Server, 2, |number, replica| {
        if number == 1 {
            replica.through = limited.to_vec();
        }
    })
    .await;
    let port = running.deployment.replicas[1].port;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.extend(std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    }
    running.answers_within(Duration::from_secs(20)).await;
    sleep(Duration::from_secs(3)).await;
    drop(held);
    assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(20)).await);
    running.end(json!({ "connections_held": 200 })).await
}

/// A control group of this scenario's, as version 1 or 2 of them has it; removed with this.
struct Group {
    memory: PathBuf,
    processor: PathBuf,
    is_second: bool,
}

impl Group {
    fn new() -> Option<Self> {
        let name = format!("concordat-faults-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let is_second = root.join("cgroup.controllers").exists();
        let (memory, processor) = if is_second {
            (root.to_owned(), root.to_owned())
        } else {
            (root.join("memory"), root.join("cpu"))
        };
        let group = Self { memory: memory.join(&name), processor: processor.join(&name), is_second };
        for folder in [&group.memory, &group.processor] {
            if !folder.exists() {
                fs::create_dir(folder).ok()?;
            }
        }
        let limit = if is_second {
            group.memory.join("memory.max")
        } else {
            group.memory.join("memory.limit_in_bytes")
        };
        fs::File::options().write(true).open(limit).ok()?;
        Some(group)
    }

    fn hold(&self, process: u32) {
        for folder in [&self.memory, &self.processor] {
            fs::write(folder.join("cgroup.procs"), process.to_string()).unwrap();
        }
    }

    fn limit_memory(&self, bytes: u64) {
        let file = if self.is_second { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(self.memory.join(file), bytes.to_string()).unwrap();
    }

    fn memory_bytes(&self) -> u64 {
        let file = if self.is_second { "memory.current" } else { "memory.usage_in_bytes" };
        fs::read_to_string(self.memory.join(file)).unwrap().trim().parse().unwrap()
    }

    /// So many hundredths of one processor.
    fn limit_processor(&self, hundredths: u64) {
        let quota = hundredths * 1_000;
        if self.is_second {
            fs::write(self.processor.join("cpu.max"), format!("{quota} 100000")).unwrap();
        } else {
            fs::write(self.processor.join("cpu.cfs_quota_us"), quota.to_string()).unwrap();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in [&self.memory, &self.processor] {
            let _ = fs::remove_dir(folder); // it may hold a process that is ending
        }
    }
}

/// One gateway of two has a twentieth of a processor for a while, and then less memory than its callers make it need.
pub async fn starved(length: Length) -> Value {
    let Some(group) = Group::new() else { return json!({ "skipped": "control groups cannot be made here" }) };
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let process = running.deployment.replicas[1].process();
    let before = Usage::of(process).unwrap();
    group.limit_memory(1 << 40);
    group.limit_processor(5);
    group.hold(process);
    sleep(Duration::from_secs(length.or(4, 60))).await;
    running.answers_within(Duration::from_secs(30)).await;
    group.limit_processor(400);
    assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(30)).await);
    // What it had already is not counted; what it takes from now on is.
    group.limit_memory(group.memory_bytes() + (1 << 20));
    let (partners, port) = (running.deployment.partners.clone(), running.deployment.replicas[1].port);
    let callers = length.or(60, 400);
    let calling = (0..callers).map(|_| {
        let partners = partners.clone();
        tokio::spawn(async move {
            let client = partners.client("fire");
            let question = partners.prevention("9732110317");
            let sending = partners.send_to(&client, port, &question);
            let _ = tokio::time::timeout(Duration::from_secs(10), sending).await; // whether it comes or not
        })
    });
    for one in calling.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    running.answers_within(Duration::from_secs(30)).await;
    let was_killed = !running.deployment.replicas[1].is_running();
    if was_killed {
        running.deployment.replicas[1].kill();
        running.deployment.replicas[1].start();
    } else {
        group.limit_memory(1 << 40);
    }
    assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(30)).await);
    running.answers_within(Duration::from_secs(20)).await;
    let counted = json!({ "callers": callers, "killed_for_memory": was_killed, "memory_kib_before": before.memory_kib });
    running.end_with_unnoticed(counted, callers).await
}
