//! Object storage of the doubles, in unnamed files: memory of the process may be measured although its servers run in it.

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Checksums computed as the bytes arrive.
pub trait Sum: Clone + Default {
    /// Processes the next bytes.
    fn update(&mut self, data: &[u8]);
}

impl Sum for () {
    fn update(&mut self, _: &[u8]) {}
}

/// An object's bytes and checksums. Appending to a clone leaves the original unchanged; but of two clones appended to, only the last
/// one is valid.
#[derive(Clone, Debug)]
pub struct Spool<S> {
    file: Arc<File>,
    length: u64,
    sum: S,
}

impl<S: Sum> Default for Spool<S> {
    fn default() -> Self {
        Self { file: Arc::new(tempfile::tempfile().expect("a temporary file")), length: 0, sum: S::default() }
    }
}

impl<S: Sum> From<&[u8]> for Spool<S> {
    fn from(data: &[u8]) -> Self {
        let mut spool = Self::default();
        spool.append(data);
        spool
    }
}

impl<S: Sum> Spool<S> {
    /// Appends bytes.
    pub fn append(&mut self, data: &[u8]) {
        self.file.write_all_at(data, self.length).expect("room in the file");
        self.length += data.len() as u64;
        self.sum.update(data);
    }

    /// Returns the length in bytes.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Returns whether it is empty.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads all bytes into memory.
    pub fn bytes(&self) -> Bytes {
        let mut data = vec![0; self.len()];
        self.file.read_exact_at(&mut data, 0).expect("what was written");
        data.into()
    }

    /// Appends the first `length` bytes of this object to another.
    pub fn copy_to<T: Sum>(&self, length: usize, other: &mut Spool<T>) {
        let mut piece = vec![0; FRAME as usize];
        let mut at = 0;
        while at < length {
            let size = piece.len().min(length - at);
            self.file.read_exact_at(&mut piece[..size], at as u64).expect("what was written");
            other.append(&piece[..size]);
            at += size;
        }
    }

    /// Returns the checksums of all bytes.
    pub const fn sum(&self) -> &S {
        &self.sum
    }

    /// Returns a body of all bytes.
    pub fn read(&self) -> Reader {
        self.part(0, self.len())
    }

    /// Returns a body of the bytes from `first` up to, but not including, `end`.
    pub fn part(&self, first: usize, end: usize) -> Reader {
        assert!(first <= end && end <= self.len(), "a part of the object");
        Reader { file: Arc::clone(&self.file), at: first as u64, end: end as u64 }
    }
}

/// A body that is read from the file while it is sent.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Reader {
    /// Returns the remaining length in bytes.
    const fn left(&self) -> u64 {
        self.end - self.at
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.left() == 0 {
            return Poll::Ready(None);
        }
        let mut data = vec![0; this.left().min(FRAME) as usize];
        this.file.read_exact_at(&mut data, this.at).expect("what was written");
        this.at += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// Bytes per read.
const FRAME: u64 = 64 << 10;
