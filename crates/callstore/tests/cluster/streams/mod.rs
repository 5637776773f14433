//! The journal in a RabbitMQ stream.

mod cluster;
mod outages;
mod reading;
mod writing;

use std::time::Duration;

use callstore::broker::{Broker, Config as BrokerConfig, Link};
use callstore::journal::rabbitmq::{Config, StreamJournal};
use callstore::journal::{Draft, Entries, Entry, Journal, Offset};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_http::connect::{Connector, Timeouts};
use stowage_http::egress::Egress;
use stowage_http::target::Origin;

use crate::servers::rabbitmq::{Place, place};

pub fn timeouts() -> Timeouts {
    let time = Duration::from_secs(5);
    Timeouts { connect: time, tls_handshake: time, response_head: time, idle_body: time }
}

pub fn connector() -> Connector {
    Connector::trusting(rustls::RootCertStore::empty(), Egress::default(), timeouts()).expect("a connector")
}

pub fn config(nodes: Vec<Origin>, vhost: &str) -> BrokerConfig {
    BrokerConfig {
        nodes,
        vhost: vhost.to_owned(),
        username: "guest".to_owned(),
        password: Secret::new("guest"),
        heartbeat: Duration::from_secs(1),
        patience: Duration::from_secs(10),
        name: "callstore1".to_owned(),
    }
}

pub fn broker(place: &Place) -> Broker {
    Broker::new(config(vec![place.node.clone()], &place.vhost), connector(), Tasks::default())
}

pub fn stream() -> Config {
    Config {
        stream: "callstore".to_owned(),
        max_age: Duration::from_secs(7 * 86_400),
        max_bytes: None,
        segment_bytes: None,
    }
}

pub fn journal(broker: &Broker) -> StreamJournal {
    StreamJournal::new(broker.clone(), stream(), Tasks::default())
}

pub fn event(number: usize) -> Draft {
    Draft { body: format!("{{\"n\":{number}}}").into(), is_decision: false }
}

pub fn events(numbers: std::ops::Range<usize>) -> Vec<Draft> {
    numbers.map(event).collect()
}

pub fn number(entry: &Entry) -> usize {
    let value: serde_json::Value = serde_json::from_slice(&entry.body).expect("JSON");
    usize::try_from(value["n"].as_u64().expect("a number")).expect("small")
}

/// A journal that is read from its beginning, and a channel that KAZOO would publish over.
pub struct Followed {
    pub journal: StreamJournal,
    pub entries: Entries,
    pub channel: Channel,
    _link: Link,
}

impl Followed {
    pub async fn start() -> Self {
        let broker = broker(&place().await);
        let journal = journal(&broker);
        let entries = journal.follow(None).await.expect("a reader");
        opened(&journal, 1).await;
        let link = broker.open().await.expect("a connection");
        let channel = link.channel().await.expect("a channel");
        Self { journal, entries, channel, _link: link }
    }
}

/// Takes this many entries, in batches of any size.
pub async fn take(entries: &mut Entries, count: usize) -> Vec<Entry> {
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            let batch = entries.recv().await.expect("entries").expect("a batch");
            // Entries without a body are neither events nor decisions.
            taken.extend(batch.into_iter().filter(|entry| !entry.body.is_empty()));
        }
    };
    let limit = Duration::from_secs(60);
    if tokio::time::timeout(limit, taking).await.is_err() {
        panic!("{} of {count} entries within {limit:?}", taken.len());
    }
    taken
}

/// Reads this many entries after an offset.
pub async fn read(journal: &StreamJournal, after: Option<Offset>, count: usize) -> Vec<Entry> {
    let mut entries = journal.follow(after).await.expect("a reader");
    take(&mut entries, count).await
}

/// Waits until the connection from KAZOO to the journal was opened this many times.
pub async fn opened(journal: &StreamJournal, openings: u64) {
    let mut inlet = journal.inlet();
    let open = inlet.wait_for(|inlet| inlet.is_open && inlet.openings >= openings);
    tokio::time::timeout(Duration::from_secs(60), open).await.expect("the inlet opens").expect("a reader");
}

/// Publishes as KAZOO does: transient, unconfirmed, not mandatory.
pub async fn kazoo(channel: &Channel, exchange: &str, key: &str, body: &str) {
    let plain = BasicProperties::default().with_content_type("application/json".into());
    publish(channel, exchange, key, body, plain).await;
}

pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await.expect("published");
}
