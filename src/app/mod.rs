//! Wiring: starts a gateway from its configuration, and stops it.

mod account;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stowage_base::log::chain;
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_base::trace::Tracer;
use stowage_couch::Couch;
use stowage_couch_embedded::{Options, Store};
use stowage_http::body::BoxError;
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Reach};
use stowage_http::server::tls::Certificates;
use stowage_http::server::{Bounds, Server, listen};
use stowage_http::target::Origin;
use stowage_http::trust::certificates;
use stowage_storage::{Breakers, Budget, Context, DRIVERS, OAuth, Registry, sweep_files};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::admin::Admin;
use crate::admin::api::Api;
use crate::admin::status::Standing;
use crate::config::{Config, CouchTarget};
use crate::export::Exporter;
use crate::gateway::Gateway;
use crate::jobs::Jobs;
use crate::locks::Locks;
use crate::metrics::Metrics;
use crate::middleware::{Admission, stack};
use crate::plan::Plans;
use crate::record::Records;
use crate::upstream::{AuthDatabase, Connections, Homes};
use crate::worker;

/// A running gateway.
#[derive(Debug)]
pub struct App {
    /// The address of the plain HTTP listener.
    pub proxy: Option<SocketAddr>,
    /// The address of the HTTPS listener.
    pub proxy_tls: Option<SocketAddr>,
    /// The address of the admin listener: health, metrics and the storage API.
    pub admin: Option<SocketAddr>,
    /// The address of the built-in store, if one is running.
    pub store: Option<SocketAddr>,
    /// The state that all requests share.
    pub gateway: Arc<Gateway>,
    /// Counts the requests in flight.
    pub admission: Admission,
    /// The client connections, tracked apart from the background tasks that have to finish.
    pub connections: Tasks,
    /// Whether any admin token is configured: without one, the storage API refuses every request.
    pub has_tokens: bool,
    certificates: Option<Certificates>,
    background: Tasks,
    /// The connections to CouchDB and to storages.
    pub upstream: Tasks,
    stopping: CancellationToken,
    closing: CancellationToken,
    drain: Duration,
}

impl App {
    /// Opens the listeners and starts serving.
    ///
    /// # Errors
    /// Returns an error if an address is taken, a certificate cannot be read or the data directory cannot be used.
    pub async fn start(config: Config) -> Result<Self, BoxError> {
        let (stopping, closing) = (CancellationToken::new(), CancellationToken::new());
        let (background, upstream, connections) = (Tasks::default(), Tasks::default(), Tasks::default());
        let (store, url, account) = local_connection(&config, &background, &closing).await?;
        let client = client(&config, &upstream)?;
        let gateway = Arc::new(gateway(&config, &client, &url, &account, &stopping)?);
        drop(background.spawn("changes feed of the plans", gateway.plans.clone().follow(background.clone())));
        drop(background.spawn("connections of the plans", gateway.homes.clone().follow(background.clone())));
        if config.jobs.concurrency > 0 && !account.0.is_empty() {
            drop(background.spawn("jobs", worker::run(Arc::clone(&gateway), background.clone())));
        }
        sweep_root(&config).await?;
        let admission = Admission::new(config.limits.in_flight);
        let tracer = tracer(&config, &client, &gateway.metrics, &background)?;
        let stack = stack(Arc::clone(&gateway), admission.clone(), config.log.access, tracer);
        let bounds = bounds(&config);
        let server = Server::new(stack, gateway.metrics.clone(), bounds, connections.clone(), stopping.clone());
        let server = server.trusting(&config.listen.trusted_proxies);
        let certificates = config.listen.tls.as_ref().map(|tls| Certificates::load(&tls.files)).transpose()?;
        let proxy = listen(config.listen.address, "listen.address").await?;
        let proxy_tls = listen(config.listen.tls.as_ref().map(|tls| tls.address), "listen.tls.address").await?;
        let admin = listen(config.admin.address, "admin.address").await?;
        let mut app = Self {
            proxy: None,
            proxy_tls: None,
            admin: None,
            store,
            gateway,
            admission,
            connections,
            has_tokens: !config.admin.tokens.is_empty(),
            certificates,
            background,
            upstream,
            stopping,
            closing,
            drain: config.timeouts.drain,
        };
        app.proxy = server.clone().start(&app.background, proxy, None)?;
        app.proxy_tls = server.start(&app.background, proxy_tls, app.certificates.clone())?;
        app.admin = app.serve_admin(admin, &config)?;
        Ok(app)
    }

    fn serve_admin(&self, listener: Option<TcpListener>, config: &Config) -> Result<Option<SocketAddr>, BoxError> {
        let Some(listener) = listener else { return Ok(None) };
        let address = listener.local_addr()?;
        let api = Api::new(Arc::clone(&self.gateway), config, self.stopping.clone())?;
        let standing = self.standing(config, address);
        let admin = Admin::new(Arc::clone(&self.gateway), api, standing, self.admission.clone(), self.stopping.clone());
        let serving = admin.accept(listener, self.background.clone(), self.closing.clone());
        drop(self.background.spawn("admin listener", serving));
        Ok(Some(address))
    }

    fn standing(&self, config: &Config, admin: SocketAddr) -> Standing {
        let upstream = match &config.couchdb.target {
            CouchTarget::Url(url) => {
                Origin::of(url).map(|origin| format!("{origin}{}", url.path())).unwrap_or_default()
            }
            CouchTarget::Embedded => "the built-in store".to_owned(),
        };
        let listeners =
            [("proxy", "http", self.proxy), ("proxy", "https", self.proxy_tls), ("admin", "http", Some(admin))];
        let open = listeners.into_iter().filter_map(|(name, scheme, address)| Some((name, scheme, address?)));
        let listeners = open.map(|(name, scheme, address)| (name, format!("{scheme}://{address}"))).collect();
        Standing { listeners, upstream, storage_api: self.has_tokens, began: std::time::Instant::now() }
    }

    /// Reloads the certificates.
    ///
    /// # Errors
    /// Returns an error if the files cannot be used; the certificates in use stay in place.
    pub fn reload(&self) -> Result<(), BoxError> {
        self.certificates.as_ref().map_or(Ok(()), Certificates::reload)
    }

    /// Stops accepting requests, drains those in flight, then stops everything else. Returns the number of connections and tasks cut off.
    pub async fn stop(self) -> usize {
        let began = tokio::time::Instant::now();
        self.stopping.cancel();
        let cut = self.connections.drain(self.drain).await;
        self.connections.stop();
        self.gateway.tasks.stop();
        // One period for both, so that a stop has an end that a service manager can be told.
        let left = self.drain.saturating_sub(began.elapsed()).max(LAST_STEPS);
        let lost = self.gateway.tasks.drain(left).await;
        if lost > 0 {
            tracing::error!(tasks = lost, "commits or removals did not end in time");
        }
        self.background.stop();
        self.closing.cancel();
        self.background.drain(CLOSE_WITHIN).await;
        drop(self.gateway);
        drop(self.upstream);
        cut + lost
    }
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

/// Removes the half-written files that a crash leaves in `file` storages; only the gateway writes files with such names. A missing root is created
/// now or never: later, its file system may just not be mounted.
async fn sweep_root(config: &Config) -> Result<(), BoxError> {
    let Some(root) = config.storage.file_root.clone() else { return Ok(()) };
    let shown = root.display().to_string();
    if !tokio::fs::try_exists(&root).await.unwrap_or(true) {
        match tokio::fs::create_dir(&root).await {
            Ok(()) => {
                tracing::warn!(root = %shown, "storage.file_root was missing and is new: no file system is mounted there")
            }
            Err(error) => {
                tracing::warn!(root = %shown, %error, "storage.file_root is missing: `file` storages cannot be used")
            }
        }
    }
    match tokio::task::spawn_blocking(move || sweep_files(&root)).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("storage.file_root: {shown} cannot be used: {error}").into()),
    }
}

/// Returns the address and account of the `local` CouchDB, after starting the built-in store if that is the configured target.
async fn local_connection(
    config: &Config,
    tasks: &Tasks,
    closing: &CancellationToken,
) -> Result<(Option<SocketAddr>, Url, (String, Secret)), BoxError> {
    let account = (config.couchdb.username.clone(), config.couchdb.password.clone());
    match &config.couchdb.target {
        CouchTarget::Url(url) => Ok((None, url.clone(), account)),
        CouchTarget::Embedded => {
            let account = if account.0.is_empty() { account::store_account(&config.couchdb.data)? } else { account };
            let admin = (account.0.clone(), account.1.expose().to_owned());
            let store = Store::open(Options { data: config.couchdb.data.clone(), admin, user: None })?;
            let (address, serving) = store.beside(closing.clone()).await?;
            drop(tasks.spawn("built-in store", serving));
            Ok((Some(address), Url::parse(&format!("http://{address}/"))?, account))
        }
    }
}

/// Starts exporting spans if a collector is configured.
fn tracer(config: &Config, client: &Client, metrics: &Metrics, tasks: &Tasks) -> Result<Tracer, BoxError> {
    let Some(url) = &config.telemetry.otlp else { return Ok(Tracer::default()) };
    let (tracer, spans) = Tracer::new(config.telemetry.sample, metrics.dropped_spans());
    let exporter = Exporter::new(client, url, spans, metrics.clone())?;
    drop(tasks.spawn("export of spans", exporter.run(tasks.clone())));
    Ok(tracer)
}

/// Builds a gateway without listeners, for commands. It does not start the built-in store.
///
/// # Errors
/// Returns an error if the configuration cannot be used.
pub fn gateway_of(config: &Config) -> Result<Gateway, BoxError> {
    let CouchTarget::Url(url) = &config.couchdb.target else {
        return Err("couchdb.url names the built-in store, which only a running gateway has".into());
    };
    let client = client(config, &Tasks::default())?;
    let account = (config.couchdb.username.clone(), config.couchdb.password.clone());
    gateway(config, &client, url, &account, &CancellationToken::new())
}

/// Checks what can be checked without starting: the certificates.
///
/// # Errors
/// Files that cannot be read, hold no certificate or key, or do not match. A line for each, with its key.
pub fn check(config: &Config) -> Result<(), BoxError> {
    let named = client(config, &Tasks::default()).map(drop);
    let listener = config.listen.tls.as_ref().map_or(Ok(()), |tls| Certificates::load(&tls.files).map(drop));
    let problems = [named, listener].into_iter().filter_map(Result::err).map(|error| chain(&*error));
    let problems: Vec<_> = problems.collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

fn client(config: &Config, upstream: &Tasks) -> Result<Client, BoxError> {
    let failed = |error: BoxError| format!("egress.ca: {error}");
    let named = config.egress.ca.as_deref().map(certificates).transpose().map_err(failed)?.unwrap_or_default();
    let connector =
        Connector::with_named(named, config.egress.policy.clone(), config.timeouts.http.clone()).map_err(failed)?;
    Ok(Client::new(connector, upstream.clone(), config.limits.header_bytes))
}

fn gateway(
    config: &Config,
    client: &Client,
    url: &Url,
    account: &(String, Secret),
    stopping: &CancellationToken,
) -> Result<Gateway, BoxError> {
    let origin = Origin::of(url).ok_or("couchdb.url names no server")?;
    let server = client.server(origin, Reach::Operator);
    let account = (account.0.as_str(), &account.1);
    let document_bytes = config.limits.document_bytes;
    let couch = Couch::new(server, url.path(), Some(account), client.patience(), document_bytes)?;
    let (metrics, tasks) = (Metrics::new(&config.limits)?, Tasks::default());
    DRIVERS.iter().for_each(|driver| metrics.knows_backend(driver.handler));
    let budget = Budget::new(config.limits.waited_for_bytes());
    let spare = Budget::new(config.limits.spare_bytes());
    let auth_database = AuthDatabase::new(couch.clone(), &config.plans.auth_database);
    let context = Context {
        client: client.clone(),
        tasks: tasks.clone(),
        budget: budget.clone(),
        options: Arc::new(config.storage.clone()),
        oauth: OAuth::new(Arc::new(auth_database), client.clone(), tasks.clone()),
    };
    let breakers = Breakers { failures: config.fallback.failures, in_flight: config.limits.storage_in_flight };
    let plans = Plans::new(couch.clone(), config.plans.clone(), metrics.clone(), tasks.clone());
    let connections = Connections::new(client.clone(), document_bytes, config.couchdb.connection_credentials);
    let (timeouts, local) = (config.timeouts.clone(), couch.clone());
    let homes = Homes::new(local, connections, plans.clone(), timeouts, stopping.clone());
    Ok(Gateway {
        records: Records::new(homes.clone(), tasks.clone()),
        homes,
        present_stubs: config.couchdb.present_stubs.clone(),
        plans,
        jobs: Jobs::new(couch.clone(), config.jobs.clone(), tasks.clone()),
        couch,
        storages: Registry::new(context, breakers, spare.clone()),
        egress: config.egress.policy.clone(),
        budget,
        spare,
        fallback: config.fallback,
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        metrics,
        tasks,
        locks: Locks::default(),
    })
}

/// How long commits, removals and runs may at least take to finish at shutdown: those of a request that was cut off begin at its end.
const LAST_STEPS: Duration = Duration::from_secs(15);
/// How long background tasks may take to finish at shutdown.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
