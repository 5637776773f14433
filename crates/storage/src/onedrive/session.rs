//! Bodies of more than 4 MB: an upload session, the next fragment filling while the last one is sent.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryFutureExt;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use super::claim::{Claim, Made, Sum};
use super::drive::{Item, Shared, json, may_be_taken};
use super::fragment::{self, Outcome};
use super::hash::QuickXor;
use crate::engine::claim::{Attempt, Create, Name, create, names};
use crate::engine::finish::{CleanUp, clean_up, to_the_end};
use crate::engine::session::{self, send_all};
use crate::engine::spool::measured;
use crate::{Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body that is too large for a single PUT, whose first chunk was taken already.
pub(super) async fn store(drive: &Shared, object: &Object, mut upload: Upload, mut first: Chunk) -> Result<Stored> {
    let total = match upload.length() {
        Some(length) => length,
        None if first.last => first.data.len() as u64,
        None => {
            let (body, length) = measured(upload, first).await?;
            upload = Upload::new(body, length, drive.budget.clone());
            first = upload.chunk().await?;
            length
        }
    };
    let begin = create(names(object), Begin { drive: Arc::clone(drive), total });
    let mut session = to_the_end(&drive.tasks, "onedrive upload session", begin).await?;
    send_all(&mut session, &mut upload, first).await?;
    session.finish().await?.keep()
}

/// A session that has begun; ended by `Drop` unless it was completed. Not for `Debug`: its address is a key.
struct Session {
    drive: Shared,
    name: Name,
    address: Address,
    total: u64,
    /// `None` while a fragment is being sent.
    progress: Option<Progress>,
    sending: Option<JoinHandle<Option<Advanced>>>,
    open: bool,
}

/// Where a session is: another address, once it was begun anew.
#[derive(Clone)]
struct Address(Arc<Mutex<String>>);

impl Address {
    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, url: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

/// How far a session is.
#[derive(Default)]
struct Progress {
    offset: u64,
    hash: QuickXor,
    /// The file, once it is whole.
    item: Option<Item>,
}

/// What is known after a fragment, and what came of it.
type Advanced = (Progress, Result<()>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    upload_url: String,
}

/// A session that is to begin.
struct Begin {
    drive: Shared,
    total: u64,
}

impl Create for Begin {
    type Made = Session;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Session>> {
        // Not every drive has heeded `fail` for sessions (microsoftgraph/microsoft-graph-docs, issue 3276): ask first.
        if !name.unique && !is_free(&self.drive, &name.text).await? {
            return Ok(Attempt::Taken(Error::new(Kind::Refused, "something else is at the name")));
        }
        let url = match open(&self.drive, &name.text).await? {
            Attempt::Made(url) => url,
            Attempt::Taken(error) => return Ok(Attempt::Taken(error)),
        };
        Ok(Attempt::Made(Session {
            drive: Arc::clone(&self.drive),
            name: name.clone(),
            address: Address(Arc::new(Mutex::new(url))),
            total: self.total,
            progress: Some(Progress::default()),
            sending: None,
            open: true,
        }))
    }
}

/// Whether nothing is at a name, for certain: what Graph does not say is not free.
///
/// # Errors
/// Where it cannot be asked now.
async fn is_free(drive: &Shared, name: &str) -> Result<bool> {
    match drive.look(name).await {
        Err(error) if error.kind() == Kind::Passing => Err(error),
        found => Ok(matches!(found, Ok(None))),
    }
}

/// Begins a session: its address.
async fn open(drive: &Shared, name: &str) -> Result<Attempt<String>> {
    let call = drive.at(Method::POST, name, ":/createUploadSession");
    let call = json(call, &json!({ "item": { "@microsoft.graph.conflictBehavior": "fail" } }));
    let reply = drive.ask(&call).await?;
    if may_be_taken(&reply) {
        return Ok(Attempt::Taken(reply.refusal("begin an upload session")));
    }
    if !reply.is_done() {
        return Err(reply.refusal("begin an upload session"));
    }
    let Begun { upload_url } = reply.json()?;
    drive.given(Method::PUT, &upload_url)?;
    Ok(Attempt::Made(upload_url))
}

impl Session {
    /// The file that the last fragment made.
    async fn finish(mut self) -> Result<Claim> {
        let progress = self.progress.take().ok_or_else(broke_off)?;
        let item = progress.item.ok_or_else(|| Error::new(Kind::Refused, "OneDrive has all bytes and made no file"))?;
        self.open = false;
        let sum = Sum::from(&progress.hash);
        let made = Made { drive: Arc::clone(&self.drive), name: self.name.clone(), sum };
        let answer = made.answer(item);
        match Claim::doubtful(made).judge(answer).await? {
            Attempt::Made(claim) => Ok(claim),
            Attempt::Taken(error) => Err(error),
        }
    }
}

impl session::Session for Session {
    /// Begins to send a fragment. It is sent to its end even if the caller is dropped.
    fn send(&mut self, chunk: Chunk) -> Result<()> {
        let progress = self.progress.take().ok_or_else(broke_off)?;
        let (drive, name, address) = (Arc::clone(&self.drive), self.name.text.clone(), self.address.clone());
        let sending = advance(drive, name, address, progress, chunk, self.total);
        self.sending = Some(self.drive.tasks.spawn("onedrive fragment", sending));
        Ok(())
    }

    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let outcome = sending.map_err(|_| broke_off()).await;
        self.sending = None;
        let (progress, outcome) = outcome?.ok_or_else(broke_off)?;
        self.progress = Some(progress);
        outcome
    }
}

/// Sends a fragment, and hashes it meanwhile.
async fn advance(
    drive: Shared,
    name: String,
    address: Address,
    mut progress: Progress,
    chunk: Chunk,
    total: u64,
) -> Advanced {
    let (mut hash, data) = (std::mem::take(&mut progress.hash), chunk.data.clone());
    let hashing = tokio::task::spawn_blocking(move || {
        hash.update(&data);
        hash
    });
    let url = address.get();
    let sending = fragment::send(&drive, &url, progress.offset, &chunk, total);
    let (hashed, outcome) = tokio::join!(hashing, sending);
    let Ok(hash) = hashed else { return (progress, Err(broke_off())) };
    (progress.hash, progress.offset) = (hash, progress.offset + chunk.data.len() as u64);
    let outcome = match outcome {
        Ok(Outcome::Gone(error)) => after_the_end(&drive, &name, &address, &progress, &chunk, total, error).await,
        outcome => outcome,
    };
    let outcome = match outcome {
        Ok(Outcome::Received) => Ok(()),
        Ok(Outcome::Item(item)) => {
            progress.item = Some(item);
            Ok(())
        }
        Ok(Outcome::Gone(error)) | Err(error) => Err(error),
    };
    (progress, outcome)
}

/// What comes of a session that is gone: the file that it made, or another session, while all that was ever sent is here.
async fn after_the_end(
    drive: &Shared,
    name: &str,
    address: &Address,
    progress: &Progress,
    chunk: &Chunk,
    total: u64,
    error: Error,
) -> Result<Outcome> {
    if progress.offset == total {
        match completed(drive, name, progress).await {
            Ok(Some(item)) => return Ok(Outcome::Item(item)),
            // Without an answer, the file may still be in the making.
            Ok(None) if error.status().is_some() => {}
            Ok(None) | Err(_) => return Ok(Outcome::Gone(error)),
        }
    }
    if progress.offset > chunk.data.len() as u64 {
        return Ok(Outcome::Gone(error));
    }
    let Attempt::Made(url) = open(drive, name).await? else { return Ok(Outcome::Gone(error)) };
    address.set(url.clone());
    fragment::send(drive, &url, 0, chunk, total).await
}

/// The file of a session that got its last fragment and is gone. A session whose commit fails stays ("Handle upload
/// errors"), so one that is gone was completed: what is at its name, with our bytes, is ours.
async fn completed(drive: &Shared, name: &str, progress: &Progress) -> Result<Option<Item>> {
    let item = drive.look(name).await?;
    Ok(item.filter(|item| Sum::from(&progress.hash).fits(item)))
}

impl Drop for Session {
    fn drop(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let (drive, name, address) = (Arc::clone(&self.drive), self.name.text.clone(), self.address.clone());
        let (progress, sending, total) = (self.progress.take(), self.sending.take(), self.total);
        clean_up(&self.drive.tasks, "onedrive session end", async move {
            let progress = match sending {
                // Whatever came of it: the fragment is not on its way any more.
                Some(sending) => sending.await.ok().flatten().map(|(progress, _)| progress),
                None => progress,
            };
            let mut tries = CleanUp::default();
            while tries.again().await {
                tries.note(end(&drive, &name, &address.get(), progress.as_ref(), total).await.map(|()| true));
            }
            if let Some(error) = tries.failure() {
                tracing::warn!(storage = %drive.id, %name, %error, "an upload session, or the file that it made, may be left");
            }
        });
    }
}

/// Ends a session that nobody wants, and removes the file that it may have made.
async fn end(drive: &Shared, name: &str, url: &str, progress: Option<&Progress>, total: u64) -> Result<()> {
    let mut made = progress.and_then(|progress| progress.item.clone());
    if made.is_none()
        && !fragment::cancel(drive, url).await?
        && let Some(progress) = progress.filter(|progress| progress.offset == total)
    {
        made = completed(drive, name, progress).await?;
    }
    let Some(item) = made else { return Ok(()) };
    drive.remove(item.place()?).await
}

fn broke_off() -> Error {
    Error::new(Kind::Passing, "the upload of a fragment broke off")
}
