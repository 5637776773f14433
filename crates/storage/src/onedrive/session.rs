//! Bodies of more than 4 MB: an upload session, with the next fragment being filled while the previous one is sent.

use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use serde::Deserialize;
use serde_json::json;
use stowage_base::tasks::Tasks;

use super::claim::{Claim, Made, Sum};
use super::drive::{Item, Shared, json, may_be_taken};
use super::fragment::{self, Outcome};
use super::hash::QuickXor;
use crate::engine::claim::{Attempt, Create, Name, create, is_free, names};
use crate::engine::digest::computed;
use crate::engine::finish::{CleanUp, to_completion};
use crate::engine::session::{Open, Session};
use crate::engine::spool::spooled;
use crate::{Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body too large for a single PUT, of which the first chunk was already taken.
pub(super) async fn store(drive: &Shared, object: &Object, mut upload: Upload, mut first: Chunk) -> Result<Stored> {
    let total = match upload.length() {
        Some(length) => length,
        None if first.last => first.data.len() as u64,
        None => {
            let (body, length) = spooled(upload, first).await?;
            upload = Upload::new(body, length, drive.budget.clone());
            first = upload.chunk().await?;
            length
        }
    };
    let begin = create(names(object), Begin { drive: Arc::clone(drive), total });
    let mut session = to_completion(&drive.tasks, "onedrive upload session", begin).await?;
    session.send_all(&mut upload, first).await?;
    finish(session).await?.keep()
}

/// An upload session. Does not implement `Debug`: its URL is a secret.
struct Fragments {
    drive: Shared,
    name: Name,
    /// Replaced when the session is restarted.
    address: Mutex<String>,
    total: u64,
}

/// Progress of a session.
#[derive(Default)]
struct Progress {
    offset: u64,
    hash: QuickXor,
    /// The file, once it is complete.
    item: Option<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    upload_url: String,
}

/// A session to be started.
struct Begin {
    drive: Shared,
    total: u64,
}

impl Create for Begin {
    type Made = Open<Fragments>;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Open<Fragments>>> {
        // Not every drive has honored `fail` for sessions (microsoftgraph/microsoft-graph-docs, issue 3276): check first.
        if !name.unique && !is_free(self.drive.head(&name.text).await)? {
            return Ok(Attempt::Taken(Error::new(Kind::Refused, "something else is at the name")));
        }
        let url = match open(&self.drive, &name.text).await? {
            Attempt::Made(url) => url,
            Attempt::Taken(error) => return Ok(Attempt::Taken(error)),
        };
        let (drive, name, address) = (Arc::clone(&self.drive), name.clone(), Mutex::new(url));
        let fragments = Fragments { drive, name, address, total: self.total };
        Ok(Attempt::Made(Open::new(fragments, Progress::default())))
    }
}

/// Starts a session; returns its URL.
async fn open(drive: &Shared, name: &str) -> Result<Attempt<String>> {
    let call = drive.at(Method::POST, name, ":/createUploadSession");
    let call = json(call, &json!({ "item": { "@microsoft.graph.conflictBehavior": "fail" } }));
    let reply = drive.ask(&call).await?;
    if may_be_taken(&reply) {
        return Ok(Attempt::Taken(reply.refusal("begin an upload session")));
    }
    let reply = reply.done("begin an upload session")?;
    let Begun { upload_url } = reply.json()?;
    drive.given(Method::PUT, &upload_url)?;
    Ok(Attempt::Made(upload_url))
}

/// Returns a claim on the file created by the last fragment.
async fn finish(mut session: Open<Fragments>) -> Result<Claim> {
    let progress = session.progress()?;
    let sum = Sum::from(&progress.hash);
    let item = progress.item.take();
    let item = item.ok_or_else(|| Error::new(Kind::Refused, "OneDrive has all bytes and made no file"))?;
    let (fragments, _) = session.close()?;
    let made = Made { drive: Arc::clone(&fragments.drive), name: fragments.name.clone(), sum };
    let answer = made.answer(item);
    match Claim::doubtful(made).judge(answer).await? {
        Attempt::Made(claim) => Ok(claim),
        Attempt::Taken(error) => Err(error),
    }
}

impl Session for Fragments {
    type Progress = Progress;

    fn tasks(&self) -> &Tasks {
        &self.drive.tasks
    }

    /// Sends a fragment while hashing it.
    async fn send(&self, progress: &mut Progress, chunk: &Chunk) -> Result<()> {
        let (mut hash, data) = (std::mem::take(&mut progress.hash), chunk.data.clone());
        let hashing = computed(move || {
            hash.update(&data);
            hash
        });
        let url = self.url();
        let sending = fragment::send(&self.drive, &url, progress.offset, chunk, self.total);
        let (hashed, outcome) = tokio::join!(hashing, sending);
        progress.hash = hashed?;
        progress.offset += chunk.data.len() as u64;
        let outcome = match outcome? {
            Outcome::Gone(error) => self.after_the_end(progress, chunk, error).await?,
            outcome => outcome,
        };
        match outcome {
            Outcome::Received => Ok(()),
            Outcome::Item(item) => {
                progress.item = Some(item);
                Ok(())
            }
            Outcome::Gone(error) => Err(error),
        }
    }

    async fn abort(&self, progress: Option<Progress>) {
        let mut tries = CleanUp::default();
        while tries.again().await {
            tries.note(self.end(progress.as_ref()).await.map(|()| true));
        }
        if let Some(error) = tries.failure() {
            let (storage, name) = (&self.drive.id, &self.name.text);
            tracing::warn!(%storage, %name, %error, "an upload session, or the file that it made, may be left");
        }
    }
}

impl Fragments {
    fn url(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handles a session that is gone: finds the file it created, or starts another session while everything sent is still in memory.
    async fn after_the_end(&self, progress: &Progress, chunk: &Chunk, error: Error) -> Result<Outcome> {
        if progress.offset == self.total {
            match self.completed(progress).await {
                Ok(Some(item)) => return Ok(Outcome::Item(item)),
                // Without a response, the file may still be being created.
                Ok(None) if error.status().is_some() => {}
                Ok(None) | Err(_) => return Ok(Outcome::Gone(error)),
            }
        }
        if progress.offset > chunk.data.len() as u64 {
            return Ok(Outcome::Gone(error));
        }
        let Attempt::Made(url) = open(&self.drive, &self.name.text).await? else { return Ok(Outcome::Gone(error)) };
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&url);
        fragment::send(&self.drive, &url, 0, chunk, self.total).await
    }

    /// Returns the file of a session that got its last fragment and is gone. A session whose commit fails stays ("Handle upload
    /// errors"), so one that is gone was completed: an item at its name with our bytes is ours.
    async fn completed(&self, progress: &Progress) -> Result<Option<Item>> {
        let item = self.drive.head(&self.name.text).await?;
        Ok(item.filter(|item| Sum::from(&progress.hash).fits(item)))
    }

    /// Ends an unwanted session, and removes the file it may have created.
    async fn end(&self, progress: Option<&Progress>) -> Result<()> {
        let mut made = progress.and_then(|progress| progress.item.clone());
        if made.is_none()
            && !fragment::cancel(&self.drive, &self.url()).await?
            && let Some(progress) = progress.filter(|progress| progress.offset == self.total)
        {
            made = self.completed(progress).await?;
        }
        let Some(item) = made else { return Ok(()) };
        self.drive.remove(item.place()?).await
    }
}
