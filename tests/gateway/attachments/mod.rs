//! Attachments through the gateway: what a client of CouchDB sees, and what is stored where.

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
