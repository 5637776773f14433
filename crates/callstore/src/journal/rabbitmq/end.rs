//! Finding the end of a stream.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{OFFSET, offset};
use crate::broker::{BrokerError, Kind, Link, short, within};
use crate::journal::Offset;

/// Publishes a marker to the stream and returns its offset: all entries confirmed before have smaller ones.
///
/// AMQP has no request for the end. The broker's counters are seconds old, and nothing tells a consumer that there are no more
/// messages. So this waits for the marker, a message without a body: the result is exact, or there is none.
pub(super) async fn end(link: &Link, stream: &str) -> Result<Offset, BrokerError> {
    let channel = link.channel().await?;
    let mut messages = consume(link, &channel, stream, AMQPValue::LongString("next".into()), AHEAD).await?;
    let mark = Uuid::new_v4().to_string();
    let properties = BasicProperties::default().with_message_id(mark.as_str().into());
    let putting = channel.basic_publish("".into(), short(stream)?, BasicPublishOptions::default(), &[], properties);
    link.asks(putting).await?;
    let found = within(link.patience(), async {
        loop {
            let message = messages.next().await.ok_or(Kind::Unreachable)??;
            if message.properties.message_id().as_ref().is_some_and(|id| id.as_str() == mark) {
                return offset(&message).ok_or_else(|| Kind::Mismatch.into());
            }
            channel.basic_ack(message.delivery_tag, BasicAckOptions::default()).await?;
        }
    });
    let end = found.await?;
    link.shut(&channel).await;
    Ok(end)
}

/// Returns the last offset of a read-only stream; `None` if nothing arrives in time, as from an empty stream or a slow broker. Concurrent appends may
/// be missing.
///
/// The broker sends the last chunk immediately and does not indicate its end, so whatever arrives within [`CHUNK`] counts.
pub(super) async fn last(link: &Link, stream: &str, wanted: Option<Offset>) -> Result<Option<Offset>, BrokerError> {
    let channel = link.channel().await?;
    let mut messages = consume(link, &channel, stream, AMQPValue::LongString("last".into()), AHEAD).await?;
    let mut last = None;
    let mut until = Instant::now() + link.patience() / 2;
    while let Ok(message) = timeout_at(until, messages.next()).await {
        let message = message.ok_or(Kind::Unreachable)??;
        let offset = offset(&message).ok_or(Kind::Mismatch)?;
        channel.basic_ack(message.delivery_tag, BasicAckOptions::default()).await?;
        if last.is_none() {
            until = Instant::now() + CHUNK;
        }
        last = last.max(Some(offset));
        if wanted.is_some_and(|wanted| offset >= wanted) {
            break;
        }
    }
    link.shut(&channel).await;
    Ok(last)
}

/// Consumes a stream from an offset. At most `prefetch` messages may be unacknowledged, a limit that streams require.
pub(super) async fn consume(
    link: &Link,
    channel: &Channel,
    stream: &str,
    from: AMQPValue,
    prefetch: u16,
) -> Result<Consumer, BrokerError> {
    link.asks(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let mut arguments = FieldTable::default();
    arguments.insert(OFFSET.into(), from);
    let consuming = channel.basic_consume(short(stream)?, "journal".into(), BasicConsumeOptions::default(), arguments);
    link.asks(consuming).await
}

/// Maximum time for the rest of a chunk to arrive after its first message.
const CHUNK: Duration = Duration::from_secs(1);
/// Prefetch while waiting for the marker.
const AHEAD: u16 = 256;
