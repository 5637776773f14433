//! Shared machinery of the drivers: each driver provides its vendor's calls and terms, this module builds uploads and downloads.
//!
//! | file | is |
//! |---|---|
//! | `upload` | an incoming body: counted, limited, hashed once, consumed in chunks or as a stream |
//! | `budget` | the memory limit shared by all uploads |
//! | `digest` | the digests of an upload, computed while receiving |
//! | `spool` | a body of unknown length in a file, for storages that need the length first |
//! | `session` | a long upload: the next chunk is filled while the previous one is sent |
//! | `claim` | a free name for an object, and ownership of objects that a lost response may have left |
//! | `listing` | the pages of what a storage holds |
//! | `location` | the members of a location |
//! | `media` | the media type of an object |
//! | `names` | the names currently being written or cleaned up |
//! | `finish` | steps that a dropped future must not leave half done, and clean-up |
//! | `tries` | when an idempotent request is retried, and for how long |
//! | `lost` | calls without a response, which may or may not have taken effect |
//! | `api` | calls to a vendor's HTTP API, and its responses |
//! | `read`, `resume` | downloads of a whole object or a range, resumed when the connection breaks |
//! | `verified`, `checked` | withholding the last frame until the body and its digest are verified |
//! | `options`, `endpoint`, `origin` | the addresses of a vendor's servers, from the operator's configuration and the plan |
//! | `xml` | parsing servers' XML |
//! | `resolve` | which storage of the current plan a pointer refers to |

pub(crate) mod api;
pub(crate) mod budget;
pub(crate) mod checked;
pub(crate) mod claim;
pub(crate) mod digest;
pub(crate) mod endpoint;
pub(crate) mod finish;
pub(crate) mod listing;
pub(crate) mod location;
pub(crate) mod lost;
pub(crate) mod media;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod origin;
pub(crate) mod read;
pub(crate) mod resolve;
pub(crate) mod resume;
pub(crate) mod session;
pub(crate) mod spool;
pub(crate) mod tries;
pub(crate) mod upload;
pub(crate) mod verified;
pub(crate) mod xml;
