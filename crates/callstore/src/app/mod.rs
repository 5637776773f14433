//! Assembles a call store from its configuration, and shuts it down.

mod groups;
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stowage_base::console::complain;
use stowage_base::secret::Secret;
use stowage_base::signals::Program;
use stowage_base::tasks::Tasks;
use stowage_base::token::Tokens;
use stowage_couch::Couch;
use stowage_couch_embedded as embedded;
use stowage_http::body::BoxError;
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Reach};
use stowage_http::egress::Egress;
use stowage_http::server::tls::Certificates;
use stowage_http::server::{Bounds, Server, listen};
use stowage_http::target::Origin;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::act::Actor;
use crate::api::{Api, Inlet, Parts, Site, Watchers};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::cluster;
use crate::config::{Config, CouchTarget, JournalKind};
use crate::dead::Switches;
use crate::follow::{Follower, Progress};
use crate::journal::Journal;
use crate::lead::Leading;
use crate::metrics::Metrics;
use crate::orders::{Orders, Webhook};
use crate::records::Writer;
use crate::sites::Own;
use crate::state::State;
use groups::Groups;
use memory::Memory;

/// A running call store.
#[derive(Debug)]
pub struct App {
    /// The listener's address without TLS.
    pub address: Option<SocketAddr>,
    /// The listener's address with TLS.
    pub tls: Option<SocketAddr>,
    /// The address of the built-in store, if used.
    pub store: Option<SocketAddr>,
    /// The state.
    pub state: Arc<State>,
    /// How far the journal has been folded.
    pub progress: Progress,
    certificates: Option<Certificates>,
    background: Tasks,
    connections: Tasks,
    upstream: Tasks,
    stopping: CancellationToken,
    closing: CancellationToken,
    drain: Duration,
}

/// External dependencies that tests and the demo replace.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The clock.
    pub clock: Clock,
    /// Queries the switches.
    pub switches: Option<Arc<dyn Switches>>,
    /// Receives the notices of deaths.
    pub orders: Option<Arc<dyn Orders>>,
}

impl App {
    /// Opens journal and state, and starts serving.
    ///
    /// # Errors
    /// An address in use, unusable files, a damaged journal.
    pub async fn start(config: Config, world: World) -> Result<Self, BoxError> {
        let (stopping, closing) = (CancellationToken::new(), CancellationToken::new());
        let (background, connections, upstream) = (Tasks::default(), Tasks::default(), Tasks::default());
        let groups = groups::of_config(&config)?;
        if let Some(doubt) = &groups.doubt {
            tracing::warn!("{doubt}");
        }
        let broker = cluster::broker(&config, &background)?;
        let memory = Box::pin(Memory::open(&config, &groups, broker.as_ref(), &background)).await?;
        let state = Arc::clone(&memory.state);
        let metrics = Metrics::new(&groups.serves)?;
        let client = client(&config, &upstream)?;
        let (store, couch) = couch(&config, &client, &background, &closing).await?;
        let progress = Progress::new(state.index().offset);
        let group = cluster::group(&config, &state, &progress, &background)?;
        let leading = match group {
            Some(group) => Leading::of(group, &background),
            None if groups.acts => memory.alone(progress.clone(), &background),
            None => Leading::never(),
        };
        let clock = world.clock.clone();
        let parts = Shared { progress, leading, clock, config, memory, broker, metrics, groups };
        drop(background.spawn("fold of the journal", parts.follower().run(background.clone())));
        let actor = parts.actor(world, &client, couch.map(Writer::new))?;
        parts.sites(&actor, &background);
        if parts.groups.acts {
            drop(background.spawn("actor", actor.run(background.clone())));
        }
        drop(background.spawn("forgetting", memory::keep(parts.clone(), background.clone())));
        drop(background.spawn("end of the journal", memory::look(parts.clone(), background.clone())));
        let api = parts.api(&background, &stopping);
        let config = &parts.config;
        let server = Server::new(api, parts.metrics.clone(), bounds(config), connections.clone(), stopping.clone());
        let files = config.listen.tls.as_ref().map(|(_, files)| files);
        let certificates = files.map(Certificates::load).transpose()?;
        let plain = listen(config.listen.address, "listen.address").await?;
        let tls = listen(config.listen.tls.as_ref().map(|(address, _)| *address), "listen.tls.address").await?;
        let address = server.clone().start(&background, plain, None)?;
        let tls = server.start(&background, tls, certificates.clone())?;
        let (drain, state, progress) = (config.timeouts.drain, parts.memory.state, parts.progress);
        Ok(Self {
            address,
            tls,
            store,
            state,
            progress,
            certificates,
            background,
            connections,
            upstream,
            stopping,
            closing,
            drain,
        })
    }
}

impl Program for App {
    fn reload(&self) -> Result<(), BoxError> {
        self.certificates.as_ref().map_or(Ok(()), Certificates::reload)
    }

    /// Stops accepting requests, drains the running ones, then stops everything else.
    async fn stop(self) -> usize {
        self.stopping.cancel();
        let cut = self.connections.drain(self.drain).await;
        self.connections.stop();
        self.background.stop();
        self.closing.cancel();
        let left = self.background.drain(CLOSE_WITHIN).await;
        drop(self.upstream);
        cut + left
    }
}

/// The shared parts of a running call store; cheap to clone.
#[derive(Debug, Clone)]
struct Shared {
    config: Config,
    memory: Memory,
    broker: Option<Broker>,
    metrics: Metrics,
    progress: Progress,
    leading: Leading,
    clock: Clock,
    groups: Groups,
}

impl Shared {
    fn follower(&self) -> Follower {
        Follower {
            journal: Arc::clone(&self.memory.journal),
            state: Arc::clone(&self.memory.state),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            progress: self.progress.clone(),
        }
    }

    /// Follows the other sites, and finishes the calls of adopted ones.
    fn sites(&self, actor: &Actor, tasks: &Tasks) {
        for site in &self.memory.sites {
            let follower = Follower {
                journal: Arc::clone(&site.journal) as Arc<dyn Journal>,
                state: Arc::clone(&site.state),
                progress: Progress::new(site.state.index().offset),
                ..self.follower()
            };
            drop(tasks.spawn("fold of a site", follower.run(tasks.clone())));
            drop(tasks.spawn("link of a site", site.clone().look(self.own(), tasks.clone())));
            if self.groups.acts {
                let finishing = site.clone().finish(actor.clone(), self.own(), tasks.clone());
                drop(tasks.spawn("actor of a site", finishing));
            }
        }
    }

    fn own(&self) -> Own {
        Own {
            name: self.config.instance.as_str().into(),
            journal: Arc::clone(&self.memory.journal),
            state: Arc::clone(&self.memory.state),
            leading: self.leading.clone(),
            clock: self.clock.clone(),
        }
    }

    fn actor(&self, world: World, client: &Client, writer: Option<Writer>) -> Result<Actor, BoxError> {
        let webhook = self.config.webhook.as_ref().map(|url| Webhook::new(client, url)).transpose()?;
        let webhook = webhook.map(|webhook| Arc::new(webhook) as Arc<dyn Orders>);
        let orders = world.orders.or_else(|| cluster::orders(&self.config, self.broker.as_ref(), webhook));
        let sweeps = self.memory.sweeps(&self.config, self.broker.as_ref(), self.clock.clone());
        let switches = world.switches.or_else(|| sweeps.map(|sweeps| Arc::new(sweeps) as Arc<dyn Switches>));
        let mut records = self.config.records.clone();
        records.sorm3 &= self.groups.sorm3;
        Ok(Actor {
            name: self.config.instance.as_str().into(),
            site: None,
            journal: Arc::clone(&self.memory.journal),
            state: Arc::clone(&self.memory.state),
            progress: self.progress.clone(),
            leading: self.leading.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            switches,
            orders,
            writer,
            records: Arc::new(records),
            rules: self.config.dead.clone(),
            serves: self.groups.serves.clone(),
        })
    }

    fn api(&self, tasks: &Tasks, stopping: &CancellationToken) -> Api {
        let (config, limits) = (&self.config, &self.config.limits);
        let journal = Arc::clone(&self.memory.journal);
        let shown = |name: &str, state: &Arc<State>| Site { name: name.to_owned(), state: Arc::clone(state) };
        let others = &self.memory.sites;
        let all = others.iter().map(|site| shown(&site.name, &site.state));
        Api::new(Parts {
            tokens: Tokens::new(&config.listen.tokens),
            sites: std::iter::once(shown("", &self.memory.state)).chain(all).collect(),
            own: self.own(),
            others: others.clone(),
            inlet: Inlet::new(journal, self.metrics.clone(), limits.event_bytes, limits.inlet_bytes),
            progress: self.progress.clone(),
            groups: self.groups.shown.clone(),
            watchers: Watchers::new(limits.watchers),
            metrics: self.metrics.clone(),
            idle: config.timeouts.http.idle_body,
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        })
    }
}

/// Checks what can be checked without starting: the certificates, and the form of the journal. Prints what is sound and yet may be an oversight.
///
/// # Errors
/// Files that cannot be read, hold no certificate or key, or do not match; a journal that is not read any more. A line for each.
pub fn check(config: &Config) -> Result<(), BoxError> {
    if let Ok(groups) = groups::of_config(config)
        && let Some(doubt) = groups.doubt
    {
        complain(&doubt);
    }
    let journal = match config.journal.kind {
        JournalKind::Embedded => memory::refuse_older(config),
        JournalKind::Rabbitmq => Ok(()),
    };
    let listener = config.listen.tls.as_ref().map_or(Ok(()), |(_, files)| Certificates::load(files).map(drop));
    let checked = [cluster::check(config), journal, listener].into_iter();
    let problems: Vec<_> = checked.filter_map(Result::err).map(|error| stowage_base::log::chain(&*error)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

fn client(config: &Config, upstream: &Tasks) -> Result<Client, BoxError> {
    let connector = Connector::new(Egress::default(), config.timeouts.http.clone())?;
    Ok(Client::new(connector, upstream.clone(), config.limits.header_bytes))
}

/// Returns the CouchDB for records, after starting the built-in store if that is configured.
async fn couch(
    config: &Config,
    client: &Client,
    tasks: &Tasks,
    closing: &CancellationToken,
) -> Result<(Option<SocketAddr>, Option<Couch>), BoxError> {
    let mut account = (config.couchdb.username.clone(), config.couchdb.password.clone());
    let (store, url) = match &config.couchdb.target {
        CouchTarget::Off => return Ok((None, None)),
        CouchTarget::Url(url) => (None, url.clone()),
        CouchTarget::Embedded => {
            if account.0.is_empty() {
                account = ("admin".to_owned(), Secret::new(uuid::Uuid::new_v4().simple().to_string()));
            }
            let admin = (account.0.clone(), account.1.expose().to_owned());
            let options = embedded::Options { data: config.couchdb.data.clone(), admin, user: None };
            let store = embedded::Store::open(options)?;
            let (address, serving) = store.beside(closing.clone()).await?;
            drop(tasks.spawn("built-in store", serving));
            (Some(address), Url::parse(&format!("http://{address}/"))?)
        }
    };
    let origin = Origin::of(&url).ok_or("couchdb.url names no server")?;
    let server = client.server(origin, Reach::Operator);
    let couch = Couch::new(server, url.path(), Some((&account.0, &account.1)), client.patience(), DOCUMENT)?;
    Ok((store, Some(couch)))
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections: config.limits.connections,
        header_bytes: config.limits.header_bytes,
        request_head: config.timeouts.request_head,
        tls_handshake: config.timeouts.http.tls_handshake,
        idle_body: config.timeouts.http.idle_body,
    }
}

/// The timeout for background tasks to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// The maximum size of a document read back, in bytes.
const DOCUMENT: u64 = 8 << 20;
