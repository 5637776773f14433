//! The sections of the configuration as validated values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use stowage_base::log::Format;
use stowage_base::secret::Secret;
use stowage_http::{connect, egress};

/// `[listen]`: where clients connect.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain HTTP; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// HTTPS, where it is configured.
    pub tls: Option<ListenTls>,
    /// Proxies in front, whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[listen.tls]`.
#[derive(Debug, Clone)]
pub struct ListenTls {
    /// The address of the HTTPS listener.
    pub address: SocketAddr,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are asked for; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// Which CouchDB stands behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CouchTarget {
    /// An `http` or `https` URL.
    Url(url::Url),
    /// The built-in store.
    Embedded,
}

/// `[couchdb]`.
#[derive(Debug, Clone)]
pub struct Couchdb {
    /// The `local` connection.
    pub target: CouchTarget,
    /// Directory of the built-in store.
    pub data: PathBuf,
    /// The gateway's own account.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Whether the credentials of a plan's connection stand in the place of the client's.
    pub connection_credentials: bool,
    /// Where clients see attachments that are stored outside as CouchDB's own.
    pub present_stubs: PresentStubs,
}

/// `couchdb.present_stubs`, class by class: the classes that are not named are left to the plans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresentStubs(Vec<(String, bool)>);

/// Where clients see attachments that are stored outside as CouchDB's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// In the databases whose plan may store attachments outside.
    Planned,
    /// Everywhere, also where no plan speaks of them any more.
    Always,
    /// Nowhere.
    Never,
}

impl PresentStubs {
    /// The classes that there are.
    pub const CLASSES: [&str; 5] = ["account", "modb", "yodb", "system", "aggregate"];

    /// What was said of some classes.
    #[must_use]
    pub fn of(classes: impl IntoIterator<Item = (impl Into<String>, bool)>) -> Self {
        Self(classes.into_iter().map(|(class, shown)| (class.into(), shown)).collect())
    }

    /// Where they are shown in databases of this class.
    #[must_use]
    pub fn in_class(&self, class: &str) -> Present {
        match self.0.iter().find(|(known, _)| known == class) {
            None => Present::Planned,
            Some((_, true)) => Present::Always,
            Some((_, false)) => Present::Never,
        }
    }

    /// Whether they are shown in databases that no plan speaks of.
    #[must_use]
    pub fn beyond_plans(&self) -> bool {
        self.0.iter().any(|(_, shown)| *shown)
    }
}

/// `[plans]`.
#[derive(Debug, Clone)]
pub struct Plans {
    /// The database that holds the plan documents.
    pub database: String,
    /// The database that holds OAuth documents.
    pub auth_database: String,
    /// Age after which a plan is asked for again, besides the changes feed.
    pub refresh: Duration,
    /// How long a known plan serves while CouchDB cannot be asked.
    pub stale: Duration,
    /// Whether `?validate_settings=false` may skip the credential check.
    pub allow_unvalidated: bool,
}

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest attachment in bytes; exactly this many are still allowed.
    pub attachment_bytes: u64,
    /// Largest document in bytes that is read to look for pointers.
    pub document_bytes: u64,
    /// Client connections at once.
    pub connections: usize,
    /// Requests at once, to the last byte of their answers.
    pub in_flight: usize,
    /// All chunks of all uploads together, in bytes.
    pub upload_buffer_bytes: u64,
    /// Largest request or answer head in bytes.
    pub header_bytes: usize,
}

/// `[timeouts]`: of silence, never of a whole transfer; `answer` is that of the gateway's own silence.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Those of connections to CouchDB and to storages; that of the TLS handshake and of silence also hold for clients.
    pub http: connect::Timeouts,
    /// For a client to send a request head.
    pub request_head: Duration,
    /// For the head of an answer that needs a storage, from the last byte of the request, whatever happens in between.
    pub answer: Duration,
    /// For running requests to end at shutdown.
    pub drain: Duration,
}

/// `[egress]`: which addresses a tenant's backend may have.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// `allow` and `deny`.
    pub policy: egress::Egress,
    /// PEM file with certificates that are trusted besides the system's.
    pub ca: Option<PathBuf>,
}

/// A token of the storage API.
#[derive(Debug, Clone)]
pub struct Token {
    /// The text, or `sha256:` and the hex digest of it.
    pub secret: Secret,
    /// The one account that it may reach; `None`: everything.
    pub account: Option<String>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Health, metrics and the storage API; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// Who may use `/v2`.
    pub tokens: Vec<Token>,
}

/// Which requests have an access line at level `info`; those of the others are at `debug`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Every request.
    All,
    /// Attachments, and whatever went wrong.
    Attachments,
    /// None.
    Off,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// How lines look.
    pub format: Format,
    /// The least important level that is written.
    pub level: tracing::Level,
    /// Whose access lines are written at level `info`.
    pub access: AccessLog,
}

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The OpenTelemetry collector that takes spans as OTLP over HTTP; `None` exports none.
    pub otlp: Option<url::Url>,
    /// The share of requests that are traced although no client traces them, from 0 to 1.
    pub sample: f64,
}
