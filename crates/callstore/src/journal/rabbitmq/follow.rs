//! Reading a stream continuously.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::AMQPValue;
use stowage_base::backoff::Backoff;
use stowage_base::log::chain;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{Config, Inlet, declare, end, entry, offset};
use crate::broker::{Broker, BrokerError, Kind, Link};
use crate::journal::{Entry, JournalError, Offset};

/// Reads the stream until its entries are no longer wanted.
pub(super) struct Reader {
    pub(super) broker: Broker,
    pub(super) config: Arc<Config>,
    pub(super) inlet: watch::Sender<Inlet>,
    /// The last entry received.
    pub(super) last: Option<Offset>,
    /// Entries received but not yet passed on; kept across reconnects.
    pub(super) batch: Vec<Entry>,
    /// Whether the next entry is the first on its connection.
    pub(super) is_first: bool,
    /// Whether the stream is another site's, so that nothing is declared or published.
    pub(super) is_foreign: bool,
    /// Since when each look at another site's stream that showed an end has shown one before what was read of it. A look that fails shows nothing: the
    /// connection may be to a node without a copy.
    pub(super) behind: Option<Instant>,
    pub(super) entries: mpsc::Sender<Result<Vec<Entry>, JournalError>>,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let entries = self.entries.clone();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut told = String::new();
        loop {
            let before = self.last;
            let outcome = tokio::select! {
                () = entries.closed() => return,
                outcome = self.read() => outcome,
            };
            self.inlet.send_if_modified(|inlet| std::mem::take(&mut inlet.is_open));
            let Err(error) = outcome else { return };
            // Do not log the same reason repeatedly.
            let reason = chain(&error);
            if self.last != before || reason != told {
                tracing::warn!(stream = self.config.stream, reason, "the journal cannot be read now; trying again");
                backoff.reset();
                told = reason;
            }
            self.broker.avoid_this_node();
            tokio::select! {
                () = entries.closed() => return,
                () = tokio::time::sleep(backoff.next_pause()) => {}
            }
        }
    }

    /// Reads over one connection; returns `Ok` once no more entries are wanted.
    async fn read(&mut self) -> Result<(), BrokerError> {
        let link = self.broker.open().await?;
        if !self.is_foreign {
            declare::declare(&link, &self.config).await?;
        }
        let stream = self.config.stream.clone();
        if let Some(last) = self.last {
            match self.end(&link, last).await {
                Ok(end) if end <= last && self.is_shortened() => return self.give_up(last, end).await,
                Ok(end) if end <= last => {
                    let what = "the stream ends before what was read of it: this node's copy may lag behind";
                    return Err(BrokerError::because(Kind::Unreachable, what));
                }
                // A stream without a majority of its replicas accepts no marker, but can be read. Another site's needs no marker.
                Err(error) if error.kind != Kind::Silent || self.is_foreign => return Err(error),
                Ok(_) => self.behind = None,
                Err(_) => {}
            }
        }
        let channel = link.channel().await?;
        let from = match self.last {
            None => AMQPValue::LongString("first".into()),
            Some(last) => AMQPValue::LongLongInt(i64::try_from(last.saturating_add(1)).unwrap_or(i64::MAX)),
        };
        let mut messages = end::consume(&link, &channel, &stream, from, PREFETCH).await?;
        self.inlet.send_modify(|inlet| {
            inlet.is_open = true;
            inlet.openings += 1;
        });
        self.is_first = true;
        tracing::info!(stream, after = self.last, "reading the journal");
        let mut checks = tokio::time::interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let entries = self.entries.clone();
        let (mut taken, mut acknowledged) = (0, 0);
        loop {
            // The exchanges are checked however slowly entries are consumed: without them KAZOO's events are lost.
            let is_quiet = tokio::select! {
                _ = checks.tick() => {
                    if !self.is_foreign {
                        self.check(&link).await?;
                    }
                    true
                }
                permit = entries.reserve(), if !self.batch.is_empty() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    permit.send(Ok(std::mem::take(&mut self.batch)));
                    false
                }
                last = self.take_batch(&mut messages), if self.batch.len() < BATCH => {
                    taken = last?;
                    false
                }
            };
            // A stream keeps what was acknowledged: this only lets the broker send more. It counts what is not for half an hour as a
            // consumer that hangs.
            if taken - acknowledged >= ACKNOWLEDGED || is_quiet && taken > acknowledged {
                link.asks(channel.basic_ack(taken, BasicAckOptions { multiple: true })).await?;
                acknowledged = taken;
            }
        }
    }

    /// Returns an offset past all entries; for another site's stream, where no marker may be published, one past the last known entry. If that
    /// delivers nothing in time, it may be slow or empty: only an entry shows that it ends before what was read.
    async fn end(&self, link: &Link, last: Offset) -> Result<Offset, BrokerError> {
        if !self.is_foreign {
            return end::end(link, &self.config.stream).await;
        }
        Ok(end::last(link, &self.config.stream, Some(last)).await?.ok_or(Kind::Silent)? + 1)
    }

    /// Returns whether a stream that ends before what was read of it lost entries. The end of the own stream is exact. Another site's is the last entry
    /// of one copy, which may lag: each look is over a new connection, to another node if there are several, and all that show an end have to show the same
    /// for a while.
    fn is_shortened(&mut self) -> bool {
        let since = *self.behind.get_or_insert_with(Instant::now);
        !self.is_foreign || since.elapsed() >= LAG
    }

    /// Redeclares KAZOO's exchanges if one was deleted while the connection was up.
    async fn check(&self, link: &Link) -> Result<(), BrokerError> {
        if declare::is_declared(link).await? {
            return Ok(());
        }
        tracing::warn!(stream = self.config.stream, "one of KAZOO's exchanges was removed: events may be lost");
        declare::declare(link, &self.config).await?;
        self.inlet.send_modify(|inlet| inlet.openings += 1);
        Ok(())
    }

    /// Receives what has arrived, until there are [`BATCH`]; returns the tag that acknowledges all of it. Cancel safe.
    async fn take_batch(&mut self, messages: &mut Consumer) -> Result<u64, BrokerError> {
        let ended = || BrokerError::because(Kind::Unreachable, "the broker ended the reading: the stream is gone");
        let first = messages.next().await.ok_or_else(ended)??;
        let mut tag = first.delivery_tag;
        self.take(first)?;
        while self.batch.len() < BATCH {
            let Some(next) = messages.next().now_or_never() else { break };
            let next = next.ok_or_else(ended)??;
            tag = next.delivery_tag;
            self.take(next)?;
        }
        Ok(tag)
    }

    fn take(&mut self, message: Delivery) -> Result<(), BrokerError> {
        let Some(offset) = offset(&message) else {
            let what = format!("{} is no stream: its messages have no offset", self.config.stream);
            return Err(BrokerError::because(Kind::Mismatch, what));
        };
        // Reading starts with the chunk that contains the offset, which may begin earlier.
        if self.last.is_some_and(|last| offset <= last) {
            return Ok(());
        }
        if std::mem::take(&mut self.is_first) {
            self.notice_gap(offset);
        }
        self.last = Some(offset);
        self.batch.push(entry(offset, message));
        Ok(())
    }

    /// Reports that the stream ends before what was already read: it was recreated, or lost its end with all its replicas.
    async fn give_up(&self, last: Offset, end: Offset) -> Result<(), BrokerError> {
        self.inlet.send_modify(|inlet| inlet.lost += (last - end).saturating_add(1));
        let what = format!(
            "the stream {} ends before what was read of it: it lost entries or was made anew",
            self.config.stream
        );
        drop(self.entries.send(Err(JournalError::Shortened(what.into()))).await);
        Ok(())
    }

    /// Offsets are not dense: the broker's own records at the start of a segment use one. A larger gap means missing segments.
    fn notice_gap(&self, offset: Offset) {
        let Some(last) = self.last.filter(|last| offset - last > 2) else { return };
        let lost = offset - last - 1;
        tracing::error!(
            stream = self.config.stream,
            from = last + 1,
            to = offset - 1,
            "entries of the journal expired before they were read"
        );
        self.inlet.send_modify(|inlet| inlet.lost += lost);
    }
}

/// Maximum number of entries per batch.
const BATCH: usize = 256;
/// Messages per acknowledgement.
const ACKNOWLEDGED: u64 = 256;
/// Prefetch count.
const PREFETCH: u16 = 2048;
/// Interval between checks that KAZOO's exchanges still exist.
const CHECK: Duration = Duration::from_secs(2);
/// How long a copy of another site's stream may lag behind what was read of another copy.
const LAG: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
