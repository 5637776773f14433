//! A driver's environment: the configuration, and the CouchDB with its OAuth documents.

use crate::conformance::prelude::*;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use stowage::upstream::AuthDatabase;
use stowage_base::secret::Secret;
use stowage_couch::Couch;
use stowage_http::client::{Client, Patience};
use stowage_http::connect::{Connector, Reach, Timeouts};
use stowage_http::egress::Egress;
use stowage_http::target::Origin;
use stowage_storage::{Context, Endpoints, OAuth, Options};

use stowage_testing::gateway;

/// A driver's environment. By default: no root, no endpoints, and no CouchDB.
#[derive(Debug, Clone)]
pub struct Around {
    pub root: Option<PathBuf>,
    pub endpoints: Endpoints,
    /// Networks that plans may use.
    pub allow: Vec<String>,
    /// How long OAuth documents are cached, if not the default.
    pub looking_every: Option<Duration>,
    /// The only trusted CA, a PEM file; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// The timeout for a server's silence.
    pub silence: Duration,
    /// The timeout for TLS handshakes.
    pub handshake: Duration,
    /// URL, name and password of the CouchDB with the OAuth documents.
    couch: (String, String, String),
    /// The database of the OAuth documents.
    auth: String,
}

impl Default for Around {
    fn default() -> Self {
        // This port has no listener.
        Self {
            root: None,
            ca: None,
            silence: Duration::from_secs(15),
            handshake: Duration::from_secs(5),
            endpoints: Endpoints::default(),
            allow: vec!["127.0.0.0/8".to_owned()],
            looking_every: None,
            couch: ("http://127.0.0.1:9".to_owned(), String::new(), String::new()),
            auth: "system_auth".to_owned(),
        }
    }
}

impl Around {
    /// Sets a root for `file` storages.
    pub fn root(path: &Path) -> Self {
        Self { root: Some(path.to_owned()), ..Self::default() }
    }

    /// Trusts a CA of the tests.
    pub fn trusting(ca: PathBuf) -> Self {
        Self { ca: Some(ca), ..Self::default() }
    }

    /// Sets a short timeout for silence.
    pub fn impatient(silence: Duration) -> Self {
        Self { silence, ..Self::default() }
    }

    /// Sets a short timeout for TLS handshakes.
    pub fn hasty(handshake: Duration) -> Self {
        Self { handshake, ..Self::default() }
    }

    /// Sets a CouchDB with OAuth documents.
    #[allow(dead_code, reason = "for drivers that want OAuth")]
    pub fn couch(couch: &gateway::Couch) -> Self {
        let (name, password) = couch.admin.clone();
        Self { couch: (couch.url.clone(), name, password), auth: couch.auth.clone(), ..Self::default() }
    }

    /// Sets a CouchDB without a password.
    #[allow(dead_code, reason = "for `tests/storages/oauth`")]
    pub fn at(url: &str, auth: &str) -> Self {
        Self { couch: (url.to_owned(), String::new(), String::new()), auth: auth.to_owned(), ..Self::default() }
    }

    /// Returns the context for opening a driver.
    pub fn context(&self, tasks: &Tasks, budget: &Budget) -> Context {
        let allow = self.allow.iter().map(|network| network.parse().expect("a network")).collect();
        let egress = Egress::new(allow, Vec::new());
        let second = Duration::from_secs;
        let timeouts = Timeouts {
            connect: second(5),
            tls_handshake: self.handshake,
            response_head: self.silence,
            idle_body: self.silence,
        };
        let connector = match &self.ca {
            None => Connector::new(egress, timeouts),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a CA");
                Connector::trusting(roots, egress, timeouts)
            }
        };
        let connector = connector.expect("a connector");
        let client = Client::new(connector, Tasks::default(), 64 << 10);
        let (url, name, password) = &self.couch;
        let origin = url.parse().ok().and_then(|url| Origin::of(&url)).expect("the URL of a server");
        let server = client.server(origin, Reach::Operator);
        let patience = Patience { head: Some(second(15)), idle: Some(second(15)) };
        let account = Secret::new(password.clone());
        let couch = Couch::new(server, "/", Some((name, &account)), patience, 8 << 20).expect("a CouchDB");
        let storage = Options { file_root: self.root.clone(), endpoints: self.endpoints.clone() };
        let (http, background) = (client.clone(), tasks.clone());
        let documents = Arc::new(AuthDatabase::new(couch, &self.auth));
        let oauth = match self.looking_every {
            None => OAuth::new(documents, http, background),
            Some(pause) => OAuth::looking_every(pause, documents, http, background),
        };
        Context { oauth, client, tasks: tasks.clone(), budget: budget.clone(), options: Arc::new(storage) }
    }
}
