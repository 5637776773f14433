//! Reading a file as a body: large pieces on a blocking thread, one ahead of what is being sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError};
use stowage_http::range::ByteRange;
use tokio::task::JoinHandle;

use super::place::Place;
use super::write::{blocking, etag, is_gone, outside};
use crate::{Download, Error, Kind, Result, Served};

/// Opens a file, or a range of it.
pub(super) async fn open(place: Arc<Place>, path: std::path::PathBuf, range: Option<ByteRange>) -> Result<Download> {
    let opened = blocking(move || {
        match path.symlink_metadata() {
            Err(error) if is_gone(&place, &error) => return Ok(None),
            other => other?,
        };
        if !place.holds(&path)? {
            return Err(outside());
        }
        let mut file = match File::open(&path) {
            Err(error) if is_gone(&place, &error) => return Ok(None),
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let range = range.filter(|range| range.last < metadata.len());
        let (first, length) = range.map_or((0, metadata.len()), |range| (range.first, range.len()));
        if first > 0 {
            file.seek(SeekFrom::Start(first))?;
        }
        // The first piece at once: for a small file it is all.
        let piece = read(&file, length)?;
        Ok(Some((file, etag(&metadata), range, length, piece)))
    });
    let Some((file, etag, range, length, piece)) = opened.await? else {
        return Err(Error::new(Kind::Missing, "there is no such file"));
    };
    let served = range.map_or(Served::Whole, Served::Part);
    let mut body = Pieces { file: Arc::new(file), ready: Some(piece), reading: None, unread: length, left: length };
    body.account();
    Ok(Download { served, etag: Some(etag), body: Body::boxed(body) })
}

/// A file's bytes from where it stands.
struct Pieces {
    file: Arc<File>,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// What is neither read nor being read.
    unread: u64,
    /// What has not been passed on.
    left: u64,
}

impl Pieces {
    /// Takes note of the piece that is ready, and begins to read the next one.
    fn account(&mut self) {
        self.unread = self.unread.saturating_sub(self.ready.as_ref().map_or(0, Bytes::len) as u64);
        let complete = self.ready.as_ref().is_some_and(|piece| !piece.is_empty());
        if complete && self.unread > 0 {
            let (file, unread) = (Arc::clone(&self.file), self.unread);
            self.reading = Some(tokio::task::spawn_blocking(move || read(&file, unread)));
        }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        if this.ready.is_none()
            && let Some(reading) = &mut this.reading
        {
            let outcome = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            match outcome.map_err(BoxError::from).and_then(|outcome| outcome.map_err(BoxError::from)) {
                Ok(piece) => this.ready = Some(piece),
                Err(error) => {
                    this.left = 0;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            this.account();
        }
        let Some(piece) = this.ready.take().filter(|piece| !piece.is_empty()) else {
            this.left = 0;
            return Poll::Ready(Some(Err("the file became shorter while it was read".into())));
        };
        this.left = this.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The next piece of a file, at most `most` bytes; empty only at its end.
fn read(file: &File, most: u64) -> io::Result<Bytes> {
    let size = most.min(PIECE_BYTES);
    let mut piece = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(size).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// Large enough that the hand-over between threads costs little, small enough for a thousand downloads.
const PIECE_BYTES: u64 = 128 << 10;
