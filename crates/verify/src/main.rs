//! `concordat-verify`: exit status 0 when the ledger verified, 1 when a fault was found, 2 when it cannot be told.

use std::process::ExitCode;

use verify::{Request, VerifyError, progress::Progress, verify, verify_pack};

mod arguments;
mod output;

fn main() -> ExitCode {
    let arguments = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(arguments::Asked::Verify(arguments)) => arguments,
        Ok(arguments::Asked::Help) => {
            output::say(arguments::HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Ok(arguments::Asked::Version) => {
            output::say(concat!("concordat-verify ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            output::complain(&format!("{error}\n\n{}", arguments::HELP.trim_end()));
            return ExitCode::from(2);
        }
    };
    if let Some(outcome) = verify_pack(&arguments.request) {
        match (&outcome, arguments.json) {
            (_, true) => output::say(&output::json(&outcome)),
            (Ok(verified), false) => output::say(&output::words_of_pack(verified)),
            (Err(error), false) => output::complain(&error.to_string()),
        }
        return status(&outcome);
    }
    let mut progress = Progress::new(arguments.quiet);
    let outcome = verify(&arguments.request, &mut |read, all| progress.show(read, all, "entries"));
    progress.clear();
    match (&outcome, arguments.json) {
        (_, true) => output::say(&output::json(&outcome)),
        (Ok(verified), false) => output::say(&output::words(verified)),
        (Err(error), false) => output::complain(&error.to_string()),
    }
    status(&outcome)
}

fn status<T>(outcome: &Result<T, VerifyError>) -> ExitCode {
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(VerifyError::Fault(_)) => ExitCode::from(1),
        Err(VerifyError::Unreadable(..) | VerifyError::Usage(_)) => ExitCode::from(2),
    }
}
