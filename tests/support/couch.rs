//! The server behind the gateway: the embedded store, or the CouchDB that `COUCHDB_URL` names.

use stowage::store::{Options, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::gateway::{authorization, content_type, exchange};
use super::raw::RawResponse;

/// The server behind the gateway.
#[derive(Debug)]
pub struct Couch {
    /// `http://host:port`
    pub url: String,
    /// Name and password of the server's admin.
    pub admin: (String, String),
    /// Name and password of somebody who is a member of no database. Only the embedded store has one.
    pub user: (String, String),
    /// The plans database of this test.
    pub plans: String,
    _data: Option<TempDir>,
    _serving: Option<AbortOnDropHandle<()>>,
}

impl Couch {
    /// The embedded store, or the server that `COUCHDB_URL` names.
    pub async fn start() -> Self {
        Self::start_with_password("admin").await
    }

    /// The same; the admin of an embedded store has this password.
    pub async fn start_with_password(password: &str) -> Self {
        let plans = format!("plans_{}", uuid::Uuid::new_v4().simple());
        let user = ("user".to_owned(), "user".to_owned());
        if let Ok(text) = std::env::var("COUCHDB_URL") {
            let url = url::Url::parse(&text).expect("COUCHDB_URL is a URL");
            let admin = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
            let origin = url.origin().ascii_serialization();
            return Self { url: origin, admin, user, plans, _data: None, _serving: None };
        }
        Self { plans, ..Self::embedded(("admin".to_owned(), password.to_owned())).await }
    }

    /// The embedded store, also where `COUCHDB_URL` names a server: a second one beside it.
    pub async fn embedded(admin: (String, String)) -> Self {
        let (plans, user) = ("none".to_owned(), ("user".to_owned(), "user".to_owned()));
        let data = tempfile::tempdir().expect("a temporary folder");
        let options = Options { data: data.path().to_owned(), admin: admin.clone(), user: Some(user.clone()) };
        let store = Store::open(options).expect("the store opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move {
            store.serve(listener, std::future::pending()).await.expect("the store serves");
        });
        Self { url, admin, user, plans, _data: Some(data), _serving: Some(AbortOnDropHandle::new(serving)) }
    }

    /// Asks the server itself, as its admin.
    pub async fn request(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> RawResponse {
        let address = self.url.trim_start_matches("http://").parse().expect("host and port");
        exchange(address, method, target, &[authorization(&self.admin), content_type(media_type)], body).await
    }
}
