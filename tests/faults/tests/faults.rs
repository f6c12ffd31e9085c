//! The short form of every scenario.

use faults::{ALL, Length};

macro_rules! short {
    ($($test:ident: $name:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let scenario = ALL.iter().find(|scenario| scenario.name == $name).expect("a scenario");
            let counts = (scenario.run)(Length::Short).await;
            match counts.get("skipped") {
                Some(why) => println!("SKIPPED {} {}: {why}", scenario.id, scenario.name),
                None => println!("RAN {} {}: {counts}", scenario.id, scenario.name),
            }
        })*

        #[test]
        fn every_scenario_is_run() {
            let run = [$($name),*];
            let is_missing = |name: &&str| !run.contains(name);
            let missing: Vec<_> = ALL.iter().map(|scenario| scenario.name).filter(is_missing).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_what_is_planted() {
    faults::scenarios::controls().await;
}

short! {
    killed_on_a_file: "a file's gateway is killed",
    killed: "gateways are killed at random",
    power_fails: "the power fails",
    power_fails_and_lied: "the power fails, and the disk had lied",
    server_restarts: "the server is stopped at once and started",
    server_hangs: "the server hangs",
    cut_at_commit: "a connection breaks at COMMIT",
    partitioned: "a gateway is cut off from the server",
    network_cut: "the network is cut",
    failover: "the server fails over to its synchronous standby",
    failover_that_loses: "the server fails over to a standby that lacks entries",
    stopped: "a gateway is stopped, and goes on when its questions were closed",
    no_space: "no space is left for a file",
    small_and_full: "a small disk is full",
    only_read: "a disk can only be read any more",
    taken_away: "the file under a gateway is taken away",
    hangs: "a disk hangs",
    slow_disk: "the disk takes 20 ms to sync",
    record_holders_fail: "record holders fail in fifteen ways",
    record_holder_flaps: "a record holder goes away and comes back",
    clock_wrong: "one gateway's clock is wrong",
    withdrawals_race: "withdrawals race with questions",
    suspensions_race: "suspensions race with questions",
    callers_break_off: "callers break off",
    keys_replaced: "certificates and keys are replaced",
    certificates_refused: "a partner's certificate is revoked, and its authority is no longer trusted",
    broken_policies: "policy files are broken",
    replaced_behind_its_socket: "a gateway is replaced behind its socket",
    replaced_in_turn: "gateways are replaced one after the other",
    beside: "a newer program changes the schema beside gateways that run",
    starved: "memory and processor are short",
    no_descriptors: "file descriptors run out",
    collector_hangs: "the collector of traces hangs",
    handshakes: "connections are opened as fast as they are taken",
    noisy: "one partner of twenty asks fifty times as much as it may",
    unended: "a partner sends what does not end",
    overloaded: "five times as many questions as can be answered",
}
