//! Lists the files in a drive ("List the contents of a folder"), folder by folder, since a list of changes lacks the items' paths.

use futures_util::stream::{self, Stream, TryStreamExt};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::drive::{Drive, Parent, is_missing};
use crate::engine::listing::created;
use crate::engine::location::location;
use crate::{Listed, Result};

#[derive(Deserialize)]
struct Page {
    value: Vec<Child>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

/// `driveItem`, limited to [`WANTED`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    id: String,
    name: String,
    #[serde(default)]
    size: u64,
    created_date_time: Option<String>,
    #[serde(default)]
    parent_reference: Parent,
    file: Option<Value>,
    folder: Option<Value>,
}

/// A page to be requested.
enum Wanted {
    Root,
    /// A folder, by the drive's id and its own.
    Folder(String, String),
    /// The URL in the previous page.
    Next(String),
}

/// Lists all files of the drive.
pub(super) fn all(drive: &Drive) -> impl Stream<Item = Result<Listed>> + Send {
    let pages = stream::try_unfold(vec![(Wanted::Root, String::new())], move |mut left| async move {
        let Some((wanted, path)) = left.pop() else { return Ok(None) };
        let action = format!("/children?$top={PAGE}&$select={WANTED}");
        let call = match &wanted {
            Wanted::Root => drive.root(Method::GET, &action),
            Wanted::Folder(of, id) => drive.item(Method::GET, (of, id), &action),
            Wanted::Next(url) => drive.given(Method::GET, url)?,
        };
        let reply = drive.ask(&call).await?;
        let page = if is_missing(&reply) {
            // A folder removed meanwhile is empty.
            Page { value: Vec::new(), next: None }
        } else if reply.is_done() {
            reply.json()?
        } else {
            return Err(reply.refusal("list a folder"));
        };
        let mut files = Vec::new();
        for child in page.value {
            let name = if path.is_empty() { child.name.clone() } else { format!("{path}/{}", child.name) };
            let Some(of) = &child.parent_reference.drive_id else { continue };
            if child.folder.is_some() {
                left.push((Wanted::Folder(of.clone(), child.id), name));
            } else if child.file.is_some() {
                files.push(Ok(child.listed(of, name)));
            }
        }
        left.extend(page.next.map(|next| (Wanted::Next(next), path)));
        Ok(Some((stream::iter(files), left)))
    });
    pages.try_flatten()
}

impl Child {
    fn listed(&self, drive: &str, name: String) -> Listed {
        Listed {
            location: location([("drive", drive), ("item", &self.id), ("path", &format!("/{name}"))]),
            name,
            length: Some(self.size),
            modified: created(self.created_date_time.as_deref()),
        }
    }
}

/// The number of items per request.
const PAGE: u32 = 200;
const WANTED: &str = "id,name,size,createdDateTime,parentReference,file,folder";
