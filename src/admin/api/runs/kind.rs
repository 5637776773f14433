//! What a run does.

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::api) enum Kind {
    /// A run of `stowage migrate`.
    Migration,
    /// A run of `stowage verify`.
    Verification,
}

impl Kind {
    /// Returns its name.
    pub(in crate::admin::api) const fn as_str(self) -> &'static str {
        match self {
            Self::Migration => "migration",
            Self::Verification => "verification",
        }
    }
}
