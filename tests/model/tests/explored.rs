//! Every moment that the protocol can come to; and each part of it left out, which must be noticed.

use model::{ONCE, ORDERED, Protocol, RECORDED, TAKEN_BACK};
use stateright::{Checker as _, Model as _};

#[test]
fn the_protocol_keeps_its_promises_in_every_interleaving() {
    let explored = Protocol::WHOLE.checker().threads(2).spawn_bfs().join();
    explored.assert_properties();
    println!("{} moments", explored.unique_state_count());
    assert!(explored.unique_state_count() > 5_000, "{}", explored.unique_state_count());
}

#[test]
fn without_any_of_its_parts_it_does_not() {
    let weakened = [
        (Protocol { rechecks: false, ..Protocol::WHOLE }, vec![ORDERED]),
        (Protocol { reads_each: false, rechecks: false, ..Protocol::WHOLE }, vec![ORDERED, TAKEN_BACK]),
        (Protocol { ends_once: false, ..Protocol::WHOLE }, vec![ONCE]),
        (Protocol { waits_for_commit: false, ..Protocol::WHOLE }, vec![RECORDED]),
        (Protocol { looks_up: false, ..Protocol::WHOLE }, vec![RECORDED]),
        (Protocol { commits_after: false, ..Protocol::WHOLE }, vec![RECORDED]),
    ];
    for (protocol, broken) in weakened {
        let explored = protocol.checker().threads(2).spawn_bfs().join();
        for property in broken {
            assert!(explored.discovery(property).is_some(), "{protocol:?} keeps: {property}");
        }
    }
}
