//! Listing a bucket: "ListObjectsV2" and "ListMultipartUploads" in the S3 API reference.
//!
//! S3 servers of other vendors implement only parts of both requests. An object that such a server leaves out of a list must not be taken for a
//! missing one, so a list that is not understood to its last entry is an error.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http::{Method, StatusCode};
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
    objects.chain(pages(bucket, (UPLOADS, ALL_UPLOADS), uploads))
}

fn pages<'a>(
    bucket: &'a Bucket,
    (first, root): (&str, &'static str),
    read: fn(&Bucket, &[u8]) -> Page,
) -> impl Stream<Item = Result<Listed>> + Send + use<'a> {
    paged(first.to_owned(), move |query| async move {
        let document = document(bucket, None, &query, root).await?;
        let (page, next) = read(bucket, &document)?;
        Ok((page, follows(&document, &query, next)?))
    })
}

/// Returns the ids of all unfinished uploads of a key.
pub(super) async fn begun(bucket: &Bucket, named: Option<&str>, key: &str) -> Result<Vec<String>> {
    let prefix = format!("prefix={}", encode(key));
    let (mut query, mut ids) = (format!("{prefix}&{UPLOADS}"), Vec::new());
    loop {
        let document = document(bucket, named, &query, ALL_UPLOADS).await?;
        for upload in xml::elements(&document, "Upload") {
            let of = |element| xml::exact(upload.as_bytes(), element);
            let (begun, id) = of("Key").zip(of("UploadId")).ok_or_else(nameless)?;
            if begun == key {
                ids.push(id);
            }
        }
        let next = markers(&document);
        let next = next.map(|(key, upload)| format!("key-marker={key}&{prefix}&upload-id-marker={upload}&{UPLOADS}"));
        let Some(next) = follows(&document, &query, next)? else { return Ok(ids) };
        query = next;
    }
}

/// Returns a page. A server that does not know a request may answer with another list.
async fn document(bucket: &Bucket, named: Option<&str>, query: &str, root: &str) -> Result<Bytes> {
    let mut call = Call::new(Method::GET, "", query);
    call.bucket = named.map(str::to_owned);
    let document = bucket.ask(&call).await?.done("list a bucket")?.document;
    if xml::is_root(&document, root) {
        Ok(document)
    } else {
        Err(unreadable("S3 answers something else than a list of a bucket"))
    }
}

/// Returns the query for the page after this one; `None` if it is the last one.
fn follows(document: &[u8], query: &str, next: Option<String>) -> Result<Option<String>> {
    let goes_on = xml::text(document, "IsTruncated").map(|text| text == "true");
    if goes_on == Some(true) && next.is_none() || next.as_deref() == Some(query) {
        return Err(unreadable("S3 lists a part of a bucket and does not say where the rest begins"));
    }
    // Some servers name a place after the last page, too.
    Ok(next.filter(|_| goes_on != Some(false)))
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
    let uploads = uploads.ok_or_else(nameless)?;
    let next = markers(document).map(|(key, upload)| format!("key-marker={key}&upload-id-marker={upload}&{UPLOADS}"));
    Ok((uploads, next))
}

/// Returns where the next page of uploads begins: a key and an id, encoded.
fn markers(document: &[u8]) -> Option<(String, String)> {
    let marker = |element| xml::exact(document, element).filter(|marker| !marker.is_empty());
    let (key, upload) = marker("NextKeyMarker").zip(marker("NextUploadIdMarker"))?;
    Some((encode(&key), encode(&upload)))
}

fn nameless() -> Error {
    unreadable("S3 lists an upload without its name, id or time")
}

fn listed(bucket: &Bucket, key: &str, length: Option<u64>, modified: &str) -> Option<Listed> {
    let modified = humantime::parse_rfc3339(modified).ok()?;
    Some(Listed { name: key.to_owned(), location: bucket.location(key), length, modified })
}

fn unreadable(what: &'static str) -> Error {
    Error::new(Kind::Refused, what).with_status(StatusCode::OK)
}

const OBJECTS: &str = "list-type=2";
const UPLOADS: &str = "uploads=";
const ALL_UPLOADS: &str = "ListMultipartUploadsResult";
