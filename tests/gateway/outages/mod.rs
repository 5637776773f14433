//! No attachment is lost while a storage is down: CouchDB keeps it, and a job moves it out later; failed removals are repeated later. The tests use a
//! gateway in front of the embedded store (or `COUCHDB_URL`) and a real S3 server that can be shut off.
//!
//! | files | contain |
//! |---|---|
//! | `saves`, `documents`, `copies`, `removals` | requests while a storage is down |
//! | `refusals`, `drivers` | what counts as an outage, and plans that refuse to fall back |
//! | `moves`, `queue`, `intents` | the jobs, and what they do once the storage is back |
//! | `breaker`, `isolation`, `memory`, `under_load` | how long requests wait, for this storage and for others |
//! | `reports` | what operators and accounts see |
//! | `world`, `tap` | the common foundation |

mod breaker;
mod copies;
mod documents;
mod drivers;
mod intents;
mod isolation;
mod memory;
mod moves;
mod queue;
mod refusals;
mod removals;
mod reports;
mod saves;
mod tap;
mod under_load;
pub mod world;
