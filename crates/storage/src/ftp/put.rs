//! Storing: upload under a unique name, await the completion reply, verify the length, then rename if the name is free.
//!
//! All of it is one tracked task. If the caller is dropped, the task stops sending the body; the partial file is then removed on
//! the same session, once the server is done with it.

use std::sync::Arc;

use http_body_util::BodyExt;
use stowage_http::body::{Body, BoxError};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Host;
use super::address::folder;
use super::draft::{Draft, Placed};
use super::fault::{Fault, ResultExt};
use super::session::Session;
use super::stat::Found;
use super::transfer::Transfer;
use crate::engine::finish::to_completion;
use crate::engine::tries::Tries;
use crate::{Chunk, Error, Kind, Leftovers, Object, Report, Result, Stored, Upload};

/// Stores an object.
pub(super) async fn store(host: &Arc<Host>, object: &Object, mut upload: Upload) -> Result<Stored> {
    let (name, spare) = (host.address.place(&object.name)?, host.address.place(&object.spare)?);
    let first = upload.chunk().await?;
    let report = upload.report();
    let source = if first.last { Source::Memory(first) } else { Source::Once(Some(upload.into_stream(Some(first)))) };
    let (here, gone) = oneshot::channel();
    let (name, leftovers) = ((!object.taken).then_some(name), object.leftovers.clone());
    let job = Job { host: Arc::clone(host), name, spare, source, report, leftovers, gone };
    let placed = to_completion(&host.tasks, "ftp upload", job.run()).await;
    // Held until here to signal to the task that the caller is still waiting.
    drop::<oneshot::Sender<()>>(here);
    placed.map(Placed::keep)
}

struct Job {
    host: Arc<Host>,
    /// `None` if the name is taken.
    name: Option<String>,
    spare: String,
    source: Source,
    report: Report,
    leftovers: Leftovers,
    /// Closed once the caller is gone.
    gone: oneshot::Receiver<()>,
}

/// The body, as often as it can be sent.
enum Source {
    Memory(Chunk),
    /// `None` once sending has begun.
    Once(Option<Body>),
}

impl Source {
    fn body(&mut self) -> Result<Body> {
        let body = match self {
            Self::Memory(chunk) => Some(Body::full(chunk.data.clone())),
            Self::Once(body) => body.take(),
        };
        body.ok_or_else(|| Error::new(Kind::Passing, "the body was sent already"))
    }

    /// Returns how many bytes each retry sends; `None` if the body cannot be sent again.
    fn again(&self) -> Option<usize> {
        match self {
            Self::Memory(chunk) => Some(chunk.data.len()),
            Self::Once(body) => body.is_some().then_some(0),
        }
    }
}

impl Job {
    async fn run(mut self) -> Result<Placed> {
        let mut tries = Tries::start(self.source.again().unwrap_or_default());
        loop {
            match self.attempt().await {
                Err(error) if self.source.again().is_some() && self.is_awaited() && tries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    fn is_awaited(&mut self) -> bool {
        self.gone.try_recv() == Err(TryRecvError::Empty)
    }

    async fn attempt(&mut self) -> Result<Placed> {
        if !self.is_awaited() {
            return Err(abandoned());
        }
        let target = self.name.clone().unwrap_or_else(|| self.spare.clone());
        let mut session = self.host.pool.take(&target).await?;
        session.make_folders(folder(&target)).await.context("make a folder")?;
        let mut draft = Draft::beside(&self.host, &target, &self.leftovers);
        let outcome = match self.fill(&mut session, &mut draft).await {
            Ok(()) => Ok(draft.placed()),
            Err(error) => {
                draft.remove(&mut session).await;
                Err(error)
            }
        };
        session.leave();
        outcome
    }

    async fn fill(&mut self, session: &mut Session, draft: &mut Draft) -> Result<()> {
        let size = self.send(session, &draft.path).await?;
        if let Some(size) = size {
            draft.etag = session.tag(&draft.path, size).await.context("look for an object")?;
        }
        self.settle(session, draft).await?;
        if let Some(size) = size {
            draft.tag_again(session, size).await;
        }
        Ok(())
    }

    /// Sends the body and verifies its length; returns that if the server tells it.
    async fn send(&mut self, session: &mut Session, path: &str) -> Result<Option<u64>> {
        let mut transfer = session.store(path).await.context("store an object")?;
        let mut body = self.source.body()?;
        let sent = tokio::select! {
            biased;
            _ = &mut self.gone => Err(Stopped::Body(abandoned())),
            sent = pump(&mut body, &mut transfer) => sent,
        };
        drop(body);
        match sent {
            Ok(()) => transfer.end(session).await.context("store an object")?,
            Err(Stopped::Body(error)) => {
                transfer.abandon(session).await;
                return Err(error);
            }
            Err(Stopped::Server(broken)) => {
                let fault = transfer.why(session).await.err().filter(Fault::is_answer);
                return Err(fault.unwrap_or(broken).because("store an object"));
            }
        }
        let digests = self.report.digests().ok_or_else(|| Error::new(Kind::Passing, "the body did not end"))?;
        match session.measure(path).await.context("look for an object")? {
            Found::Nothing => Err(Error::new(Kind::Passing, "the FTP server has lost what it stored")),
            Found::File(Some(size)) if size != digests.length => {
                Err(Error::new(Kind::Passing, "the FTP server stored another length than it was sent"))
            }
            Found::File(size) => Ok(size),
            Found::Unknown => Ok(None),
        }
    }

    /// Renames the file to the composed name if that is free, else to the spare one.
    async fn settle(&mut self, session: &mut Session, draft: &mut Draft) -> Result<()> {
        if let Some(name) = &self.name
            && let Some(reserved) = self.host.names.reserve(name)
            && session.stat(name, Some(&draft.path)).await.context("look for an object")? == Found::Nothing
        {
            match draft.rename(session, name, Some(reserved)).await {
                // Another upload won the race, on a server that does not overwrite; or the server rejects the name.
                Err(fault) if fault.leaves_it_open() => {}
                outcome => return outcome.context("rename an object"),
            }
        }
        draft.rename(session, &self.spare, None).await.context("rename an object")
    }
}

/// Why a body was not stored.
enum Stopped {
    Body(Error),
    Server(Fault),
}

async fn pump(body: &mut Body, transfer: &mut Transfer) -> std::result::Result<(), Stopped> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Stopped::Body(of_body(error)))?;
        if let Ok(data) = frame.into_data() {
            transfer.write(data).await.map_err(Stopped::Server)?;
        }
    }
    Ok(())
}

fn of_body(error: BoxError) -> Error {
    error.downcast::<Error>().map_or_else(Error::of_body, |error| *error)
}

fn abandoned() -> Error {
    Error::new(Kind::Interrupted, "the upload is not waited for any more")
}
