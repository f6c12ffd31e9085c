//! What the command line says: the one module that prints.

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "the command line's own output")]
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// Prints what went wrong, with its causes and without a backtrace, on standard error.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
pub fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
