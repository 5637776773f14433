//! `[log]`: the log.

use stowage_base::log::{self, Format};
use stowage_base::reader::Section;

/// The requests whose access lines are at level `info`; other access lines are at `debug`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Every request.
    All,
    /// Attachment requests and failures.
    Attachments,
    /// No request.
    Off,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// The format of the lines.
    pub format: Format,
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// The requests whose access lines are at level `info`.
    pub access: AccessLog,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Log {
    let (format, level) = log::read(&mut section);
    let access = match section.text("access", "all").as_str() {
        "all" => AccessLog::All,
        "attachments" => AccessLog::Attachments,
        "off" => AccessLog::Off,
        _ => {
            section.problem("access", "must be \"all\", \"attachments\" or \"off\"");
            AccessLog::All
        }
    };
    section.finish();
    Log { format, level, access }
}
