//! Documents written by clients: with attachments inside, with stubs of outside ones, and to the CouchDB that their type names.
//!
//! The gateway parses a document as CouchDB does, and refuses what CouchDB refuses: nothing that carries an attachment passes unseen. Attachments
//! that the plan sends elsewhere are stored first, and the document with their pointers is saved last, so that either all of it persists or nothing.

mod base;
mod bulk;
mod copies;
mod draft;
mod form;
mod parts;
mod single;
mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Request, Response, request};
use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Couch, Document, Finder, Text};
use stowage_http::body::{Body, BoxError, ClientGone, TooLarge, cause};
use stowage_http::gzip::Gunzip;

use crate::attachment::fallback::Fallen;
use crate::error::Error;
use crate::exchange::deadline::{hear, in_time};
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::object::memory::Share;
use crate::plan::Decision;
use crate::router::{Database, Target};
use crate::upstream::Home;
use crate::upstream::forward::forward;
use crate::upstream::held::{Held, Taken, memory_of, memory_of_document, scanned, take};
use draft::attached::Content;
use draft::{Base, Draft};

pub(crate) use bulk::bulk_docs;
pub(crate) use form::post as form;
pub(crate) use single::{post, put};

/// The route label, which says whether the gateway changed the document, and the response.
type Labelled = Result<(&'static str, Response<Body>), Error>;

/// Splits the outcome of a write into its route label and its response.
pub(crate) fn labelled(told: Labelled) -> (&'static str, Result<Response<Body>, Error>) {
    match told {
        Ok((label, answer)) => (label, Ok(answer)),
        Err(error) => (TOUCHED, Err(error)),
    }
}

/// The state shared by all writes of one request.
#[derive(Clone)]
struct Writer {
    gateway: Arc<Gateway>,
    database: Database,
    home: Arc<Home>,
    headers: HeaderMap,
    activity: Activity,
    id: RequestId,
    /// Whether the plan may want objects removed that the document no longer names.
    deletes: bool,
    /// The request's share of the upload budget.
    share: Share,
}

/// Handles a write that the gateway must parse; forwards any other unchanged. `concerns` returns whether the request's media type is one that needs
/// parsing.
async fn begin<F>(
    gateway: Arc<Gateway>,
    database: Database,
    mut exchange: Exchange,
    has_deadline: bool,
    concerns: impl FnOnce(&Home, &HeaderMap) -> bool + Send,
    write: impl FnOnce(Writer, request::Parts, Body) -> F + Send,
) -> Labelled
where
    F: Future<Output = Labelled> + Send,
{
    let home = gateway.homes.of(&database).await?;
    // Until all plans are known, any user may have one: every document would be read before it is written.
    let users = || gateway.plans.is_followed() && gateway.plans.has_user_plans(database.account.as_ref());
    let deletes = home.plan.may_delete(database.class, &database.name) || users();
    // Clients send the stubs back that they are shown.
    let presents = gateway.always_presents(&database);
    if !(home.may_be_outside() || deletes || presents) || !concerns(&home, exchange.request.headers()) {
        return Ok((UNTOUCHED, forward(&gateway.homes, &home.couch, exchange).await?));
    }
    let limit = gateway.timeouts.answer;
    if has_deadline {
        hear(limit, &mut exchange);
    }
    let Exchange { request, id, activity } = exchange;
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let (home, activity_of) = (Arc::new(home), activity.clone());
    let writer =
        Writer { gateway, database, home, headers, activity: activity_of, id, deletes, share: Share::default() };
    let writing = Box::pin(write(writer, head, body));
    if has_deadline { in_time(limit, &activity, writing).await } else { writing.await }
}

impl Writer {
    /// Returns the client on whose behalf CouchDB is called.
    fn requester(&self) -> Requester<'_> {
        Requester::new(&self.headers, &self.activity, self.id)
    }

    /// Returns a document's attachment that CouchDB keeps because its storage is down.
    fn fallen<'a>(&'a self, target: &'a Target, document: &'a Document, decision: &'a Decision) -> Fallen<'a> {
        Fallen { gateway: &self.gateway, target, document, decision, id: self.id }
    }

    /// Adds jobs for the attachments to move out of a document later. Call this before the document is acknowledged.
    async fn note_fallen(&self, draft: &mut Draft) {
        let Some((decision, error)) = draft.fallen.take() else { return };
        let error = Error::Storage(decision.storage().into(), error);
        for one in draft.attached.iter().filter(|one| !matches!(one.content, Content::Stub)) {
            let target = draft.target.attachment(&one.name);
            draft.noted.extend(self.fallen(&target, &draft.document, &decision).note(&error).await);
        }
    }

    /// Returns whether every document must be parsed, whatever it contains.
    fn reads_all(&self) -> bool {
        self.home.has_others() || self.deletes
    }

    /// Returns whether no attachment can be meant for a storage, and no document for another CouchDB: then CouchDB may take what is too long to parse.
    fn stores_nothing(&self) -> bool {
        !(self.home.may_be_outside() || self.deletes)
    }

    /// Creates the scanner for members that the gateway must handle.
    fn finder(text: Text) -> Finder {
        Finder::new(text, &["_attachments"])
    }

    /// Forwards the client's request with a body, and adjusts its head to the body's length.
    async fn send(&self, couch: &Couch, mut head: request::Parts, body: Body) -> Result<Response<Body>, Error> {
        match body.size_hint().exact() {
            // For CouchDB, no body differs from an empty one.
            Some(0) if !head.headers.contains_key(CONTENT_LENGTH) => {}
            Some(length) => drop(head.headers.insert(CONTENT_LENGTH, length.into())),
            None => drop(head.headers.remove(CONTENT_LENGTH)),
        }
        let request = Request::from_parts(head, body);
        forward(&self.gateway.homes, couch, Exchange { request, id: self.id, activity: self.activity.clone() }).await
    }

    /// Refuses a request, unless CouchDB refuses the client access to the database.
    async fn refuse(&self, error: Error) -> Labelled {
        Ok((TOUCHED, self.home.refuse(&self.database, self.requester(), error).await?))
    }

    async fn send_on(&self, couch: &Couch, head: request::Parts, body: Body) -> Labelled {
        Ok((UNTOUCHED, self.send(couch, head, body).await?))
    }

    /// Returns the CouchDB that a draft goes to: the one that has the document, or else the one that its type names.
    async fn couch_of(&self, draft: &Draft, base: &Base) -> Result<Couch, Error> {
        if base.exists || !self.home.has_others() {
            return Ok(base.caller.couch().clone());
        }
        self.home.of_type(&draft.target.database, &draft.document).await
    }

    /// Reads a JSON body into memory, decompressed. One that exceeds the limit is streamed on, and its response returned.
    async fn take(&self, mut head: request::Parts, body: Body, text: Text) -> Result<Input, Error> {
        let mut encodings = head.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
        let body = match (encodings.next(), encodings.next()) {
            (None | Some(b"identity"), None) => body,
            (Some(b"gzip"), None) => {
                head.headers.remove(CONTENT_ENCODING);
                head.headers.remove(CONTENT_LENGTH);
                Body::boxed(Gunzip::strict(body))
            }
            // CouchDB supports no other encoding, and not two of them.
            _ => return Ok(Input::Answered(self.send(&self.home.couch, head, body).await?)),
        };
        let memory = match text {
            Text::Document => memory_of_document,
            Text::Bulk => memory_of,
        };
        let gateway = &self.gateway;
        match take(gateway.limits.document_bytes, &gateway.budget, memory, body).await.map_err(unread)? {
            Taken::Whole(held) => Ok(Input::Whole(head, held)),
            // The document itself determines its destination, and which objects it no longer names.
            Taken::Long(_) if self.reads_all() => Err(too_long()),
            Taken::Long(body) if self.stores_nothing() => {
                Ok(Input::Answered(self.send(&self.home.couch, head, body).await?))
            }
            Taken::Long(body) => {
                let (body, found) = scanned(body, Self::finder(text));
                match self.send(&self.home.couch, head, body).await {
                    Err(_) if found.load(Ordering::Acquire) => Err(too_long()),
                    outcome => Ok(Input::Answered(outcome?)),
                }
            }
        }
    }
}

/// A request's body.
enum Input {
    Whole(request::Parts, Held),
    /// The request was forwarded; this is CouchDB's response.
    Answered(Response<Body>),
}

/// Maps an error while reading the client's body.
fn unread(error: BoxError) -> Error {
    if cause::<ClientGone>(&*error).is_some() {
        return Error::from(stowage_couch::Error::Body(error));
    }
    Error::bad_request("Request body is not properly gzipped.")
}

fn too_long() -> Error {
    stowage_couch::Error::Body(TooLarge.into()).into()
}

/// The route label of a request that was forwarded unchanged.
const UNTOUCHED: &str = "forward";
/// The route label of a request whose document the gateway changed.
const TOUCHED: &str = "document";
