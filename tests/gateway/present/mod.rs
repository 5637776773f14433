//! Documents through a gateway that presents outside attachments as stubs: clients see what they would see if CouchDB had the attachments.
//!
//! Each file is about one form of response or request; they are all on one level, because each compares the same [`twins`]. `broken` and `unseen` are
//! about what none of these forms may show.

mod both;
mod broken;
mod documents;
mod feeds;
mod large;
mod lists;
mod old;
mod parts;
mod since;
mod spelled;
mod storages;
mod twins;
mod unseen;
