//! What the program says: the one module that prints.

use std::io::{Write as _, stderr, stdout};

use serde::Serialize;
use serde_json::{Value, json};
use verify::{Verified, VerifiedPack, VerifyError};

/// Prints on standard output. Whoever stopped reading still has the exit status.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// The report in words.
pub(crate) fn words(verified: &Verified) -> String {
    let report = &verified.report;
    let mut lines = vec![format!("{} entries of {} verify", report.entries, report.origin)];
    lines.extend(report.kinds.iter().map(|(kind, count)| format!("  {count:>8}  {kind}")));
    lines.push(format!("  root {}", report.root));
    if report.withheld > 0 {
        lines.push(format!(
            "  {} entries are withheld: they are in their places, and what they say was not seen. Whether the entries together obey the ledger's rules cannot be told",
            report.withheld
        ));
    }
    if report.older_checkpoints > 0 {
        lines.push(format!("  {} older checkpoints are prefixes", report.older_checkpoints));
    }
    if report.handovers > 0 {
        lines.push(format!(
            "  the ledger's key handed over {} times since the key that was given",
            report.handovers
        ));
    }
    lines.extend(report.cosigned_by.iter().map(|cosigned| match cosigned.at_s {
        Some(at_s) => format!("  cosigned by {} at {at_s} seconds since 1970", cosigned.witness),
        None => format!("  cosigned by {}", cosigned.witness),
    }));
    if report.clock_steps_back > 0 {
        lines
            .push(format!("  {} entries are dated before the one in front of them", report.clock_steps_back));
    }
    if !report.open_intents.is_empty() {
        lines.push(format!("  {} questions are still open", report.open_intents.len()));
    }
    if !verified.key_given {
        lines.push(format!(
            "  the key came from the export itself; compare it with the one you were given, or give that with --key:\n    {}",
            verified.key
        ));
    }
    lines.join("\n")
}

/// What was verified of an evidence pack, in words.
pub(crate) fn words_of_pack(verified: &VerifiedPack) -> String {
    let mut lines = vec![format!("{} entries of the evidence pack verify", verified.entries.len())];
    lines.extend(verified.entries.iter().map(|one| {
        let seen = if one.cosigned_by.is_empty() {
            String::new()
        } else {
            format!(", cosigned by {}", one.cosigned_by.join(", "))
        };
        let of = one.decision_id.as_ref().map_or_else(String::new, |decision| format!(" of {decision}"));
        format!("  entry {}, {}{of}: in the ledger of {} entries{seen}", one.index, one.kind, one.ledger_size)
    }));
    lines.push(
        "  what the pack says in words beside them is the gateway's, and is not proven; whether there are further entries of the decision cannot be told from it"
            .to_owned(),
    );
    lines.join("\n")
}

/// The report for programs.
pub(crate) fn json<T: Serialize>(outcome: &Result<T, VerifyError>) -> String {
    let value = match outcome {
        Ok(verified) => {
            let mut value = serde_json::to_value(verified).unwrap_or_default();
            if let Value::Object(members) = &mut value {
                members.insert("verified".to_owned(), true.into());
            }
            value
        }
        Err(VerifyError::Fault(fault)) => {
            json!({"verified": false, "fault": fault, "message": fault.to_string()})
        }
        Err(error) => json!({"verified": null, "message": error.to_string()}),
    };
    format!("{value:#}")
}
