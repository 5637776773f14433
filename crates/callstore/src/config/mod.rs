//! The operator's configuration: a TOML file and `CALLSTORE__SECTION__KEY` variables, read once and validated as a whole.
//!
//! Every problem is reported with its key path. `config/callstore.toml` is the reference; a test keeps it in sync with the defaults.

mod cluster;
mod sections;
mod sites;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stowage_base::log::Format;
use stowage_base::reader::{self, Problem, Section};
use stowage_base::secret::Secret;
pub use stowage_base::source::Source;
use stowage_base::token::Token;
use stowage_http::connect;
use stowage_http::server::tls::Files;
use url::Url;

pub use self::cluster::{BrokerOptions, GroupOptions, TlsOptions};
pub use self::sites::SiteOptions;
use crate::{dead, records};

/// All settings an operator can configure.
#[derive(Debug, Clone)]
pub struct Config {
    /// The role of this process; empty if there are no roles.
    pub instance: String,
    /// The JSON list of the site's roles.
    pub roles: Option<PathBuf>,
    /// `[listen]`
    pub listen: Listen,
    /// `[journal]`
    pub journal: JournalOptions,
    /// `[state]`
    pub state: StateOptions,
    /// `[broker]`
    pub broker: Option<Box<BrokerOptions>>,
    /// `[group]`
    pub group: Option<Box<GroupOptions>>,
    /// `[[sites]]`: other sites that serve the same domains.
    pub sites: Vec<SiteOptions>,
    /// `[couchdb]`
    pub couchdb: Couchdb,
    /// `[records]`
    pub records: records::Options,
    /// `records.close_after`: delay from the end of a dialog to its record.
    pub close_after: Duration,
    /// `[dead]`
    pub dead: dead::Rules,
    /// `[orders]`: URL notified of deaths and of recordings to be finalized.
    pub webhook: Option<Url>,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[log]`
    pub log: (Format, tracing::Level),
}

/// `[listen]`: the API's listeners.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain HTTP; `None` if disabled.
    pub address: Option<SocketAddr>,
    /// HTTPS, if configured.
    pub tls: Option<(SocketAddr, Files)>,
    /// The API tokens for `/v1`; if empty, anyone may use it, but the listener must be on loopback.
    pub tokens: Vec<Token>,
}

/// Backend of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    /// A file of this instance.
    Embedded,
    /// A RabbitMQ stream.
    Rabbitmq,
}

/// `[journal]`
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Where entries are stored.
    pub kind: JournalKind,
    /// The directory of the embedded journal.
    pub data: PathBuf,
    /// How long entries are kept after they were folded.
    pub keep: Duration,
    /// Disk space to keep free, in bytes.
    pub reserve: u64,
}

/// `[state]`
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// The directory of the state's file.
    pub data: PathBuf,
    /// How long ended calls remain available.
    pub keep: Duration,
}

/// Destination of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CouchTarget {
    /// An `http` or `https` URL.
    Url(Url),
    /// The built-in store.
    Embedded,
    /// No destination: the call store only follows calls.
    Off,
}

/// `[couchdb]`
#[derive(Debug, Clone)]
pub struct Couchdb {
    /// Destination of records.
    pub target: CouchTarget,
    /// Directory of the built-in store.
    pub data: PathBuf,
    /// The call store's user name.
    pub username: String,
    /// The password of that user.
    pub password: Secret,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of concurrent client connections.
    pub connections: usize,
    /// Maximum size of a request head in bytes.
    pub header_bytes: usize,
    /// Maximum size of an event in bytes.
    pub event_bytes: usize,
    /// Maximum size in bytes of all events waiting for the journal.
    pub inlet_bytes: usize,
    /// Maximum number of concurrent subscribers.
    pub watchers: usize,
}

/// `[timeouts]`
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Timeouts of connections to CouchDB and from clients.
    pub http: connect::Timeouts,
    /// For receiving a request head.
    pub request_head: Duration,
    /// For requests in progress at shutdown.
    pub drain: Duration,
}

/// Reads and validates the configuration.
///
/// # Errors
/// All problems found, each with its key path.
pub fn load(source: &Source) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let table = reader::table(&source.text, &source.environment, "CALLSTORE__", &mut problems)?;
    let mut root = Section::root(table, &mut problems);
    let roles = root.text("roles", "");
    let records = sections::records(root.section("records"));
    let config = Config {
        instance: root.text("instance", ""),
        roles: (!roles.is_empty()).then(|| PathBuf::from(roles)),
        listen: sections::listen(root.section("listen")),
        journal: sections::journal(root.section("journal")),
        state: sections::state(root.section("state")),
        broker: cluster::broker(root.section("broker")),
        group: cluster::group(root.section("group")),
        sites: sites::sites(&mut root),
        couchdb: sections::couchdb(root.section("couchdb")),
        records: records.0,
        close_after: records.1,
        dead: sections::dead(root.section("dead")),
        webhook: sections::orders(root.section("orders")),
        limits: sections::limits(root.section("limits")),
        timeouts: sections::timeouts(root.section("timeouts")),
        log: sections::log(root.section("log")),
    };
    if config.roles.is_some() && config.instance.is_empty() {
        root.problem("instance", "is required where roles names a list: which of them is this?");
    }
    for (key, message) in cluster::problems(&config) {
        root.problem(key, message);
    }
    if !config.is_open() {
        root.problem("listen.tokens", "must not be empty where the listener is not on loopback");
    }
    root.finish();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

impl Config {
    /// Whether access is restricted: by tokens, or by listening on loopback only.
    fn is_open(&self) -> bool {
        let addresses = [self.listen.address, self.listen.tls.as_ref().map(|(address, _)| *address)];
        !self.listen.tokens.is_empty() || addresses.iter().flatten().all(|address| address.ip().is_loopback())
    }
}
