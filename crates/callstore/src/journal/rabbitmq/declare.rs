//! Declaration of the exchanges, the stream and its bindings.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::Config;
use crate::broker::{BrokerError, Kind, Link, short};

/// Topic exchanges, their routing keys for entries, and whether they are durable. KAZOO's are not (`kz_amqp_util:new_exchange`, `kapi_cdr`); mixers
/// report finalised recordings on our own one.
const SOURCES: [(&str, &str, bool); 4] = [
    ("callevt", "call.#", false),
    ("cdr", "cdr.report.#", false),
    ("conference", "conference.event.#", false),
    ("callstore", "recording.finalised.#", true),
];

/// Declares everything that does not exist yet.
///
/// # Errors
/// Returns [`Kind::Mismatch`] if a queue of the stream's name is not a stream.
pub(super) async fn declare(link: &Link, config: &Config) -> Result<(), BrokerError> {
    let is_new = !exists(link, config).await?;
    stream(link, config).await?;
    if is_new {
        // Keep the stream empty until a killed broker would find it again.
        tokio::time::sleep(SETTLES).await;
    }
    let channel = link.channel().await?;
    for (exchange, key, durable) in SOURCES {
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        link.asks(channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()))
            .await?;
        let name = short(&config.stream)?;
        let binding =
            channel.queue_bind(name, exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default());
        link.asks(binding).await?;
    }
    link.shut(&channel).await;
    Ok(())
}

/// Returns whether KAZOO's exchanges still exist. The broker removes an exchange's bindings with it, and notifies no consumer.
pub(super) async fn is_declared(link: &Link) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    for (exchange, ..) in SOURCES {
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let asking = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, passive, FieldTable::default());
        match link.asks(asking).await {
            Err(error) if error.kind == Kind::Missing => return Ok(false),
            answered => answered?,
        }
    }
    link.shut(&channel).await;
    Ok(true)
}

/// Returns whether a queue of the stream's name exists, of any type.
async fn exists(link: &Link, config: &Config) -> Result<bool, BrokerError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let channel = link.channel().await?;
    match link.asks(channel.queue_declare(short(&config.stream)?, passive, FieldTable::default())).await {
        Err(error) if error.kind == Kind::Missing => return Ok(false),
        answered => drop(answered?),
    }
    link.shut(&channel).await;
    Ok(true)
}

/// Declares the stream. Its other settings are fixed at its creation: if only these differ, the existing stream is used, and a warning logged.
async fn stream(link: &Link, config: &Config) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let channel = link.channel().await?;
    match link.asks(channel.queue_declare(short(&config.stream)?, options, arguments(config))).await {
        Ok(_) => {
            link.shut(&channel).await;
            Ok(())
        }
        Err(error) if error.kind == Kind::Mismatch => {
            let said = stowage_base::log::chain(&error);
            if !SETTINGS.iter().any(|setting| said.contains(setting)) {
                return Err(error);
            }
            tracing::warn!(
                stream = config.stream,
                reason = said,
                "the stream was made with other settings and keeps them; rabbitmqctl set_policy changes them"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn arguments(config: &Config) -> FieldTable {
    let mut arguments = FieldTable::default();
    let mut set = |name: &str, value| {
        arguments.insert(name.into(), value);
    };
    set("x-queue-type", AMQPValue::LongString("stream".into()));
    set(MAX_AGE, AMQPValue::LongString(format!("{}s", config.max_age.as_secs().max(1)).into()));
    let number = |bytes: u64| AMQPValue::LongLongInt(i64::try_from(bytes).unwrap_or(i64::MAX));
    if let Some(bytes) = config.max_bytes {
        set(MAX_BYTES, number(bytes));
    }
    if let Some(bytes) = config.segment_bytes {
        set(SEGMENT_BYTES, number(bytes));
    }
    arguments
}

/// RabbitMQ keeps its registry of streams in memory for up to a second after the first stream was created (`ra_directory`: `auto_save`, 500 ms
/// without an access). If killed before that, 3.10.8 never finds the stream again; measured, 12 of 12 times.
const SETTLES: Duration = Duration::from_secs(2);
const MAX_AGE: &str = "x-max-age";
const MAX_BYTES: &str = "x-max-length-bytes";
const SEGMENT_BYTES: &str = "x-stream-max-segment-size-bytes";
/// The settings named in the broker's refusal of a stream that only differs in these.
const SETTINGS: [&str; 3] = [MAX_AGE, MAX_BYTES, SEGMENT_BYTES];
