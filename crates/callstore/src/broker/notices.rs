//! Notices published by the call store: deaths of dialogs, and orders to finalize their recordings.

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use stowage_http::body::BoxError;
use stowage_http::target::encode;

use super::confirmed::{Confirmed, Message, Prepare};
use super::error::BrokerError;
use super::link::{Broker, Link, short};
use crate::orders::Orders;

/// Publishes notices to the durable topic exchange `callstore`.
#[derive(Debug)]
pub struct Notices(Confirmed<Own>);

impl Notices {
    /// Connects on the first notice.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self(Confirmed::new(broker, Own))
    }

    /// Publishes a notice: `dialog.dead.<id>` or `recording.finalise.<id>`, with a JSON body. Returns once the broker has confirmed it,
    /// and whether at least one queue received it. Characters of the id that separate words of a routing key are percent-encoded.
    ///
    /// # Errors
    /// If it may not have been published. Publishing it again is harmless: consumers identify a dialog by its id.
    pub async fn tell(&self, key: &str, body: &[u8]) -> Result<bool, BrokerError> {
        let mut words = key.splitn(3, '.');
        let [first, second, id] = [(); 3].map(|()| words.next().unwrap_or_default());
        // As KAZOO does with Call-IDs (`kz_amqp_util:encode`): a dot would start another word of the key.
        let id = encode(id).replace('.', "%2E");
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("callstore".into());
        let message =
            Message { exchange: EXCHANGE.into(), key: short(&format!("{first}.{second}.{id}"))?, body, properties };
        let unrouted = self.0.publish(vec![message]).await.map_err(|unpublished| unpublished.error)?;
        Ok(unrouted == 0)
    }
}

#[async_trait]
impl Orders for Notices {
    async fn send(&self, key: &str, message: Bytes) -> Result<(), BoxError> {
        // Having no consumers is the operator's choice, but a recording without a mixer to finalize it deserves a warning.
        let is_heard = self.tell(key, &message).await?;
        if !is_heard && key.starts_with(ORDER) {
            tracing::warn!(key, "no queue is bound for an order to finish a recording: a mixer never sees it");
        }
        Ok(())
    }
}

/// Declares the call store's own exchange.
#[derive(Debug)]
struct Own;

#[async_trait]
impl Prepare for Own {
    async fn prepare(&self, link: &Link) -> Result<(), BrokerError> {
        let channel = link.channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declaring = channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default());
        link.asks(declaring).await?;
        link.shut(&channel).await;
        Ok(())
    }
}

const EXCHANGE: &str = "callstore";
/// Prefix of the routing keys of orders to finalize a recording.
const ORDER: &str = "recording.finalise.";
/// AMQP's persistent delivery mode.
const PERSISTENT: u8 = 2;
