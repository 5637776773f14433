//! GET and HEAD of an attachment.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use stowage_couch::{Couch, canonical};
use stowage_http::body::Body;
use stowage_http::target::query_pairs;

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
use crate::upstream::revision::rev_query;

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
    let home = gateway.homes.of(&target.database).await?;
    let (found, native) = if home.may_be_outside() {
        (find(&home, target, asked).await?, Native::Unasked(exchange))
    } else {
        let answer = forward(&gateway.homes, &home.couch, exchange).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(ControlFlow::Break(Opened::Couch(answer)));
        }
        (find(&home, target, asked).await?, Native::Answer(answer))
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

/// The revision of the document that a client means. `If-Match` on a GET has another meaning.
#[derive(Debug, PartialEq, Eq)]
enum Revision {
    Winner,
    Named(String),
    /// The leaf that descends from a revision.
    LeafOf(String),
}

impl Revision {
    /// Parses a query as CouchDB does: of several `rev` parameters, the last counts (`chttpd_db:parse_doc_query`).
    fn of(query: Option<&str>) -> Self {
        let Some((_, rev)) = query_pairs(query).filter(|(key, _)| key == "rev").last() else { return Self::Winner };
        // An invalid revision stays as it is, for CouchDB to refuse.
        let rev = canonical(&rev).unwrap_or_else(|| rev.into_owned());
        let is_latest = query_pairs(query).any(|(key, value)| key == "latest" && value == "true");
        if is_latest { Self::LeafOf(rev) } else { Self::Named(rev) }
    }
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

async fn find(home: &Home, target: &Target, asked: &Asked) -> Result<Found, Error> {
    let revision = Revision::of(target.query.as_deref());
    let (found, caller) = match &revision {
        Revision::Winner => home.read(&target.path, "", asked.requester()).await?,
        Revision::Named(rev) => home.read(&target.path, &rev_query(Some(rev)), asked.requester()).await?,
        Revision::LeafOf(rev) => home.read_leaf(&target.path, Some(rev), asked.requester()).await?,
    };
    Ok(match found {
        Answer::Found(document, head) => match pointer::find(&document, target.at())? {
            Some(Entry::Object(pointer)) => Found::Outside(Box::new(Outside {
                document,
                head,
                pointer: *pointer,
                by_rev: revision != Revision::Winner,
            })),
            Some(Entry::Link(link)) => Found::Link(link),
            None => Found::Native(caller.couch().clone()),
        },
        // The answer to a list of revisions is none to this request.
        Answer::Missing(_) if matches!(revision, Revision::LeafOf(_)) => Found::Native(caller.couch().clone()),
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
            match find(&home, &target, asked).await? {
                Found::Outside(now) if now.pointer.stowage.location != location => found = now,
                _ => return Err(gone),
            }
        }
    }
}

/// The number of times that a document is read for one response.
const MOST_LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::Revision;

    #[test]
    fn the_last_revision_counts_and_its_leaf_if_wanted() {
        let named = |rev: &str| Revision::Named(rev.to_owned());
        for (query, expected) in [
            (None, Revision::Winner),
            (Some("latest=true"), Revision::Winner),
            (Some("rev=1-a&x=y&rev=2-b"), named("2-b")),
            (Some("latest=true;rev=1-a"), Revision::LeafOf("1-a".to_owned())),
            (Some("rev=1-a&latest=false"), named("1-a")),
            (Some("rev=x%26y"), named("x&y")),
        ] {
            assert_eq!(Revision::of(query), expected, "{query:?}");
        }
    }
}
