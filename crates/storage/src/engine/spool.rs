//! Buffers a body of unknown length in a temporary file, for storages that need the length first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use futures_util::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use stowage_http::body::Body;
use stowage_http::range::Exact;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::{Chunk, Error, Kind, Result, Upload};

/// Reads a body to its end, of which the first chunk was already taken, and returns it again with its length.
///
/// The file is unlinked once it is open, so nothing needs to be removed, even after a crash.
///
/// # Errors
/// The body's errors; `Passing` if the file cannot be written.
pub(crate) async fn spooled(mut upload: Upload, first: Chunk) -> Result<(Body, u64)> {
    let file = Arc::new(blocking(create).await?);
    let (mut next, mut length) = (Some(first), 0);
    while let Some(chunk) = next {
        length += chunk.data.len() as u64;
        let last = chunk.last;
        write(&file, chunk).await?;
        next = if last { None } else { Some(upload.chunk().await?) };
    }
    let reader = blocking(move || {
        (&*file).rewind()?;
        file.try_clone()
    });
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(reader.await?), PIECE);
    let body = Body::boxed(StreamBody::new(stream.map(|piece| piece.map(Frame::data))));
    Ok((Body::boxed(Exact::new(body, length)), length))
}

fn create() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("stowage-{}", Uuid::new_v4().simple()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

async fn write(file: &Arc<File>, chunk: Chunk) -> Result<()> {
    let file = Arc::clone(file);
    blocking(move || (&*file).write_all(&chunk.data)).await
}

async fn blocking<T: Send + 'static>(step: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let text = "a temporary file for a body of unknown length cannot be written";
    let outcome = tokio::task::spawn_blocking(step).await.map_err(io::Error::from).flatten();
    outcome.map_err(|error| Error::new(Kind::Passing, text).because(error))
}

/// Bytes per read.
const PIECE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Body as _;

    use super::*;
    use crate::{Budget, CHUNK_BYTES};
    use stowage_http::body::collect;

    /// A single share of memory suffices, whatever the length.
    #[tokio::test]
    async fn a_body_is_measured_and_given_once_more() {
        for length in [CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 77] {
            let data: Vec<u8> = (0..=250).cycle().take(length).collect();
            let frames = data.chunks(100_000).map(|piece| Ok(Frame::data(piece.to_vec().into())));
            let frames: Vec<Result<_>> = frames.collect();
            let budget = Budget::new(CHUNK_BYTES as u64);
            let mut upload = Upload::new(Body::boxed(StreamBody::new(stream::iter(frames))), 1 << 30, budget.clone());
            let (report, first) = (upload.report(), upload.chunk().await.unwrap());
            let (again, total) = spooled(upload, first).await.unwrap();
            assert_eq!((total, again.size_hint().exact()), (length as u64, Some(length as u64)));
            assert_eq!(report.digests().map(|digests| digests.length), Some(length as u64));
            assert!(collect(again, 1 << 30).await.unwrap() == data);
            assert_eq!(budget.held(), 0);
        }
    }

    /// Only the process that created it can access it.
    #[test]
    fn the_file_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let file = create().unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
    }
}
