//! Links: attachments that another document has, possibly as a link itself.
//!
//! Every step uses the client's own credentials: a client that may not read the other document gets CouchDB's refusal.

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, request};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::DocumentPath;
use stowage_http::body::Body;
use stowage_http::headers::forget_message;
use stowage_http::target::encode;

use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::pointer;
use crate::pointer::kazoo::Link;
use crate::router::{Database, Target};
use crate::upstream::read::{Answer, read};

/// The parts of a client's request that also apply to an attachment behind a link.
pub(crate) struct Asked {
    /// The head of the client's request.
    pub(super) head: request::Parts,
    pub(super) wants_body: bool,
    id: RequestId,
    pub(super) activity: Activity,
}

impl Asked {
    /// Captures the request of an exchange.
    pub(crate) fn by(exchange: &Exchange, wants_body: bool) -> Self {
        let mut request = Request::new(());
        *request.method_mut() = exchange.request.method().clone();
        *request.uri_mut() = exchange.request.uri().clone();
        *request.version_mut() = exchange.request.version();
        *request.headers_mut() = exchange.request.headers().clone();
        let (head, ()) = request.into_parts();
        Self { head, wants_body, id: exchange.id, activity: exchange.activity.clone() }
    }

    /// Requests a whole attachment, decompressed, with the rights of a client that sent these headers.
    pub(crate) fn whole(headers: &HeaderMap, activity: &Activity) -> Self {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        forget_message(request.headers_mut());
        let (head, ()) = request.into_parts();
        Self { head, wants_body: true, id: activity.id(), activity: activity.clone() }
    }

    /// Returns the client on whose behalf CouchDB is called.
    pub(super) fn requester(&self) -> Requester<'_> {
        Requester::new(&self.head.headers, &self.activity, self.id)
    }

    /// Builds the client's request for another attachment.
    fn exchange(&self, (database, document, attachment): &(String, String, String)) -> Result<Exchange, Error> {
        let path = format!("/{}/{}/{}", encode(database), encode(document), encode(attachment));
        let path = PathAndQuery::try_from(path).map_err(|_| Error::Bug("an encoded path is no path"))?;
        let mut head = self.head.clone();
        head.uri = Uri::from(path);
        let request = Request::from_parts(head, Body::empty());
        Ok(Exchange { request, id: self.id, activity: self.activity.clone() })
    }
}

/// The path from the requested attachment: databases, documents and attachments.
pub(super) struct Trail {
    seen: Vec<(String, String, String)>,
}

/// The target of a link.
pub(super) enum Next {
    /// A database that plans cover.
    Outside(Box<(Target, Exchange)>),
    /// A database that is CouchDB's alone.
    Native(Box<Exchange>),
    /// None: CouchDB's response to the read of the document.
    Answer(Response<Bytes>),
}

impl Trail {
    /// Starts at a target.
    pub(super) fn new(target: &Target) -> Self {
        Self { seen: vec![(target.database.name.clone(), target.document.clone(), target.attachment.clone())] }
    }

    /// Follows a link for one step.
    pub(super) async fn follow(
        &mut self,
        gateway: &Gateway,
        from: &Target,
        link: Link,
        asked: &Asked,
    ) -> Result<Next, Error> {
        let attachment = match link.attachment {
            Some(name) => name,
            None => match named(asked, gateway, &link.database, &link.document, &from.attachment).await? {
                Ok(name) => name,
                Err(answer) => return Ok(Next::Answer(answer)),
            },
        };
        let step = (link.database, link.document, attachment);
        if self.seen.contains(&step) {
            return Err(Error::bad_gateway("the attachment is a link that leads back to itself"));
        }
        if self.seen.len() > MOST_LINKS {
            return Err(Error::bad_gateway(
                "the attachment is a link to a link to a link, and so on: too many of them",
            ));
        }
        let exchange = asked.exchange(&step)?;
        let target = Target::of(&step.0, &step.1, &step.2);
        self.seen.push(step);
        Ok(match target {
            Some(target) => Next::Outside(Box::new((target, exchange))),
            None => Next::Native(Box::new(exchange)),
        })
    }
}

/// Returns the attachment that a link without a name refers to: the one with the link's own name, else the first. If there is none, CouchDB responds
/// accordingly.
async fn named(
    asked: &Asked,
    gateway: &Gateway,
    database: &str,
    id: &str,
    name: &str,
) -> Result<Result<String, Response<Bytes>>, Error> {
    let path = DocumentPath { database: encode(database), document: encode(id) };
    let read = match Database::of(database) {
        Some(database) => gateway.homes.of(&database).await?.read(&path, "", asked.requester()).await?.0,
        None => read(&path, "", &asked.requester().at(&gateway.couch)).await?,
    };
    let document = match read {
        Answer::Found(document, _) => document,
        Answer::Missing(answer) | Answer::Refused(answer) => return Ok(Err(answer)),
    };
    let names = pointer::order(&document, database, id);
    let same = names.iter().any(|other| other == name);
    let first = names.into_iter().next().filter(|_| !same);
    Ok(Ok(first.unwrap_or_else(|| name.to_owned())))
}

/// The number of links that are followed to an attachment.
const MOST_LINKS: usize = 8;
