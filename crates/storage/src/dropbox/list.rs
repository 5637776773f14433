//! Lists the files in a Dropbox (`list_folder` and `list_folder/continue` of `files.stone`).

use std::time::SystemTime;

use futures_util::stream::{self, Stream, TryStreamExt};
use serde::Deserialize;
use serde_json::json;

use super::account::Account;
use crate::engine::location::location;
use crate::{Listed, Result};

#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    cursor: String,
    has_more: bool,
}

/// An entry: `FileMetadata` if the tag is `file`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = ".tag")]
    tag: String,
    id: Option<String>,
    size: Option<u64>,
    path_display: Option<String>,
    server_modified: Option<String>,
}

/// Where a listing continues.
enum At {
    Begin,
    Cursor(String),
    End,
}

/// Lists all files.
pub(super) fn all(account: &Account) -> impl Stream<Item = Result<Listed>> + Send {
    let pages = stream::try_unfold(At::Begin, move |at| async move {
        let reply = match &at {
            At::Begin => account.rpc("list_folder", &json!({ "path": "", "recursive": true, "limit": PAGE })).await?,
            At::Cursor(cursor) => account.rpc("list_folder/continue", &json!({ "cursor": cursor })).await?,
            At::End => return Ok(None),
        };
        if !reply.is_done() {
            return Err(reply.refusal("list what is stored"));
        }
        let Page { entries, cursor, has_more } = reply.json()?;
        let files: Vec<_> = entries.into_iter().filter_map(listed).map(Ok).collect();
        Ok(Some((stream::iter(files), if has_more { At::Cursor(cursor) } else { At::End })))
    });
    pages.try_flatten()
}

fn listed(entry: Entry) -> Option<Listed> {
    let Entry { tag, id, size, path_display, server_modified } = entry;
    let (id, path) = (id.filter(|_| tag == "file")?, path_display?);
    let modified = server_modified.and_then(|text| humantime::parse_rfc3339(&text).ok());
    Some(Listed {
        name: path.trim_start_matches('/').to_owned(),
        location: location([("id", &id), ("path", &path)]),
        length: Some(size?),
        // Without a known age, a file counts as new, and is left alone.
        modified: modified.unwrap_or_else(SystemTime::now),
    })
}

/// The number of entries per request; Dropbox may return a few more.
const PAGE: u32 = 500;
