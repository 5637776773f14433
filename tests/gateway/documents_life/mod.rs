//! Outside attachments of documents that branch, are deleted, or are copied.

use crate::faults::{gate, world as faulty};

mod answers;
mod branches;
mod contents;
mod copies;
mod deletions;
mod failing_copies;
mod failing_deletions;
mod shared;
mod world;
