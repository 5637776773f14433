//! No attachment is lost while a storage is down: CouchDB keeps it, and a job moves it out later; failed removals are repeated later. The tests use a
//! gateway in front of the embedded store (or `COUCHDB_URL`) and a real S3 server that can be shut off.

mod breaker;
mod copies;
mod documents;
mod drivers;
mod intents;
mod isolation;
mod moves;
mod queue;
mod refusals;
mod removals;
mod reports;
mod saves;
mod tap;
mod under_load;
pub mod world;
