//! Following a journal that lost entries which were read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use callstore::clock::Clock;
use callstore::follow::{Follower, Progress};
use callstore::journal::{Draft, Entries, Journal, JournalError, Offset};
use callstore::metrics::Metrics;
use callstore::state::State;
use stowage_base::tasks::Tasks;
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::events::{begun, entries};

/// A journal that reports a lost end once, and by the next query has grown past it. It tells where it is read from.
#[derive(Debug)]
struct Regrown(UnboundedSender<Option<Offset>>);

#[async_trait]
impl Journal for Regrown {
    async fn append(&self, _: Vec<Draft>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError> {
        let (sender, entries) = mpsc::channel(1);
        if after.is_some() {
            sender.send(Err(JournalError::Shortened("a power cut".into()))).await.unwrap();
        }
        self.0.send(after).unwrap();
        Ok(entries)
    }

    async fn end(&self) -> Result<Option<Offset>, JournalError> {
        Ok(Some(1000))
    }

    fn last_known(&self) -> Option<Offset> {
        Some(1000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_lost_its_end_is_read_from_its_beginning_though_it_grew_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(&folder.path().join("state.redb"), Duration::from_secs(3)).unwrap());
    state.apply(&entries(0, &begun("a1", "b1")), 0).unwrap();
    let at = state.index().offset;
    let (sender, mut asked) = mpsc::unbounded_channel();
    let tasks = Tasks::default();
    let follower = Follower {
        journal: Arc::new(Regrown(sender)),
        state: Arc::clone(&state),
        metrics: Metrics::new(0).unwrap(),
        clock: Clock::default(),
        progress: Progress::new(at),
    };
    drop(tasks.spawn("fold", follower.run(tasks.clone())));
    assert_eq!((asked.recv().await, asked.recv().await), (Some(at), Some(None)));
    assert!(at.is_some() && !state.index().live.is_empty(), "what is known is kept");
    tasks.stop();
    assert_eq!(tasks.drain(Duration::from_secs(10)).await, 0);
}
