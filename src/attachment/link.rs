//! Links: an attachment that another document has, which may be a link again.
//!
//! Every step is asked for with the client's own credentials: who may not read the other document gets CouchDB's refusal.

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, request};
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

/// What a client asked for, as far as an attachment behind a link is asked for in the same way.
pub(crate) struct Asked {
    /// Its request.
    pub(super) head: request::Parts,
    pub(super) wants_body: bool,
    id: RequestId,
    pub(super) activity: Activity,
}

impl Asked {
    /// What this request asks for.
    pub(crate) fn by(exchange: &Exchange, wants_body: bool) -> Self {
        let mut request = Request::new(());
        *request.method_mut() = exchange.request.method().clone();
        *request.uri_mut() = exchange.request.uri().clone();
        *request.version_mut() = exchange.request.version();
        *request.headers_mut() = exchange.request.headers().clone();
        let (head, ()) = request.into_parts();
        Self { head, wants_body, id: exchange.id, activity: exchange.activity.clone() }
    }

    /// All of an attachment, unpacked, with the rights of a client that sent these headers.
    pub(crate) fn whole(headers: &HeaderMap, activity: &Activity) -> Self {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        forget_message(request.headers_mut());
        let (head, ()) = request.into_parts();
        Self { head, wants_body: true, id: activity.id(), activity: activity.clone() }
    }

    /// In whose name CouchDB is asked.
    pub(super) fn requester(&self) -> Requester<'_> {
        Requester::new(&self.head.headers, &self.activity, self.id)
    }

    /// The client's request, for another attachment.
    fn exchange(&self, (database, document, attachment): &(String, String, String)) -> Result<Exchange, Error> {
        let path = format!("/{}/{}/{}", encode(database), encode(document), encode(attachment));
        let path = PathAndQuery::try_from(path).map_err(|_| Error::Bug("an encoded path is no path"))?;
        let mut head = self.head.clone();
        head.uri = Uri::from(path);
        let request = Request::from_parts(head, Body::empty());
        Ok(Exchange { request, id: self.id, activity: self.activity.clone() })
    }
}

/// The way from the attachment that was asked for: databases, documents and attachments.
pub(super) struct Trail {
    seen: Vec<(String, String, String)>,
}

/// Where a link leads.
pub(super) enum Next {
    /// To a database that plans speak of.
    Outside(Box<(Target, Exchange)>),
    /// To a database that is CouchDB's own.
    Native(Box<Exchange>),
    /// Nowhere: CouchDB's answer to who looked for the document.
    Answer(Response<Bytes>),
}

impl Trail {
    /// Begins at a target.
    pub(super) fn new(target: &Target) -> Self {
        Self { seen: vec![(target.database.name.clone(), target.document.clone(), target.attachment.clone())] }
    }

    /// One step on.
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
            return Err(refused("the attachment is a link that leads back to itself"));
        }
        if self.seen.len() > MOST_LINKS {
            return Err(refused("the attachment is a link to a link to a link, and so on: too many of them"));
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

/// The attachment that a link without a name means: the one of the link's own name, else the first. Where there is
/// none CouchDB says so.
async fn named(
    asked: &Asked,
    gateway: &Gateway,
    database: &str,
    document: &str,
    name: &str,
) -> Result<Result<String, Response<Bytes>>, Error> {
    let path = DocumentPath { database: encode(database), document: encode(document) };
    let read = match Database::of(database) {
        Some(database) => gateway.homes.of(&database).await?.read(&path, "", asked.requester()).await?.0,
        None => read(&path, "", &asked.requester().at(&gateway.couch)).await?,
    };
    let document = match read {
        Answer::Found(document, _) => document,
        Answer::Missing(answer) | Answer::Refused(answer) => return Ok(Err(answer)),
    };
    let names = pointer::names(&document);
    let same = names.iter().any(|other| other == name);
    let first = names.into_iter().next().filter(|_| !same);
    Ok(Ok(first.unwrap_or_else(|| name.to_owned())))
}

fn refused(reason: &'static str) -> Error {
    Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason)
}

/// Links on the way to an attachment.
const MOST_LINKS: usize = 8;
