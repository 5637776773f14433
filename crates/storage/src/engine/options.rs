//! The operator's storage options.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[storage]`: options that apply to all storages.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory below which `file` backends write; `None` disables them.
    pub file_root: Option<PathBuf>,
    /// Addresses of the public services, overridable for private clouds, proxies and tests.
    pub endpoints: Endpoints,
}

/// `[storage.endpoints]`: an address for each key declared by a driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<&'static str, String>);

impl FromIterator<(&'static str, String)> for Endpoints {
    fn from_iter<T: IntoIterator<Item = (&'static str, String)>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl Endpoints {
    /// Overrides the address of a key.
    pub fn set(&mut self, key: &'static str, address: impl Into<String>) {
        self.0.insert(key, address.into());
    }

    /// Returns the address of a key; empty if there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}
