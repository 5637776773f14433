//! The revisions that requests name.

use http::header::{HeaderMap, HeaderValue, IF_MATCH};
use http::uri::PathAndQuery;
use http::{Uri, request};
use stowage_couch::{self as couch, canonical};
use stowage_http::target::{encode, query_pairs, query_value};

use crate::error::Error;

/// Returns the revision that a client names in its query or as `If-Match` (quoted or not), in CouchDB's form.
pub(crate) fn rev_of(query: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let query = query_value(query, "rev").map(String::from);
    let header = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let header = header.map(|value| value.trim().trim_matches('"').to_owned());
    // An invalid revision stays as it is, for CouchDB to refuse.
    let read = |rev: String| canonical(&rev).unwrap_or(rev);
    let (query, header) = (query.map(read), header.map(read));
    match (query, header) {
        (Some(query), Some(header)) if query != header => {
            Err(Error::bad_request("Document rev and etag have different values"))
        }
        (query, header) => Ok(query.or(header)),
    }
}

/// Replaces the revision that a request names, wherever it names one.
///
/// # Errors
/// Never fails for a revision that CouchDB returned.
pub(crate) fn name_rev(head: &mut request::Parts, rev: &str) -> Result<(), Error> {
    if head.headers.contains_key(IF_MATCH) {
        let value = HeaderValue::try_from(format!("\"{rev}\"")).map_err(http::Error::from);
        head.headers.insert(IF_MATCH, value.map_err(couch::Error::from)?);
    }
    let Some(query) = head.uri.query() else { return Ok(()) };
    let named = |pair: &str| query_value(Some(pair), "rev").is_some();
    let pairs = query.split('&').map(|pair| if named(pair) { rev_query(Some(rev)) } else { pair.to_owned() });
    let query = pairs.collect::<Vec<_>>().join("&");
    set_query(head, &query)
}

/// Adds the revision to a request that does not name one.
///
/// # Errors
/// Never fails for a revision that CouchDB returned.
pub(crate) fn add_rev(head: &mut request::Parts, rev: &str) -> Result<(), Error> {
    let query = head.uri.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&")).unwrap_or_default();
    set_query(head, &format!("{query}{}", rev_query(Some(rev))))
}

/// Removes parameters from a request's query.
///
/// # Errors
/// Never fails for a query that was parsed before.
pub(crate) fn drop_parameters(head: &mut request::Parts, names: &[&str]) -> Result<(), Error> {
    let named = |pair: &str| names.iter().any(|name| query_value(Some(pair), name).is_some());
    let Some(query) = head.uri.query().filter(|query| query.split(['&', ';']).any(named)) else { return Ok(()) };
    let query = query.split(['&', ';']).filter(|pair| !named(pair)).collect::<Vec<_>>().join("&");
    set_query(head, &query)
}

fn set_query(head: &mut request::Parts, query: &str) -> Result<(), Error> {
    let target = format!("{}?{query}", head.uri.path());
    let target: PathAndQuery = target.parse().map_err(http::Error::from).map_err(couch::Error::from)?;
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.path_and_query = Some(target);
    head.uri = Uri::from_parts(parts).map_err(http::Error::from).map_err(couch::Error::from)?;
    Ok(())
}

/// Builds a raw query for a revision.
pub(crate) fn rev_query(rev: Option<&str>) -> String {
    rev.map(|rev| format!("rev={}", encode(rev))).unwrap_or_default()
}

/// Builds a raw query for the number of replicas to write that a request names (`w`).
pub(crate) fn quorum_query(query: Option<&str>) -> String {
    let said = query_pairs(query).find(|(name, _)| name == "w").map(|(_, count)| count);
    let count = said.filter(|count| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()));
    count.map(|count| format!("w={count}")).unwrap_or_default()
}

/// Returns the generation of a revision, 0 for none.
pub(crate) fn generation(rev: Option<&str>) -> u64 {
    rev.and_then(|rev| rev.split_once('-')).and_then(|(generation, _)| generation.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{add_rev, drop_parameters, name_rev, quorum_query};

    #[test]
    fn the_number_of_replicas_is_the_first_that_is_one() {
        for (query, expected) in
            [("rev=1-a&w=2", "w=2"), ("w=1;w=2", "w=1"), ("w=", ""), ("w=-1", ""), ("w=x", ""), ("rev=1-a", "")]
        {
            assert_eq!(quorum_query(Some(query)), expected, "{query}");
        }
    }

    #[test]
    fn a_request_names_another_revision_wherever_it_named_one() {
        for (target, expected) in [
            ("/db/d?rev=1-a", "/db/d?rev=2-b"),
            ("/db/d?batch=ok&rev=1-a&x=1-a", "/db/d?batch=ok&rev=2-b&x=1-a"),
            ("http://h/db/d%2Fe?rev=1-a", "http://h/db/d%2Fe?rev=2-b"),
            ("/db/d?new_edits=true", "/db/d?new_edits=true"),
            ("/db/d", "/db/d"),
        ] {
            let mut head = Request::get(target).header("If-Match", "1-a").body(()).unwrap().into_parts().0;
            name_rev(&mut head, "2-b").unwrap();
            assert_eq!(
                (head.uri.to_string().as_str(), &head.headers["If-Match"]),
                (expected, &"\"2-b\"".parse().unwrap())
            );
        }
    }

    #[test]
    fn a_request_loses_the_parameters_that_do_not_count() {
        for (target, expected) in [
            ("/db/d?batch=ok&rev=1-a", "/db/d?rev=1-a"),
            ("/db/d?rev=1-a;batch=ok&b%61tch=x", "/db/d?rev=1-a"),
            ("/db/d?batch=ok", "/db/d?"),
            ("/db/d?batches=ok;x", "/db/d?batches=ok;x"),
            ("/db/d", "/db/d"),
        ] {
            let mut head = Request::get(target).body(()).unwrap().into_parts().0;
            drop_parameters(&mut head, &["batch"]).unwrap();
            assert_eq!(head.uri.to_string(), expected);
        }
    }

    #[test]
    fn a_request_that_named_no_revision_names_one() {
        for (target, expected) in
            [("/db/d", "/db/d?rev=2-b"), ("/db/d?", "/db/d?rev=2-b"), ("/db/d?x=1", "/db/d?x=1&rev=2-b")]
        {
            let mut head = Request::get(target).body(()).unwrap().into_parts().0;
            add_rev(&mut head, "2-b").unwrap();
            assert_eq!(head.uri.to_string(), expected);
        }
    }
}
