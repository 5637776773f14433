//! The ordered journal of all events and decisions: an embedded one for a single instance, a RabbitMQ stream for several.

mod embedded;
pub mod rabbitmq;

use std::fmt;

pub use embedded::{Embedded, Options, Room, SEGMENT};

use async_trait::async_trait;
use bytes::Bytes;
use stowage_http::body::BoxError;
use tokio::sync::mpsc;

/// The position of an entry in the journal. Later entries have greater offsets; gaps are allowed.
pub type Offset = u64;

/// An entry to be appended.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event as its source sent it, or a decision, as JSON.
    pub body: Bytes,
    /// Whether the entry is a decision by an instance of the call store, as opposed to a source's event.
    pub is_decision: bool,
}

/// An entry of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The entry's position.
    pub offset: Offset,
    /// When the journal took the entry, in Unix microseconds; 0 if unknown.
    pub taken: i64,
    /// The event as its source sent it, or a decision, as JSON. Empty for entries that are neither.
    pub body: Bytes,
    /// Whether the entry is a decision by an instance of the call store, as opposed to a source's event.
    pub is_decision: bool,
}

/// Batches of entries in order, as they arrive. The channel is bounded, and ends after an error.
pub type Entries = mpsc::Receiver<Result<Vec<Entry>, JournalError>>;

/// An ordered journal for any number of readers.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// Appends entries in order, and returns once they are durable: on the local disk, or confirmed by the broker.
    ///
    /// # Errors
    /// If an entry may not be durable; the caller reports this to its source, which sends the events again.
    async fn append(&self, drafts: Vec<Draft>) -> Result<(), JournalError>;

    /// Appends events of sources, and returns once they are as durable as the instance's role requires (`sync`): as with [`append`](Self::append), or
    /// received by the connected broker.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    async fn take(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        self.append(drafts).await
    }

    /// Reads all entries after the given one, or from the first, and then follows the journal. Reconnects by itself; entries may be delivered twice.
    ///
    /// # Errors
    /// If the journal cannot be read.
    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError>;

    /// Returns the last entry's offset; `None` if the journal is empty.
    ///
    /// # Errors
    /// If the journal cannot be queried.
    async fn end(&self) -> Result<Option<Offset>, JournalError>;

    /// Returns the same to a reader that has an entry already: if no entry is shown then, the journal is not empty but does not answer, as another
    /// site's that delivers nothing within the timeout.
    ///
    /// # Errors
    /// As for [`end`](Self::end).
    async fn end_after(&self, known: Option<Offset>) -> Result<Option<Offset>, JournalError> {
        match self.end().await? {
            None if known.is_some() => Err(JournalError::Unavailable("it does not show its last entry".into())),
            end => Ok(end),
        }
    }

    /// Returns whether an end before an entry that was read shows that entries were lost. Another site's stream may show the end of a copy that lags;
    /// its reader finds out.
    fn is_end_exact(&self) -> bool {
        true
    }

    /// Returns the last entry's offset as it is known without a query; `None` if it is not.
    fn last_known(&self) -> Option<Offset>;
}

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full: no entries are accepted, but existing ones can be read.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is currently unreachable or unusable.
    #[error("the journal cannot be used now")]
    Unavailable(#[source] BoxError),
    /// The stored data is damaged.
    #[error("the journal is damaged")]
    Damaged(#[source] BoxError),
    /// The journal ended before what was read of it: new entries have the offsets of lost ones, so it has to be read from its beginning.
    #[error("the journal lost entries that were read")]
    Shortened(#[source] BoxError),
}

impl JournalError {
    /// Copies the error for another waiter of the same write.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Unavailable(source) => Self::Unavailable(stowage_base::log::chain(&**source).into()),
            Self::Damaged(source) => Self::Damaged(stowage_base::log::chain(&**source).into()),
            Self::Shortened(source) => Self::Shortened(stowage_base::log::chain(&**source).into()),
        }
    }
}
