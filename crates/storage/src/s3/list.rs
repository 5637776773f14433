//! Listing a bucket: "ListObjectsV2" and "ListMultipartUploads" in the S3 API reference.
//!
//! Servers of other makes know parts of both requests. What they leave out of a list must not look like a bucket without it, so a list
//! that is not understood to its last entry is an error.

use std::time::SystemTime;

use futures_util::stream::{Stream, StreamExt};
use http::Method;
use stowage_http::target::encode;

use super::bucket::{Bucket, Call};
use super::{UPLOAD, xml};
use crate::engine::listing::paged;
use crate::{Error, Kind, Listed, Result};

/// A page of a list, and the query for the next one.
type Page = Result<(Vec<Listed>, Option<String>)>;

/// Lists all objects of the bucket, and all unfinished multipart uploads.
pub(super) fn all(bucket: &Bucket) -> impl Stream<Item = Result<Listed>> + Send {
    let objects = pages(bucket, (OBJECTS, "ListBucketResult"), objects);
    objects.chain(pages(bucket, (UPLOADS, "ListMultipartUploadsResult"), uploads))
}

fn pages<'a>(
    bucket: &'a Bucket,
    (first, root): (&str, &'static str),
    read: fn(&Bucket, &[u8]) -> Page,
) -> impl Stream<Item = Result<Listed>> + Send + use<'a> {
    paged(first.to_owned(), move |query| async move {
        let reply = bucket.ask(&Call::new(Method::GET, "", query.clone())).await?.done("list a bucket")?;
        let document = &reply.document;
        if !xml::is_root(document, root) {
            return Err(unreadable("S3 answers something else than a list of a bucket"));
        }
        let (page, next) = read(bucket, document)?;
        let goes_on = xml::text(document, "IsTruncated").map(|text| text == "true");
        if goes_on == Some(true) && next.is_none() || next.as_ref() == Some(&query) {
            return Err(unreadable("S3 lists a part of a bucket and does not say where the rest begins"));
        }
        // Some servers name a place after the last page, too.
        Ok((page, next.filter(|_| goes_on != Some(false))))
    })
}

fn objects(bucket: &Bucket, document: &[u8]) -> Page {
    let object = |contents: &String| {
        let text = |element| xml::text(contents.as_bytes(), element);
        let (key, size) = (xml::exact(contents.as_bytes(), "Key")?, text("Size")?.parse().ok()?);
        listed(bucket, &key, Some(size), &text("LastModified")?)
    };
    let all = xml::elements(document, "Contents");
    let objects: Option<Vec<_>> = all.iter().map(object).collect();
    let count = xml::text(document, "KeyCount").and_then(|count| count.parse().ok());
    let objects = objects.filter(|objects| count.is_none_or(|count: usize| count == objects.len()));
    let objects = objects.ok_or_else(|| unreadable("S3 lists an object without its name, length or time"))?;
    let next = xml::text(document, "NextContinuationToken").filter(|token| !token.is_empty());
    Ok((objects, next.map(|token| format!("continuation-token={}&{OBJECTS}", encode(&token)))))
}

fn uploads(bucket: &Bucket, document: &[u8]) -> Page {
    let upload = |upload: &String| {
        let began = xml::text(upload.as_bytes(), "Initiated");
        let began = began.unwrap_or_else(|| humantime::format_rfc3339(SystemTime::now()).to_string());
        let mut begun = listed(bucket, &xml::exact(upload.as_bytes(), "Key")?, None, &began)?;
        begun.location.insert(UPLOAD.to_owned(), xml::exact(upload.as_bytes(), "UploadId")?.into());
        Some(begun)
    };
    let uploads: Option<Vec<_>> = xml::elements(document, "Upload").iter().map(upload).collect();
    let uploads = uploads.ok_or_else(|| unreadable("S3 lists an upload without its name, id or time"))?;
    let marker = |element| xml::exact(document, element).filter(|marker| !marker.is_empty());
    let next = marker("NextKeyMarker").zip(marker("NextUploadIdMarker"));
    let next =
        next.map(|(key, upload)| format!("key-marker={}&upload-id-marker={}&{UPLOADS}", encode(&key), encode(&upload)));
    Ok((uploads, next))
}

fn listed(bucket: &Bucket, key: &str, length: Option<u64>, modified: &str) -> Option<Listed> {
    let modified = humantime::parse_rfc3339(modified).ok()?;
    Some(Listed { name: key.to_owned(), location: bucket.location(key), length, modified })
}

fn unreadable(what: &'static str) -> Error {
    Error::new(Kind::Refused, what)
}

const OBJECTS: &str = "list-type=2";
const UPLOADS: &str = "uploads=";
