//! `[fallback]`: what becomes of attachments while a storage is down.

use stowage_base::reader::Section;

/// What becomes of an attachment whose storage cannot take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// CouchDB keeps it meanwhile.
    #[default]
    Couchdb,
    /// It is refused: not one byte of it may be in CouchDB.
    Refuse,
}

impl OnUnavailable {
    /// The word for it, in plans and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Couchdb => "couchdb",
            Self::Refuse => "refuse",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Couchdb, Self::Refuse].into_iter().find(|known| known.as_str() == word)
    }
}

/// `[fallback]`.
#[derive(Debug, Clone, Copy)]
pub struct Fallback {
    /// What becomes of an attachment whose storage cannot take it, where its plan does not say.
    pub on_unavailable: OnUnavailable,
    /// So many failures within 30 s open a storage's breaker; 0: it never opens.
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
