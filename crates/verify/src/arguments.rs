//! The command line.

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt as _,
};

use crate::Request;

pub(crate) const HELP: &str = "\
Verifies an exported ledger offline: every entry, every tile, the checkpoint, and that what the entries say is in
order. Nothing is sent anywhere.

Usage: concordat-verify [OPTIONS] PATH

PATH is an NDJSON export with its manifest beside it (PATH.manifest.json), a tlog-tiles directory, or an evidence
pack of one decision as the console gives it away (with --key alone: a pack names no key).

Options:
  --key KEY           the ledger's key, name+hash+key, as you got it from somebody other than the export's maker;
                      without it, the key that the export names is used, and the export can only agree with itself
  --checkpoint FILE   an older checkpoint, such as a receipt's, that must be a prefix; may be repeated
  --witness KEY       a witness whose cosignature to look for; may be repeated
  --quorum N          how many of the witnesses must have cosigned (all of them)
  --json              print a report for programs
  --quiet             show no progress
  --version, --help

Exit status: 0 verified, 1 a fault was found, 2 it could not be read or was asked wrongly.
";

/// What was asked.
pub(crate) enum Asked {
    /// To verify.
    Verify(Arguments),
    /// For help.
    Help,
    /// For the version.
    Version,
}

/// What to verify, and how to say it.
pub(crate) struct Arguments {
    pub(crate) request: Request,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

pub(crate) fn parse(mut parser: Parser) -> Result<Asked, lexopt::Error> {
    let mut request = Request::default();
    let mut path = None;
    let (mut json, mut quiet) = (false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("key") => request.key = Some(parser.value()?.string()?),
            Long("checkpoint") => request.older.push(parser.value()?.into()),
            Long("witness") => request.witnesses.push(parser.value()?.string()?),
            Long("quorum") => request.quorum = Some(parser.value()?.parse()?),
            Long("json") => json = true,
            Long("quiet") | Short('q') => quiet = true,
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long("version") | Short('V') => return Ok(Asked::Version),
            Value(value) if path.is_none() => path = Some(value.into()),
            _ => return Err(argument.unexpected()),
        }
    }
    request.path = path.ok_or("say what to verify: a file or a directory")?;
    Ok(Asked::Verify(Arguments { request, json, quiet }))
}
