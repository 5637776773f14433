//! Appending: the broker confirms a message of a stream once a majority of the stream's replicas has it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use stowage_base::tasks::Tasks;
use tokio::sync::Semaphore;

use super::{Config, DECISION, TAKEN, declare};
use crate::broker::{Broker, BrokerError, Confirmed, Kind, Link, Message, Prepare, Unpublished, short, within};
use crate::journal::{Draft, JournalError};

/// The publisher of the stream.
#[derive(Debug)]
pub(super) struct Publisher {
    broker: Broker,
    config: Arc<Config>,
    line: Arc<Confirmed<Stream>>,
    /// Limits the messages that are taken but unconfirmed.
    room: Arc<Semaphore>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Stream(Arc<Config>);

#[async_trait]
impl Prepare for Stream {
    async fn prepare(&self, link: &Link) -> Result<(), BrokerError> {
        declare::declare(link, &self.0).await
    }
}

impl Publisher {
    pub(super) fn new(broker: Broker, config: Arc<Config>, tasks: Tasks) -> Self {
        let line = Arc::new(Confirmed::new(broker.clone(), Stream(Arc::clone(&config))));
        Self { broker, config, line, room: Arc::new(Semaphore::new(UNCONFIRMED)), tasks }
    }

    /// Publishes entries in order, and waits until all are confirmed.
    pub(super) async fn append(&self, drafts: &[Draft]) -> Result<(), JournalError> {
        for some in drafts.chunks(AT_ONCE) {
            match self.line.publish(self.messages(some)?).await {
                Ok(0) => {}
                Ok(_) => {
                    // The stream is gone; the next connection declares it again.
                    self.line.start_anew().await;
                    return Err(unavailable(Kind::Unrouted.into()));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Publishes entries in order, and waits until the broker has taken them. A task waits for their confirmations, and logs missing ones. The limit
    /// on unconfirmed messages reveals the loss of the majority.
    pub(super) async fn take(&self, drafts: &[Draft]) -> Result<(), JournalError> {
        for some in drafts.chunks(AT_ONCE) {
            let count = u32::try_from(some.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).acquire_many_owned(count);
            let room = within(self.broker.config().patience, async {
                room.await.map_err(|closed| BrokerError::because(Kind::Silent, closed))
            });
            let room = room.await.map_err(unavailable)?;
            let confirms = self.line.hand_over(self.messages(some)?).await.map_err(failed)?;
            let (line, tasks) = (Arc::clone(&self.line), self.tasks.clone());
            drop(self.tasks.spawn("confirmations", async move {
                let confirmed = tokio::select! {
                    confirmed = join_all(confirms) => confirmed,
                    () = tasks.stopping() => return,
                };
                let lost = confirmed.iter().filter(|one| !matches!(one, Ok(Confirmation::Ack(None)))).count();
                if lost > 0 {
                    tracing::error!(
                        entries = lost,
                        "entries that were taken (sync = local) may be lost: the broker did not keep them"
                    );
                    line.start_anew().await;
                }
                drop(room);
            }));
        }
        Ok(())
    }

    fn messages<'a>(&self, drafts: &'a [Draft]) -> Result<Vec<Message<'a>>, JournalError> {
        let stream = short(&self.config.stream).map_err(unavailable)?;
        let now = crate::clock::now();
        // The default exchange routes by queue name.
        let message = |draft: &'a Draft| Message {
            exchange: "".into(),
            key: stream.clone(),
            body: &draft.body,
            properties: properties(draft, now),
        };
        Ok(drafts.iter().map(message).collect())
    }
}

fn unavailable(error: BrokerError) -> JournalError {
    JournalError::Unavailable(error.into())
}

fn failed(unpublished: Unpublished) -> JournalError {
    if unpublished.is_full { JournalError::Full } else { unavailable(unpublished.error) }
}

fn properties(draft: &Draft, now: i64) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(TAKEN.into(), AMQPValue::LongLongInt(now));
    let properties = BasicProperties::default().with_content_type("application/json".into()).with_headers(headers);
    if draft.is_decision { properties.with_type(DECISION.into()) } else { properties }
}

/// The number of messages confirmed together.
const AT_ONCE: usize = 512;
/// The maximum number of messages that are taken but unconfirmed.
const UNCONFIRMED: usize = 8192;
