//! Listing a bucket: "ListObjectsV2" and "ListMultipartUploads" in the S3 API reference.

use std::time::SystemTime;

use futures_util::stream::{Stream, StreamExt};
use http::Method;
use stowage_http::target::encode;

use super::bucket::{Bucket, Call};
use super::xml;
use crate::engine::listing::paged;
use crate::{Listed, Result};

/// A page of a list, and the query for the next one.
type Page = (Vec<Listed>, Option<String>);

/// Lists all objects of the bucket, and all unfinished multipart uploads.
pub(super) fn all(bucket: &Bucket) -> impl Stream<Item = Result<Listed>> + Send {
    let objects = pages(bucket, OBJECTS, objects);
    objects.chain(pages(bucket, UPLOADS, uploads))
}

fn pages<'a>(
    bucket: &'a Bucket,
    first: &str,
    read: fn(&Bucket, &[u8]) -> Page,
) -> impl Stream<Item = Result<Listed>> + Send + use<'a> {
    paged(first.to_owned(), move |query| async move {
        let reply = bucket.ask(&Call::new(Method::GET, "", query)).await?.done("list a bucket")?;
        Ok(read(bucket, &reply.document))
    })
}

fn objects(bucket: &Bucket, document: &[u8]) -> Page {
    let objects = xml::elements(document, "Contents").into_iter().filter_map(|contents| {
        let text = |element| xml::text(contents.as_bytes(), element);
        listed(bucket, &text("Key")?, Some(text("Size")?.parse().ok()?), &text("LastModified")?)
    });
    let next = xml::text(document, "NextContinuationToken").filter(|token| !token.is_empty());
    let next = next.map(|token| format!("continuation-token={}&{OBJECTS}", encode(&token)));
    (objects.collect(), next)
}

fn uploads(bucket: &Bucket, document: &[u8]) -> Page {
    let uploads = xml::elements(document, "Upload").into_iter().filter_map(|upload| {
        let text = |element| xml::text(upload.as_bytes(), element);
        let began = text("Initiated").unwrap_or_else(|| humantime::format_rfc3339(SystemTime::now()).to_string());
        listed(bucket, &text("Key")?, None, &began)
    });
    let marker = |element| xml::text(document, element).filter(|marker| !marker.is_empty());
    let next = marker("NextKeyMarker").zip(marker("NextUploadIdMarker"));
    let next =
        next.map(|(key, upload)| format!("key-marker={}&upload-id-marker={}&{UPLOADS}", encode(&key), encode(&upload)));
    (uploads.collect(), next)
}

fn listed(bucket: &Bucket, key: &str, length: Option<u64>, modified: &str) -> Option<Listed> {
    let modified = humantime::parse_rfc3339(modified).ok()?;
    Some(Listed { name: key.to_owned(), location: bucket.location(key), length, modified })
}

const OBJECTS: &str = "list-type=2";
const UPLOADS: &str = "uploads=";
