//! Documents that clients write: with their attachments inside, with stubs of outside ones, to the CouchDB that their
//! type names.
//!
//! What CouchDB understands in a document the gateway understands, and refuses what CouchDB refuses: nothing that carries an
//! attachment goes on unseen. Attachments that the plan
//! sends elsewhere are stored first, the document with their pointers is saved last, and either all of it stays or none.

mod base;
mod body;
mod bulk;
mod copies;
mod draft;
mod form;
mod parts;
mod single;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Couch, Document, Finder, Text};
use stowage_http::body::{Body, BoxError, ClientGone, cause};
use stowage_http::gzip::Gunzip;

use crate::attachment::fallback::Fallen;
use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::plan::Decision;
use crate::router::{Database, DocumentTarget, Target};
use crate::upstream::Home;
use crate::upstream::answer::relay;
use crate::upstream::forward::forward;
use base::Base;
use body::{Held, Scanned, Taken, take};
use draft::Draft;
use draft::attached::Content;

/// The answer, and whether the gateway did something to the document: the metrics' label of the route.
type Told = Result<(&'static str, Response<Body>), Error>;

/// `PUT /db/doc`, as JSON or as multipart/related.
pub(crate) async fn put(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    labelled(Box::pin(single::put(gateway, target, exchange)).await)
}

/// `POST /db`: a document that says its own id, or none.
pub(crate) async fn post(
    gateway: Arc<Gateway>,
    database: Database,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    labelled(Box::pin(single::post(gateway, database, exchange)).await)
}

/// `POST /db/_bulk_docs`.
pub(crate) async fn bulk_docs(
    gateway: Arc<Gateway>,
    database: Database,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    labelled(Box::pin(bulk::bulk_docs(gateway, database, exchange)).await)
}

/// `POST /db/doc`, where CouchDB takes a browser's form with files in it.
pub(crate) async fn form(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    labelled(Box::pin(form::post(gateway, target, exchange)).await)
}

fn labelled(told: Told) -> (&'static str, Result<Response<Body>, Error>) {
    match told {
        Ok((label, answer)) => (label, Ok(answer)),
        Err(error) => (TOUCHED, Err(error)),
    }
}

/// What all writes of one request share.
struct Writer {
    gateway: Arc<Gateway>,
    database: Database,
    home: Home,
    headers: HeaderMap,
    activity: Activity,
    id: RequestId,
    /// Whether the plan may want objects removed that a document lets go of.
    deletes: bool,
}

/// What holds for a database.
struct Rules {
    home: Home,
    deletes: bool,
}

impl Rules {
    async fn of(gateway: &Gateway, database: &Database) -> Result<Self, Error> {
        let home = gateway.homes.of(database).await?;
        let deletes = home.plan.may_delete(database.class, &database.name);
        Ok(Self { home, deletes })
    }

    /// Whether documents of the database have to be looked at.
    fn look(&self) -> bool {
        self.home.may_be_outside() || self.deletes
    }
}

impl Writer {
    fn new(gateway: Arc<Gateway>, database: Database, rules: Rules, exchange: &Exchange) -> Self {
        let Rules { home, deletes } = rules;
        let (headers, activity) = (exchange.request.headers().clone(), exchange.activity.clone());
        Self { gateway, database, home, headers, activity, id: exchange.id, deletes }
    }

    /// In whose name CouchDB is asked.
    fn requester(&self) -> Requester<'_> {
        Requester::new(&self.headers, &self.activity, self.id)
    }

    /// An attachment of a document that CouchDB is to keep because its storage is down.
    fn fallen<'a>(&'a self, target: &'a Target, document: &'a Document, decision: &'a Decision) -> Fallen<'a> {
        Fallen { gateway: &self.gateway, target, document, decision, id: self.id }
    }

    /// Notes what is to be moved out of a document later. To be called before it is acknowledged.
    async fn note_fallen(&self, draft: &mut Draft) {
        let Some((decision, error)) = draft.fallen.take() else { return };
        let error = Error::Storage(decision.storage().into(), error);
        for one in draft.attached.iter().filter(|one| !matches!(one.content, Content::Stub)) {
            let target = draft.target.attachment(&one.name);
            draft.noted.extend(self.fallen(&target, &draft.document, &decision).note(&error).await);
        }
    }

    /// Whether each has to be read, whatever is in it.
    fn reads_all(&self) -> bool {
        self.home.has_others() || self.deletes
    }

    /// Looks for what makes a document the gateway's business.
    const fn finder(text: Text) -> Finder {
        Finder::new(text, &["_attachments"])
    }

    /// Sends the client's request on with a body that its head fits, or is made to fit.
    async fn send(&self, couch: &Couch, mut head: request::Parts, body: Body) -> Result<Response<Body>, Error> {
        match body.size_hint().exact() {
            // To CouchDB no body is not the same as an empty one.
            Some(0) if !head.headers.contains_key(CONTENT_LENGTH) => {}
            Some(length) => drop(head.headers.insert(CONTENT_LENGTH, length.into())),
            None => drop(head.headers.remove(CONTENT_LENGTH)),
        }
        let request = Request::from_parts(head, body);
        forward(&self.gateway.homes, couch, Exchange { request, id: self.id, activity: self.activity.clone() }).await
    }

    /// Refuses a request, as far as its client may be here at all: what CouchDB says to that comes first.
    async fn refuse(&self, error: Error) -> Told {
        let caller = self.requester().at(&self.home.couch);
        let answer = caller.send(Method::GET, &self.database.path, Bytes::new()).await?;
        if answer.status().is_success() { Err(error) } else { Ok((TOUCHED, relay(answer))) }
    }

    async fn send_on(&self, couch: &Couch, head: request::Parts, body: Body) -> Told {
        Ok((UNTOUCHED, self.send(couch, head, body).await?))
    }

    /// The CouchDB that a draft goes to: where the document is already, else where its type is.
    async fn couch_of(&self, draft: &Draft, base: &Base) -> Result<Couch, Error> {
        if base.exists || !self.home.has_others() {
            return Ok(base.caller.couch().clone());
        }
        self.home.of_type(&draft.target.database, &draft.document).await
    }

    /// Takes a JSON body in, out of its gzip. One that is too long flows on, and its answer is given.
    async fn take(&self, mut head: request::Parts, body: Body, text: Text) -> Result<Input, Error> {
        let mut encodings = head.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
        let body = match (encodings.next(), encodings.next()) {
            (None | Some(b"identity"), None) => body,
            (Some(b"gzip"), None) => {
                head.headers.remove(CONTENT_ENCODING);
                head.headers.remove(CONTENT_LENGTH);
                Body::boxed(Gunzip::strict(body))
            }
            // CouchDB knows no other, and not two of them.
            _ => return Ok(Input::Answered(self.send(&self.home.couch, head, body).await?)),
        };
        match take(&self.gateway, body).await.map_err(unread)? {
            Taken::Whole(held) => Ok(Input::Whole(head, held)),
            // Where it goes stands in it.
            Taken::Long(_) if self.home.has_others() => Err(too_long()),
            Taken::Long(body) => {
                let (body, finding) = Scanned::new(body, Self::finder(text));
                match self.send(&self.home.couch, head, Body::boxed(body)).await {
                    Err(_) if finding.is_made() => Err(too_long()),
                    outcome => Ok(Input::Answered(outcome?)),
                }
            }
        }
    }
}

/// A request's body.
enum Input {
    Whole(request::Parts, Held),
    /// CouchDB has answered to it.
    Answered(Response<Body>),
}

/// Whether the body is JSON as CouchDB insists on it where it insists.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next() == Some("application/json"))
}

/// The client's body could not be read.
fn unread(error: BoxError) -> Error {
    if cause::<ClientGone>(&*error).is_some() {
        return Error::from(stowage_couch::Error::Body(error));
    }
    Error::refused(StatusCode::BAD_REQUEST, "bad_request", "Request body is not properly gzipped.")
}

fn too_long() -> Error {
    let reason = "the document is larger than limits.document_bytes";
    Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", reason)
}

/// The request went on as it came.
const UNTOUCHED: &str = "forward";
/// The gateway did something to the document.
const TOUCHED: &str = "document";
