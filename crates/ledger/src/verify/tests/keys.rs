//! A ledger whose keys take over from one another.

use super::*;

const ORIGIN: &str = "ledger.example/test";

fn key(seed: u8) -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[seed; 32])
}

fn signed(leaves: &[Vec<u8>], seeds: &[u8]) -> String {
    let mut frontier = Frontier::empty();
    leaves.iter().for_each(|leaf| drop(frontier.push(leaf_hash(leaf))));
    let signers: Vec<_> = seeds.iter().map(|seed| key(*seed)).collect();
    Checkpoint { origin: ORIGIN.to_owned(), size: frontier.size(), root: frontier.root() }.sign_with(&signers)
}

fn announced(seed: u8) -> Body {
    Body::SigningKeyAnnounced { public_key: key(seed).verifier_key() }
}

fn retired(before: &[Body], seed: u8, signing: &[u8]) -> Body {
    Body::SigningKeyRetired {
        public_key: key(seed).verifier_key(),
        reason: "scheduled".to_owned(),
        handover: signed(&leaves(before.to_vec()), signing),
    }
}

/// Key 3 opened it, 4 took over, 5 took over from 4.
fn handed_over() -> Vec<Body> {
    let mut bodies = good();
    bodies.push(announced(4));
    bodies.push(Body::Refusal(decided("while both sign", "s2")));
    bodies.push(retired(&bodies, 3, &[3, 4]));
    bodies.push(announced(5));
    bodies.push(retired(&bodies, 4, &[4, 5]));
    bodies
}

fn verified_with(
    given: u8,
    bodies: &[Body],
    signing: &[u8],
    older: &[String],
) -> Result<Report, (Option<u64>, &'static str)> {
    let leaves = leaves(bodies.to_vec());
    let run = || {
        let mut verifier = Verifier::new(&key(given).verifier_key())?;
        older.iter().try_for_each(|note| verifier.expect_checkpoint(note, "a receipt"))?;
        leaves.iter().try_for_each(|leaf| verifier.entry(leaf))?;
        verifier.finish(&signed(&leaves, signing))
    };
    run().map_err(|fault| (fault.index, fault.code))
}

#[test]
fn whoever_has_any_key_of_a_ledger_follows_to_the_newest() {
    let bodies = handed_over();
    assert_eq!(verified_with(3, &bodies, &[5], &[]).unwrap().handovers, 2);
    assert_eq!(verified_with(4, &bodies, &[5], &[]).unwrap().handovers, 1);
    assert_eq!(verified_with(5, &bodies, &[5], &[]).unwrap().handovers, 0);
    // While both sign, each is enough.
    let at = good().len() + 2;
    assert_eq!(verified_with(3, &bodies[..at], &[3, 4], &[]).unwrap().handovers, 0);
    assert_eq!(verified_with(4, &bodies[..at], &[3, 4], &[]).unwrap().handovers, 0);
    // And announcing alone makes nothing of a key.
    assert_eq!(verified_with(3, &bodies[..at], &[4], &[]), Err((None, "checkpoint")));
    assert_eq!(verified_with(9, &bodies, &[5], &[]), Err((None, "checkpoint")));
    assert_eq!(verified_with(9, &bodies, &[9], &[]), Err((Some(0), "opening-key")));
    // What a retired key signs counts for nothing, whoever has it.
    assert_eq!(verified_with(3, &bodies, &[3], &[]), Err((None, "checkpoint")));
    assert_eq!(verified_with(4, &bodies, &[3, 4], &[]), Err((None, "checkpoint")));
}

#[test]
fn checkpoints_of_every_time_are_prefixes() {
    let bodies = handed_over();
    let at = |size: usize, seeds: &[u8]| signed(&leaves(bodies[..size].to_vec()), seeds);
    let (first, both, last) = (at(3, &[3]), at(good().len() + 2, &[3, 4]), at(bodies.len(), &[5]));
    for given in [3, 4, 5] {
        let report = verified_with(given, &bodies, &[5], &[first.clone(), both.clone(), last.clone()]);
        assert_eq!(report.unwrap().older_checkpoints, 3, "{given}");
    }
    let mut changed = bodies.clone();
    changed[1] = policies(7, "active", 2 * DAY_US);
    let forked = signed(&leaves(changed[..3].to_vec()), &[3]);
    assert_eq!(verified_with(5, &bodies, &[5], std::slice::from_ref(&forked)), Err((Some(2), "prefix")));
    assert_eq!(verified_with(3, &bodies, &[5], &[forked]), Err((Some(2), "prefix")));
    let strangers = signed(&leaves(changed[..3].to_vec()), &[9]);
    assert_eq!(verified_with(5, &bodies, &[5], &[strangers]), Err((None, "checkpoint")));
    let longer: Vec<_> = bodies.iter().cloned().chain([announced(6)]).collect();
    let beyond = signed(&leaves(longer), &[3]);
    assert_eq!(verified_with(5, &bodies, &[5], &[beyond]), Err((None, "truncated")));
}

#[test]
fn a_handover_that_is_not_signed_by_both_or_not_here_is_none() {
    let begun: Vec<_> = good().into_iter().chain([announced(4)]).collect();
    let with = |last: Body| {
        let bodies: Vec<_> = begun.iter().cloned().chain([last]).collect();
        verified_with(3, &bodies, &[4], &[])
    };
    assert_eq!(with(retired(&begun, 3, &[3, 4])).map(|report| report.handovers), Ok(1));
    let at = Some(begun.len() as u64);
    for wrong in [
        retired(&begun, 3, &[4]),
        retired(&begun, 3, &[3]),
        retired(&begun, 3, &[9, 4]),
        retired(&begun[..begun.len() - 1], 3, &[3, 4]),
        retired(&begun, 9, &[3, 4]),
        announced(3),
        announced(4),
        Body::SigningKeyAnnounced { public_key: NoteSigner::from_seed("elsewhere", &[6; 32]).verifier_key() },
        Body::SigningKeyAnnounced { public_key: "nothing".to_owned() },
    ] {
        assert_eq!(with(wrong.clone()), Err((at, "signing-key")), "{wrong:?}");
    }
    let only: Vec<_> = good();
    let bodies: Vec<_> = only.iter().cloned().chain([retired(&only, 3, &[3])]).collect();
    assert_eq!(verified_with(3, &bodies, &[3], &[]), Err((Some(only.len() as u64), "signing-key")));
}
