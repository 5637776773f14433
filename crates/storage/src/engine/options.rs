//! What the operator says of storages.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[storage]`: what the operator says of every storage.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory below which `file` backends write; `None` turns them off.
    pub file_root: Option<PathBuf>,
    /// Where the public services are, for private clouds, proxies and tests.
    pub endpoints: Endpoints,
}

/// `[storage.endpoints]`: an address for every key that the drivers name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<&'static str, String>);

impl FromIterator<(&'static str, String)> for Endpoints {
    fn from_iter<T: IntoIterator<Item = (&'static str, String)>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl Endpoints {
    /// Puts an address in place of the one that a key has.
    pub fn set(&mut self, key: &'static str, address: impl Into<String>) {
        self.0.insert(key, address.into());
    }

    /// The address of a key; empty where there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}
