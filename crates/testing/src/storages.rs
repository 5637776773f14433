//! A running instance of every kind of storage. A new driver needs an arm in [`Storage::start`] and in [`Storage::objects`].

use serde_json::{Value, json};

use super::azurite::{self, Container};
use super::couch::Couch;
use super::dropbox::Dropbox;
use super::ftp::{self, FtpServer};
use super::gateway::{Running, Setup};
use super::google::GoogleServer;
use super::graph::Graph;
use super::nginx::Nginx;
use super::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use super::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use super::trouble::Double as _;

/// The drivers' names.
pub const ALL: [&str; 9] =
    ["file", "http", "s3", "azure", "google_storage", "google_drive", "dropbox", "onedrive", "ftp"];
/// The bucket of storages that have one.
pub const BUCKET: &str = "recordings";

/// A storage, and its settings in a plan.
pub struct Storage {
    /// The driver's name.
    pub handler: &'static str,
    /// Valid settings.
    pub settings: Value,
    /// Secrets that neither a document nor a response may contain.
    pub secrets: Vec<String>,
    pub server: Server,
    endpoints: Vec<(&'static str, String)>,
    /// The token endpoint, if the storage uses one.
    pub tokens: Option<TokenServer>,
}

/// The server behind a driver.
pub enum Server {
    /// A folder of the gateway's own.
    Folder,
    Nginx(Nginx),
    S3(S3Server),
    Azure(Container),
    Google(GoogleServer),
    Dropbox(Dropbox),
    Graph(Graph),
    Ftp(FtpServer),
}

impl Storage {
    /// Starts the server for a driver.
    pub async fn start(handler: &'static str) -> Self {
        let tokens = match handler {
            "google_storage" | "google_drive" | "dropbox" | "onedrive" => Some(TokenServer::start().await),
            _ => None,
        };
        let known = tokens.as_ref().map(|server| server.tokens.clone()).unwrap_or_default();
        let server = match handler {
            "file" => Server::Folder,
            "http" => Server::Nginx(Nginx::start().await),
            "s3" => Server::S3(S3Server::start().await),
            "azure" => Server::Azure(Container::start()),
            "google_storage" | "google_drive" => Server::Google(GoogleServer::start(known, BUCKET).await),
            "dropbox" => Server::Dropbox(Dropbox::start(known).await),
            "onedrive" => Server::Graph(Graph::start(known).await),
            "ftp" => Server::Ftp(FtpServer::start().await),
            _ => panic!("{handler} is no driver"),
        };
        let (settings, mut secrets, endpoints) = server.settings(handler);
        if tokens.is_some() {
            secrets.extend([SECRET, REFRESH, "canary"].map(str::to_owned));
        }
        Self { handler, settings, secrets, server, endpoints, tokens }
    }

    /// Starts a gateway configured for the server and its tokens, and creates the month database.
    pub async fn gateway(&self) -> Running {
        self.gateway_with(Setup::default()).await
    }

    /// Starts a gateway with additional settings.
    pub async fn gateway_with(&self, setup: Setup) -> Running {
        let gateway = self.setup(setup).start().await;
        self.grant(&gateway.couch).await;
        gateway.make_database().await;
        gateway
    }

    /// Configures a gateway for the server.
    pub fn setup(&self, setup: Setup) -> Setup {
        let set = |setup: Setup, (key, url): &(&str, String)| setup.set(&format!("storage.endpoints.{key}"), url);
        self.endpoints.iter().fold(setup, set)
    }

    /// Returns the `storage.endpoints` for the server.
    pub fn endpoints(&self) -> &[(&'static str, String)] {
        &self.endpoints
    }

    /// Saves the grants for the tokens, if the storage uses any.
    pub async fn grant(&self, couch: &Couch) {
        if let Some(tokens) = &self.tokens {
            tokens.documents(couch).await;
        }
    }

    /// Returns all stored objects, including unfinished ones.
    pub fn objects(&self, gateway: &Running) -> Vec<String> {
        match &self.server {
            Server::Folder => gateway.stored(),
            Server::Nginx(server) => super::files(&server.files()),
            Server::S3(server) => [server.objects(BUCKET).into_keys().collect(), server.pending()].concat(),
            Server::Azure(container) => [container.blobs(), container.uncommitted()].concat(),
            Server::Google(server) => [server.objects(BUCKET), server.files(), server.pending()].concat(),
            Server::Dropbox(server) => server.paths(),
            Server::Graph(server) => [server.paths(), server.sessions()].concat(),
            Server::Ftp(server) => server.files(""),
        }
    }
}

impl Server {
    /// Returns the settings, the secrets, and the vendor's endpoints.
    fn settings(&self, handler: &str) -> (Value, Vec<String>, Vec<(&'static str, String)>) {
        let oauth = json!({ "oauth_doc_id": GRANT });
        match self {
            Self::Folder => (json!({ "directory": "recordings" }), Vec::new(), Vec::new()),
            Self::Nginx(server) => {
                (json!({ "url": format!("http://{}/new", server.address()) }), Vec::new(), Vec::new())
            }
            Self::S3(server) => {
                server.make_bucket(BUCKET);
                let settings = json!({
                    "bucket": BUCKET, "key": ACCESS_KEY, "secret": SECRET_KEY, "scheme": "http",
                    "host": server.address().ip().to_string(), "port": server.address().port(),
                });
                (settings, vec![ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()], Vec::new())
            }
            Self::Azure(container) => {
                let settings = json!({
                    "account": azurite::ACCOUNT, "key": azurite::KEY, "container": container.name, "scheme": "http",
                    "host": "localhost", "port": container.address().port(),
                });
                (settings, vec![azurite::KEY.to_owned()], Vec::new())
            }
            Self::Google(server) => {
                let endpoints = vec![("google_api", format!("http://{}", server.address()))];
                let with_bucket = json!({ "bucket": BUCKET, "oauth_doc_id": GRANT });
                (if handler == "google_storage" { with_bucket } else { oauth }, Vec::new(), endpoints)
            }
            Self::Dropbox(server) => {
                let (content, rpc) = (format!("http://{}", server.content()), format!("http://{}", server.rpc()));
                (oauth, Vec::new(), vec![("dropbox_content", content), ("dropbox_api", rpc)])
            }
            Self::Graph(server) => (oauth, Vec::new(), vec![("graph", format!("http://{}", server.address()))]),
            Self::Ftp(server) => {
                let url = ftp_url(server, ftp::PASSWORD, "recordings");
                (json!({ "url": url }), vec![ftp::USER.to_owned(), "canary-pass".to_owned()], Vec::new())
            }
        }
    }
}

/// Returns the URL of a path on an FTP server.
pub fn ftp_url(server: &FtpServer, password: &str, path: &str) -> String {
    let password = password.replace('@', "%40");
    format!("ftp://{}:{password}@localhost:{}/{path}", ftp::USER, server.address().port())
}
