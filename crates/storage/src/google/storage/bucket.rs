//! A bucket, the names in it, and object metadata.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_http::target::encode;

use crate::engine::claim::{Found, Target};
use crate::engine::location::{location, text};
use crate::google::fault::{is_another_generation, is_gone};
use crate::google::service::Service;
use crate::{Location, Result, Stored};

/// A bucket of Cloud Storage.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) service: Arc<Service>,
}

/// Object metadata ("Objects: resource").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    /// A number unique to this version of the object, across all objects of the name.
    pub(super) generation: String,
    /// The MD5 in base64.
    pub(super) md5_hash: Option<String>,
    /// The size in bytes.
    pub(super) size: Option<String>,
    /// The custom metadata.
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
}

/// How to find an object created by a put.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) bucket: Arc<Bucket>,
    pub(super) name: String,
    /// A value unique to this put, in the object's metadata.
    pub(super) owner: String,
}

impl Bucket {
    /// Returns the path of an object. Every `/` in the name is escaped ("Encoding URI path parts").
    pub(super) fn path(&self, name: &str) -> String {
        format!("/storage/v1/b/{}/o/{}", encode(&self.name), encode(name))
    }

    /// Returns the path for uploads.
    pub(super) fn upload_path(&self, kind: &str) -> String {
        format!("/upload/storage/v1/b/{}/o?uploadType={kind}&ifGenerationMatch=0&fields={FIELDS}", encode(&self.name))
    }

    /// Removes an object, which may be gone already. One of another generation is another writer's, and is kept.
    pub(super) async fn remove(&self, name: &str, generation: Option<&str>) -> Result<()> {
        let condition = generation.map(|generation| format!("?ifGenerationMatch={generation}")).unwrap_or_default();
        let mut call = self.service.call(Method::DELETE, &format!("{}{condition}", self.path(name)));
        if generation.is_none() {
            call = call.by_name();
        }
        let reply = self.service.ask(&call).await?;
        let gone = is_gone(&reply) || (generation.is_some() && is_another_generation(&reply));
        if gone || reply.status.is_success() {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }
}

impl Target for Made {
    type Known = Resource;

    fn tasks(&self) -> &Tasks {
        &self.bucket.service.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.bucket.service.id, &self.name)
    }

    async fn find(&self) -> Result<Found<Resource>> {
        let service = &self.bucket.service;
        let path = format!("{}?fields={FIELDS}", self.bucket.path(&self.name));
        let reply = service.ask(&service.call(Method::GET, &path)).await?;
        if is_gone(&reply) {
            return Ok(Found::Nothing);
        }
        if !reply.status.is_success() {
            return Err(reply.refusal("say what an object is"));
        }
        let resource: Resource = reply.json()?;
        let ours = resource.metadata.get(OWNER).and_then(Value::as_str) == Some(&self.owner);
        Ok(if ours { Found::Ours(resource) } else { Found::Nothing })
    }

    async fn remove(&self, resource: &Resource) -> Result<bool> {
        self.bucket.remove(&self.name, Some(&resource.generation)).await.map(|()| true)
    }

    fn stored(&self, resource: &Resource) -> Result<Stored> {
        let location =
            location([("bucket", &self.bucket.name), ("name", &self.name), ("generation", &resource.generation)]);
        Ok(Stored { location, etag: Some(resource.generation.clone()), ..Stored::default() })
    }
}

/// Returns bucket and name: KAZOO's locations have no generation.
pub(super) fn key(location: &Location) -> Option<String> {
    Some(format!("{}\n{}", text(location, "bucket")?, text(location, "name")?))
}

/// Returns whether a text is a valid bucket name ("Bucket names"): 3 to 63 characters, with dots up to 222.
pub(super) fn is_bucket(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (3..=222).contains(&text.len())
        && !text.starts_with(['.', '-', '_'])
        && !text.ends_with(['.', '-', '_'])
        && text.bytes().all(plain)
        && text.split('.').all(|part| (1..=63).contains(&part.len()))
}

pub(super) fn is_generation(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns why a text is not a valid name, if so ("Object naming requirements"). Google allows a `..` between slashes, but tools that copy a bucket
/// to a disk would leave their folder.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the object's name is empty");
    }
    if name.len() > LONGEST_NAME {
        return Some("the object's name is longer than 1024 bytes");
    }
    if name.contains(['\r', '\n']) || name.starts_with(".well-known/acme-challenge/") {
        return Some("the object's name is one that Google does not take");
    }
    name.split('/').any(|part| part == "." || part == "..").then_some("the object's name leaves its folder")
}

/// The member of the custom metadata that distinguishes our object from another put's.
pub(super) const OWNER: &str = "stowage-id";
const FIELDS: &str = "generation,md5Hash,size,metadata";
/// The maximum length of a name in bytes of UTF-8.
const LONGEST_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{is_bucket, is_generation, name_fault};

    #[test]
    fn buckets_are_named_as_google_names_them() {
        let (long, longer) = ("x".repeat(63), "x".repeat(64));
        for fine in ["abc", "a-b_c.d", "0x0", "example.com", &long, &format!("{long}.{long}.{long}")] {
            assert!(is_bucket(fine), "{fine}");
        }
        for wrong in ["", "ab", "-abc", "abc-", "Abc", "a/b", "a..b", "a b", "ä-bc", "a?b", "../..", &longer] {
            assert!(!is_bucket(wrong), "{wrong}");
        }
    }

    #[test]
    fn names_stay_in_their_folder() {
        for wrong in ["", ".", "..", "a/../b", "a/.", "a\nb", "a\r", ".well-known/acme-challenge/x", &"x".repeat(1025)]
        {
            assert!(name_fault(wrong).is_some(), "{wrong}");
        }
        for fine in ["a", "a..b", "...", "a//b", "/a", "a/", ".well-known", &"x".repeat(1024)] {
            assert!(name_fault(fine).is_none(), "{fine}");
        }
    }

    #[test]
    fn generations_are_numbers() {
        assert!(is_generation("1234567890123456"));
        for wrong in ["", "-1", "1&x=y", "../..", "123456789012345678901"] {
            assert!(!is_generation(wrong), "{wrong}");
        }
    }
}
