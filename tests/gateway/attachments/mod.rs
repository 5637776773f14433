//! Attachments through the gateway: what a client of CouchDB sees, and what is stored where.
//!
//! A method is a file (`put`, `read`, `delete`), and so is what crosses them all. What KAZOO stored is in `old`.

mod delete;
mod documents;
mod gzip;
mod life;
mod limits;
mod links;
mod old;
mod put;
mod read;
mod revisions;
mod rotated;
mod trust;
mod twins;
