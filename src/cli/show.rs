//! Terminal output, apart from the log.

use std::io::Write;

/// Writes a line to standard error.
pub(super) fn complain(text: &str) {
    // A failure to write to standard error cannot be reported anywhere.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Writes a line to standard output.
pub(super) fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
