//! The address of a container: account, host and addressing style, from a plan's settings.
//!
//! A connection string's `BlobEndpoint` is a whole URL; the settings `host`, `port` and `scheme` are its parts. Whether the account
//! goes into the host or the path is inferred from them, as Microsoft's SDKs recognize an emulator by its host.

use std::borrow::Cow;

use stowage_base::settings::Settings;
use stowage_http::target::{Origin, encode};

use crate::engine::origin;
use crate::{Error, Kind, Result};

/// An account's server, and the plan's container.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The account name.
    pub(super) account: String,
    /// The plan's container.
    pub(super) container: String,
    /// The server to connect to.
    pub(super) origin: Origin,
    /// Whether the account is the first segment of the path, as emulators require, rather than part of the host.
    in_path: bool,
}

impl Address {
    /// Reads the settings.
    ///
    /// # Errors
    /// `Settings`, naming the storage's id and the key.
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        let account = settings.required("account")?;
        if !is_account(&account) {
            return Err(settings.wrong("account", "must be letters, digits and hyphens").into());
        }
        let container = settings.required("container")?;
        if !is_container(&container) {
            return Err(settings.wrong("container", "must be 3 to 63 lower-case letters, digits and hyphens").into());
        }
        let (mut origin, named) = origin::read(settings, || PUBLIC_CLOUD.to_owned())?;
        let whole = origin.host.strip_prefix(&account.to_ascii_lowercase()).is_some_and(|rest| rest.starts_with('.'));
        let in_path = !whole && is_emulator(&origin, named);
        if !whole && !in_path {
            origin.host = format!("{account}.{}", origin.host);
        }
        Ok(Self { account, container, origin, in_path })
    }

    /// Returns the path of a blob, or of the container for an empty name. The name is taken literally: a `%2F` in it is three characters.
    pub(super) fn path(&self, container: &str, blob: &str) -> String {
        let account = if self.in_path { format!("/{}", self.account) } else { String::new() };
        if blob.is_empty() {
            return format!("{account}/{container}");
        }
        let blob: Vec<String> = blob.split('/').map(encode).collect();
        format!("{account}/{container}/{}", blob.join("/"))
    }
}

/// Recognizes an IP address, a host without a dot, or a non-default port: hosts that do not have the account as a subdomain.
fn is_emulator(origin: &Origin, named: bool) -> bool {
    let usual = if origin.tls { 443 } else { 80 };
    !named || !origin.host.contains('.') || origin.host == "host.docker.internal" || origin.port != usual
}

/// Returns whether a text may be the account in a host or path. Azure's account names are 3 to 24 lower-case letters and digits
/// ("Storage account name"); emulators accept others.
fn is_account(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Validates a container name ("Naming and Referencing Containers, Blobs, and Metadata"), including the special containers.
pub(super) fn is_container(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    matches!(text, "$root" | "$web")
        || ((3..=63).contains(&text.len())
            && text.bytes().all(sound)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--"))
}

/// Returns the blob name for a composed name. Azure treats a backslash as a slash and drops a dot at the end of a segment, so two names would
/// collide.
pub(super) fn blob_name(name: &str) -> String {
    let name = name.replace('\\', "%5C");
    let segments: Vec<_> = name.split('/').map(with_its_dots).collect();
    segments.join("/")
}

/// Escapes the last dot of a segment. `.` and `..` stay what they are, and are refused.
fn with_its_dots(segment: &str) -> Cow<'_, str> {
    match segment.strip_suffix('.') {
        Some(rest) if !matches!(segment, "." | "..") => format!("{rest}%2E").into(),
        _ => segment.into(),
    }
}

/// Returns why a text cannot be a blob name. A `..` would reach elsewhere through servers and proxies that normalize paths.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the object's name is empty");
    }
    if name.chars().count() > LONGEST_NAME {
        return Some("the object's name is longer than 1024 characters");
    }
    if name.split('/').count() > MOST_PARTS {
        return Some("the object's name has more than 254 parts");
    }
    name.split(['/', '\\']).any(|part| part == "." || part == "..").then_some("the object's name leaves its folder")
}

/// Fails if a name cannot be a blob name.
pub(super) fn check_name(name: &str) -> Result<()> {
    name_fault(name).map_or(Ok(()), |fault| Err(Error::new(Kind::Refused, fault)))
}

/// Appended to the account name and a dot.
const PUBLIC_CLOUD: &str = "blob.core.windows.net";
/// In characters ("Naming and Referencing Containers, Blobs, and Metadata").
const LONGEST_NAME: usize = 1024;
/// Path segments of a name (same page).
const MOST_PARTS: usize = 254;

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Address, blob_name, is_container, name_fault};
    use stowage_base::settings::Settings;

    fn read(more: &Value) -> Result<Address, String> {
        let mut members = json!({"account": "acme", "container": "calls"}).as_object().unwrap().clone();
        members.extend(more.as_object().unwrap().clone());
        Address::read(&Settings::new("s1", "azure", members)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_host_has_its_address() {
        let cases = [
            (json!({}), "https://acme.blob.core.windows.net/calls/k"),
            (json!({"host": "", "port": null}), "https://acme.blob.core.windows.net/calls/k"),
            (json!({"scheme": "http"}), "http://acme.blob.core.windows.net/calls/k"),
            (json!({"host": "blob.core.chinacloudapi.cn"}), "https://acme.blob.core.chinacloudapi.cn/calls/k"),
            (
                json!({"host": "blob.core.chinacloudapi.cn", "port": 443}),
                "https://acme.blob.core.chinacloudapi.cn/calls/k",
            ),
            (json!({"host": "acme.blob.core.usgovcloudapi.net"}), "https://acme.blob.core.usgovcloudapi.net/calls/k"),
            (json!({"host": "acme.z01.blob.storage.azure.net"}), "https://acme.z01.blob.storage.azure.net/calls/k"),
            (json!({"host": "ACME.blob.example", "port": 8443}), "https://acme.blob.example:8443/calls/k"),
            (json!({"host": "acmeblob.example"}), "https://acme.acmeblob.example/calls/k"),
            (json!({"host": "127.0.0.1", "port": "10000", "scheme": "http"}), "http://127.0.0.1:10000/acme/calls/k"),
            (json!({"host": "10.0.0.1"}), "https://10.0.0.1/acme/calls/k"),
            (json!({"host": "::1", "port": 10000}), "https://[::1]:10000/acme/calls/k"),
            (json!({"host": "localhost", "scheme": "http"}), "http://localhost/acme/calls/k"),
            (json!({"host": "azurite:10000", "scheme": "http"}), "http://azurite:10000/acme/calls/k"),
            (json!({"host": "storage.example", "port": 10000}), "https://storage.example:10000/acme/calls/k"),
            (json!({"host": "acme.localhost", "port": 10000}), "https://acme.localhost:10000/calls/k"),
            (json!({"host": "host.docker.internal", "scheme": "http"}), "http://host.docker.internal/acme/calls/k"),
            (json!({"container": "$root"}), "https://acme.blob.core.windows.net/$root/k"),
        ];
        for (settings, expected) in cases {
            let address = read(&settings).unwrap();
            assert_eq!(format!("{}{}", address.origin, address.path(&address.container, "k")), expected, "{settings}");
        }
    }

    #[test]
    fn wrong_settings_name_the_storage_and_the_key() {
        let cases = [
            (json!({"account": null}), "account"),
            (json!({"account": "a.evil.example"}), "account"),
            (json!({"account": "a/b"}), "account"),
            (json!({"account": "-a"}), "account"),
            (json!({"account": 7}), "account"),
            (json!({"container": null}), "container"),
            (json!({"container": "ab"}), "container"),
            (json!({"container": "Calls"}), "container"),
            (json!({"container": "a/b/c"}), "container"),
            (json!({"host": "a/b"}), "host"),
            (json!({"host": "user@a"}), "host"),
            (json!({"host": "https://a"}), "host"),
            (json!({"scheme": "ftp"}), "scheme"),
            (json!({"port": 0}), "port"),
        ];
        for (settings, key) in cases {
            let text = read(&settings).unwrap_err();
            assert!(text.contains("s1") && text.contains(&format!("setting {key} ")), "{settings}: {text}");
        }
    }

    #[test]
    fn names_are_literal_and_stay_in_their_folder() {
        let address = read(&json!({})).unwrap();
        assert_eq!(address.path("other", "a%2Fb/ü +\"?#.wav"), "/other/a%252Fb/%C3%BC%20%2B%22%3F%23.wav");
        let deep = "a/".repeat(254);
        for wrong in ["", ".", "..", "a/../b", "../a", "a/.", "a\\..\\b", &"x".repeat(1025), &deep] {
            assert!(name_fault(wrong).is_some(), "{wrong}");
        }
        for fine in ["a", "a..b", "...", "a//b", "/a", "a/", &"ü".repeat(1024)] {
            assert!(name_fault(fine).is_none(), "{fine}");
        }
    }

    proptest! {
        /// The signature covers the path as sent, so URL parsing must not change it.
        #[test]
        fn a_url_leaves_a_path_as_it_is(name in r"[a-z%./\\ é\x00-\x7f]{1,40}") {
            prop_assume!(name_fault(&name).is_none());
            let address = read(&json!({"host": "127.0.0.1"})).unwrap();
            let path = address.path("calls", &name);
            let url = url::Url::parse(&format!("{}{path}", address.origin)).unwrap();
            prop_assert_eq!(url.path(), &path);
            let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded, format!("/acme/calls/{name}"));
        }
    }

    #[test]
    fn a_backslash_does_not_become_a_slash() {
        assert_eq!(blob_name("a\\b/c%5Cd"), "a%5Cb/c%5Cd");
    }

    #[test]
    fn dots_at_an_end_are_kept() {
        for (name, blob) in [("a.", "a%2E"), ("a../b.c", "a.%2E/b.c"), ("...", "..%2E"), (".a", ".a"), ("a/", "a/")] {
            assert_eq!(blob_name(name), blob);
        }
        for wrong in [".", "a/..", "../a"] {
            assert!(name_fault(&blob_name(wrong)).is_some(), "{wrong}");
        }
    }

    #[test]
    fn containers_are_those_of_the_vendors_rules() {
        for fine in ["abc", "a-b", "0-9", "$root", "$web", &"x".repeat(63)] {
            assert!(is_container(fine), "{fine}");
        }
        for wrong in ["", "ab", "-ab", "ab-", "a--b", "aBc", "a_b", "..", "$log", &"x".repeat(64)] {
            assert!(!is_container(wrong), "{wrong}");
        }
    }
}
