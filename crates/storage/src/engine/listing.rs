//! Listing what a storage holds, page by page.

use std::time::SystemTime;

use futures_util::stream::{self, Stream, TryStreamExt};

use crate::{Error, Result};

/// Lists the items of all pages. `read` returns the items of a page, and where the next one begins; `None` after the last page.
pub(crate) fn paged<At, T, F>(first: At, mut read: impl FnMut(At) -> F + Send) -> impl Stream<Item = Result<T>> + Send
where
    At: Send,
    T: Send,
    F: Future<Output = Result<(Vec<T>, Option<At>)>> + Send,
{
    let pages = stream::try_unfold(Some(first), move |at| {
        let page = at.map(&mut read);
        async move {
            let Some(page) = page else { return Ok::<_, Error>(None) };
            let (items, next) = page.await?;
            Ok(Some((stream::iter(items.into_iter().map(Ok)), next)))
        }
    });
    pages.try_flatten()
}

/// Parses a time in RFC 3339. Without a known age, a file counts as new, and is left alone.
pub(crate) fn created(text: Option<&str>) -> SystemTime {
    text.and_then(|text| humantime::parse_rfc3339(text).ok()).unwrap_or_else(SystemTime::now)
}
