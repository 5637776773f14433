//! Documents through a gateway that shows outside attachments as CouchDB's own: what a client sees is what it would see if
//! CouchDB had them.
//!
//! A file is a form of answer or of question; all of them stand beside each other because each compares the same [`twins`]. `broken`
//! and `unseen` are about what must not be shown in any of these forms.

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
