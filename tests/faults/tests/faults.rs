//! The short form of every scenario.

use faults::{ALL, Length};

macro_rules! short {
    ($($test:ident: $name:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let scenario = ALL.iter().find(|scenario| scenario.name == $name).expect("a scenario");
            let counts = (scenario.run)(Length::Short).await;
            println!("{} {}: {counts}", scenario.id, scenario.name);
        })*

        #[test]
        fn every_scenario_is_run() {
            let run = [$($name),*];
            let missing: Vec<_> = ALL.iter().map(|scenario| scenario.name).filter(|name| !run.contains(name)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_what_is_planted() {
    faults::scenarios::controls().await;
}

/// While load balancers have not noticed yet, requests are still answered.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_a_gateway_says_so_and_answers_for_a_while() {
    let settings = |_, replica: &mut faults::deployment::Replica| {
        replica.append_settings("[limits]\ndrain_notice_s = 3\n");
    };
    let mut deployment = faults::Deployment::start(faults::Store::File, 1, settings).await;
    let (client, port) = (deployment.partners.client("fire"), deployment.replicas[0].port);
    faults::deployment::signal("TERM", &[deployment.replicas[0].process()]);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let (status, said) = deployment.replicas[0].ready().await.expect("an answer");
    assert!(status == 503 && said.contains(r#"{"name":"not-stopping","passed":false}"#), "{said}");
    let question = deployment.partners.prevention("9732110317");
    let answer = deployment.partners.send_to(&client, port, &question).await.expect("an answer");
    assert_eq!(answer.status, 200);
    deployment.replicas[0].terminate().await;
    assert!(deployment.partners.send_to(&client, port, &question).await.is_err(), "it has ended");
}

short! {
    killed_on_a_file: "a file's gateway is killed",
    killed: "gateways are killed at random",
    server_restarts: "the server is stopped at once and started",
    server_hangs: "the server hangs",
    cut_at_commit: "a connection breaks at COMMIT",
    partitioned: "a gateway is cut off from the server",
    failover: "the server fails over to its synchronous standby",
    failover_that_loses: "the server fails over to a standby that lacks entries",
    stopped: "a gateway is stopped, and goes on when its questions were closed",
    no_space: "no space is left for a file",
    slow_disk: "the disk takes 20 ms to sync",
    record_holders_fail: "record holders fail in fifteen ways",
    clock_ahead: "one gateway's clock is an hour ahead",
    callers_break_off: "callers break off",
    keys_replaced: "certificates and keys are replaced",
    broken_policies: "policy files are broken",
    replaced_behind_its_socket: "a gateway is replaced behind its socket",
    replaced_in_turn: "gateways are replaced one after the other",
    no_descriptors: "file descriptors run out",
    collector_hangs: "the collector of traces hangs",
    overloaded: "five times as many questions as can be answered",
}
