//! Publishing with the confirmation of each message.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::sync::Mutex;

use super::error::{BrokerError, Kind};
use super::link::{Broker, Link, within};

/// Prepares the broker for publishing.
#[async_trait]
pub(crate) trait Prepare: Send + Sync + std::fmt::Debug {
    /// Declares the prerequisites over a new connection.
    async fn prepare(&self, link: &Link) -> Result<(), BrokerError>;
}

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) exchange: ShortString,
    pub(crate) key: ShortString,
    pub(crate) body: &'a [u8],
    pub(crate) properties: BasicProperties,
}

/// A publisher that reconnects after a failure.
#[derive(Debug)]
pub(crate) struct Confirmed<P> {
    broker: Broker,
    needs: P,
    line: Mutex<Option<Arc<Line>>>,
}

/// A connection with a channel in confirm mode.
#[derive(Debug)]
struct Line {
    link: Link,
    channel: Channel,
}

/// The error for messages that the broker may not have taken.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) error: BrokerError,
    /// Whether the broker accepts no messages for lack of disk space or memory.
    pub(crate) is_full: bool,
}

impl<P: Prepare> Confirmed<P> {
    pub(crate) fn new(broker: Broker, needs: P) -> Self {
        Self { broker, needs, line: Mutex::new(None) }
    }

    /// Publishes messages in order, and waits until the broker has confirmed all of them. Returns how many were routed to no queue.
    pub(crate) async fn publish(&self, messages: Vec<Message<'_>>) -> Result<usize, Unpublished> {
        let line = self.line().await.map_err(|error| Unpublished { error, is_full: false })?;
        match self.send(&line, messages).await {
            Ok(unrouted) => Ok(unrouted),
            Err(error) => Err(self.failed(&line, error).await),
        }
    }

    /// Publishes messages in order, and waits until the broker has read them from the connection, which its response to a subsequent method proves.
    /// Returns their confirmations, which arrive later.
    pub(crate) async fn hand_over(&self, messages: Vec<Message<'_>>) -> Result<Vec<PublisherConfirm>, Unpublished> {
        let line = self.line().await.map_err(|error| Unpublished { error, is_full: false })?;
        let handing = within(self.broker.config().patience, async {
            let confirms = try_join_all(sending(&line, messages)).await?;
            // A channel's methods are processed in order. The setting only affects consumers, of which this channel has none.
            line.channel.basic_qos(1, BasicQosOptions::default()).await?;
            Ok(confirms)
        });
        match handing.await {
            Ok(confirms) => Ok(confirms),
            Err(error) => Err(self.failed(&line, error).await),
        }
    }

    async fn line(&self) -> Result<Arc<Line>, BrokerError> {
        let mut line = self.line.lock().await;
        if let Some(line) = line.as_ref().filter(|line| line.link.is_up()) {
            return Ok(Arc::clone(line));
        }
        *line = None;
        let link = self.broker.open().await?;
        self.needs.prepare(&link).await?;
        let channel = link.channel().await?;
        link.asks(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let new = Arc::new(Line { link, channel });
        *line = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Drops a failed connection: messages unconfirmed on it will never be confirmed.
    async fn failed(&self, failed: &Arc<Line>, error: BrokerError) -> Unpublished {
        let is_full = failed.link.is_blocked();
        drop(self.line.lock().await.take_if(|line| Arc::ptr_eq(line, failed)));
        Unpublished { error, is_full }
    }

    /// Drops the connection, so that the next message declares everything again.
    pub(crate) async fn start_anew(&self) {
        *self.line.lock().await = None;
    }

    async fn send(&self, line: &Line, messages: Vec<Message<'_>>) -> Result<usize, BrokerError> {
        within(self.broker.config().patience, async {
            let confirms = try_join_all(sending(line, messages)).await?;
            let mut unrouted = 0;
            for confirm in join_all(confirms).await {
                match confirm? {
                    Confirmation::Ack(None) => {}
                    Confirmation::Ack(Some(_)) => unrouted += 1,
                    Confirmation::Nack(_) | Confirmation::NotRequested => return Err(Kind::NotTaken.into()),
                }
            }
            Ok(unrouted)
        })
        .await
    }
}

/// A message enters the client's queue when its future is first polled, which happens in order.
fn sending<'a>(
    line: &'a Line,
    messages: Vec<Message<'a>>,
) -> impl Iterator<Item = impl Future<Output = Result<PublisherConfirm, lapin::Error>> + use<'a>> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    messages.into_iter().map(move |message| {
        let Message { exchange, key, body, properties } = message;
        line.channel.basic_publish(exchange, key, mandatory, body, properties)
    })
}
