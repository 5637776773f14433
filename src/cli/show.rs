//! Writing for the person at the terminal. The log is elsewhere.

use std::io::Write;

/// A line on standard error.
pub(super) fn complain(text: &str) {
    // Without standard error there is no place to say it.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// A line on standard output.
pub(super) fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
