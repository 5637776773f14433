//! A journal that several instances share: a RabbitMQ stream, fed by KAZOO's own exchanges and by the call store.
//!
//! A stream is a queue that nobody takes anything from (<https://www.rabbitmq.com/docs/streams>): each reader names the offset that it
//! reads from. It is read over AMQP 0.9.1, which every RabbitMQ from 3.9 on speaks. KAZOO's exchanges and whatever is bound to them
//! are gone after a restart of the broker, so that both are declared at every connect; what was published in between is lost to the
//! journal, and [`Inlet`] says so.

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

/// What the stream is like.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream's name at the broker.
    pub stream: String,
    /// Entries older than this may be removed, a segment at a time.
    pub max_age: Duration,
    /// More bytes than this are removed, the oldest segment first; `None` for no limit but the age.
    pub max_bytes: Option<u64>,
    /// How large the files are that it is kept in; `None` for the broker's own choice (500 MB).
    pub segment_bytes: Option<u64>,
}

/// What the reader knows of the way from KAZOO into the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inlet {
    /// Whether the stream is bound to KAZOO's exchanges and read now.
    pub is_open: bool,
    /// The number of times the connection was opened. A reconnection may have lost events: no call is declared dead before a complete sweep.
    pub openings: u64,
    /// How many entries expired before they were read, and how many of those that were read the stream no longer had.
    pub lost: u64,
}

/// A RabbitMQ stream.
#[derive(Debug)]
pub struct StreamJournal {
    broker: Broker,
    config: Arc<Config>,
    publisher: Publisher,
    /// The connection that the end is asked for over.
    asking: Mutex<Option<Link>>,
    inlet: watch::Sender<Inlet>,
    /// What sources say is taken before a majority of the copies has it.
    is_local: bool,
    /// Of another site: it is read and never written, and nothing is declared there.
    is_foreign: bool,
    tasks: Tasks,
}

impl StreamJournal {
    /// Connects when it is first used. Readers are among `tasks`.
    #[must_use]
    pub fn new(broker: Broker, config: Config, tasks: Tasks) -> Self {
        let config = Arc::new(config);
        let publisher = Publisher::new(broker.clone(), Arc::clone(&config), tasks.clone());
        let inlet = watch::Sender::new(Inlet::default());
        Self { broker, config, publisher, asking: Mutex::new(None), inlet, is_local: false, is_foreign: false, tasks }
    }

    /// That of another site. Its user there needs to read the stream and nothing else: nothing is declared, bound or published.
    #[must_use]
    pub fn of_another_site(broker: Broker, config: Config, tasks: Tasks) -> Self {
        Self { is_foreign: true, ..Self::new(broker, config, tasks) }
    }

    /// The same; `is_local` says that what sources say is taken as soon as the broker has it that this is connected with (`sync`).
    #[must_use]
    pub fn taking_locally(mut self, is_local: bool) -> Self {
        self.is_local = is_local;
        self
    }

    /// What the reader knows of the way from KAZOO into the journal, as it changes.
    #[must_use]
    pub fn inlet(&self) -> watch::Receiver<Inlet> {
        self.inlet.subscribe()
    }

    /// Declares what it needs, to see at the start whether it may.
    ///
    /// # Errors
    /// What the broker says against it.
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
            // Taken out, so that a connection that failed is not used again.
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
            let end = match self.is_foreign {
                true => end::last(&link, &self.config.stream, None).await?,
                false => Some(end::end(&link, &self.config.stream).await?),
            };
            *kept = Some(link);
            Ok(end)
        };
        ended.await.map_err(|error: BrokerError| JournalError::Unavailable(error.into()))
    }
}

/// A message of a stream says where in the stream it is.
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
    // Whoever may publish events could claim to have decided something: only what came straight to the stream counts.
    let is_direct = delivery.exchange.as_str().is_empty();
    let is_decision = is_direct && properties.kind().as_ref().is_some_and(|kind| kind.as_str() == DECISION);
    let taken = taken.filter(|_| is_direct).unwrap_or(0);
    // Questions to the trackers, our own among them, say nothing about a call; that they were passed has to be known.
    let is_question = !is_direct && delivery.routing_key.as_str().starts_with(QUESTIONS);
    let body = if is_question { Bytes::new() } else { delivery.data.into() };
    Entry { offset, taken, body, is_decision }
}

/// Batches that wait for the fold.
const BATCHES: usize = 4;
/// RabbitMQ's header of messages in streams, and its argument of consumers.
const OFFSET: &str = "x-stream-offset";
/// Our header: when the message was published, in Unix microseconds.
const TAKEN: &str = "taken";
/// How KAZOO's routing keys of questions begin (`kapi_call`).
const QUESTIONS: &str = "call.status_req.";
/// The AMQP type of what an instance decided.
const DECISION: &str = "callstore.decision";
