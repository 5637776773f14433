//! Querying switches for their channels.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use stowage_http::body::BoxError;

use crate::fold::Micros;

/// The response of one switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The switch.
    pub node: Box<str>,
    /// When it responded.
    pub at: Micros,
    /// The Call-IDs of its channels.
    pub channels: HashSet<Box<str>>,
    /// Whether the list is complete; an incomplete one proves no death.
    pub is_whole: bool,
}

impl Answer {
    /// Returns whether no tracker lists any channel of the switch. That is no sign of life: a tracker says the same of a switch that died, or that it
    /// has not asked itself yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_whole && self.channels.is_empty()
    }
}

/// The responses to one query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// One response per switch.
    pub answers: Vec<Answer>,
    /// Whether the query was sent and every switch had time to respond.
    pub is_complete: bool,
}

/// Queries all switches for all their channels. Their responses are appended to the journal as well, so that what was missed is known.
#[async_trait]
pub trait Switches: Send + Sync + fmt::Debug {
    /// Queries once, and waits for the responses.
    ///
    /// # Errors
    /// If the query cannot be sent, which says nothing about any switch.
    async fn sweep(&self) -> Result<Sweep, BoxError>;
}
