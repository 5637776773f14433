//! Every storage that a plan can name, running. A new driver needs an arm in [`Storage::start`] and in [`Storage::objects`].

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
/// The bucket of those that have one.
pub const BUCKET: &str = "recordings";

/// A storage, and how a plan names it.
pub struct Storage {
    /// The driver.
    pub handler: &'static str,
    /// Settings that work.
    pub settings: Value,
    /// What neither a document nor an answer may show.
    pub secrets: Vec<String>,
    pub server: Server,
    endpoints: Vec<(&'static str, String)>,
    /// Where its tokens come from, where it wants some.
    pub tokens: Option<TokenServer>,
}

/// What is behind the driver.
pub enum Server {
    /// The gateway's own folder.
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
    /// Starts the server of a driver.
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

    /// A gateway that finds the server and its tokens; the month database is there.
    pub async fn gateway(&self) -> Running {
        self.gateway_with(Setup::default()).await
    }

    /// The same, with more settings.
    pub async fn gateway_with(&self, setup: Setup) -> Running {
        let gateway = self.setup(setup).start().await;
        self.grant(&gateway.couch).await;
        gateway.make_database().await;
        gateway
    }

    /// Settings with which a gateway finds the server.
    pub fn setup(&self, setup: Setup) -> Setup {
        let set = |setup: Setup, (key, url): &(&str, String)| setup.set(&format!("storage.endpoints.{key}"), url);
        self.endpoints.iter().fold(setup, set)
    }

    /// The keys of `storage.endpoints` with which its server is found.
    pub fn endpoints(&self) -> &[(&'static str, String)] {
        &self.endpoints
    }

    /// Saves the grants of its tokens, where it wants any.
    pub async fn grant(&self, couch: &Couch) {
        if let Some(tokens) = &self.tokens {
            tokens.documents(couch).await;
        }
    }

    /// Everything that is kept there, what is unfinished included.
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
    /// Settings, secrets, and the vendor's endpoints.
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

/// The URL of a path on an FTP server.
pub fn ftp_url(server: &FtpServer, password: &str, path: &str) -> String {
    let password = password.replace('@', "%40");
    format!("ftp://{}:{password}@localhost:{}/{path}", ftp::USER, server.address().port())
}
