//! A network that is cut: each gateway is a host of its own, with a link to its database and a link to its partners.
//!
//! What a host does not hear is dropped as it arrives, in silence, so that either direction can be cut alone; or the link is
//! down.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use acceptance::Server;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, ORDINARY, Running, loaded, ms, shell};
use crate::deployment::{Deployment, Place, Site};

const GATEWAYS: usize = 2;
/// The one that is cut off.
const CUT: usize = 1;

/// How long a gateway takes until it is ready again, however long the cut was.
const READY_MAX: Duration = Duration::from_secs(30);

/// A host for each gateway, with two links to this one.
const HOSTS: &str = "
local_last() { \"$@\" rule add pref 10 lookup local; \"$@\" rule del pref 0; }
link() { # link NAME HOST NET
    ip link add \"$1$2\" type veth peer name \"$1\" netns \"host$2\"
    ip addr add \"$3.1/24\" dev \"$1$2\"; ip -n \"host$2\" addr add \"$3.2/24\" dev \"$1\"
    ip link set \"$1$2\" up; ip -n \"host$2\" link set \"$1\" up
}
set -e
local_last ip
for host in $HOSTS; do
    ip netns add \"host$host\"; ip -n \"host$host\" link set lo up; local_last ip -n \"host$host\"
    link partners \"$host\" \"10.77.$host\"; link database \"$host\" \"10.78.$host\"
done
";

/// Which direction of a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    FromGateway,
    ToGateway,
    Both,
    Down,
}

const DIRECTIONS: [Direction; 4] =
    [Direction::FromGateway, Direction::ToGateway, Direction::Both, Direction::Down];

/// Cuts a link of the host that is cut off, or (`is_cut` is false) joins it again.
fn cut_link(link: &str, direction: Direction, is_cut: bool) {
    let here = format!("rule {} pref 5", if is_cut { "add" } else { "del" });
    let heard = |by: &str| if is_cut { format!("iif {by} blackhole") } else { String::new() };
    let (into_host, out_of_host) = (heard(&format!("{link}{CUT}")), heard(link));
    let mut command = String::from("set -e\n");
    if matches!(direction, Direction::FromGateway | Direction::Both) {
        writeln!(command, "ip {here} {into_host}").unwrap();
    }
    if matches!(direction, Direction::ToGateway | Direction::Both) {
        writeln!(command, "ip -n host{CUT} {here} {out_of_host}").unwrap();
    }
    if direction == Direction::Down {
        writeln!(command, "ip link set {link}{CUT} {}", if is_cut { "down" } else { "up" }).unwrap();
    }
    shell(Path::new("/"), &command);
}

async fn two_hosts(access: &Path) -> Running {
    let numbers: Vec<_> = (0..GATEWAYS).map(|number| number.to_string()).collect();
    shell(Path::new("/"), &format!("HOSTS='{}'\n{HOSTS}", numbers.join(" ")));
    let all = "host all all 127.0.0.1/32 trust\nhost all all 10.78.0.0/16 trust\n";
    std::fs::write(access, all).unwrap();
    shell(
        Path::new("/"),
        &format!("chmod 755 {}; chmod 644 {}", access.parent().unwrap().display(), access.display()),
    );
    let settings = ["max_connections=200", "listen_addresses=*", &format!("hba_file={}", access.display())];
    let server = Server::start(&settings).await;
    let place = |number: usize| Place {
        host: format!("10.77.{number}.2"),
        server: Some(format!("10.78.{number}.1:{}", server.port())),
        through: ["ip", "netns", "exec", &format!("host{number}")].map(str::to_owned).into(),
    };
    let places = (0..GATEWAYS).map(place).collect();
    let site = Site { server: Some(server), places, disk: None };
    loaded(Deployment::start_in(site, |_, _| {}).await, &ORDINARY).await
}

pub async fn cut(length: Length) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut running = two_hosts(&folder.path().join("pg_hba.conf")).await;
    let port = running.deployment.replicas[CUT].port;
    let all = running.ports.lock().unwrap().clone();
    let others: Vec<_> = all.iter().copied().filter(|other| *other != port).collect();
    let (mut cuts, mut slowest) = (0, Duration::ZERO);
    for (link, seconds) in [("database", length.or(5, 40)), ("partners", length.or(3, 20))] {
        for direction in DIRECTIONS {
            cut_link(link, direction, true);
            // What was committed just before may still be on its way.
            let from = running.account.now_us() + 200_000;
            sleep(Duration::from_secs(seconds)).await;
            if link == "database" {
                let ready = running.deployment.replicas[CUT].ready().await;
                assert!(
                    ready.is_none_or(|(status, _)| status == 503),
                    "{direction:?}: ready without a database"
                );
            }
            // A balancer sends nobody any more to a gateway that is not ready. Whoever asked it before waits until the end of
            // its deadline or of their patience, and in a few seconds that is all of them.
            running.ports.lock().unwrap().clone_from(&others);
            running.answers_within(Duration::from_secs(30)).await;
            if link == "database" {
                running.deployment.nothing_recordable_at(port, from, running.account.now_us());
            }
            cut_link(link, direction, false);
            let begun = Instant::now();
            let replica = &running.deployment.replicas[CUT];
            assert!(replica.is_ready_within(READY_MAX).await, "{link} {direction:?}: {}", replica.said());
            slowest = slowest.max(begun.elapsed());
            // It alone is asked: these records come by the link that was cut.
            *running.ports.lock().unwrap() = vec![port];
            running.answers_within(Duration::from_secs(30)).await;
            running.ports.lock().unwrap().clone_from(&all);
            cuts += 1;
        }
    }
    running.end(json!({ "cuts": cuts, "ready_again_ms_max": ms(slowest) })).await
}
