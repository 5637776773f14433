//! The ordered journal of all events and decisions: an embedded one for a single instance, a RabbitMQ stream for several.

mod embedded;
pub mod rabbitmq;

use std::fmt;

pub use embedded::{Embedded, Options, Room, SEGMENT};

use async_trait::async_trait;
use bytes::Bytes;
use stowage_http::body::BoxError;
use tokio::sync::mpsc;

/// An entry's place in the journal: later entries have larger ones. Gaps are allowed.
pub type Offset = u64;

/// What is to be written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event as its source sent it, or a decision, as JSON.
    pub body: Bytes,
    /// Whether an instance of the call store decided it; else a source said it.
    pub is_decision: bool,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is.
    pub offset: Offset,
    /// When the journal took it, in Unix microseconds; 0 where the journal does not know.
    pub taken: i64,
    /// The event as its source sent it, or a decision, as JSON. Empty where the journal has something here that is neither.
    pub body: Bytes,
    /// Whether an instance of the call store decided it; else a source said it.
    pub is_decision: bool,
}

/// Entries in their order, as they come. The channel is bounded; it ends after an error.
pub type Entries = mpsc::Receiver<Result<Vec<Entry>, JournalError>>;

/// An ordered journal that several may read.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// Appends these in their order and returns once they are safe: on this disk, or confirmed by the broker.
    ///
    /// # Errors
    ///
    /// Where one of them may not be safe; the caller says so to its source, which sends them again.
    async fn append(&self, drafts: Vec<Draft>) -> Result<(), JournalError>;

    /// Appends what sources said, and returns once it is as safe as the instance's role wants it (`sync`): as by
    /// [`append`](Self::append), or as soon as the broker has it that this instance is connected with.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    async fn take(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        self.append(drafts).await
    }

    /// Reads all entries after this one (from the first where there is none), and then follows. Reconnects by itself; entries
    /// may come twice.
    ///
    /// # Errors
    ///
    /// Where the journal cannot be read.
    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError>;

    /// The last entry's place; none where the journal is empty.
    ///
    /// # Errors
    ///
    /// Where the journal cannot be asked.
    async fn end(&self) -> Result<Option<Offset>, JournalError>;
}

/// Why the journal failed.
#[derive(Debug)]
pub enum JournalError {
    /// No room on the disk: nothing more can be taken, all that was can be read.
    Full,
    /// It cannot be reached or used now.
    Unavailable(BoxError),
    /// What is stored is damaged.
    Damaged(BoxError),
}

impl JournalError {
    /// The same failure, for another who waited for the same write.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Unavailable(source) => Self::Unavailable(stowage_base::log::chain(&**source).into()),
            Self::Damaged(source) => Self::Damaged(stowage_base::log::chain(&**source).into()),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the journal's disk is full"),
            Self::Unavailable(_) => f.write_str("the journal cannot be used now"),
            Self::Damaged(_) => f.write_str("the journal is damaged"),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Unavailable(source) | Self::Damaged(source) => Some(&**source),
        }
    }
}
