//! `[broker]` and `[group]`: resources shared by several instances.

use std::path::PathBuf;
use std::time::Duration;

use stowage_base::reader::Section;
use stowage_base::secret::Secret;
use stowage_http::target::Origin;
use toml::Value;
use url::Url;

use super::Config;
use crate::broker::{self, node};
use crate::journal::rabbitmq;

/// Certificates of connections to a broker or to etcd.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Certificate authorities trusted in addition to the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate and key, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// `[broker]`: the RabbitMQ that KAZOO uses.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// How to reach it; `name` is filled in later.
    pub broker: broker::Config,
    /// Certificates of its connections.
    pub tls: TlsOptions,
    /// The journal's stream.
    pub stream: rabbitmq::Config,
    /// How long to wait for the trackers' responses; `None` if they are not queried.
    pub answers: Option<Duration>,
    /// Whether deaths and orders are published.
    pub publish: bool,
}

/// `[group]`: the etcd that decides which instance acts.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The members of the etcd cluster.
    pub etcd: Vec<Origin>,
    /// User name and password.
    pub account: Option<(String, Secret)>,
    /// Certificates of its connections.
    pub tls: TlsOptions,
    /// Prefix of all keys.
    pub prefix: String,
    /// How long a leader that is gone still counts as the leader.
    pub lease: Duration,
    /// How long a member waits per member ahead of it.
    pub stagger: Duration,
    /// How long a member of smaller order has to be ready for the active role to return to it; `None` if the role stays where it is.
    pub fail_back: Option<Duration>,
}

pub(super) fn broker(mut section: Section<'_>) -> Option<Box<BrokerOptions>> {
    let (broker, tls) = connection(&mut section);
    let options = BrokerOptions {
        broker,
        tls,
        stream: rabbitmq::Config {
            stream: section.text("stream", "callstore"),
            max_age: section.duration("max_age", Duration::from_secs(7 * 86_400)),
            max_bytes: section.has("max_bytes").then(|| section.bytes("max_bytes", 1)),
            segment_bytes: section.has("segment_bytes").then(|| section.bytes("segment_bytes", 1)),
        },
        answers: {
            let time = section.duration("answers", Duration::from_secs(2));
            section.flag("sweep", true).then_some(time)
        },
        publish: section.flag("publish", true),
    };
    section.finish();
    (!options.broker.nodes.is_empty()).then(|| Box::new(options))
}

/// Reads a broker's connection settings and certificates.
pub(super) fn connection(section: &mut Section<'_>) -> (broker::Config, TlsOptions) {
    let tls = tls(section);
    let config = broker::Config {
        nodes: addresses(section, "urls", node),
        vhost: section.text("vhost", "/"),
        username: section.text("username", "guest"),
        password: section.secret("password"),
        heartbeat: section.duration("heartbeat", Duration::from_secs(10)),
        patience: section.duration("timeout", Duration::from_secs(10)),
        name: String::new(),
    };
    (config, tls)
}

fn tls(section: &mut Section<'_>) -> TlsOptions {
    let [ca, certificate, key] = ["ca", "certificate", "key"].map(|name| {
        let path = PathBuf::from(section.text(name, ""));
        if path.as_os_str().is_empty() {
            return None;
        }
        if !path.is_file() {
            section.problem(name, format!("there is no file {}", path.display()));
        }
        Some(path)
    });
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "key" } else { "certificate" };
        section.problem(missing, "is missing: certificate and key belong together");
    }
    TlsOptions { ca, own: certificate.zip(key) }
}

pub(super) fn group(mut section: Section<'_>) -> Option<Box<GroupOptions>> {
    let etcd = addresses(&mut section, "etcd", etcd);
    let (username, password) = (section.text("username", ""), section.secret("password"));
    let tls = tls(&mut section);
    let fail_back = section.has("fail_back").then(|| section.duration("fail_back", Duration::from_secs(60)));
    let options = GroupOptions {
        etcd,
        account: (!username.is_empty()).then_some((username, password)),
        tls,
        prefix: section.text("prefix", "/callstore"),
        lease: section.duration("lease", Duration::from_secs(5)),
        stagger: section.duration("stagger", Duration::from_millis(500)),
        fail_back,
    };
    if options.lease < Duration::from_secs(2) {
        section.problem("lease", "must be at least \"2s\": etcd counts in seconds");
    }
    section.finish();
    (!options.etcd.is_empty()).then(|| Box::new(options))
}

/// Checks the sections against each other; returns each key with its problem.
pub(super) fn problems(config: &Config) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    let is_shared = config.journal.kind == super::JournalKind::Rabbitmq;
    if is_shared && config.broker.is_none() {
        found.push(("broker.urls", "must name the RabbitMQ where journal.kind is \"rabbitmq\""));
    }
    if config.group.is_some() && !is_shared {
        found.push(("journal.kind", "must be \"rabbitmq\" where there is a group: its members read one journal"));
    }
    if config.group.is_some() && config.roles.is_none() {
        found
            .push(("roles", "must name the list of roles where there is a group: it has the group's number and order"));
    }
    found
}

fn addresses(section: &mut Section<'_>, key: &str, read: fn(&str) -> Result<Origin, String>) -> Vec<Origin> {
    let mut found = Vec::new();
    for value in section.list(key) {
        match value {
            Value::String(text) => match read(&text) {
                Ok(origin) => found.push(origin),
                Err(message) => section.problem(key, message),
            },
            _ => section.problem(key, "must be a list of texts"),
        }
    }
    found
}

fn etcd(text: &str) -> Result<Origin, String> {
    let must = "must be addresses such as http://127.0.0.1:2379, without a password or a path".to_owned();
    let Ok(url) = Url::parse(text) else { return Err(must) };
    let is_bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    Origin::of(&url).filter(|_| is_bare).ok_or(must)
}
