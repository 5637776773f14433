//! `[fallback]`: the handling of attachments while a storage is down.

use stowage_base::reader::Section;

/// The handling of an attachment whose storage cannot take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// CouchDB keeps the attachment until the storage is back.
    #[default]
    Couchdb,
    /// The request is refused: no byte of the attachment may be in CouchDB.
    Refuse,
}

impl OnUnavailable {
    /// Returns its name in plans and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Couchdb => "couchdb",
            Self::Refuse => "refuse",
        }
    }

    /// Parses its name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Couchdb, Self::Refuse].into_iter().find(|known| known.as_str() == word)
    }
}

/// `[fallback]`.
#[derive(Debug, Clone, Copy)]
pub struct Fallback {
    /// The handling of an attachment whose storage cannot take it, unless its plan overrides it.
    pub on_unavailable: OnUnavailable,
    /// The number of failures within 30 s that opens a storage's breaker; 0 disables breakers.
    pub failures: u32,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Fallback {
    let text = section.text("on_unavailable", OnUnavailable::default().as_str());
    let on_unavailable = OnUnavailable::of(&text).unwrap_or_else(|| {
        section.problem("on_unavailable", "must be \"couchdb\" or \"refuse\"");
        OnUnavailable::default()
    });
    let failures = u32::try_from(section.count_or_none("failures", 5)).unwrap_or(u32::MAX);
    section.finish();
    Fallback { on_unavailable, failures }
}
