//! Long bodies of known length: one request of a session, keeping its last bytes for when the request breaks.
//!
//! "Perform resumable uploads" of Cloud Storage recommends a single request. When it breaks, the session reports how much it has:
//! everything except what was still in flight. The rest starts within the last two chunks and continues from there.

use bytes::Bytes;

use super::fault::{MOST_STANDSTILLS, lost, stands_still};
use super::link::{Link, SessionState, nonsense};
use super::window::Window;
use crate::engine::tries::Tries;
use crate::{Chunk, Result, Upload};

/// Sends the whole body; returns the object's resource. Dropping the future aborts the request.
pub(super) async fn send(link: &Link, upload: &mut Upload, first: Chunk, total: u64) -> Result<Bytes> {
    let window = Window::new(&first, upload.another_share());
    let ((), resource) = tokio::try_join!(window.fill(upload), deliver(link, &window, total))?;
    // Releases its share of the memory.
    drop(first);
    Ok(resource)
}

async fn deliver(link: &Link, window: &Window, total: u64) -> Result<Bytes> {
    let (mut stored, mut standstills, mut restarted) = (0, 0, false);
    // Starts with the first failure: the body may have been flowing for hours before.
    let (mut tries, mut sure) = (None, true);
    let length = total.to_string();
    loop {
        let mut said = match send_from(link, window, stored, total, tries.as_ref()).await {
            Ok(said) => said,
            Err(error) => {
                if !tries.get_or_insert_with(|| Tries::start(0)).again(&error).await {
                    return Err(error);
                }
                sure = false;
                link.ask(&length).await?
            }
        };
        if let SessionState::Unauthorized(error) = said {
            if !link.use_token() {
                return Err(error);
            }
            said = link.ask(&length).await?;
        }
        if let SessionState::Stored(now) = said
            && now < total
            && !window.has(now)
        {
            // An answer to a chunk may lack its range; only that to a query is conclusive.
            said = link.ask(&length).await?;
        }
        let now = match said {
            SessionState::Finished(resource) => return Ok(resource),
            SessionState::Gone(_) if window.has(0) && sure && !restarted => {
                restarted = true;
                link.begin_anew().await?;
                0
            }
            SessionState::Gone(error) | SessionState::Over(error) | SessionState::Unauthorized(error) => {
                return Err(error);
            }
            SessionState::Stored(now) => now,
        };
        if now > total {
            return Err(nonsense("another number of bytes than was sent"));
        }
        if now > stored {
            (standstills, tries) = (0, None);
        } else {
            standstills += 1;
        }
        if standstills >= MOST_STANDSTILLS {
            return Err(stands_still());
        }
        stored = now;
    }
}

/// Sends everything the session lacks, as far as possible.
async fn send_from(
    link: &Link,
    window: &Window,
    stored: u64,
    total: u64,
    tries: Option<&Tries>,
) -> Result<SessionState> {
    if stored == total {
        return link.ask(&total.to_string()).await;
    }
    let body = window.body(stored, total).ok_or_else(lost)?;
    let usual = link.service.api().patience();
    let patience = tries.map_or(usual, |tries| tries.patience(usual));
    link.send(&format!("{stored}-{}/{total}", total - 1), body, patience).await
}
