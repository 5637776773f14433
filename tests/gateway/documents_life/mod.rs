//! What becomes of outside attachments when documents branch, are deleted, and are copied.

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
