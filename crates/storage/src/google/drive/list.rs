//! Lists the files in a Drive ("files.list"). The scope of the gateway's grants only shows files created by the app itself.

use std::collections::HashMap;

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use http::Method;
use serde::Deserialize;
use stowage_http::target::encode;

use super::file::Drive;
use super::name::FOLDER;
use crate::engine::listing::{created, paged};
use crate::engine::location::location;
use crate::{Error, Listed, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    files: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    name: String,
    mime_type: String,
    #[serde(default)]
    parents: Vec<String>,
    /// The size in bytes; folders have none.
    size: Option<String>,
    created_time: Option<String>,
}

/// Each folder's name and parent.
type Folders = HashMap<String, (String, Option<String>)>;

/// Lists all files, with the paths given by their folders.
pub(super) fn all(drive: &Drive) -> impl Stream<Item = Result<Listed>> + Send {
    let files = async move {
        let mut folders = Folders::new();
        if drive.folder.is_none() {
            let mut found = std::pin::pin!(items(drive, format!("mimeType = '{FOLDER}' and trashed = false")));
            while let Some(folder) = found.try_next().await? {
                folders.insert(folder.id, (folder.name, folder.parents.into_iter().next()));
            }
        }
        let within = drive.folder.as_ref().map(|folder| format!("'{folder}' in parents and ")).unwrap_or_default();
        let files = items(drive, format!("{within}trashed = false")).try_filter_map(move |item| {
            let listed = item.listed(&folders);
            async move { Ok(listed) }
        });
        Ok::<_, Error>(files)
    };
    stream::once(files).try_flatten().boxed()
}

fn items(drive: &Drive, query: String) -> impl Stream<Item = Result<Item>> + Send {
    paged(String::new(), move |page| {
        let query = encode(&query);
        async move {
            let token = if page.is_empty() { String::new() } else { format!("&pageToken={}", encode(&page)) };
            let target = format!(
                "/drive/v3/files?q={query}&fields={FIELDS}&pageSize={PAGE}&spaces=drive&supportsAllDrives=true\
                 &includeItemsFromAllDrives={}{token}",
                // Only a folder's id leads to a shared drive: without one, what is there is another storage's.
                drive.folder.is_some()
            );
            let reply =
                drive.service.ask(&drive.service.call(Method::GET, &target)).await?.done("list what is stored")?;
            let Page { files, next_page_token } = reply.json()?;
            Ok((files, next_page_token.filter(|token| !token.is_empty())))
        }
    })
}

impl Item {
    /// Converts a file; `None` for a folder.
    fn listed(self, folders: &Folders) -> Option<Listed> {
        if self.mime_type == FOLDER {
            return None;
        }
        let mut name = self.name;
        let mut parent = self.parents.into_iter().next();
        for _ in 0..DEEPEST {
            // The root folder is not listed.
            let Some((above, next)) = parent.and_then(|parent| folders.get(&parent)) else { break };
            name = format!("{above}/{name}");
            parent = next.clone();
        }
        Some(Listed {
            location: location([("id", &self.id)]),
            name,
            length: Some(self.size.and_then(|size| size.parse().ok()).unwrap_or_default()),
            modified: created(self.created_time.as_deref()),
        })
    }
}

const FIELDS: &str = "nextPageToken,files(id,name,mimeType,parents,size,createdTime)";
/// The number of files per request.
const PAGE: u32 = 500;
/// The maximum depth of folders.
const DEEPEST: u32 = 64;
