//! The operator's configuration: a TOML file and `CALLSTORE__SECTION__KEY` variables, read once and validated whole.
//!
//! Every problem is reported with its key path. `config/callstore.toml` is the reference; a test keeps it equal to the defaults.

mod cluster;
mod sections;
mod sites;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stowage_base::log::Format;
use stowage_base::reader::{self, Problem, Section};
use stowage_base::secret::Secret;
use stowage_base::token::Token;
use stowage_http::connect;
use stowage_http::server::tls::Files;
use url::Url;

pub use self::cluster::{BrokerOptions, GroupOptions};
pub use self::sites::SiteOptions;
use crate::{dead, records};

/// Everything that an operator can set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which of the roles this process is; empty where there are no roles.
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
    /// `records.close_after`: from the end of a dialog to its record.
    pub close_after: Duration,
    /// `[dead]`
    pub dead: dead::Rules,
    /// `[orders]`: who is told of deaths and of recordings to be finished, over HTTP.
    pub webhook: Option<Url>,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[log]`
    pub log: (Format, tracing::Level),
    /// What is left of the file for parts that read their own sections.
    pub source: Source,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The text of the TOML file; empty where there is none.
    pub text: String,
    /// Environment variables; only those that begin with `CALLSTORE__` matter.
    pub environment: Vec<(String, String)>,
}

/// `[listen]`: events in, calls out.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain HTTP; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// HTTPS, where it is configured.
    pub tls: Option<(SocketAddr, Files)>,
    /// Who may use `/v1`; an empty list lets everybody on this machine, and only there.
    pub tokens: Vec<Token>,
}

/// Where entries are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    /// In a file of this instance.
    Embedded,
    /// In a RabbitMQ stream.
    Rabbitmq,
}

/// `[journal]`
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Where entries are kept.
    pub kind: JournalKind,
    /// The directory of its file.
    pub data: PathBuf,
    /// How long entries are kept after they were folded.
    pub keep: Duration,
    /// So many bytes of the disk stay free.
    pub reserve: u64,
}

/// `[state]`
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// The directory of its file.
    pub data: PathBuf,
    /// How long what is over can be asked for.
    pub keep: Duration,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CouchTarget {
    /// An `http` or `https` URL.
    Url(Url),
    /// The built-in store.
    Embedded,
    /// Nowhere: the call store only follows.
    Off,
}

/// `[couchdb]`
#[derive(Debug, Clone)]
pub struct Couchdb {
    /// Where records go.
    pub target: CouchTarget,
    /// Directory of the built-in store.
    pub data: PathBuf,
    /// The call store's account.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// Largest request head in bytes.
    pub header_bytes: usize,
    /// Largest event in bytes.
    pub event_bytes: usize,
    /// All events that wait for the journal together, in bytes.
    pub inlet_bytes: usize,
    /// Who looks on at once.
    pub watchers: usize,
}

/// `[timeouts]`
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Those of connections to CouchDB, and of clients.
    pub http: connect::Timeouts,
    /// For a client to send a request head.
    pub request_head: Duration,
    /// For requests that run to end at shutdown.
    pub drain: Duration,
}

/// Reads and validates the configuration.
///
/// # Errors
/// Every problem that was found, each with its key path.
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
        source: source.clone(),
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
    /// Whether who may ask is settled: by tokens, or by listening on this machine alone.
    fn is_open(&self) -> bool {
        let addresses = [self.listen.address, self.listen.tls.as_ref().map(|(address, _)| *address)];
        !self.listen.tokens.is_empty() || addresses.iter().flatten().all(|address| address.ip().is_loopback())
    }
}
