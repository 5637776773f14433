//! A storage that is down costs nobody an attachment: CouchDB keeps it meanwhile, and a job moves it out; what could not be
//! removed goes later. Each promise is held by a gateway in front of the embedded store (or `COUCHDB_URL`) and a real S3
//! server that can be shut off.

mod breaker;
mod documents;
mod drivers;
mod moves;
mod queue;
mod removals;
mod saves;
mod under_load;
pub mod world;
