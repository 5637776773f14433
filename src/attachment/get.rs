//! GET and HEAD of an attachment.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use stowage_couch::Couch;
use stowage_http::body::Body;

use super::link::{Asked, Next, Trail};
use super::outside::Outside;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::pointer::kazoo::Link;
use crate::pointer::{self, Entry};
use crate::router::Target;
use crate::upstream::Home;
use crate::upstream::answer::relay;
use crate::upstream::forward::forward;
use crate::upstream::read::Answer;
use crate::upstream::revision::{rev_of, rev_query};

/// Handles a GET, or a HEAD if no body is wanted.
pub(crate) async fn get(
    gateway: Arc<Gateway>,
    target: Target,
    exchange: Exchange,
    wants_body: bool,
) -> Result<Response<Body>, Error> {
    let asked = Asked::by(&exchange, wants_body);
    let opened = match look(&gateway, &target, &asked, exchange).await? {
        ControlFlow::Break(opened) => opened,
        ControlFlow::Continue(link) => open(&gateway, target, link, &asked).await?,
    };
    match opened {
        Opened::Couch(answer) => Ok(answer),
        Opened::Outside(stored) => stored.answer(&gateway, &asked).await,
    }
}

/// Opens the attachment behind a link. Links are followed with the client's own rights.
pub(crate) async fn open(
    gateway: &Arc<Gateway>,
    mut from: Target,
    mut link: Link,
    asked: &Asked,
) -> Result<Opened, Error> {
    let mut trail = Trail::new(&from);
    loop {
        let (target, exchange) = match trail.follow(gateway, &from, link, asked).await? {
            Next::Outside(next) => *next,
            Next::Native(exchange) => {
                return forward(&gateway.homes, &gateway.couch, *exchange).await.map(Opened::Couch);
            }
            Next::Answer(answer) => return Ok(Opened::Couch(relay(answer))),
        };
        link = match look(gateway, &target, asked, exchange).await? {
            ControlFlow::Break(opened) => return Ok(opened),
            ControlFlow::Continue(link) => link,
        };
        from = target;
    }
}

/// An attachment, or the reason there is none.
pub(crate) enum Opened {
    /// The attachment is in a storage.
    Outside(Stored),
    /// CouchDB keeps the attachment: its response, which may be a refusal.
    Couch(Response<Body>),
}

/// Finds one attachment, or the link to follow.
async fn look(
    gateway: &Arc<Gateway>,
    target: &Target,
    asked: &Asked,
    exchange: Exchange,
) -> Result<ControlFlow<Opened, Link>, Error> {
    let rev = rev_of_get(target);
    let home = gateway.homes.of(&target.database).await?;
    let (found, native) = if home.may_be_outside() {
        (find(&home, target, asked, rev.as_deref()).await?, Native::Unasked(exchange))
    } else {
        let answer = forward(&gateway.homes, &home.couch, exchange).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(ControlFlow::Break(Opened::Couch(answer)));
        }
        (find(&home, target, asked, rev.as_deref()).await?, Native::Answer(answer))
    };
    let answer = match (found, native) {
        (Found::Outside(found), _) => {
            return Ok(ControlFlow::Break(Opened::Outside(Stored { home, target: target.clone(), found })));
        }
        (Found::Link(link), _) => return Ok(ControlFlow::Continue(link)),
        (Found::Native(couch), Native::Unasked(exchange)) => forward(&gateway.homes, &couch, exchange).await?,
        (Found::Answer(answer), Native::Unasked(_)) => relay(answer),
        (Found::Native(_) | Found::Answer(_), Native::Answer(answer)) => answer,
    };
    Ok(ControlFlow::Break(Opened::Couch(answer)))
}

/// CouchDB's response for its own attachment of that name, if it was requested already.
enum Native {
    Unasked(Exchange),
    Answer(Response<Body>),
}

/// Returns the revision in `?rev=`, the only one that counts here: `If-Match` on a GET has another meaning.
fn rev_of_get(target: &Target) -> Option<String> {
    rev_of(target.query.as_deref(), &HeaderMap::new()).ok().flatten()
}

enum Found {
    Outside(Box<Outside>),
    /// Another document has the attachment.
    Link(Link),
    /// CouchDB keeps the attachment, if it exists: this server holds the document.
    Native(Couch),
    /// CouchDB refused the document.
    Answer(Response<Bytes>),
}

async fn find(home: &Home, target: &Target, asked: &Asked, rev: Option<&str>) -> Result<Found, Error> {
    let (found, caller) = home.read(&target.path, &rev_query(rev), asked.requester()).await?;
    Ok(match found {
        Answer::Found(document, head) => match pointer::find(&document, target.at())? {
            Some(Entry::Object(pointer)) => {
                Found::Outside(Box::new(Outside { document, head, pointer: *pointer, by_rev: rev.is_some() }))
            }
            Some(Entry::Link(link)) => Found::Link(link),
            None => Found::Native(caller.couch().clone()),
        },
        Answer::Missing(answer) | Answer::Refused(answer) => Found::Answer(answer),
    })
}

/// An attachment in a storage, with the home of its document.
pub(crate) struct Stored {
    home: Home,
    target: Target,
    found: Box<Outside>,
}

impl Stored {
    /// Responds from the storage. If the object is gone because the attachment was replaced after its document was read, reads the document again.
    pub(crate) async fn answer(self, gateway: &Arc<Gateway>, asked: &Asked) -> Result<Response<Body>, Error> {
        let Self { home, target, mut found } = self;
        let mut looks = MOST_LOOKS;
        loop {
            looks -= 1;
            let location = found.pointer.stowage.location.clone();
            let gone = match found.answer(Arc::clone(gateway), &target, asked).await {
                Err(error) if looks > 0 && error.is_missing() => error,
                other => return other,
            };
            match find(&home, &target, asked, rev_of_get(&target).as_deref()).await? {
                Found::Outside(now) if now.pointer.stowage.location != location => found = now,
                _ => return Err(gone),
            }
        }
    }
}

/// The number of times that a document is read for one response.
const MOST_LOOKS: u32 = 4;
