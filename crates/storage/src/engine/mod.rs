//! What the drivers share: each of them is a vendor's calls and words, and these make uploads and downloads of them.
//!
//! | file | is |
//! |---|---|
//! | `upload` | a body on its way in: counted, bounded, hashed once, taken in chunks or as a stream |
//! | `budget` | the memory of all uploads together |
//! | `digest` | the digests of an upload, computed beside the receiving |
//! | `spool` | a body of unknown length, in a file, for storages that want the length first |
//! | `session` | a long upload: the next chunk fills while the last one is sent |
//! | `claim` | a free name for an object, and whose the object is that a lost answer may have left |
//! | `location` | the members of a location |
//! | `media` | the media type of an object |
//! | `names` | the names that are being written or cleaned up at this moment |
//! | `finish` | steps that a dropped future must not leave half done, and clean-up |
//! | `tries` | when an exact request is repeated, and for how long |
//! | `lost` | a call without an answer: may it have had its effect? |
//! | `api` | calls to a vendor's HTTP API, and its answers |
//! | `read`, `resume` | a download: the whole object or a range of it, going on where its connection broke |
//! | `verified`, `checked` | the last frame waits for the end of a body, and for its digest |
//! | `options`, `endpoint`, `origin` | where a vendor's servers are: the operator's word, the plan's word |
//! | `xml` | what servers say in XML |
//! | `resolve` | which storage of today's plan a pointer means |

pub(crate) mod api;
pub(crate) mod budget;
pub(crate) mod checked;
pub(crate) mod claim;
pub(crate) mod digest;
pub(crate) mod endpoint;
pub(crate) mod finish;
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
