//! Attachments through the gateway: what clients see, and what is stored where.
//!
//! There is a file per method (`put`, `read`, `delete`) and per topic across methods. KAZOO's attachments are in `old`.

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
