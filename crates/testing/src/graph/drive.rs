//! The items and upload sessions of the double.

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::spool::{Spool, Sum};

/// The bytes of an item.
pub type Data = Spool<QuickXor>;

/// A status and the error code.
#[derive(Debug)]
pub struct Refusal(pub u16, pub &'static str);

/// The stored items. Names are case-insensitive: the keys are paths in lower case, next to the path for display.
#[derive(Debug, Default)]
pub struct Drive {
    items: BTreeMap<String, Item>,
    pub sessions: BTreeMap<String, Session>,
    pub given: Option<String>,
    pub hashless: bool,
    tickets: HashSet<String>,
    numbers: u64,
}

#[derive(Clone, Debug)]
pub struct Item {
    id: String,
    path: String,
    version: u64,
    pub data: Data,
}

#[derive(Debug)]
pub struct Session {
    path: String,
    data: Data,
    total: Option<u64>,
}

impl Item {
    /// Returns the quoted ETag, as in a header.
    pub fn tag(&self) -> String {
        format!("\"{{{}}},{}\"", self.id, self.version)
    }
}

impl Drive {
    pub fn paths(&self) -> Vec<String> {
        self.items.values().map(|item| item.path.clone()).collect()
    }

    pub fn place(&mut self, path: &str, data: Data) -> Value {
        self.numbers += 1;
        let id = format!("01DOUBLE{:06}", self.numbers);
        let mut item = Item { id, path: path.to_owned(), version: self.numbers, data };
        let told = self.metadata(&item);
        // The service writes the tags of a photo or recording into its metadata once the upload is answered (OneDrive/onedrive-api-docs, issue 308).
        item.version += 1;
        self.items.insert(path.to_lowercase(), item);
        told
    }

    pub fn revise(&mut self, path: &str, data: &[u8]) {
        let item = self.items.get_mut(&path.to_lowercase()).expect("an item");
        item.version += 1;
        item.data = data.into();
    }

    /// Creates an item with the conflict behavior `fail`.
    pub fn create(&mut self, path: &str, data: Data) -> Result<Value, Refusal> {
        self.free(path)?;
        Ok(self.place(path, data))
    }

    fn free(&self, path: &str) -> Result<(), Refusal> {
        name_fault(path)?;
        let lower = path.to_lowercase();
        let below = format!("{lower}/");
        if self.items.keys().any(|other| *other == lower || other.starts_with(&below)) {
            return Err(Refusal(409, "nameAlreadyExists"));
        }
        if self.items.keys().any(|other| lower.starts_with(&format!("{other}/"))) {
            return Err(Refusal(404, "itemNotFound"));
        }
        Ok(())
    }

    pub fn at(&self, path: &str) -> Result<Value, Refusal> {
        let item = self.items.get(&path.to_lowercase()).ok_or(Refusal(404, "itemNotFound"))?;
        Ok(self.metadata(item))
    }

    /// Returns a page of a folder's children, two per page. A folder's id is its path in hex.
    pub fn children(&self, folder: &str, skip: usize) -> (Vec<Value>, bool) {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut folders = HashSet::new();
        let children = self.items.values().filter_map(|item| {
            let rest = item.path.strip_prefix(&below)?;
            let Some((name, _)) = rest.split_once('/') else { return Some(self.metadata(item)) };
            let path = format!("{below}{name}");
            folders.insert(path.clone()).then(|| {
                json!({ "id": hex::encode(&path), "name": name, "size": 0, "folder": { "childCount": 1 },
                    "createdDateTime": "2026-01-02T03:04:05Z", "parentReference": { "driveId": "b!double-drive" } })
            })
        });
        let mut page: Vec<Value> = children.skip(skip).take(3).collect();
        let has_more = page.len() > 2;
        page.truncate(2);
        (page, has_more)
    }

    pub fn by_id(&self, id: &str) -> Option<&Item> {
        self.items.values().find(|item| item.id == id)
    }

    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.items.len();
        self.items.retain(|_, item| item.id != id);
        self.items.len() < before
    }

    pub fn begin(&mut self, path: &str) -> Result<String, Refusal> {
        self.free(path)?;
        self.numbers += 1;
        let id = format!("s{}", self.numbers);
        let session = Session { path: path.to_owned(), data: Data::default(), total: None };
        self.sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Returns the range that a session still expects.
    pub fn expected(&self, id: &str) -> String {
        format!("{}-", self.sessions.get(id).map_or(0, |session| session.data.len()))
    }

    /// Accepts a fragment; returns the item once it is complete. A session whose commit fails remains ("Handle upload errors").
    pub fn fragment(&mut self, id: &str, range: &str, data: &[u8]) -> Result<Option<Value>, Refusal> {
        let (first, last, total) = content_range(range).ok_or(Refusal(400, "invalidRequest"))?;
        let session = self.sessions.get_mut(id).ok_or(Refusal(404, "itemNotFound"))?;
        let whole = last + 1 == total;
        let sound = first <= last
            && last < total
            && data.len() as u64 == last + 1 - first
            && data.len() < 60 << 20
            && (whole || data.len().is_multiple_of(327_680))
            && *session.total.get_or_insert(total) == total;
        if !sound {
            return Err(Refusal(400, "invalidRequest"));
        }
        if first != session.data.len() as u64 {
            return Err(Refusal(416, "invalidRange"));
        }
        if whole {
            let (path, mut all) = (session.path.clone(), session.data.clone());
            all.append(data);
            let made = self.create(&path, all)?;
            self.sessions.remove(id);
            return Ok(Some(made));
        }
        session.data.append(data);
        Ok(None)
    }

    /// Creates a key for one download.
    pub fn ticket(&mut self, id: &str) -> String {
        self.numbers += 1;
        let key = format!("canary-download-{id}-{}", self.numbers);
        self.tickets.insert(key.clone());
        key
    }

    pub fn redeem(&mut self, key: &str) -> bool {
        self.tickets.remove(key)
    }

    fn metadata(&self, item: &Item) -> Value {
        let hashes = if self.hashless { json!({}) } else { json!({ "quickXorHash": item.data.sum().base64() }) };
        json!({
            "id": item.id, "name": item.path.rsplit('/').next(), "eTag": item.tag(), "cTag": format!("\"c:{}\"", item.tag()),
            "size": item.data.len(), "createdDateTime": "2026-01-02T03:04:05Z",
            "parentReference": {"driveId": "b!double-drive", "driveType": "business"},
            "file": {"mimeType": "audio/mpeg", "hashes": hashes},
        })
    }
}

/// Parses `bytes a-b/total`.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

/// "Restrictions and limitations in OneDrive and SharePoint": characters, ends, reserved names, 400 characters.
fn name_fault(path: &str) -> Result<(), Refusal> {
    if path.chars().count() > 400 {
        return Err(Refusal(400, "pathIsTooLong"));
    }
    for name in path.split('/') {
        let lower = name.to_lowercase();
        let reserved = ["", ".", "..", ".lock", "con", "prn", "aux", "nul", "desktop.ini"].contains(&&*lower);
        let ends = name.starts_with(' ') || name.ends_with(' ') || name.ends_with('.');
        if reserved || ends || lower.starts_with("~$") || lower.contains("_vti_") || name.contains(FORBIDDEN) {
            return Err(Refusal(400, "invalidRequest"));
        }
    }
    Ok(())
}

const FORBIDDEN: [char; 8] = ['"', '*', ':', '<', '>', '?', '\\', '|'];

/// Adds each byte to a 160-bit register, 11 bits after the previous one; finally the length to its last 8 bytes.
#[derive(Clone, Debug, Default)]
pub struct QuickXor {
    register: [u8; 20],
    bit: usize,
    length: u64,
}

impl QuickXor {
    fn base64(&self) -> String {
        let mut register = self.register;
        for (place, byte) in register[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *place ^= byte;
        }
        STANDARD.encode(register)
    }
}

impl Sum for QuickXor {
    fn update(&mut self, data: &[u8]) {
        for byte in data {
            let wide = u16::from(*byte) << (self.bit % 8);
            self.register[self.bit / 8] ^= (wide & 0xff) as u8;
            self.register[(self.bit / 8 + 1) % 20] ^= (wide >> 8) as u8;
            self.bit = (self.bit + 11) % 160;
        }
        self.length += data.len() as u64;
    }
}
