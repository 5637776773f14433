//! Presents pointers as CouchDB's own attachments, in the databases that `couchdb.present_stubs` selects.
//!
//! The client's request goes to CouchDB with the client's rights, and the response is edited as it streams through: pointers are removed from
//! `pvt_attachments`, and stubs or bytes are added to `_attachments`. `docs/documents.md` describes this for clients.
//!
//! The response determines what it contains, not the request: every response from such a database passes through `answer::change`, so that no
//! location leaves, whether the request was understood or not. The request only determines what is *added*: stubs or bytes.
//!
//! | file | contents |
//! |---|---|
//! | `shape`, `answer` | the form of a response; its head, and the handler of its body |
//! | `requested` | what the client wants: queries, and bodies with options |
//! | `state` | one document while it is edited; the rules for editing |
//! | `view` | the state shared by the documents of one response; opens attachments |
//! | `edit`, `rows` | JSON: one document, rows, feeds |
//! | `related`, `mixed` | multipart: one document with its attachments, and several of them |

mod answer;
mod edit;
mod entries;
mod mixed;
mod related;
mod requested;
mod rows;
mod shape;
mod state;
mod trial;
mod view;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri, request};
use stowage_couch::{self as couch, Finder, Text};
use stowage_http::body::{Body, BoxError, TooLarge};
use stowage_http::target::{query_pairs, query_value};

use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::router::{Database, DocumentTarget, List};
use crate::upstream::Home;
use crate::upstream::forward::forward;
use crate::upstream::held::{Held, Taken, UNCOUNTED, memory_of, scanned, take};
use answer::change;
use requested::{RequestedRows, names_revs};
pub(crate) use shape::Kind;
use state::Terms;
pub use trial::shown_text;
use view::View;

/// Handles GET and HEAD of a document.
pub(crate) async fn document(
    gateway: Arc<Gateway>,
    home: Home,
    target: DocumentTarget,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    let (mut head, _) = exchange.request.into_parts();
    let couch = home.holder(&target.path, Requester::new(&head.headers, &exchange.activity, exchange.id)).await?;
    let query = target.query.as_deref();
    let requested_rows = RequestedRows::of_document_query(query);
    let hides_history = hides_history(query, &requested_rows);
    let limit = gateway.limits.document_bytes;
    let terms = Terms { database: target.database.name.clone(), requested_rows, hides_history, limit };
    let kind = if names_revs(query) { Kind::OpenRevs } else { Kind::Document };
    let sends_no_data = kind == Kind::Document && !terms.requested_rows.any_data();
    adjust(&mut head, hides_history)?;
    // A read has no body.
    for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
        head.headers.remove(name);
    }
    let view = Arc::new(View {
        gateway: Arc::clone(&gateway),
        terms: Arc::new(terms),
        by_rev: kind == Kind::OpenRevs || query_value(query, "rev").is_some(),
        database: target.database,
        headers: if sends_no_data { HeaderMap::new() } else { head.headers.clone() },
        activity: exchange.activity.clone(),
        wants_body: head.method != Method::HEAD,
    });
    // The length of one document has to be computed; CouchDB does not announce that of several.
    if kind == Kind::Document {
        head.method = Method::GET;
    }
    if sends_no_data {
        let request = Request::from_parts(head, Body::empty());
        let exchange = Exchange { request, id: exchange.id, activity: exchange.activity };
        return change(view, forward(&gateway.homes, &couch, exchange).await?, kind).await;
    }
    let (mut reads, mut seen) = (MOST_READS, None);
    loop {
        reads -= 1;
        let request = Request::from_parts(head.clone(), Body::empty());
        let exchange = Exchange { request, id: exchange.id, activity: exchange.activity.clone() };
        let answer = forward(&gateway.homes, &couch, exchange).await?;
        let told = answer.headers().get(ETAG).cloned();
        match change(Arc::clone(&view), answer, kind).await {
            // The attachment was replaced after the document was read: read the document again. CouchDB sends no tag with `open_revs`.
            Err(error) if reads > 0 && error.is_missing() && (kind == Kind::OpenRevs || told != seen) => seen = told,
            outcome => return outcome,
        }
    }
}

/// Handles everything else in a database: `POST /db/_bulk_get`, lists and feeds, and whatever is not known to hold documents.
pub(crate) async fn within(
    gateway: Arc<Gateway>,
    home: Home,
    database: Database,
    kind: Kind,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    let Exchange { request, id, activity } = exchange;
    let (mut head, body) = request.into_parts();
    let (query, limit) = (head.uri.query(), gateway.limits.document_bytes);
    let has_options = matches!(kind, Kind::BulkGet | Kind::List(List::Rows | List::Queries));
    let (options, body, again, found) = if head.method == Method::POST && has_options {
        let Asking { options, body, again, found } = asking(&gateway, &head.headers, body, kind).await?;
        (Some(options), body, again, found)
    } else {
        (None, body, None, None)
    };
    let options = options.as_ref().map(Option::as_deref);
    let requested_rows = match kind {
        Kind::BulkGet => RequestedRows::of_bulk_get(query, options.flatten()),
        Kind::List(list) => RequestedRows::of_list(list, query, options),
        Kind::Document | Kind::OpenRevs | Kind::Other => RequestedRows::default(),
    };
    let hides_history = kind == Kind::BulkGet && hides_history(query, &requested_rows);
    let terms = Terms { database: database.name.clone(), requested_rows, hides_history, limit };
    let view = View {
        gateway: Arc::clone(&gateway),
        database,
        headers: head.headers.clone(),
        activity: activity.clone(),
        terms: Arc::new(terms),
        by_rev: kind == Kind::BulkGet,
        wants_body: head.method != Method::HEAD,
    };
    adjust(&mut head, hides_history)?;
    let exchange = Exchange { request: Request::from_parts(head, body), id, activity };
    match sent(Arc::new(view), &home, exchange, again, kind).await {
        Err(_) if found.as_ref().is_some_and(|found| found.load(Ordering::Acquire)) => Err(broken(TooLarge.into())),
        shown => shown,
    }
}

/// Sends a request and returns the client's response. `again` is the body in memory, whose share of the budget ends with the head of the response,
/// since a client may read the rest as slowly as it likes.
async fn sent(
    view: Arc<View>,
    home: &Home,
    exchange: Exchange,
    again: Option<Held>,
    kind: Kind,
) -> Result<Response<Body>, Error> {
    let Exchange { request, id, activity } = exchange;
    let (head, mut body) = request.into_parts();
    let mut reads = if kind == Kind::BulkGet { MOST_READS } else { 1 };
    loop {
        reads -= 1;
        let request = Request::from_parts(head.clone(), body);
        let exchange = Exchange { request, id, activity: activity.clone() };
        let answer = forward(&view.gateway.homes, &home.couch, exchange).await?;
        match (change(Arc::clone(&view), answer, kind).await, &again) {
            // An attachment was replaced after its document was read: read the documents again.
            (Err(error), Some(held)) if reads > 0 && error.is_missing() => body = Body::full(held.bytes.clone()),
            (shown, _) => return shown,
        }
    }
}

/// The body of a request, and what it says about attachments.
struct Asking {
    /// The decoded body, or one with the same options; `None` if CouchDB refuses to decode it.
    options: Option<Bytes>,
    body: Body,
    /// The body, if it is in memory.
    again: Option<Held>,
    /// Whether a body that is too long to read turned out to have options, which breaks it off.
    found: Option<Arc<AtomicBool>>,
}

/// Reads a body for its options. One that exceeds the limit is streamed as long as it has none.
async fn asking(gateway: &Gateway, headers: &HeaderMap, body: Body, kind: Kind) -> Result<Asking, Error> {
    let body = match take(gateway.limits.document_bytes, &gateway.budget, memory_of, body).await.map_err(broken)? {
        Taken::Whole(mut held) => {
            let options = as_read(gateway, headers, &mut held).await?;
            return Ok(Asking { options, body: Body::full(held.bytes.clone()), again: Some(held), found: None });
        }
        Taken::Long(body) => body,
    };
    let (finder, options) = match kind {
        Kind::List(List::Rows) => (Finder::new(Text::Document, &["attachments", "att_encoding_info"]), "{}"),
        Kind::BulkGet => (Finder::new(Text::Bulk, &["atts_since"]), "{\"docs\":[]}"),
        _ => return Err(broken(TooLarge.into())),
    };
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(broken(TooLarge.into()));
    }
    let (body, found) = scanned(body, finder);
    Ok(Asking { options: Some(options.into()), body, again: None, found: Some(found) })
}

/// Decodes a request's body as CouchDB does (`chttpd:maybe_decompress`); `None` if CouchDB refuses to.
async fn as_read(gateway: &Gateway, headers: &HeaderMap, held: &mut Held) -> Result<Option<Bytes>, Error> {
    let limit = gateway.limits.document_bytes;
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    match (codings.next(), codings.next()) {
        (None | Some(b"identity"), None) => Ok(Some(held.bytes.clone())),
        (Some(b"gzip"), None) => {
            let packed = held.bytes.len() as u64;
            let longest = packed.saturating_mul(MOST_UNPACKED).min(limit);
            if held.share.is_none() && longest > UNCOUNTED {
                held.share = gateway.budget.share(memory_of(longest)).await;
            }
            let (mut plain, most) = (Vec::new(), limit.saturating_add(1));
            match MultiGzDecoder::new(&*held.bytes).take(most).read_to_end(&mut plain) {
                Ok(_) if plain.len() as u64 > limit => Err(broken(TooLarge.into())),
                Ok(_) => {
                    if packed.max(plain.len() as u64) <= UNCOUNTED {
                        held.share = None;
                    }
                    Ok(Some(plain.into()))
                }
                Err(_) => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Returns whether the rows of a list include their documents. For a POST, assumes so, since the body has not been read.
pub(crate) fn asks_for_documents(list: List, request: &Request<Body>) -> bool {
    match list {
        List::Found | List::Queries => true,
        List::Rows if *request.method() == Method::POST => true,
        List::Rows | List::Changes => query_pairs(request.uri().query())
            .any(|(name, value)| name.eq_ignore_ascii_case("include_docs") && value.eq_ignore_ascii_case("true")),
    }
}

/// Returns whether the gateway needs the documents' history, although the client did not ask for it.
fn hides_history(query: Option<&str>, requested_rows: &RequestedRows) -> bool {
    requested_rows.need_history() && !query_pairs(query).any(|(name, value)| name == "revs" && value == "true")
}

/// Adjusts the request so that the gateway can read CouchDB's response.
fn adjust(head: &mut request::Parts, with_history: bool) -> Result<(), Error> {
    head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if with_history {
        let mark = if head.uri.query().is_some() { '&' } else { '?' };
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let target = format!("{target}{mark}revs=true");
        let target = PathAndQuery::try_from(target).map_err(|_| Error::Bug("a longer query is none"))?;
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target);
        head.uri = Uri::from_parts(parts).map_err(|_| Error::Bug("a longer query is none"))?;
    }
    Ok(())
}

fn broken(error: BoxError) -> Error {
    couch::Error::Body(error).into()
}

/// The length to which deflate can expand a byte.
const MOST_UNPACKED: u64 = 1032;

/// The number of times that a document is read for one response.
const MOST_READS: u32 = 4;
