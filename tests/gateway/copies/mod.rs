//! Copies (`"stub": true`): CouchDB keeps the attachment, and the storage gets the same bytes.
//!
//! The client always gets CouchDB's response, whatever happens to the copy; and there is no copy of an attachment that CouchDB certainly lacks. The
//! gate of the fault tests is between the gateway and its servers.

use crate::faults::gate;

mod answers;
mod bytes;
mod exact;
mod failures;
mod leaving;
mod limits;
mod older;
mod pace;
mod parts;
mod world;
