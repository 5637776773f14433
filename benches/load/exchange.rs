//! The bench's small requests and their responses, which the upstream sends without look-ups.

use crate::workload::{DATABASE, document_target};

/// A database of a class that no plan names: every request to it is forwarded.
const UNPLANNED: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef";
/// The document that every gateway is first asked for.
pub(crate) const SMALL: &str = "202011-small";
/// The revision in every response.
const REV: &str = "1-f364bf5ee6a1e79139fbc8e5c4e01fec";

/// A kind of request.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    database: &'static str,
    id: &'static str,
    /// The document's length in bytes: in the response to a GET, in the body of a PUT.
    length: usize,
    /// The target for requests per second, as a multiple of nginx's.
    pub(crate) rate: f64,
    /// The target for CPU time, as a multiple of nginx's.
    pub(crate) cost: f64,
    /// Whether single requests are timed too.
    pub(crate) is_timed: bool,
}

/// Reads of documents.
pub(crate) static READ: [Exchange; 3] = [
    Exchange {
        name: "GET of 500 B, month database with a plan",
        method: "GET",
        database: DATABASE,
        id: SMALL,
        length: 500,
        rate: 1.1,
        cost: 1.0,
        is_timed: true,
    },
    Exchange {
        name: "GET of 500 B",
        method: "GET",
        database: UNPLANNED,
        id: "small",
        length: 500,
        rate: 1.1,
        cost: 1.0,
        is_timed: false,
    },
    Exchange {
        name: "GET of 8 KiB",
        method: "GET",
        database: UNPLANNED,
        id: "page",
        length: 8192,
        rate: 1.1,
        cost: 1.0,
        is_timed: false,
    },
];

/// Saves of documents.
pub(crate) static SAVED: [Exchange; 1] = [Exchange {
    name: "PUT of a document of 1 KiB",
    method: "PUT",
    database: UNPLANNED,
    id: "saved",
    length: 1024,
    rate: 1.0,
    cost: 1.1,
    is_timed: false,
}];

impl Exchange {
    pub(crate) fn target(&self) -> String {
        document_target(self.database, self.id)
    }

    /// Returns the request's body, if it has one.
    pub(crate) fn body(&self) -> Option<String> {
        (self.method == "PUT").then(|| filled("", self.length))
    }

    /// Returns the response's status, revision and body.
    pub(crate) fn answer(&self) -> (&'static str, &'static str, String) {
        let id = self.id;
        match self.method {
            "PUT" => ("201 Created", REV, format!("{{\"ok\":true,\"id\":\"{id}\",\"rev\":\"{REV}\"}}\n")),
            _ => ("200 OK", REV, filled(&format!("\"_id\":\"{id}\",\"_rev\":\"{REV}\","), self.length)),
        }
    }
}

/// Builds a document of this length in bytes: JSON that begins with these members, with CouchDB's trailing line feed.
fn filled(members: &str, length: usize) -> String {
    let start = format!(
        "{{{members}\"pvt_type\":\"cdr\",\"pvt_account_id\":\"1234567890abcdef1234567890abcdef\",\
         \"call_direction\":\"inbound\",\"duration_seconds\":\"17\",\"hangup_cause\":\"NORMAL_CLEARING\",\"note\":\""
    );
    let end = "\"}\n";
    let filler = "x".repeat(length.saturating_sub(start.len() + end.len()));
    format!("{start}{filler}{end}")
}
