//! Google's two storages: Cloud Storage (`storage`) and Drive (`drive`), which share servers, tokens and protocol.
//!
//! | file | is |
//! |---|---|
//! | `service` | the API as one grant may use it |
//! | `fault` | what a failure says, and which 403s pass |
//! | `related` | metadata and bytes in one request |
//! | `session`, `link` | resumable uploads: the chunks, and what a session answers |
//! | `stream`, `window` | a long upload in one request, its last bytes kept |
//! | `read` | downloads, resumed under the same version |

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
