//! The folders of a WebDAV server, which takes no object into one that is not there (RFC 4918 section 9.7.1).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use stowage_http::client::Patience;

use super::Http;
use super::link::Link;
use super::web::{Web, discard};
use crate::error::{Error, Kind, Result};

/// Whether a server speaks WebDAV.
#[derive(Debug, Default)]
pub(super) struct Dav(AtomicU8);

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;
/// Less than a client would notice.
const SHORT: Duration = Duration::from_secs(2);

impl Dav {
    /// The server has made folders, whatever it says of itself: nginx does not know OPTIONS.
    pub(super) fn is_proven(&self) {
        self.0.store(YES, Ordering::Relaxed);
    }

    /// Asks once (RFC 4918 section 10.1). A server that takes long to say it is one that does not know the question.
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

/// Makes the folders for a body that cannot be sent twice: some servers refuse only once they have read it.
pub(super) async fn make_before(http: &Http, object: &Link) {
    let Some(folder) = object.folders().into_iter().next() else { return };
    if http.options.verb == Method::PUT && http.dav.is_spoken(&http.web, &folder).await {
        // What could not be made shows when the body is refused.
        let _ = make(&http.web, object).await;
    }
}

/// Whether folders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    /// The deepest was there, or the server knows of no folders.
    Before,
    /// The server makes none.
    Never,
}

/// Whether an answer to PUT may mean that a folder is missing: 409 by RFC 4918, 404 by servers that map folders to files, 500
/// by nginx.
pub(super) const fn may_be_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR)
}

/// Makes the folders that an object's URL is in, as far as they are missing.
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

/// RFC 4918 section 9.3.1; servers that map folders to files say 404 for 409.
async fn mkcol(web: &Web, folder: &Link) -> Result<Outcome> {
    let method = Method::from_bytes(b"MKCOL").map_err(|_| Error::new(Kind::Refused, "no such method"))?;
    let (_, response) = web.ask(&method, folder, &HeaderMap::new()).await?;
    let status = response.status();
    discard(response).await;
    Ok(match status {
        StatusCode::METHOD_NOT_ALLOWED => Outcome::There,
        status if status.is_success() => Outcome::Made,
        StatusCode::CONFLICT | StatusCode::NOT_FOUND => Outcome::NoParent,
        _ => Outcome::Refused,
    })
}
