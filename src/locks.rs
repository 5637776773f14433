//! Admits one writer at a time per attachment, so that of several writers with the same revision only the first stores anything.
//!
//! A writer whose client has stalled is passed: the next writer goes ahead under an object name of its own, and the document's revision decides in
//! the end which of them was first.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use stowage_http::body::Body;
use stowage_http::inspect::{Polled, inspected};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::router::{DocumentTarget, Target};

/// The attachments that requests are writing or waiting to write.
#[derive(Debug, Default)]
pub struct Locks {
    entries: Mutex<Entries>,
    patience: Patience,
}

#[derive(Debug, Default)]
struct Entries {
    known: HashMap<Key, Weak<Entry>>,
    tickets_since_sweep: usize,
    /// The number of entries after the last sweep. The next one comes after as many tickets, at least [`SWEEP_EVERY`]: one document can have hundreds
    /// of thousands of entries, and a sweep for each would take their square.
    swept: usize,
}

/// How long requests wait for each other.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// How long a client may send nothing before other requests pass it.
    stalled: Duration,
    /// The longest wait for a writer whose client keeps sending: the waiting request's own client gives up after 20 seconds.
    longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stalled: Duration::from_secs(2), longest: Duration::from_secs(8) }
    }
}

type Key = (String, String, String);

#[derive(Debug, Default)]
struct Entry {
    now: Mutex<Now>,
    freed: Notify,
    /// The number of turns that have ended.
    turns: AtomicU64,
}

#[derive(Debug, Default)]
struct Now {
    /// The writer whose turn it is.
    writer: Option<Writer>,
    /// The number of writers that were passed and are still writing.
    passed: usize,
}

/// A request that writes attachments, with the state of its client's upload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer(Arc<Mutex<Sending>>);

#[derive(Debug, Clone, Copy, Default)]
enum Sending {
    /// The client has nothing to send, or has sent everything.
    #[default]
    Over,
    /// The gateway is consuming what the client sends.
    Moving,
    /// The gateway has been waiting for the client since this instant.
    Waiting(Instant),
}

/// A place in the queue for one attachment. Take it before reading the document.
#[derive(Debug)]
pub(crate) struct Ticket {
    entry: Arc<Entry>,
    turns: u64,
    patience: Patience,
}

/// The right to write, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    entry: Arc<Entry>,
    writer: Writer,
    /// Whether another request wrote between the ticket and the turn: what was read before may be stale.
    pub(crate) overtaken: bool,
    /// Whether another request may still be writing: the object needs a name of its own.
    pub(crate) shared: bool,
}

impl Locks {
    pub(crate) fn ticket(&self, target: &Target) -> Ticket {
        let key = (target.database.name.clone(), target.document.clone(), target.attachment.clone());
        let mut entries = lock(&self.entries);
        entries.sweep();
        let known = entries.known.get(&key).and_then(Weak::upgrade);
        let entry = known.unwrap_or_else(|| {
            let entry = Arc::new(Entry::default());
            entries.known.insert(key, Arc::downgrade(&entry));
            entry
        });
        let turns = entry.turns.load(Ordering::Acquire);
        Ticket { entry, turns, patience: self.patience }
    }

    /// Waits for the turns of a document's attachments, in the order of their names.
    pub(crate) async fn turns(&self, target: &DocumentTarget, names: BTreeSet<&str>) -> Vec<Turn> {
        let (writer, mut turns) = (Writer::default(), Vec::with_capacity(names.len()));
        for name in names {
            turns.push(self.ticket(&target.attachment(name)).turn(&writer).await);
        }
        turns
    }
}

impl Entries {
    fn sweep(&mut self) {
        self.tickets_since_sweep += 1;
        if self.tickets_since_sweep > self.swept.max(SWEEP_EVERY) {
            self.known.retain(|_, entry| entry.strong_count() > 0);
            self.known.shrink_to(2 * self.known.len());
            (self.tickets_since_sweep, self.swept) = (0, self.known.len());
        }
    }
}

impl Ticket {
    /// Waits until it is this writer's turn.
    pub(crate) async fn turn(self, writer: &Writer) -> Turn {
        let Self { entry, turns, patience } = self;
        let latest = Instant::now() + patience.longest;
        let shared = loop {
            let freed = entry.freed.notified();
            let mut freed = std::pin::pin!(freed);
            freed.as_mut().enable();
            let until = {
                let mut now = lock(&entry.now);
                let until = now.writer.as_ref().map(|writing| writing.until(latest, patience.stalled));
                match until {
                    Some(until) if until > Instant::now() => until,
                    before => {
                        now.passed += usize::from(before.is_some());
                        now.writer = Some(writer.clone());
                        break now.passed > 0;
                    }
                }
            };
            drop(tokio::time::timeout_at(until, freed).await);
        };
        let overtaken = entry.turns.load(Ordering::Acquire) != turns;
        Turn { entry, writer: writer.clone(), overtaken, shared }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.entry.turns.fetch_add(1, Ordering::AcqRel);
        let mut now = lock(&self.entry.now);
        if now.writer.as_ref().is_some_and(|writer| Arc::ptr_eq(&writer.0, &self.writer.0)) {
            now.writer = None;
            self.entry.freed.notify_one();
        } else {
            now.passed = now.passed.saturating_sub(1);
        }
    }
}

impl Writer {
    /// Wraps the request's body to track the client's progress.
    pub(crate) fn watch(&self, body: Body) -> Body {
        *lock(&self.0) = Sending::Moving;
        let watching = Watching(self.clone());
        inspected(body, move |_, polled, is_end| {
            watching.polled(&polled, is_end);
            polled
        })
    }

    /// Waits for anything else that the client has to send.
    pub(crate) async fn waiting<T>(&self, client: impl Future<Output = T>) -> T {
        *lock(&self.0) = Sending::Waiting(Instant::now());
        let sent = client.await;
        *lock(&self.0) = Sending::Over;
        sent
    }

    /// Returns when waiting requests look again. A writer that has everything it needs from its client is not passed: its own deadlines end it.
    fn until(&self, latest: Instant, stalled: Duration) -> Instant {
        match *lock(&self.0) {
            Sending::Over => Instant::now() + stalled,
            Sending::Moving => latest.min(Instant::now() + stalled),
            Sending::Waiting(since) => latest.min(since + stalled),
        }
    }
}

/// Marks its writer as sending until the body is read or dropped.
struct Watching(Writer);

impl Watching {
    fn polled(&self, polled: &Polled, is_end: bool) {
        let mut sending = lock(&self.0.0);
        *sending = match (polled, *sending) {
            (Poll::Pending, Sending::Waiting(since)) => Sending::Waiting(since),
            (Poll::Pending, _) => Sending::Waiting(Instant::now()),
            (Poll::Ready(Some(Ok(_))), _) if !is_end => Sending::Moving,
            (Poll::Ready(_), _) => Sending::Over,
        };
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        *lock(&self.0.0) = Sending::Over;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The least number of tickets between two sweeps. Live entries are bounded by the attachments in the requests in flight.
const SWEEP_EVERY: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks do not bind its tests")]

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;
    use stowage_http::body::{BoxError, collect};

    const STALLED: Duration = Duration::from_millis(400);
    const LONGEST: Duration = Duration::from_millis(1600);

    fn locks() -> Locks {
        Locks { patience: Patience { stalled: STALLED, longest: LONGEST }, ..Locks::default() }
    }

    fn target() -> Target {
        Target::of("account/12/34/567890abcdef1234567890abcdef-202011", "doc", "a").unwrap()
    }

    /// A body whose frames the test sends.
    fn sent() -> (mpsc::UnboundedSender<&'static str>, Body) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let frames = futures_util::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|data| data.map(|data: &str| Ok::<_, BoxError>(Frame::data(Bytes::from(data)))))
        });
        (sender, Body::boxed(StreamBody::new(frames)))
    }

    #[test]
    fn the_more_entries_live_the_rarer_they_are_swept() {
        let (locks, mut limits) = (locks(), BTreeSet::new());
        let ticket = |number: usize| {
            let ticket = locks.ticket(&target().of_document().attachment(&number.to_string()));
            limits.insert(lock(&locks.entries).swept);
            ticket
        };
        let tickets: Vec<Ticket> = (0..10 * SWEEP_EVERY).map(ticket).collect();
        // Every sweep raises the limit, as all entries live: after 1, 2, 4 and 8 times the least.
        assert_eq!(limits.len(), 1 + 4, "{limits:?}");
        drop(tickets);
        let others = (0..10 * SWEEP_EVERY).map(|number| target().of_document().attachment(&format!("other-{number}")));
        others.for_each(|other| drop(locks.ticket(&other)));
        let Entries { known, .. } = &*lock(&locks.entries);
        assert!(known.len() <= SWEEP_EVERY + 1 && known.capacity() <= 4 * SWEEP_EVERY, "{}", known.len());
    }

    #[tokio::test]
    async fn writers_come_one_after_the_other() {
        let locks = locks();
        let (first, second) = (locks.ticket(&target()), locks.ticket(&target()));
        let turn = first.turn(&Writer::default()).await;
        assert!(!turn.overtaken && !turn.shared);
        let writer = Writer::default();
        let mut waiting = std::pin::pin!(second.turn(&writer));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        // The writer no longer waits for its client, so it is not passed however long it takes.
        tokio::time::sleep(LONGEST + STALLED).await;
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(turn);
        let turn = waiting.await;
        assert!(turn.overtaken && !turn.shared);
    }

    #[tokio::test]
    async fn a_client_that_stalls_is_passed_and_one_that_sends_is_not() {
        let locks = locks();
        let (writer, (sender, body)) = (Writer::default(), sent());
        let slow = locks.ticket(&target()).turn(&writer).await;
        let read = tokio::spawn(collect(writer.watch(body), 99));
        let began = Instant::now();
        let ticket = locks.ticket(&target());
        let next = tokio::spawn(async move { ticket.turn(&Writer::default()).await });
        for _ in 0..3 {
            tokio::time::sleep(STALLED / 2).await;
            sender.send("x").unwrap();
        }
        assert!(!next.is_finished());
        let next = next.await.unwrap();
        assert!(next.shared && !next.overtaken);
        assert!(began.elapsed() >= STALLED * 5 / 2, "{:?}", began.elapsed());
        // A passed writer has no turn to give back, but object names are not shared while it writes.
        drop(sender);
        assert_eq!(read.await.unwrap().unwrap(), "xxx");
        let (third, writer) = (locks.ticket(&target()), Writer::default());
        let mut third = std::pin::pin!(third.turn(&writer));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(next);
        let third = third.await;
        assert!(third.overtaken && third.shared);
        drop((slow, third));
        assert!(!locks.ticket(&target()).turn(&Writer::default()).await.shared);
    }

    #[tokio::test]
    async fn a_client_that_drips_is_passed_too() {
        let locks = locks();
        let (writer, (sender, body)) = (Writer::default(), sent());
        let _slow = locks.ticket(&target()).turn(&writer).await;
        let began = Instant::now();
        let drip = tokio::spawn(async move {
            while sender.send("x").is_ok() {
                tokio::time::sleep(STALLED / 2).await;
            }
        });
        let read = tokio::spawn(collect(writer.watch(body), 9999));
        assert!(locks.ticket(&target()).turn(&Writer::default()).await.shared);
        assert!(began.elapsed() >= LONGEST);
        drip.abort();
        read.abort();
    }
}
