//! Documents through a gateway that shows outside attachments as CouchDB's own: what a client sees is what it would see if
//! CouchDB had them.

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
