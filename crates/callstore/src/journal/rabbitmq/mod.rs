//! A shared journal for several instances: a RabbitMQ stream, fed by KAZOO's own exchanges and by the call store.
//!
//! Consuming a stream removes nothing from it (<https://www.rabbitmq.com/docs/streams>): each reader chooses the offset to start from. It is read
//! over AMQP 0.9.1, which every RabbitMQ from 3.9 on supports. KAZOO's exchanges and their bindings are gone after a restart of the broker, so both
//! are declared on every connection; messages published in between are missing in the journal, and [`Inlet`] reports this.

mod declare;
mod end;
mod follow;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use stowage_base::tasks::Tasks;
use tokio::sync::{Mutex, mpsc, watch};

use self::follow::Reader;
use self::publish::Publisher;
use super::{Draft, Entries, Entry, Journal, JournalError, Offset};
use crate::broker::{Broker, BrokerError, Link};

/// The settings of the stream.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream's name at the broker.
    pub stream: String,
    /// The age from which entries may be removed, a segment at a time.
    pub max_age: Duration,
    /// The size in bytes from which the oldest segments are removed; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// The segments' size in bytes; `None` for the broker's default (500 MB).
    pub segment_bytes: Option<u64>,
}

/// The state of the path from KAZOO into the journal, as seen by the reader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inlet {
    /// Whether the stream is currently bound to KAZOO's exchanges and being read.
    pub is_open: bool,
    /// The number of times the connection was opened. A reconnection may have lost events: no call is declared dead before a complete sweep.
    pub openings: u64,
    /// The number of entries that expired before they were read, or that the stream lost after they were read.
    pub lost: u64,
}

/// A RabbitMQ stream.
#[derive(Debug)]
pub struct StreamJournal {
    broker: Broker,
    config: Arc<Config>,
    publisher: Publisher,
    /// The connection for queries of the end.
    asking: Mutex<Option<Link>>,
    /// The answer to the last query of the end.
    ended: watch::Sender<Option<Offset>>,
    inlet: watch::Sender<Inlet>,
    /// Whether events are taken before a majority of the replicas has them.
    is_local: bool,
    /// Whether the stream is another site's: it is only read, without any declarations.
    is_foreign: bool,
    tasks: Tasks,
}

impl StreamJournal {
    /// Creates a journal that connects on first use. Its readers are tracked by `tasks`.
    #[must_use]
    pub fn new(broker: Broker, config: Config, tasks: Tasks) -> Self {
        let config = Arc::new(config);
        let publisher = Publisher::new(broker.clone(), Arc::clone(&config), tasks.clone());
        let inlet = watch::Sender::new(Inlet::default());
        let (asking, ended) = (Mutex::new(None), watch::Sender::default());
        Self { broker, config, publisher, asking, ended, inlet, is_local: false, is_foreign: false, tasks }
    }

    /// Creates the journal of another site. Its user there only needs permission to read the stream: nothing is declared, bound or published.
    #[must_use]
    pub fn of_another_site(broker: Broker, config: Config, tasks: Tasks) -> Self {
        Self { is_foreign: true, ..Self::new(broker, config, tasks) }
    }

    /// Sets whether events are taken as soon as the connected broker has them (`sync`).
    #[must_use]
    pub fn taking_locally(mut self, is_local: bool) -> Self {
        self.is_local = is_local;
        self
    }

    /// Subscribes to the state of the path from KAZOO into the journal.
    #[must_use]
    pub fn inlet(&self) -> watch::Receiver<Inlet> {
        self.inlet.subscribe()
    }

    /// Declares the exchanges and the stream, to detect missing permissions at the start.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn prepare(&self) -> Result<(), BrokerError> {
        let link = self.broker.open().await?;
        declare::declare(&link, &self.config).await?;
        link.close().await;
        Ok(())
    }
}

#[async_trait]
impl Journal for StreamJournal {
    async fn append(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        if self.is_foreign {
            return Err(JournalError::Unavailable("the journal of another site is not written".into()));
        }
        self.publisher.append(&drafts).await
    }

    async fn take(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        if self.is_local && !self.is_foreign {
            return self.publisher.take(&drafts).await;
        }
        self.append(drafts).await
    }

    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError> {
        let (sender, entries) = mpsc::channel(BATCHES);
        let reader = Reader {
            broker: self.broker.clone(),
            config: Arc::clone(&self.config),
            inlet: self.inlet.clone(),
            last: after,
            batch: Vec::new(),
            is_first: true,
            is_foreign: self.is_foreign,
            behind: None,
            entries: sender,
        };
        let tasks = self.tasks.clone();
        drop(self.tasks.spawn("journal reader", async move {
            tokio::select! {
                () = tasks.stopping() => {}
                () = reader.run() => {}
            }
        }));
        Ok(entries)
    }

    async fn end(&self) -> Result<Option<Offset>, JournalError> {
        let mut kept = self.asking.lock().await;
        let ended = async {
            // Taken out of the mutex, so that a failed connection is not reused.
            let link = match kept.take().filter(Link::is_up) {
                Some(link) => link,
                None => {
                    let link = self.broker.open().await?;
                    if !self.is_foreign {
                        declare::declare(&link, &self.config).await?;
                    }
                    link
                }
            };
            let end = if self.is_foreign {
                end::last(&link, &self.config.stream, None).await?
            } else {
                Some(end::end(&link, &self.config.stream).await?)
            };
            *kept = Some(link);
            self.ended.send_replace(end);
            Ok(end)
        };
        ended.await.map_err(|error: BrokerError| JournalError::Unavailable(error.into()))
    }

    fn is_end_exact(&self) -> bool {
        !self.is_foreign
    }

    fn last_known(&self) -> Option<Offset> {
        *self.ended.borrow()
    }
}

/// Returns the offset in a stream message's header.
fn offset(delivery: &Delivery) -> Option<Offset> {
    match delivery.properties.headers().as_ref()?.inner().get(OFFSET)? {
        AMQPValue::LongLongInt(offset) => Offset::try_from(*offset).ok(),
        _ => None,
    }
}

fn entry(offset: Offset, delivery: Delivery) -> Entry {
    let properties = &delivery.properties;
    let taken = properties.headers().as_ref().and_then(|headers| match headers.inner().get(TAKEN)? {
        AMQPValue::LongLongInt(taken) => Some(*taken),
        _ => None,
    });
    // Any publisher of events could forge a decision: only those published directly to the stream count.
    let is_direct = delivery.exchange.as_str().is_empty();
    let is_decision = is_direct && properties.kind().as_ref().is_some_and(|kind| kind.as_str() == DECISION);
    let taken = taken.filter(|_| is_direct).unwrap_or(0);
    // Status queries to the trackers, including our own, say nothing about a call; the empty entry keeps their offset.
    let is_question = !is_direct && delivery.routing_key.as_str().starts_with(QUESTIONS);
    let body = if is_question { Bytes::new() } else { delivery.data.into() };
    Entry { offset, taken, body, is_decision }
}

/// The number of batches read ahead of the fold.
const BATCHES: usize = 4;
/// RabbitMQ's header of stream messages, and its argument for consumers.
const OFFSET: &str = "x-stream-offset";
/// Our header: when the message was published, in Unix microseconds.
const TAKEN: &str = "taken";
/// The prefix of the routing keys of KAZOO's status queries (`kapi_call`).
const QUESTIONS: &str = "call.status_req.";
/// The AMQP type of decisions.
const DECISION: &str = "callstore.decision";
