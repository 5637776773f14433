//! From the storages' acknowledgements to the saved documents of a batch, in a task that ends even if the client is gone.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode, request};
use serde_json::value::RawValue;
use stowage_couch::{self as couch, Caller};
use stowage_http::body::Body;

use super::super::Writer;
use super::super::draft::Dropped;
use super::rows::{self, Answers, Row};
use crate::attachment::copy::{Copying, Verdict};
use crate::commit::cleanup::remove_unnamed;
use crate::commit::save::{Expected, Fate, find_out, never_left};
use crate::error::Error;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::locks::Turn;
use crate::object::unsaved::Unsaved;
use crate::pointer::Entry;
use crate::router::DocumentTarget;

/// A request whose attachments have been stored.
pub(super) struct Batch {
    pub(super) head: request::Parts,
    /// The class's CouchDB first, if it gets any.
    pub(super) groups: Vec<Group>,
    /// The rows of documents that are not sent.
    pub(super) answers: Answers,
    pub(super) replicated: bool,
}

/// What one CouchDB gets.
pub(super) struct Group {
    pub(super) caller: Caller,
    pub(super) body: Bytes,
    pub(super) ones: Vec<One>,
}

/// One document.
pub(super) struct One {
    /// Its place in the request.
    pub(super) place: usize,
    pub(super) target: DocumentTarget,
    pub(super) base: Option<String>,
    pub(super) rev: Option<String>,
    pub(super) objects: Unsaved,
    pub(super) copies: Vec<Copying>,
    pub(super) dropped: Option<Dropped>,
}

/// What became of one document.
enum Became {
    Saved,
    Refused,
    Unknown,
}

type After = Vec<(Caller, One, Became)>;

/// Saves the documents and answers.
pub(super) async fn send(writer: Writer, batch: Batch, turns: Vec<Turn>) -> Result<Response<Body>, Error> {
    outlive(writer.gateway.tasks.clone(), "commit of documents", |reply| async move {
        let (outcome, after) = batch.save().await;
        drop(turns);
        reply.give(outcome);
        join_all(after.into_iter().map(|(caller, one, became)| one.settle(&writer.gateway, caller, became))).await;
    })
    .await
}

impl Batch {
    async fn save(self) -> (Result<Response<Body>, Error>, After) {
        let Self { head, groups, mut answers, replicated } = self;
        let mut own = !answers.rows.is_empty();
        let mut after = After::new();
        for Group { caller, body, ones } in groups {
            let (became, told) = match caller.write(&head, &body).await {
                Ok(save) if save.head.status.is_success() => match judged(&save.body, &ones, replicated) {
                    Some((rows, became)) => {
                        answers.rows.extend(rows);
                        answers.take(save.head, save.body);
                        (became, None)
                    }
                    None => (Fates::All(Became::Unknown), Some(Told::Error(nonsense()))),
                },
                Ok(save) => {
                    let became = if save.head.status.is_server_error() { Became::Unknown } else { Became::Refused };
                    (Fates::All(became), Some(Told::Answer(save)))
                }
                Err(error) if never_left(&error) => (Fates::All(Became::Refused), Some(Told::Error(error))),
                Err(error) => (Fates::All(Became::Unknown), Some(Told::Error(error))),
            };
            let places: Vec<_> = ones.iter().map(|one| (one.place, one.target.document.clone())).collect();
            after.extend(ones.into_iter().zip(became).map(|(one, became)| (caller.clone(), one, became)));
            let Some(told) = told else { continue };
            if answers.is_empty() {
                // Nothing was saved: what is left is not sent, and its objects go as they are dropped.
                return (told.whole(), after);
            }
            own = true;
            for (place, id) in places {
                match told.row(&id) {
                    Ok(row) => answers.rows.push((place, row)),
                    Err(error) => return (Err(error), after),
                }
            }
        }
        (answers.tell(own), after)
    }
}

/// What CouchDB said to a whole group, if anything.
enum Told {
    Answer(couch::Save),
    Error(couch::Error),
}

impl Told {
    fn whole(self) -> Result<Response<Body>, Error> {
        match self {
            Self::Answer(save) => Ok(Response::from_parts(save.head, Body::full(save.body))),
            Self::Error(error) => Err(error.into()),
        }
    }

    fn row(&self, id: &str) -> Result<Box<RawValue>, Error> {
        match self {
            Self::Answer(save) => rows::refused_with(id, &save.body),
            Self::Error(error) => {
                let text = error.reason();
                let reason = format!("CouchDB did not say whether it saved the document ({text})");
                rows::refusal(id, &Error::refused(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", reason))
            }
        }
    }
}

/// The same for all documents of a group, or one each.
enum Fates {
    All(Became),
    Each(std::vec::IntoIter<Became>),
}

impl Iterator for Fates {
    type Item = Became;

    fn next(&mut self) -> Option<Became> {
        match self {
            Self::All(Became::Unknown) => Some(Became::Unknown),
            Self::All(Became::Refused) => Some(Became::Refused),
            Self::All(Became::Saved) => Some(Became::Saved),
            Self::Each(each) => each.next(),
        }
    }
}

type Judged = (Vec<(usize, Box<RawValue>)>, Fates);

/// Whose rows an answer has. CouchDB gives one for each document, but for replicated ones only where they were refused.
fn judged(answer: &[u8], ones: &[One], replicated: bool) -> Option<Judged> {
    let rows = rows::read(answer)?;
    if replicated {
        let became = ones.iter().map(|one| {
            let id = &one.target.document;
            let mine = |row: &&Row| !row.ok && row.id == *id;
            let alike = ones.iter().filter(|other| other.target.document == *id).count();
            match rows.iter().filter(mine).count() {
                0 => Became::Saved,
                refused if refused == alike => Became::Refused,
                // Several revisions of one document, and it is not said which was refused.
                _ => Became::Unknown,
            }
        });
        let became = became.collect::<Vec<_>>().into_iter();
        let place =
            |row: &Row| ones.iter().find(|one| one.target.document == row.id).map_or(usize::MAX, |one| one.place);
        let rows = rows.into_iter().map(|row| (place(&row), row.text)).collect();
        return Some((rows, Fates::Each(became)));
    }
    if rows.len() != ones.len() {
        return None;
    }
    let became = rows.iter().map(|row| if row.ok { Became::Saved } else { Became::Refused }).collect::<Vec<_>>();
    let rows = rows.into_iter().zip(ones).map(|(row, one)| (one.place, row.text)).collect();
    Some((rows, Fates::Each(became.into_iter())))
}

fn nonsense() -> couch::Error {
    couch::Error::Body("CouchDB's answer to a save makes no sense".into())
}

impl One {
    async fn settle(self, gateway: &Gateway, caller: Caller, became: Became) {
        let Self { target, base, rev, objects, copies, dropped, .. } = self;
        for copy in copies {
            copy.end(match became {
                Became::Saved => Verdict::Saved,
                Became::Refused => Verdict::Refused,
                Became::Unknown => Verdict::Unknown,
            });
        }
        let saved = match became {
            Became::Saved => true,
            Became::Refused => false,
            Became::Unknown => {
                let Some((name, pointer)) = objects.first() else { return };
                let attachment = target.attachment(name);
                let entry = Entry::Object(Box::new(pointer.clone()));
                let (base, rev) = (base.as_deref(), rev.as_deref());
                let expected = Expected { entry: &entry, present: true, deleted: false, base, rev };
                match find_out(gateway, &attachment, &caller, expected).await {
                    Fate::Known { saved, .. } => saved,
                    Fate::Unknown => return objects.leave().await,
                }
            }
        };
        if !saved {
            return objects.discard().await;
        }
        objects.saved().await;
        if let Some(Dropped { plan, objects }) = dropped {
            remove_unnamed(gateway, &caller, &target, &plan, objects).await;
        }
    }
}
