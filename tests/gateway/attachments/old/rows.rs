//! The storages. A new one needs a row here, and a place in [`all`].

use std::fs;

use eetf::{FixInteger, Term};
use serde_json::{Value, json};

use super::vendors::Vendor;
use super::{NAME, Row, Rule, Secrets, binary, kept, map, tuple};
use stowage_testing::nginx::{Nginx, Options};
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

/// Starts every storage.
pub async fn all() -> Vec<Box<dyn Row>> {
    let shapes = [Shape::TupleServer, Shape::MapPath, Shape::MapKey];
    let mut rows: Vec<Box<dyn Row>> = vec![Box::new(Web::start().await)];
    for shape in shapes {
        rows.push(Box::new(S3::start(shape).await));
    }
    for handler in ["azure", "google_storage", "google_drive", "dropbox", "onedrive", "ftp"] {
        rows.push(Box::new(Vendor::start(handler).await));
    }
    rows
}

/// `kz_att_http` on a web server that requires a password.
struct Web(Nginx);

impl Web {
    async fn start() -> Self {
        Self(Nginx::with(Options { basic: Some(("me".to_owned(), "good".to_owned())), tls: None }).await)
    }

    fn path(&self, document: &str) -> std::path::PathBuf {
        self.0.files().join("old").join(document).join(NAME)
    }
}

impl Row for Web {
    fn name(&self) -> &'static str {
        "http"
    }

    fn today(&self) -> (&'static str, Value) {
        ("http", json!({"url": format!("http://me:good@{}/new", self.0.address())}))
    }

    fn handler(&self, _database: &str, document: &str, secrets: Secrets) -> Value {
        let password = if secrets == Secrets::Good { "good" } else { "old" };
        let url = format!("http://me:{password}@{}/old/{document}/{NAME}", self.0.address());
        json!({"kz_att_http": {"url": url}})
    }

    fn store(&self, _database: &str, document: &str, bytes: &[u8]) {
        let path = self.path(document);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn has(&self, _database: &str, document: &str) -> bool {
        self.path(document).exists()
    }

    fn cannot(&self, rule: Rule) -> Option<&'static str> {
        (rule == Rule::Moved).then_some("a URL says all of the place")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{Key, Secret, {Scheme, Host, Port}, Bucket, Folder}`
    TupleServer,
    /// A map with the folder.
    MapPath,
    /// `{Map, Key}`
    MapKey,
}

/// `kz_att_s3`
struct S3 {
    server: S3Server,
    shape: Shape,
}

impl S3 {
    async fn start(shape: Shape) -> Self {
        let server = S3Server::start().await;
        server.make_bucket(BUCKET);
        Self { server, shape }
    }

    fn key(&self, database: &str, document: &str) -> String {
        match self.shape {
            Shape::MapKey => format!("any/where/{document}_{NAME}"),
            Shape::TupleServer | Shape::MapPath => {
                format!("calls/{}/{document}_{NAME}", database.replace('/', "%2F"))
            }
        }
    }
}

impl Row for S3 {
    fn name(&self) -> &'static str {
        match self.shape {
            Shape::TupleServer => "s3 tuple",
            Shape::MapPath => "s3 map",
            Shape::MapKey => "s3 map and key",
        }
    }

    fn today(&self) -> (&'static str, Value) {
        let address = self.server.address();
        let server = json!({"bucket": BUCKET, "key": ACCESS_KEY, "secret": SECRET_KEY, "scheme": "http",
            "host": address.ip().to_string(), "port": address.port()});
        ("s3", server)
    }

    fn handler(&self, database: &str, document: &str, secrets: Secrets) -> Value {
        let secret = if secrets == Secrets::Good { SECRET_KEY } else { "rotated away" };
        let (host, port) = match secrets {
            Secrets::Good | Secrets::Rotated => (self.server.address().ip().to_string(), self.server.address().port()),
            Secrets::Moved => ("localhost".to_owned(), 1),
        };
        let text = port.to_string();
        let settings = [
            ("key", ACCESS_KEY),
            ("secret", secret),
            ("bucket", BUCKET),
            ("scheme", "http"),
            ("host", &host),
            ("port", &text),
            ("path", "calls"),
        ];
        let term = match self.shape {
            Shape::TupleServer => {
                let server = vec![binary("http://"), binary(&host), Term::from(FixInteger::from(i32::from(port)))];
                tuple(vec![binary(ACCESS_KEY), binary(secret), tuple(server), binary(BUCKET), binary("calls")])
            }
            Shape::MapPath => map(&settings),
            Shape::MapKey => tuple(vec![map(&settings), binary(&self.key(database, document))]),
        };
        json!({"kz_att_s3": {"S3": kept(&term), "metadata": {"etag": "x"}}})
    }

    fn store(&self, database: &str, document: &str, bytes: &[u8]) {
        self.server.meddle(BUCKET, &self.key(database, document), Some(bytes));
    }

    fn has(&self, database: &str, document: &str) -> bool {
        self.server.object(BUCKET, &self.key(database, document)).is_some()
    }

    fn cannot(&self, rule: Rule) -> Option<&'static str> {
        (rule == Rule::TwoEntries && self.shape != Shape::MapKey)
            .then_some("the attachment's name is a part of the object's")
    }
}

const BUCKET: &str = "recordings";
