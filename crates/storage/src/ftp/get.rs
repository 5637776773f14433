//! Reading an object, or a range of it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use stowage_http::body::Body;
use stowage_http::range::Exact;
use stowage_http::written::written;

use super::fault::{Fault, ResultExt, UNKNOWN};
use super::pool::Lease;
use super::session::Session;
use super::stat::Found;
use super::transfer::Transfer;
use super::{Host, retried};
use crate::engine::finish::clean_up;
use crate::engine::resume::resumed;
use crate::engine::verified::verified;
use crate::{Download, Error, Fetch, Kind, Result, Served};

/// Opens an object.
pub(super) async fn open(host: &Arc<Host>, path: &str, fetch: Fetch<'_>) -> Result<Download> {
    retried(|| open_once(host, path, fetch)).await
}

async fn open_once(host: &Arc<Host>, path: &str, fetch: Fetch<'_>) -> Result<Download> {
    let mut session = host.pool.take(path).await?;
    let (size, etag) = match version(&mut session, path).await {
        Ok(version) => version,
        Err(error) => {
            session.leave();
            return Err(error);
        }
    };
    let Some(length) = size.or(fetch.length) else {
        session.leave();
        return Err(Error::new(Kind::Refused, "neither the document nor the FTP server says how long the object is"));
    };
    if length == 0 {
        session.leave();
        return Ok(Download { served: Served::Whole, etag, body: Body::empty() });
    }
    let mut part = fetch.range.filter(|range| size.is_some() && range.last < length);
    let mut opened = session.retrieve(path, part.map_or(0, |range| range.first)).await;
    if part.is_some_and(|range| range.first > 0) && opened.as_ref().is_err_and(|fault| fault.is(UNKNOWN)) {
        // The server does not support REST.
        part = None;
        opened = session.retrieve(path, 0).await;
    }
    let transfer = match opened {
        Ok(transfer) => transfer,
        Err(fault) => {
            session.leave();
            return Err(refusal(path, fault));
        }
    };
    let (first, length, last) =
        part.map_or((0, length, true), |range| (range.first, range.len(), range.last + 1 == length));
    let open = Some(Open { session, transfer });
    let reading = Reading { host: Arc::clone(host), open, left: length, reads_to_end: last };
    let served = part.map_or(Served::Whole, Served::Part);
    let body = match &etag {
        Some(etag) => {
            let rest = Rest { host: Arc::clone(host), path: path.to_owned(), etag: etag.clone(), first, length, last };
            resumed(reading.body(), length, move |passed| rest.clone().open(passed))
        }
        None => Body::boxed(Exact::new(reading.body(), length)),
    };
    Ok(Download { served, etag, body })
}

/// Returns length and ETag of the current file, as far as the server reports them.
async fn version(session: &mut Session, path: &str) -> Result<(Option<u64>, Option<String>)> {
    match session.stat(path, None).await.context("look for an object")? {
        Found::Nothing => Err(missing()),
        Found::File(Some(size)) => Ok((Some(size), session.tag(path, size).await.context("look for an object")?)),
        Found::File(None) | Found::Unknown => Ok((None, None)),
    }
}

/// Returns the error for an object that cannot be read and whose existence is unknown: 550 alone does not mean that it is missing.
fn refusal(path: &str, fault: Fault) -> Error {
    if fault.says_gone(path) { missing() } else { fault.because("read an object") }
}

fn missing() -> Error {
    Error::new(Kind::Missing, "the object is not on the FTP server")
}

/// How to resume a broken download.
#[derive(Clone)]
struct Rest {
    host: Arc<Host>,
    path: String,
    etag: String,
    /// The first byte of the announced part, its length, and whether it extends to the object's end.
    first: u64,
    length: u64,
    last: bool,
}

impl Rest {
    async fn open(self, passed: u64) -> Result<Body> {
        retried(|| self.open_once(passed)).await
    }

    async fn open_once(&self, passed: u64) -> Result<Body> {
        let mut session = self.host.pool.take(&self.path).await?;
        if version(&mut session, &self.path).await?.1.as_ref() != Some(&self.etag) {
            session.leave();
            return Err(Error::new(Kind::Refused, "the file was changed in the middle of a download"));
        }
        let transfer = session.retrieve(&self.path, self.first + passed).await.context("read an object")?;
        let left = self.length - passed;
        let host = Arc::clone(&self.host);
        Ok(Reading { host, open: Some(Open { session, transfer }), left, reads_to_end: self.last }.body())
    }
}

/// A session during a transfer.
struct Open {
    session: Lease,
    transfer: Transfer,
}

/// A transfer being read. If it is dropped halfway, its session is returned once the server is done with the transfer.
struct Reading {
    host: Arc<Host>,
    /// `None` once it has ended.
    open: Option<Open>,
    left: u64,
    /// Whether the transfer extends to the object's end. If not, the connection is closed halfway.
    reads_to_end: bool,
}

impl Reading {
    fn body(self) -> Body {
        let (reads_to_end, mut reading) = (self.reads_to_end, self);
        let body = written(move |mut out| async move {
            while let Some(piece) = reading.next().await? {
                out.send(piece).await;
            }
            Ok(())
        });
        // The last piece is withheld until the server confirms that the transfer is complete.
        if reads_to_end { verified(body, ()) } else { body }
    }

    /// Returns the next piece; `None` at the end, or once enough was read of an object that continues.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 && !self.reads_to_end {
            return Ok(None);
        }
        match self.read().await {
            Ok(None) => {}
            Ok(piece) => return Ok(piece),
            Err(fault) => {
                self.open = None;
                return Err(fault.because("read an object"));
            }
        }
        let Some(Open { mut session, transfer }) = self.open.take() else { return Ok(None) };
        transfer.finish(&mut session).await.context("read an object")?;
        session.leave();
        Ok(None)
    }

    async fn read(&mut self) -> std::result::Result<Option<Bytes>, Fault> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let mut piece = BytesMut::new();
        match open.transfer.read(&mut piece).await {
            Ok(0) => return Ok(None),
            // Not every server closes TLS properly; the length and the completion reply are sufficient.
            Err(Fault::Broken(error)) if self.left == 0 && error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(None);
            }
            other => other?,
        };
        if !self.reads_to_end {
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Some(piece.freeze()))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(Open { mut session, transfer }) = self.open.take() {
            clean_up(&self.host.tasks, "ftp abort", async move {
                transfer.abandon(&mut session).await;
                session.leave();
            });
        }
    }
}
