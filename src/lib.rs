//! Stowage: a reverse proxy in front of CouchDB that sends attachments to the storage that a plan names.
//!
//! The gateway has eight subjects, each with a module:
//!
//! - `attachment`: one attachment is read, stored or removed.
//! - `document`: a document is written with its attachments, copied or deleted.
//! - [`present`]: documents are shown as if CouchDB had their attachments.
//! - `commit`: a save is carried through, and what it makes superfluous is removed.
//! - [`plan`]: storage plans decide which attachments leave CouchDB, for which storage, under which name.
//! - [`mod@pointer`]: a document's entry says where an attachment is.
//! - [`admin`]: operators and programs look at the gateway, and change its plans.
//! - [`upstream`]: CouchDB is asked, with the client's rights.
//!
//! The other modules serve them:
//!
//! - [`cli`] has the commands.
//! - [`app`] makes the gateway from its configuration, and drains it.
//! - [`migrate`] moves attachments that are not where the plans want them.
//! - [`verify`] checks that every pointer's object is there.
//! - [`walk`] visits the documents of many databases, for these two.
//! - `worker` runs the jobs of the queue.
//! - [`middleware`] surrounds every request: it is observed, guarded, and admitted.
//! - [`dispatch`] passes a request to the handler of its route.
//! - `moving` changes where the attachments of an unchanged document are.
//! - `object` stores, fetches and removes objects.
//! - [`gateway`] is the state that all requests share.
//! - [`locks`] lets one request at a time write an attachment.
//! - [`record`] keeps an account's failures for its owner.
//! - [`jobs`] is the queue of work for later.
//! - [`exchange`] is a request in progress, with its deadline.
//! - [`error`] selects the status of each failure of the gateway.
//! - [`router`] finds the route of a method and a target.
//! - [`database`] knows the class and the account of a database by its name.
//! - [`export`] sends spans to a collector.
//! - [`metrics`] counts and measures.
//! - [`config`] is the operator's configuration.
//!
//! `ARCHITECTURE.md` describes their order: a module may import only from those below it.

// The futures that write documents with attachments nest deeper than the default recursion limit.
#![recursion_limit = "256"]

pub mod admin;
pub mod app;
mod attachment;
pub mod cli;
mod commit;
pub mod config;
pub mod database;
pub mod dispatch;
mod document;
pub mod error;
pub mod exchange;
pub mod export;
pub mod gateway;
pub mod jobs;
pub mod locks;
pub mod metrics;
pub mod middleware;
pub mod migrate;
mod moving;
mod object;
pub mod plan;
pub mod pointer;
pub mod present;
pub mod record;
pub mod router;
pub mod upstream;
pub mod verify;
pub mod walk;
mod worker;
