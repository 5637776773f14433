//! Lists the objects in a bucket ("Objects: list").

use futures_util::stream::Stream;
use http::Method;
use serde::Deserialize;
use stowage_http::target::encode;

use super::bucket::Bucket;
use crate::engine::listing::{created, paged};
use crate::engine::location::location;
use crate::{Listed, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    /// Omitted if empty.
    #[serde(default)]
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    generation: String,
    /// The size in bytes.
    size: Option<String>,
    time_created: Option<String>,
}

/// Lists all objects of the bucket. Upload sessions cannot be listed; Google removes them after a week.
pub(super) fn all(bucket: &Bucket) -> impl Stream<Item = Result<Listed>> + Send {
    paged(String::new(), move |page: String| async move {
        let (name, token) = (encode(&bucket.name), encode(&page));
        let token = if page.is_empty() { String::new() } else { format!("&pageToken={token}") };
        let target = format!("/storage/v1/b/{name}/o?fields={FIELDS}&maxResults={PAGE}{token}");
        let reply = bucket.service.ask(&bucket.service.call(Method::GET, &target)).await?.done("list a bucket")?;
        let Page { items, next_page_token } = reply.json()?;
        let items = items.into_iter().map(|item| item.listed(bucket)).collect();
        Ok((items, next_page_token.filter(|token| !token.is_empty())))
    })
}

impl Item {
    fn listed(self, bucket: &Bucket) -> Listed {
        let Self { name, generation, size, time_created } = self;
        Listed {
            location: location([("bucket", &bucket.name), ("name", &name), ("generation", &generation)]),
            name,
            length: Some(size.and_then(|size| size.parse().ok()).unwrap_or_default()),
            modified: created(time_created.as_deref()),
        }
    }
}

const FIELDS: &str = "nextPageToken,items(name,generation,size,timeCreated)";
/// The number of objects per request.
const PAGE: u32 = 500;
