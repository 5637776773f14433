//! Connections to a broker or to a node of a cluster.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use stowage_base::log::chain;
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_http::connect::{Connector, Reach};
use stowage_http::target::Origin;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::{BrokerError, Kind};
use super::transport::{Kit, Wire};

/// How to reach a broker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The nodes of one cluster, at least one, tried in this order. `tls` selects AMQP over TLS.
    pub nodes: Vec<Origin>,
    /// The virtual host; `/` by default.
    pub vhost: String,
    /// The user name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// The heartbeat interval; a peer that was silent for twice as long is considered gone. Whole seconds, at least one.
    pub heartbeat: Duration,
    /// Timeout of one response: a connection, a declaration, a publisher confirm.
    pub patience: Duration,
    /// The connection name shown by the broker.
    pub name: String,
}

/// Parses an `amqp://` or `amqps://` URL of host and port.
///
/// # Errors
/// A human-readable description of the problem.
pub fn node(url: &str) -> Result<Origin, String> {
    let must = || "must be an address such as amqp://127.0.0.1:5672 or amqps://rabbit.example.com".to_owned();
    let url = url::Url::parse(url).map_err(|_| must())?;
    let (tls, port) = match url.scheme() {
        "amqp" => (false, 5672),
        "amqps" => (true, 5671),
        _ => return Err(must()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a password in it: there are keys for that".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the port: the virtual host has a key of its own".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(must)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Origin { tls, host, port: url.port().unwrap_or(port) })
}

/// Opens connections to a broker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    connector: Connector,
    kit: Kit,
    /// The node to try first for the next connection.
    next: AtomicUsize,
}

impl Broker {
    /// Must be called within the runtime; the connections' tasks are tracked in `tasks`.
    #[must_use]
    pub fn new(config: Config, connector: Connector, tasks: Tasks) -> Self {
        Self(Arc::new(Shared { config, connector, kit: Kit::new(tasks), next: AtomicUsize::new(0) }))
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Connects to the first node that accepts.
    ///
    /// # Errors
    /// The last node's error, if all nodes fail.
    pub async fn open(&self) -> Result<Link, BrokerError> {
        let first = self.0.next.load(Ordering::Relaxed);
        let nodes = &self.0.config.nodes;
        let mut last = BrokerError::from(Kind::Unreachable);
        for turn in 0..nodes.len() {
            let index = first.wrapping_add(turn) % nodes.len();
            let Some(node) = nodes.get(index) else { continue };
            match self.connect(node).await {
                Ok(link) => {
                    self.0.next.store(index, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(error) => {
                    let reason = format!("{}:{}: {}", node.host, node.port, chain(&error));
                    last = BrokerError::because(error.kind, reason);
                }
            }
        }
        Err(last)
    }

    /// Makes the next connection start with another node: a node without a replica of a stream cannot serve it.
    pub(crate) fn avoid_this_node(&self) {
        self.0.next.fetch_add(1, Ordering::Relaxed);
    }

    async fn connect(&self, node: &Origin) -> Result<Link, BrokerError> {
        let config = &self.0.config;
        let given_up = CancellationToken::new();
        // Dropped on every exit path, it ends the client's thread.
        let guard = given_up.clone().drop_guard();
        let socket = within(config.patience, async {
            let opened = self.0.connector.connect(node, Reach::Operator).await;
            opened.map_err(|error| BrokerError::because(Kind::Unreachable, error))
        });
        let wire = Wire::new(socket.await?, given_up);
        let once = std::sync::Mutex::new(Some(wire));
        let connect = async move |_: AMQPUri, _: async_rs::Runtime<Kit>| {
            let wire = once.lock().ok().and_then(|mut wire| wire.take());
            let gone = || lapin::Error::from(lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed));
            wire.map(AsyncTcpStream::Plain).ok_or_else(gone)
        };
        let properties = ConnectionProperties::default().with_connection_name(config.name.as_str().into());
        let kit = async_rs::Runtime::new(self.0.kit.clone());
        let opening = Connection::connector(self.uri(node), kit, connect, properties);
        let connection = within(config.patience, async { Ok(opening.await?) }).await?;
        Ok(Link { connection, patience: config.patience, _given_up: guard })
    }

    fn uri(&self, node: &Origin) -> AMQPUri {
        let Config { vhost, username, password, heartbeat, .. } = self.config();
        AMQPUri {
            // TLS is handled below the client, so it must not start its own.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: username.clone(), password: password.expose().to_owned() },
                host: node.host.clone(),
                port: node.port,
            },
            vhost: vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(u16::try_from(heartbeat.as_secs().max(1)).unwrap_or(u16::MAX)),
                ..AMQPQueryString::default()
            },
        }
    }
}

/// A connection; dropping it closes it immediately.
pub struct Link {
    connection: Connection,
    patience: Duration,
    _given_up: DropGuard,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Opens a channel.
    ///
    /// # Errors
    /// If the connection is broken, or the broker's channel limit is reached.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        self.asks(self.connection.create_channel()).await
    }

    /// Awaits a response of the broker, within the timeout.
    pub(crate) async fn asks<T>(
        &self,
        question: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<T, BrokerError> {
        within(self.patience, async { Ok(question.await?) }).await
    }

    /// Returns whether the connection is up, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Returns whether the broker is blocking publishers, for lack of disk or memory.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Returns the timeout of one response.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Closes a channel. If that fails, the connection fails too, and its next user gets the error.
    pub(crate) async fn shut(&self, channel: &Channel) {
        drop(self.asks(channel.close(GOODBYE, "done".into())).await);
    }

    /// Closes the connection in an orderly way, which avoids a warning in the broker's log.
    pub async fn close(self) {
        drop(self.asks(self.connection.close(GOODBYE, "closed".into())).await);
    }
}

/// Awaits `future` within a timeout.
pub(crate) async fn within<T>(
    patience: Duration,
    future: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let late = |_| Err(BrokerError::because(Kind::Silent, format!("nothing came within {patience:?}")));
    tokio::time::timeout(patience, future).await.unwrap_or_else(late)
}

/// Converts a name to an AMQP short string: at most 255 bytes.
///
/// # Errors
/// If it is longer.
pub(crate) fn short(name: &str) -> Result<lapin::types::ShortString, BrokerError> {
    lapin::types::ShortString::try_new(name).map_err(|error| BrokerError::because(Kind::Mismatch, error.to_string()))
}

/// AMQP 0.9.1: reply code of an orderly close.
const GOODBYE: u16 = 200;

#[cfg(test)]
mod tests {
    use super::node;

    #[test]
    fn addresses_are_host_and_port() {
        let plain = node("amqp://rabbit.example.com").unwrap();
        assert_eq!((plain.tls, plain.host.as_str(), plain.port), (false, "rabbit.example.com", 5672));
        let tls = node("amqps://[::1]:5999/").unwrap();
        assert_eq!((tls.tls, tls.host.as_str(), tls.port), (true, "::1", 5999));
        for wrong in ["rabbit:5672", "http://h", "amqp://u:p@h", "amqp://h/vhost", "amqp://h?heartbeat=1", "amqp://"] {
            assert!(node(wrong).is_err(), "{wrong}");
        }
        assert!(!node("amqp://user:canary@h").unwrap_err().contains("canary"));
    }
}
