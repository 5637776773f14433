//! Where a stream ends.

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
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

/// Messages that come before the mark and are sent ahead.
const AHEAD: u16 = 256;
