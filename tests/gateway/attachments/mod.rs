//! Attachments through the gateway: what clients see, and what is stored where.
//!
//! There is a file per method and per topic across methods.
//!
//! | files | contain |
//! |---|---|
//! | `put`, `read`, `delete` | one method |
//! | `life`, `twins` | all methods: in every storage, and compared with a database that has no plan |
//! | `documents`, `links`, `revisions` | the document around the attachments, those of other documents, and older revisions |
//! | `gzip`, `limits` | the bytes: their encoding and their number |
//! | `rotated`, `trust` | changes of the plan, and certificates of the storage |
//! | `old/` | attachments that KAZOO stored |

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
