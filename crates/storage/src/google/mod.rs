//! Google's two storages: Cloud Storage (`storage`) and Drive (`drive`), which share servers, tokens and protocol.
//!
//! | file | is |
//! |---|---|
//! | `service` | the API as accessed with one grant |
//! | `fault` | error responses, which 403s are transient, and the other failures of an upload |
//! | `related` | metadata and bytes in one request |
//! | `session`, `link` | resumable uploads: the chunks, and a session's responses |
//! | `stream`, `window` | a long upload in one request, keeping its last bytes |
//! | `read` | downloads, resumed from the same version |

pub(super) mod drive;
mod fault;
mod link;
mod read;
mod related;
mod service;
mod session;
pub(super) mod storage;
mod stream;
mod window;
