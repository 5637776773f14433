//! Lists the files in a Dropbox (`list_folder` and `list_folder/continue` of `files.stone`).

use futures_util::stream::Stream;
use serde::Deserialize;
use serde_json::json;

use super::account::Account;
use crate::engine::listing::{created, paged};
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

/// Lists all files.
pub(super) fn all(account: &Account) -> impl Stream<Item = Result<Listed>> + Send {
    paged(None, move |cursor: Option<String>| async move {
        let reply = match cursor {
            None => account.rpc("list_folder", &json!({ "path": "", "recursive": true, "limit": PAGE })).await?,
            Some(cursor) => account.rpc("list_folder/continue", &json!({ "cursor": cursor })).await?,
        };
        let reply = reply.done("list what is stored")?;
        let Page { entries, cursor, has_more } = reply.json()?;
        Ok((entries.into_iter().filter_map(listed).collect(), has_more.then_some(Some(cursor))))
    })
}

fn listed(entry: Entry) -> Option<Listed> {
    let Entry { tag, id, size, path_display, server_modified } = entry;
    let (id, path) = (id.filter(|_| tag == "file")?, path_display?);
    Some(Listed {
        name: path.trim_start_matches('/').to_owned(),
        location: location([("id", &id), ("path", &path)]),
        length: Some(size?),
        modified: created(server_modified.as_deref()),
    })
}

/// The number of entries per request; Dropbox may return a few more.
const PAGE: u32 = 500;
