//! Where a stream ends.

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

/// The offset of a mark that is put at the stream's end: all that was confirmed before has a smaller one.
///
/// AMQP has no question for the end. What the broker counts is seconds old, and nothing tells a reader that there is no more.
/// So the mark, a message without a body, is waited for: either the answer is right, or there is none.
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

/// The last offset of a stream that is only read; none where nothing is in it. It may be behind by what came meanwhile.
///
/// The broker sends the last chunk at once and says nothing where it ends: what has come within [`CHUNK`] counts.
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

/// Reads a stream from an offset. At most `prefetch` messages wait to be acknowledged, which streams insist on.
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

/// How long the rest of a chunk takes at most, once its first message is here.
const CHUNK: Duration = Duration::from_secs(1);
/// Messages that come before the mark and are sent ahead.
const AHEAD: u16 = 256;
