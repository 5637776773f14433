//! Notices published by the call store: deaths of dialogs, and orders to finalize their recordings.

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::Value;
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
    /// and whether at least one queue received it. Characters of the id that separate words of a routing key are percent-encoded. An id that is
    /// too long for a routing key is replaced by the `id` of the body.
    ///
    /// # Errors
    /// If it may not have been published. Publishing it again is harmless: consumers identify a dialog by its id.
    pub async fn tell(&self, key: &str, body: &[u8]) -> Result<bool, BrokerError> {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("callstore".into());
        let message = Message { exchange: EXCHANGE.into(), key: short(&routing_key(key, body))?, body, properties };
        let unrouted = self.0.publish(vec![message]).await.map_err(|unpublished| unpublished.error)?;
        Ok(unrouted == 0)
    }
}

/// Returns the routing key. The sender of a call chooses its Call-ID, which may be too long for one: the message's own id is a UUID.
fn routing_key(key: &str, body: &[u8]) -> String {
    let mut words = key.splitn(3, '.');
    let [first, second, id] = [(); 3].map(|()| words.next().unwrap_or_default());
    // As KAZOO does with Call-IDs (`kz_amqp_util:encode`): a dot would start another word of the key.
    let id = encode(id).replace('.', "%2E");
    let whole = format!("{first}.{second}.{id}");
    if whole.len() <= MOST {
        return whole;
    }
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    message.get("id").and_then(Value::as_str).map_or(whole, |own| format!("{first}.{second}.{own}"))
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
/// The maximum length of a routing key in AMQP 0.9.1, in bytes.
const MOST: usize = 255;

#[cfg(test)]
mod tests {
    use super::routing_key;

    #[test]
    fn a_dialog_whose_id_is_too_long_for_a_key_goes_by_the_id_of_the_message() {
        let body = br#"{"id":"5d0f6c0e-3a0e-5a53-9f8b-7f4f0e2c8a11","dialog_id":"x"}"#;
        let fits = format!("dialog.dead.{}", "x".repeat(243));
        assert_eq!((fits.len(), routing_key(&fits, body)), (255, fits.clone()));
        let own = "recording.finalise.5d0f6c0e-3a0e-5a53-9f8b-7f4f0e2c8a11";
        assert_eq!(routing_key(&format!("recording.finalise.{}", "x".repeat(237)), body), own);
        // Encoded, it has three times as many bytes.
        assert_eq!(routing_key(&format!("recording.finalise.{}", "@".repeat(100)), body), own);
    }
}
