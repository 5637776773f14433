//! Folders on a WebDAV server, which rejects objects whose folder does not exist (RFC 4918 section 9.7.1).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use stowage_http::client::Patience;

use super::Http;
use super::link::Link;
use super::web::{Web, discard};
use crate::error::{Error, Kind, Result};

/// Whether a server supports WebDAV.
#[derive(Debug, Default)]
pub(super) struct Dav(AtomicU8);

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;
/// Short enough for clients not to notice.
const SHORT: Duration = Duration::from_secs(2);

impl Dav {
    /// Records that the server created folders, whatever its OPTIONS say: nginx does not support OPTIONS.
    pub(super) fn is_proven(&self) {
        self.0.store(YES, Ordering::Relaxed);
    }

    /// Queries the server once (RFC 4918 section 10.1). One that takes long to respond is taken not to support WebDAV.
    async fn is_spoken(&self, web: &Web, link: &Link) -> bool {
        if self.0.load(Ordering::Relaxed) == UNKNOWN {
            let patience = Patience { head: Some(SHORT), ..web.patience() };
            let asked = web.follow(Method::OPTIONS, link.clone(), &HeaderMap::new(), patience).await;
            let dav = matches!(&asked, Ok((_, response)) if response.headers().contains_key("dav"));
            if let Ok((_, response)) = asked {
                discard(response).await;
            }
            self.0.store(if dav { YES } else { NO }, Ordering::Relaxed);
        }
        self.0.load(Ordering::Relaxed) == YES
    }
}

/// Creates the folders before a body that cannot be sent twice: some servers reject it only after reading it.
pub(super) async fn make_before(http: &Http, object: &Link) {
    let Some(folder) = object.folders().into_iter().next() else { return };
    if http.options.verb == Method::PUT && http.dav.is_spoken(&http.web, &folder).await {
        // If this fails, it shows when the body is rejected.
        let _ = make(&http.web, object).await;
    }
}

/// Outcome of creating folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    /// The deepest existed already, or the server has no notion of folders.
    Before,
    /// The server does not create folders.
    Never,
}

/// Returns whether a response to PUT may mean that a folder is missing: 409 by RFC 4918, 404 from servers that map folders to
/// directories, 500 from nginx.
pub(super) const fn may_be_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR)
}

/// Creates the missing folders of an object's URL.
pub(super) async fn make(web: &Web, object: &Link) -> Result<Made> {
    let mut missing = Vec::new();
    for folder in object.folders() {
        match mkcol(web, &folder).await? {
            Outcome::NoParent => missing.push(folder),
            Outcome::Refused => return Ok(Made::Never),
            Outcome::There if missing.is_empty() => return Ok(Made::Before),
            Outcome::Made | Outcome::There => {
                for folder in missing.iter().rev() {
                    if matches!(mkcol(web, folder).await?, Outcome::NoParent | Outcome::Refused) {
                        return Ok(Made::Never);
                    }
                }
                return Ok(Made::Now);
            }
        }
    }
    Ok(Made::Never)
}

enum Outcome {
    Made,
    There,
    NoParent,
    Refused,
}

/// RFC 4918 section 9.3.1; servers that map folders to directories respond with 404 instead of 409. Some respond with 406 for a folder that exists, and
/// ownCloud with 423 for one that another request is creating: the upload may be sent then, as if this one had created it.
async fn mkcol(web: &Web, folder: &Link) -> Result<Outcome> {
    let method = Method::from_bytes(b"MKCOL").map_err(|_| Error::new(Kind::Refused, "no such method"))?;
    let (_, response) = web.ask(&method, folder, &HeaderMap::new()).await?;
    let status = response.status();
    discard(response).await;
    Ok(match status {
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE => Outcome::There,
        StatusCode::LOCKED => Outcome::Made,
        status if status.is_success() => Outcome::Made,
        StatusCode::CONFLICT | StatusCode::NOT_FOUND => Outcome::NoParent,
        _ => Outcome::Refused,
    })
}
