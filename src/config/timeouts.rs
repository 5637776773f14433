//! `[timeouts]`: how long silence may last.

use std::time::Duration;

use stowage_base::reader::Section;
use stowage_http::connect;

/// `[timeouts]`: of silence, never of a whole transfer; `answer` is that of the gateway's own silence.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Those of connections to CouchDB and to storages; that of the TLS handshake and of silence also hold for clients.
    pub http: connect::Timeouts,
    /// For a client to send a request head.
    pub request_head: Duration,
    /// For the head of an answer that needs a storage, from the last byte of the request, whatever happens in between.
    pub answer: Duration,
    /// For running requests to end at shutdown.
    pub drain: Duration,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        http: connect::Timeouts {
            connect: section.duration("connect", Duration::from_secs(5)),
            tls_handshake: section.duration("tls_handshake", Duration::from_secs(10)),
            response_head: section.duration("response_head", Duration::from_secs(15)),
            idle_body: section.duration("idle_body", Duration::from_secs(60)),
        },
        request_head: section.duration("request_head", Duration::from_secs(30)),
        answer: section.duration("answer", Duration::from_secs(18)),
        drain: section.duration("drain", Duration::from_secs(120)),
    };
    section.finish();
    timeouts
}
