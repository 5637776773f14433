//! Objects of the doubles, in files that have no name: a process may be measured although its servers are in it.

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// What is computed of the bytes as they come.
pub trait Sum: Clone + Default {
    /// Takes the next bytes.
    fn update(&mut self, data: &[u8]);
}

impl Sum for () {
    fn update(&mut self, _: &[u8]) {}
}

/// An object's bytes and their checksums. A clone that is appended to leaves the first one as it was; the last one of two
/// clones to be appended to is the only sound one.
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
    /// Adds bytes at the end.
    pub fn append(&mut self, data: &[u8]) {
        self.file.write_all_at(data, self.length).expect("room in the file");
        self.length += data.len() as u64;
        self.sum.update(data);
    }

    /// In bytes.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All bytes, in memory.
    pub fn bytes(&self) -> Bytes {
        let mut data = vec![0; self.len()];
        self.file.read_exact_at(&mut data, 0).expect("what was written");
        data.into()
    }

    /// Adds the first bytes of this one to another.
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

    /// The checksums of all bytes.
    pub const fn sum(&self) -> &S {
        &self.sum
    }

    /// All bytes, to be answered with.
    pub fn read(&self) -> Reader {
        self.part(0, self.len())
    }

    /// The bytes from `first` to before `end`.
    pub fn part(&self, first: usize, end: usize) -> Reader {
        assert!(first <= end && end <= self.len(), "a part of the object");
        Reader { file: Arc::clone(&self.file), at: first as u64, end: end as u64 }
    }
}

/// A body that is read while it is sent.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Reader {
    /// What is left, in bytes.
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

/// So many bytes are read at once.
const FRAME: u64 = 64 << 10;
