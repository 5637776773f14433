//! Following a journal that lost entries which were read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use callstore::app::World;
use callstore::clock::Clock;
use callstore::follow::{Follower, Progress};
use callstore::journal::{Draft, Entries, Journal, JournalError, Offset};
use callstore::metrics::Metrics;
use callstore::roles::Serves;
use callstore::state::State;
use stowage_base::tasks::Tasks;
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::events::{begun, disconnected, entries};
use crate::running::{self, Running};

/// A journal that reports a lost end once, and by the next query has grown past it; or another site's, of which a copy that lags is read. It tells
/// where it is read from.
#[derive(Debug)]
struct Regrown {
    asked: UnboundedSender<Option<Offset>>,
    is_lagging: bool,
    end: AtomicU64,
}

#[async_trait]
impl Journal for Regrown {
    async fn append(&self, _: Vec<Draft>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError> {
        let (sender, entries) = mpsc::channel(1);
        if after.is_some() && !self.is_lagging {
            sender.send(Err(JournalError::Shortened("a power cut".into()))).await.unwrap();
        }
        self.asked.send(after).unwrap();
        Ok(entries)
    }

    async fn end(&self) -> Result<Option<Offset>, JournalError> {
        Ok(Some(if self.is_lagging { 1 } else { self.end.swap(1000, Ordering::Relaxed) }))
    }

    fn is_end_exact(&self) -> bool {
        !self.is_lagging
    }

    fn last_known(&self) -> Option<Offset> {
        Some(1000)
    }
}

/// Returns where a follower with five entries reads the journal from, at first and after an error. From its beginning, it is not ready before the end.
async fn read_from(is_lagging: bool, times: usize) -> Vec<Option<Offset>> {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(&folder.path().join("state.redb"), Duration::from_secs(3)).unwrap());
    state.apply(&entries(0, &begun("a1", "b1")), 0).unwrap();
    let (sender, mut asked) = mpsc::unbounded_channel();
    let tasks = Tasks::default();
    let progress = Progress::new(state.index().offset);
    let follower = Follower {
        journal: Arc::new(Regrown { asked: sender, is_lagging, end: AtomicU64::new(4) }),
        state: Arc::clone(&state),
        metrics: Metrics::new(&Serves::default()).unwrap(),
        clock: Clock::default(),
        progress: progress.clone(),
    };
    drop(tasks.spawn("fold", follower.run(tasks.clone())));
    let mut from = Vec::new();
    for _ in 0..times {
        from.push(asked.recv().await.unwrap());
    }
    assert!(!state.index().live.is_empty(), "what is known is kept");
    assert_eq!(progress.is_ready(), is_lagging, "whether it may be acted on");
    tasks.stop();
    assert_eq!(tasks.drain(Duration::from_secs(10)).await, 0);
    from
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_lost_its_end_is_read_from_its_beginning_though_it_grew_again() {
    assert_eq!(read_from(false, 2).await, [Some(4), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_sites_stream_that_lags_is_read_on() {
    assert_eq!(read_from(true, 2).await, [Some(4); 2]);
}

/// Returns the counter of deaths.
async fn deaths(store: &Running) -> String {
    let scraped = store.ask("GET", "/metrics", &[], b"").await.text();
    let deaths = scraped.lines().find_map(|line| line.strip_prefix("callstore_entries_total{kind=\"dead\"} "));
    deaths.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_from_before_the_start_are_not_counted_again() {
    let settings = [("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")];
    let dies = |a: &str, b: &str| [begun(a, b), vec![disconnected(a, 40), disconnected(b, 40)]].concat();
    let store = running::start(&settings, World::default()).await;
    store.post(&dies("a1", "b1")).await;
    assert_eq!(store.record("a1+b1").await["term_cause"], 1000);
    assert_ne!(deaths(&store).await, "0");
    let (couch, folder) = store.stop().await;
    std::fs::write(folder.path().join("state.redb"), b"nonsense").unwrap();
    let store = running::start_over(couch, folder, &settings, World::default()).await;
    store.ready().await;
    assert_eq!(store.get("/v1/dialogs/a1%2Bb1").await["state"], "dead");
    assert_eq!(deaths(&store).await, "0");
    store.post(&dies("a2", "b2")).await;
    assert_eq!(store.record("a2+b2").await["term_cause"], 1000);
    assert_ne!(deaths(&store).await, "0");
    store.stop().await;
}
