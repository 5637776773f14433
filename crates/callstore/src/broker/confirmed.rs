//! Publishing that knows what became of each message.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::sync::Mutex;

use super::error::{BrokerError, Kind};
use super::link::{Broker, Link, within};

/// What has to be at the broker before something is published.
#[async_trait]
pub(crate) trait Prepare: Send + Sync + std::fmt::Debug {
    /// Declares it over a new connection.
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

/// Publishes over a connection that it makes anew when one fails.
#[derive(Debug)]
pub(crate) struct Confirmed<P> {
    broker: Broker,
    needs: P,
    line: Mutex<Option<Arc<Line>>>,
}

/// A connection whose channel confirms.
#[derive(Debug)]
struct Line {
    link: Link,
    channel: Channel,
}

/// Why messages may not have been taken.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) error: BrokerError,
    /// Whether the broker takes nothing for want of disk or memory.
    pub(crate) is_full: bool,
}

impl<P: Prepare> Confirmed<P> {
    pub(crate) fn new(broker: Broker, needs: P) -> Self {
        Self { broker, needs, line: Mutex::new(None) }
    }

    /// Publishes these in their order and waits until the broker has confirmed all of them; gives how many had no queue.
    pub(crate) async fn publish(&self, messages: Vec<Message<'_>>) -> Result<usize, Unpublished> {
        let unpublished = |error| Unpublished { error, is_full: false };
        let line = self.line().await.map_err(unpublished)?;
        match self.send(&line, messages).await {
            Ok(unrouted) => Ok(unrouted),
            Err(error) => {
                let is_full = line.link.is_blocked();
                self.discard(&line).await;
                Err(Unpublished { error, is_full })
            }
        }
    }

    /// Publishes these in their order and waits until the broker has taken them from the connection, which it says by answering a question
    /// that follows them; gives their confirmations, which come later.
    pub(crate) async fn hand_over(&self, messages: Vec<Message<'_>>) -> Result<Vec<PublisherConfirm>, Unpublished> {
        let line = self.line().await.map_err(|error| Unpublished { error, is_full: false })?;
        let handing = within(self.broker.config().patience, async {
            let confirms = try_join_all(sending(&line, messages)).await?;
            // A channel takes one after the other. The setting is about messages that it never gets.
            line.channel.basic_qos(1, BasicQosOptions::default()).await?;
            Ok(confirms)
        });
        match handing.await {
            Ok(confirms) => Ok(confirms),
            Err(error) => {
                let is_full = line.link.is_blocked();
                self.discard(&line).await;
                Err(Unpublished { error, is_full })
            }
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

    /// What is not confirmed on it never will be.
    async fn discard(&self, failed: &Arc<Line>) {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|line| Arc::ptr_eq(line, failed)) {
            *line = None;
        }
    }

    /// Has the next message find everything declared again.
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

/// Each is put into the client's queue when it is first polled, which happens in their order.
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
