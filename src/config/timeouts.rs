//! `[timeouts]`: limits on silence.

use std::time::Duration;

use stowage_base::reader::Section;
use stowage_http::connect;

/// `[timeouts]`: limits on silence, never on a whole transfer; `answer` limits the gateway's own silence.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The timeouts of connections to CouchDB and storages. The TLS handshake and idle timeouts also apply to clients.
    pub http: connect::Timeouts,
    /// How long a client may take to send a request head.
    pub request_head: Duration,
    /// How long the response head of a request that needs a storage may take, from the last byte of the request.
    pub answer: Duration,
    /// How long requests in flight may take to finish at shutdown.
    pub drain: Duration,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        http: connect::Timeouts::read(&mut section),
        request_head: section.duration("request_head", Duration::from_secs(30)),
        answer: section.duration("answer", Duration::from_secs(18)),
        drain: section.duration("drain", Duration::from_secs(120)),
    };
    section.finish();
    timeouts
}
