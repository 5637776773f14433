//! What one server's connections are like.

use std::time::Duration;

/// How the connections to one server are made and kept.
#[derive(Debug, Clone, Copy)]
pub struct Pooling {
    /// How long a connection may take to be made, where that is less than `timeouts.connect`.
    pub connect: Option<Duration>,
    /// Whether the system asks now and then whether the other end of an idle connection is still there (RFC 1122 section
    /// 4.2.3.6).
    pub keepalive: bool,
    /// More idle connections than this are closed, the oldest first.
    pub most_idle: usize,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { connect: None, keepalive: false, most_idle: MOST_IDLE }
    }
}

/// More idle connections than this to one server are closed, the oldest first.
const MOST_IDLE: usize = 1024;
