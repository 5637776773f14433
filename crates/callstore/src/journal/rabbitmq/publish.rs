//! Appending: the broker confirms a message of a stream once a majority of the stream's copies has it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::{Config, DECISION, TAKEN, declare};
use crate::broker::{Broker, BrokerError, Confirmed, Kind, Link, Message, Prepare, Unpublished, short};
use crate::journal::{Draft, JournalError};

/// Publishes to the stream.
#[derive(Debug)]
pub(super) struct Publisher {
    config: Arc<Config>,
    line: Confirmed<Stream>,
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
    pub(super) fn new(broker: Broker, config: Arc<Config>) -> Self {
        let line = Confirmed::new(broker, Stream(Arc::clone(&config)));
        Self { config, line }
    }

    /// Publishes these in their order, and waits until all are confirmed.
    pub(super) async fn append<'a>(&self, drafts: &'a [Draft]) -> Result<(), JournalError> {
        let unavailable = |error: BrokerError| JournalError::Unavailable(error.into());
        let stream = short(&self.config.stream).map_err(unavailable)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or_default();
        for some in drafts.chunks(AT_ONCE) {
            // The default exchange takes a message to the queue that its key names.
            let message = |draft: &'a Draft| Message {
                exchange: "".into(),
                key: stream.clone(),
                body: &draft.body,
                properties: properties(draft, now),
            };
            match self.line.publish(some.iter().map(message).collect()).await {
                Ok(0) => {}
                Ok(_) => {
                    // The stream is gone; the next connection declares it.
                    self.line.start_anew().await;
                    return Err(unavailable(Kind::Unrouted.into()));
                }
                Err(Unpublished { is_full: true, .. }) => return Err(JournalError::Full),
                Err(Unpublished { error, .. }) => return Err(unavailable(error)),
            }
        }
        Ok(())
    }
}

fn properties(draft: &Draft, now: i64) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(TAKEN.into(), AMQPValue::LongLongInt(now));
    let properties = BasicProperties::default().with_content_type("application/json".into()).with_headers(headers);
    if draft.is_decision { properties.with_type(DECISION.into()) } else { properties }
}

/// Messages that wait for their confirmation together.
const AT_ONCE: usize = 512;
