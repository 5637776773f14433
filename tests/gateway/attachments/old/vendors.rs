//! Storages on the same servers as in the tests of new attachments.

use std::fs;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{NAME, Row, Rule, Secrets, binary, kept, map, tuple};
use stowage_testing::azurite;
use stowage_testing::ftp;
use stowage_testing::storages::{BUCKET, Server, Storage, ftp_url};
use stowage_testing::trouble::Double as _;

/// A storage, and the id of the last stored object.
pub struct Vendor {
    storage: Storage,
    id: Mutex<String>,
}

impl Vendor {
    pub async fn start(handler: &'static str) -> Self {
        Self { storage: Storage::start(handler).await, id: Mutex::default() }
    }

    /// The name in the entry. Percent signs are a literal part of the object's name on every server but Azure.
    fn path(document: &str) -> String {
        format!("old%20calls/{document}_{NAME}")
    }

    /// The blob's name in Azure: KAZOO's client puts the name of the entry into the URL as it is.
    fn blob(document: &str) -> String {
        format!("old calls/{document}_{NAME}")
    }

    /// The name of a file in a Drive, which differs from that of a new file.
    fn file(document: &str) -> String {
        format!("old_{document}_{NAME}")
    }

    fn azure(&self, key: &str) -> Value {
        let Value::Object(mut settings) = self.storage.settings.clone() else { panic!("settings are an object") };
        settings.insert("key".to_owned(), key.into());
        Value::Object(settings)
    }
}

/// Builds KAZOO's map of settings.
fn settings(members: &Value) -> eetf::Term {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs: Vec<(&str, String)> =
        members.as_object().unwrap().iter().map(|(key, value)| (&**key, text(value))).collect();
    map(&pairs.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>())
}

impl Row for Vendor {
    fn name(&self) -> &'static str {
        self.storage.handler
    }

    fn today(&self) -> (&'static str, Value) {
        (self.storage.handler, self.storage.settings.clone())
    }

    fn handler(&self, _database: &str, document: &str, secrets: Secrets) -> Value {
        let is_good = secrets == Secrets::Good;
        let (path, id) = (Self::path(document), self.id.lock().unwrap().clone());
        let today = &self.storage.settings;
        let told = json!({"body": {"name": format!("{document}_{NAME}")}});
        match self.storage.handler {
            "azure" => {
                let mut inside = self.azure(if is_good { azurite::KEY } else { "cm90YXRlZCBhd2F5" });
                if secrets == Secrets::Moved {
                    inside["port"] = 1.into();
                }
                json!({"kz_att_azure": {"azure": kept(&tuple(vec![settings(&inside), binary(&path)]))}})
            }
            "google_storage" => {
                let grant = if is_good { today["oauth_doc_id"].clone() } else { "another-grant".into() };
                let inside = settings(&json!({"bucket": BUCKET, "oauth_doc_id": grant}));
                let name = tuple(vec![eetf::Atom::from("name").into(), binary(&path)]);
                json!({"kz_att_google_storage": {"gstorage": kept(&tuple(vec![inside, name]))}})
            }
            "google_drive" => {
                let grant = binary(today["oauth_doc_id"].as_str().unwrap());
                json!({"kz_att_google_drive": {"gdrive": kept(&tuple(vec![grant, binary(&id)]))}})
            }
            "dropbox" => {
                let term = tuple(vec![settings(today), binary(&id)]);
                json!({"kz_att_dropbox": {"dropbox": kept(&term), "metadata": told}})
            }
            "onedrive" => {
                let place = tuple(vec![binary("b!double-drive"), binary(&id)]);
                let term = tuple(vec![settings(today), place]);
                json!({"kz_att_onedrive": {"onedrive": kept(&term), "metadata": told}})
            }
            _ => {
                let Server::Ftp(server) = &self.storage.server else { panic!("an FTP server") };
                let password = if is_good { ftp::PASSWORD } else { "rotated away" };
                json!({"kz_att_ftp": {"url": ftp_url(server, password, &path)}})
            }
        }
    }

    fn store(&self, _database: &str, document: &str, bytes: &[u8]) {
        let path = Self::path(document);
        let id = match &self.storage.server {
            Server::Azure(container) => {
                let put = container.ask("PUT", &path, "", &[("x-ms-blob-type", "BlockBlob")], bytes);
                assert_eq!(put.status, 201, "{put:?}");
                String::new()
            }
            Server::Google(server) if self.storage.handler == "google_storage" => {
                server.overwrite(BUCKET, &path, bytes.to_vec());
                String::new()
            }
            Server::Google(server) => server.place(&Self::file(document), bytes),
            Server::Dropbox(server) => server.place(&path, bytes),
            Server::Graph(server) => server.place(&path, bytes),
            Server::Ftp(server) => {
                let file = server.root().join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, bytes).unwrap();
                String::new()
            }
            _ => panic!("no place for {path}"),
        };
        *self.id.lock().unwrap() = id;
    }

    fn has(&self, _database: &str, document: &str) -> bool {
        let path = Self::path(document);
        match &self.storage.server {
            Server::Azure(container) => container.blobs().contains(&Self::blob(document)),
            Server::Google(server) if self.storage.handler == "google_storage" => {
                server.objects(BUCKET).contains(&path)
            }
            Server::Google(server) => server.files().contains(&Self::file(document)),
            Server::Dropbox(server) => server.paths().contains(&path),
            Server::Graph(server) => server.paths().contains(&path),
            Server::Ftp(server) => server.files("").contains(&path),
            _ => false,
        }
    }

    fn storage(&self) -> Option<&Storage> {
        Some(&self.storage)
    }

    fn cannot(&self, rule: Rule) -> Option<&'static str> {
        match (rule, self.storage.handler) {
            (Rule::RotatedKeys, "google_drive" | "dropbox" | "onedrive") => {
                Some("the entry names an OAuth document, and the tokens are those of today")
            }
            (Rule::Copies, "google_drive") => {
                Some("the entry tells no name: a DELETE of the copy removes the object that both mean")
            }
            (Rule::Moved, "ftp") => Some("a URL says all of the place"),
            (Rule::Moved, "google_storage" | "google_drive" | "dropbox" | "onedrive") => {
                Some("the vendor is the server")
            }
            _ => None,
        }
    }
}
