//! Asking switches for their channels.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use stowage_http::body::BoxError;

use crate::fold::Micros;

/// What one switch has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The switch.
    pub node: Box<str>,
    /// When it answered.
    pub at: Micros,
    /// The Call-IDs of its channels.
    pub channels: HashSet<Box<str>>,
    /// Whether these are all of them; one that may be cut off proves no death.
    pub is_whole: bool,
}

/// What was answered to one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// By switch.
    pub answers: Vec<Answer>,
    /// Whether the question went out and whoever is there had the time to answer it.
    pub is_complete: bool,
}

/// Asks all switches for all their channels. What they say is an entry of the journal as well, so that what was missed is known.
#[async_trait]
pub trait Switches: Send + Sync + fmt::Debug {
    /// Asks once, and waits for the answers.
    ///
    /// # Errors
    /// Where the question cannot be asked: that says nothing of any switch.
    async fn sweep(&self) -> Result<Sweep, BoxError>;
}
