//! Resources shared by several instances, built from the configuration: the broker, its journal, and the group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;
use stowage_http::client::Client;
use stowage_http::connect::Connector;
use stowage_http::egress::Egress;
use stowage_http::identity::Identity;
use stowage_http::trust;

use crate::broker::{Broker, Notices};
use crate::config::{Config, SiteOptions, TlsOptions};
use crate::follow::Progress;
use crate::group::{self, Group};
use crate::journal::rabbitmq::{self, StreamJournal};
use crate::orders::Orders;
use crate::state::State;

/// Creates the broker, if one is configured.
///
/// # Errors
/// If a certificate file cannot be used.
pub fn broker(config: &Config, tasks: &Tasks) -> Result<Option<Broker>, BoxError> {
    let Some(options) = &config.broker else { return Ok(None) };
    let mut broker = options.broker.clone();
    broker.name = if config.instance.is_empty() { "callstore".to_owned() } else { config.instance.clone() };
    Ok(Some(Broker::new(broker, connector(config, &options.tls)?, tasks.clone())))
}

/// Creates the journal backed by the broker's stream.
///
/// # Errors
/// If there is no broker.
pub fn journal(config: &Config, broker: Option<&Broker>, tasks: &Tasks) -> Result<StreamJournal, BoxError> {
    let (Some(options), Some(broker)) = (&config.broker, broker) else {
        return Err("broker.urls names no broker".into());
    };
    Ok(StreamJournal::new(broker.clone(), options.stream.clone(), tasks.clone()))
}

/// Creates the journal of another site.
///
/// # Errors
/// If a certificate file cannot be used.
pub fn journal_of_another(config: &Config, options: &SiteOptions, tasks: &Tasks) -> Result<StreamJournal, BoxError> {
    let mut broker = options.broker.clone();
    broker.name = if config.instance.is_empty() { "callstore".to_owned() } else { config.instance.clone() };
    let broker = Broker::new(broker, connector(config, &options.tls)?, tasks.clone());
    let (stream, max_age) = (options.stream.clone(), Duration::ZERO);
    let stream = rabbitmq::Config { stream, max_age, max_bytes: None, segment_bytes: None };
    Ok(StreamJournal::of_another_site(broker, stream, tasks.clone()))
}

/// Returns the receivers of notices: the webhook, the broker's exchange, or both.
#[must_use]
pub fn orders(config: &Config, broker: Option<&Broker>, webhook: Option<Arc<dyn Orders>>) -> Option<Arc<dyn Orders>> {
    let publishes = config.broker.as_ref().is_some_and(|options| options.publish);
    let notices = broker.filter(|_| publishes).map(|broker| Arc::new(Notices::new(broker.clone())) as Arc<dyn Orders>);
    match (webhook, notices) {
        (Some(webhook), Some(notices)) => Some(Arc::new(Both([webhook, notices]))),
        (one, other) => one.or(other),
    }
}

/// Notifies both; if one fails, both are notified again.
#[derive(Debug)]
struct Both([Arc<dyn Orders>; 2]);

#[async_trait]
impl Orders for Both {
    async fn send(&self, key: &str, message: Bytes) -> Result<(), BoxError> {
        for orders in &self.0 {
            orders.send(key, message.clone()).await?;
        }
        Ok(())
    }
}

/// Joins the instance's group, in which etcd decides who acts. It is a candidate once it has caught up with the journal, unless its role has
/// `cdr_enabled` off.
///
/// # Errors
/// If the role has no place in a group, or a certificate file cannot be used.
pub fn group(
    config: &Config,
    state: &Arc<State>,
    progress: &Progress,
    tasks: &Tasks,
) -> Result<Option<Group>, BoxError> {
    let (Some(options), Some(roles)) = (&config.group, &config.roles) else { return Ok(None) };
    let roles = crate::roles::read_file(roles, &config.instance).map_err(|_| "the list of roles is not sound")?;
    let own = roles.get(&config.instance).ok_or("instance is not in the list")?;
    let before = |role: &&crate::roles::Role| role.group == own.group && role.order < own.order;
    let part = group::Config {
        etcd: group::Endpoints { nodes: options.etcd.clone(), account: options.account.clone() },
        prefix: options.prefix.clone(),
        group: own.group,
        instance: own.name.clone(),
        order: u32::try_from(own.order).map_err(|_| "a role's order must not be below 0 where there is a group")?,
        rank: u32::try_from(roles.all().iter().filter(before).count())?,
        stagger: options.stagger,
        lease: options.lease,
        fail_back: options.fail_back,
    };
    let client = Client::new(connector(config, &options.tls)?, tasks.clone(), config.limits.header_bytes);
    let group = Group::join(part, &client, tasks);
    // An instance without records must not become active, because its group would get none. It only learns which instance is active.
    if own.cdr_enabled {
        drop(tasks.spawn("epochs", stand(group.clone(), Arc::clone(state), progress.clone(), tasks.clone())));
    }
    Ok(Some(group))
}

/// Tells the group which epochs exist, and when this instance is able to act.
async fn stand(group: Group, state: Arc<State>, progress: Progress, tasks: Tasks) {
    let watching = async {
        progress.until_ready().await;
        loop {
            group.saw(state.index().epoch);
            group.set_ready(true);
            tokio::time::sleep(EPOCHS).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = tasks.stopping() => {}
    }
}

/// Checks what can be checked without connecting: the certificates.
///
/// # Errors
/// The section, and what is wrong with its files.
pub fn check(config: &Config) -> Result<(), BoxError> {
    let broker = config.broker.iter().map(|options| ("broker".to_owned(), &options.tls));
    let group = config.group.iter().map(|options| ("group".to_owned(), &options.tls));
    let sites = config.sites.iter().enumerate().map(|(place, options)| (format!("sites[{place}]"), &options.tls));
    for (section, tls) in broker.chain(group).chain(sites) {
        connector(config, tls).map_err(|error| format!("{section}: {error}"))?;
    }
    Ok(())
}

fn connector(config: &Config, tls: &TlsOptions) -> Result<Connector, BoxError> {
    let named = tls.ca.as_deref().map(trust::certificates).transpose()?.unwrap_or_default();
    let connector = Connector::with_named(named, Egress::default(), config.timeouts.http.clone())?;
    let Some((certificate, key)) = &tls.own else { return Ok(connector) };
    Ok(connector.showing(Arc::new(Identity::load(certificate, key)?)))
}

/// Polling interval for the epochs of folded decisions.
const EPOCHS: Duration = Duration::from_millis(500);
