//! The revisions that requests name.

use http::header::{HeaderMap, IF_MATCH};
use stowage_couch::canonical;
use stowage_http::target::{encode, query_value};

use crate::error::Error;
use crate::router::Target;

/// The revision that the client names, as `?rev=` or `If-Match` (quoted or not).
pub(crate) fn requested_rev(target: &Target, headers: &HeaderMap) -> Result<Option<String>, Error> {
    rev_of(target.query.as_deref(), headers)
}

/// The revision that a query or `If-Match` names, as CouchDB writes it.
pub(crate) fn rev_of(query: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let query = query_value(query, "rev").map(String::from);
    let header = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let header = header.map(|value| value.trim().trim_matches('"').to_owned());
    // What is none stays, for CouchDB to refuse.
    let read = |rev: String| canonical(&rev).unwrap_or(rev);
    let (query, header) = (query.map(read), header.map(read));
    match (query, header) {
        (Some(query), Some(header)) if query != header => {
            Err(Error::bad_request("Document rev and etag have different values"))
        }
        (query, header) => Ok(query.or(header)),
    }
}

/// A raw query that asks for a revision.
pub(crate) fn rev_query(rev: Option<&str>) -> String {
    rev.map(|rev| format!("rev={}", encode(rev))).unwrap_or_default()
}

/// The generation of a revision; 0 for none.
pub(crate) fn generation(rev: Option<&str>) -> u64 {
    rev.and_then(|rev| rev.split_once('-')).and_then(|(generation, _)| generation.parse().ok()).unwrap_or(0)
}
