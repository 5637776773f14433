//! Copies (`"stub": true`): CouchDB keeps the attachment, and the storage gets the same bytes.
//!
//! Whatever happens to a copy, the client's answer is CouchDB's; whatever happens to the attachment, no copy stays of what
//! CouchDB surely does not have. Between the gateway and its servers stands the gate of the fault tests.

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
