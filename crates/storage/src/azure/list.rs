//! Listing a container ("List Blobs").

use std::time::Duration;

use azure_core::http::Method;
use futures_util::stream::Stream;
use stowage_http::idle::collect_within;
use stowage_http::target::encode;

use super::ask::Account;
use crate::engine::listing::paged;
use crate::engine::xml;
use crate::{Error, Kind, Listed, Result};

/// Lists all blobs of the container. Uncommitted blocks are not included; Azure removes them by itself.
pub(super) fn all(account: &Account) -> impl Stream<Item = Result<Listed>> + Send {
    paged(String::new(), move |marker| async move {
        let query =
            format!("restype=container&comp=list&include=metadata&maxresults={PAGE}&marker={}", encode(&marker));
        let call = account.call("list a container", Method::Get, None, "")?.query(&query);
        let reply = account.ask(&call).await?.done()?;
        let document = collect_within(Some(TIME), reply.body, LONGEST).await.map_err(Error::of_body)?;
        let unreadable = || Error::new(Kind::Refused, "Azure lists a blob without its name, length or time");
        let page = blobs(account, &document).ok_or_else(unreadable)?;
        let next = xml::text(&document, "NextMarker").filter(|marker| !marker.is_empty());
        Ok((page, next))
    })
}

/// Returns `None` if something of a blob is missing.
fn blobs(account: &Account, document: &[u8]) -> Option<Vec<Listed>> {
    let blob = |blob: &String| {
        let text = |element| xml::text(blob.as_bytes(), element);
        let name = xml::exact(blob.as_bytes(), "Name")?;
        let modified = httpdate::parse_http_date(&text("Last-Modified")?).ok()?;
        let length = Some(text("Content-Length")?.parse().ok()?);
        Some(Listed { location: account.location(&name), name, length, modified })
    };
    xml::elements(document, "Blob").iter().filter(|blob| !is_folder(blob)).map(blob).collect()
}

/// Returns whether an entry is a folder, which an account with a hierarchical namespace lists among its blobs.
fn is_folder(blob: &str) -> bool {
    let is = |element, value: &str| xml::text(blob.as_bytes(), element).is_some_and(|text| text == value);
    is("ResourceType", "directory") || is("hdi_isfolder", "true")
}

/// Blobs per page.
const PAGE: u32 = 1000;
/// Timeout per page.
const TIME: Duration = Duration::from_secs(30);
/// Maximum page size in bytes: names have up to 1024 characters, and metadata up to 8 KiB.
const LONGEST: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::is_folder;

    #[test]
    fn folders_are_told_from_blobs() {
        let blob = |more: &str| format!("<Name>a</Name><Properties><Content-Length>0</Content-Length>{more}</Blob>");
        assert!(is_folder(&blob("<ResourceType>directory</ResourceType></Properties>")));
        assert!(is_folder(&blob("</Properties><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>")));
        assert!(!is_folder(&blob("<ResourceType>file</ResourceType></Properties><Metadata />")));
        assert!(!is_folder(&blob("</Properties>")));
    }
}
