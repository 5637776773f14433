//! The address of a bucket: host, region and addressing style, from a plan's settings.

use stowage_base::settings::Settings;
use stowage_http::target::Origin;

use crate::engine::origin;
use crate::{Error, Kind, Result};

/// A server, and the plan's bucket on it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    origin: Origin,
    /// The plan's bucket.
    pub(super) bucket: String,
    /// The region requests are signed for.
    pub(super) region: String,
    /// Whether the settings name the host, which may then be any S3-compatible server with incomplete support.
    pub(super) custom: bool,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `host/bucket/key`.
    Path,
    /// `bucket.host/key`.
    Vhost,
    /// `Vhost` if that can work.
    Auto,
}

impl Address {
    /// Reads the settings.
    ///
    /// # Errors
    /// `Settings`, naming the storage's id and the key.
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        let bucket = settings.required("bucket")?;
        if !is_bucket(&bucket) {
            return Err(settings.wrong("bucket", "must be letters, digits, dots, hyphens and underscores").into());
        }
        let region = settings.text("region")?.filter(|region| !region.is_empty());
        if !region.as_deref().is_none_or(is_region) {
            return Err(settings.wrong("region", "must be letters, digits, hyphens and underscores").into());
        }
        let custom = origin::host(settings)?.is_some();
        let (origin, named) =
            origin::read(settings, || region.as_deref().map_or_else(|| GLOBAL.to_owned(), regional_host))?;
        let style = style(settings, region.is_some(), named)?;
        Ok(Self { origin, bucket, region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()), custom, style })
    }

    /// Returns the server for a bucket.
    pub(super) fn origin(&self, bucket: &str) -> Origin {
        self.with_bucket(bucket, self.origin.clone())
    }

    /// Returns the server in another region, unless the settings name a special Amazon host or another vendor's.
    pub(super) fn origin_in(&self, bucket: &str, region: &str) -> Option<Origin> {
        let plain = self.origin.host == GLOBAL || self.origin.host == regional_host(&self.region);
        plain.then(|| self.with_bucket(bucket, Origin { host: regional_host(region), ..self.origin.clone() }))
    }

    fn with_bucket(&self, bucket: &str, mut origin: Origin) -> Origin {
        if self.in_host(bucket) {
            origin.host = format!("{bucket}.{}", origin.host);
        }
        origin
    }

    /// Returns whether TLS protects everything sent.
    pub(super) const fn is_tls(&self) -> bool {
        self.origin.tls
    }

    /// Returns whether the bucket is in the host rather than the path.
    pub(super) fn in_host(&self, bucket: &str) -> bool {
        match self.style {
            Style::Path => false,
            Style::Vhost => true,
            // A certificate for *.host does not cover a.b.host, and host names allow neither upper case nor underscores.
            Style::Auto => {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
                bucket.bytes().all(plain) && !(self.origin.tls && bucket.contains('.'))
            }
        }
    }
}

/// Returns whether a text may be the bucket in a host or path. Amazon's old buckets may have upper case, underscores and up to 255
/// characters ("Bucket naming rules" in the S3 user guide).
pub(super) fn is_bucket(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.starts_with(['.', '-', '_'])
        && !text.ends_with(['.', '-', '_'])
        && !text.contains("..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Returns why a text cannot be a key. Amazon accepts a `..`, but proxies that normalize paths would reach elsewhere.
pub(super) fn key_fault(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("the object's name is empty");
    }
    if key.len() > LONGEST_KEY {
        return Some("the object's name is longer than 1024 bytes");
    }
    key.split('/').any(|part| part == "." || part == "..").then_some("the object's name leaves its folder")
}

/// Fails if a name cannot be a key.
pub(super) fn check_name(name: &str) -> Result<()> {
    key_fault(name).map_or(Ok(()), |fault| Err(Error::new(Kind::Refused, fault)))
}

fn style(settings: &Settings, has_region: bool, named: bool) -> Result<Style> {
    let method = settings.text("bucket_access_method")?.filter(|method| !method.is_empty());
    let style = match method.as_deref() {
        Some("path") => Style::Path,
        Some("vhost") => Style::Vhost,
        Some("auto") => Style::Auto,
        Some(_) => return Err(settings.wrong("bucket_access_method", "must be auto, vhost or path").into()),
        None if has_region => Style::Auto,
        None => Style::Path,
    };
    let after_host = settings.flag("bucket_after_host")?.unwrap_or(false);
    match style {
        _ if after_host => Ok(Style::Path),
        Style::Vhost if !named => {
            Err(settings.wrong("bucket_access_method", "cannot be vhost where host is an address").into())
        }
        Style::Auto if !named => Ok(Style::Path),
        style => Ok(style),
    }
}

/// Returns whether a text may be the region in a host name.
pub(super) fn is_region(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// "Amazon Simple Storage Service endpoints and quotas".
fn regional_host(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("s3.{region}.amazonaws.com{china}")
}

/// Amazon's global host.
const GLOBAL: &str = "s3.amazonaws.com";
/// The region of `s3.amazonaws.com`.
const DEFAULT_REGION: &str = "us-east-1";
/// In bytes of UTF-8 ("Naming Amazon S3 objects" in the S3 user guide).
const LONGEST_KEY: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Address, key_fault};
    use stowage_base::settings::Settings;

    fn read(more: &Value) -> Result<Address, String> {
        let mut members = json!({"bucket": "recordings"}).as_object().unwrap().clone();
        members.extend(more.as_object().unwrap().clone());
        Address::read(&Settings::new("s1", "s3", members)).map_err(|error| error.to_string())
    }

    fn url(more: Value) -> String {
        let address = read(&more).unwrap();
        let bucket = address.bucket.clone();
        let place = if address.in_host(&bucket) { String::new() } else { format!("/{bucket}") };
        format!("{}{place}/k {}", address.origin(&bucket), address.region)
    }

    #[test]
    fn every_style_has_its_address() {
        let cases = [
            (json!({}), "https://s3.amazonaws.com/recordings/k us-east-1"),
            (json!({"region": "eu-west-1"}), "https://recordings.s3.eu-west-1.amazonaws.com/k eu-west-1"),
            (json!({"region": "cn-north-1"}), "https://recordings.s3.cn-north-1.amazonaws.com.cn/k cn-north-1"),
            (
                json!({"region": "eu-west-1", "bucket_access_method": "path"}),
                "https://s3.eu-west-1.amazonaws.com/recordings/k eu-west-1",
            ),
            (
                json!({"region": "eu-west-1", "bucket_after_host": true}),
                "https://s3.eu-west-1.amazonaws.com/recordings/k eu-west-1",
            ),
            (json!({"region": "eu-west-1", "bucket": "a.b.c"}), "https://s3.eu-west-1.amazonaws.com/a.b.c/k eu-west-1"),
            (json!({"region": "r", "bucket": "a.b.c", "scheme": "http"}), "http://a.b.c.s3.r.amazonaws.com/k r"),
            (json!({"region": "r", "bucket": "Old_One"}), "https://s3.r.amazonaws.com/Old_One/k r"),
            (json!({"bucket_access_method": "vhost"}), "https://recordings.s3.amazonaws.com/k us-east-1"),
            (json!({"bucket_access_method": "vhost", "bucket": "a.b.c"}), "https://a.b.c.s3.amazonaws.com/k us-east-1"),
            (
                json!({"host": "minio.example", "port": "9000", "scheme": "http"}),
                "http://minio.example:9000/recordings/k us-east-1",
            ),
            (
                json!({"host": "minio.example:9000", "region": null}),
                "https://minio.example:9000/recordings/k us-east-1",
            ),
            (json!({"host": "minio.example", "scheme": "http://"}), "http://minio.example/recordings/k us-east-1"),
            (json!({"host": "10.0.0.1", "region": "r"}), "https://10.0.0.1/recordings/k r"),
            (json!({"host": "::1", "port": 9000}), "https://[::1]:9000/recordings/k us-east-1"),
        ];
        for (settings, expected) in cases {
            assert_eq!(url(settings.clone()), expected, "{settings}");
        }
    }

    #[test]
    fn wrong_settings_name_the_storage_and_the_key() {
        let cases = [
            (json!({"bucket": null}), "bucket"),
            (json!({"bucket": "a/b"}), "bucket"),
            (json!({"bucket": "a\nb"}), "bucket"),
            (json!({"bucket": "a..b"}), "bucket"),
            (json!({"bucket": ".."}), "bucket"),
            (json!({"bucket": "-a"}), "bucket"),
            (json!({"bucket": ["x"]}), "bucket"),
            (json!({"region": "a/b"}), "region"),
            (json!({"region": "a.evil.example"}), "region"),
            (json!({"host": "a/b"}), "host"),
            (json!({"host": "user@a"}), "host"),
            (json!({"host": "https://a"}), "host"),
            (json!({"host": "a b"}), "host"),
            (json!({"scheme": "ftp"}), "scheme"),
            (json!({"port": 0}), "port"),
            (json!({"port": 65_536}), "port"),
            (json!({"port": "x"}), "port"),
            (json!({"bucket_access_method": "other"}), "bucket_access_method"),
            (json!({"bucket_access_method": "vhost", "host": "10.0.0.1"}), "bucket_access_method"),
            (json!({"bucket_after_host": 1}), "bucket_after_host"),
        ];
        for (settings, key) in cases {
            let text = read(&settings).unwrap_err();
            assert!(text.contains("s1") && text.contains(&format!("setting {key} ")), "{settings}: {text}");
        }
    }

    #[test]
    fn only_amazons_plain_hosts_have_one_for_each_region() {
        let there = |settings: &Value| read(settings).unwrap().origin_in("recordings", "eu-west-1");
        for (settings, host) in [
            (json!({}), "s3.eu-west-1.amazonaws.com"),
            (json!({"region": "us-west-2"}), "recordings.s3.eu-west-1.amazonaws.com"),
            (json!({"host": "s3.amazonaws.com"}), "s3.eu-west-1.amazonaws.com"),
        ] {
            assert_eq!(there(&settings).unwrap().host, host, "{settings}");
        }
        for host in ["minio.example", "s3.dualstack.us-east-1.amazonaws.com", "x.vpce.amazonaws.com"] {
            assert!(there(&json!({"host": host})).is_none(), "{host}");
        }
    }

    #[test]
    fn keys_stay_in_their_folder() {
        for wrong in ["", ".", "..", "a/../b", "../a", "a/.", &"x".repeat(1025)] {
            assert!(key_fault(wrong).is_some(), "{wrong}");
        }
        for fine in ["a", "a..b", "...", "a//b", "/a", "a/", &"x".repeat(1024)] {
            assert!(key_fault(fine).is_none(), "{fine}");
        }
    }
}
