//! Streams a file as a body: large reads on a blocking thread, one ahead of what is being sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact};
use stowage_http::written::written;

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
        // Read the first piece right away: a small file needs no more.
        let piece = read(&file, length)?;
        Ok(Some((file, etag(&metadata), range, length, piece)))
    });
    let Some((file, etag, range, length, piece)) = opened.await? else {
        return Err(Error::new(Kind::Missing, "there is no such file"));
    };
    let served = range.map_or(Served::Whole, Served::Part);
    Ok(Download { served, etag: Some(etag), body: pieces(file, piece, length) })
}

/// Streams `length` bytes of a file, of which the first piece was already read.
fn pieces(file: File, first: Bytes, length: u64) -> Body {
    if first.len() as u64 == length {
        return Body::full(first);
    }
    let pieces = written(move |mut out| async move {
        let (file, mut piece, mut unread) = (Arc::new(file), first, length);
        loop {
            unread = unread.saturating_sub(piece.len() as u64);
            if piece.is_empty() {
                return Err("the file became shorter while it was read".into());
            }
            if unread == 0 {
                out.send(piece).await;
                return Ok(());
            }
            let file = Arc::clone(&file);
            let next = tokio::task::spawn_blocking(move || read(&file, unread));
            out.send(piece).await;
            piece = next.await??;
        }
    });
    Body::boxed(Exact::new(pieces, length))
}

/// Reads the next piece of a file, at most `most` bytes; empty only at its end.
fn read(file: &File, most: u64) -> io::Result<Bytes> {
    let size = most.min(PIECE_BYTES);
    let mut piece = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(size).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// Large enough to amortize the hand-over between threads, small enough for a thousand downloads.
const PIECE_BYTES: u64 = 128 << 10;
