//! Migrations and verifications started over the API, which do what the commands of these names do.
//!
//! A gateway runs one of each kind at a time. The state of runs is in memory and ends with the gateway; their results are in CouchDB and in the
//! storages, where the next run finds them.

mod kind;
mod order;
mod shown;
mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use stowage_base::log::RequestId;
use stowage_http::body::Body;
use tokio::sync::{Semaphore, watch as channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::envelope::Failure;
use super::schema::Schemas;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::walk::Progress;
pub(super) use kind::Kind;
use order::Order;
use shown::Report;

/// The runs of this gateway: those in progress, and the last that have ended.
#[derive(Debug)]
pub(super) struct Runs {
    gateway: Arc<Gateway>,
    /// Cancelled when the gateway begins to stop.
    stopping: CancellationToken,
    /// All known runs, newest first.
    all: Mutex<VecDeque<Arc<Run>>>,
    watchers: Arc<Semaphore>,
}

/// A migration or verification.
#[derive(Debug)]
pub(super) struct Run {
    id: String,
    kind: Kind,
    /// The options as given.
    options: Map<String, Value>,
    /// The request that started the run.
    request: RequestId,
    began: SystemTime,
    clock: Instant,
    /// Stops the run after the work in progress.
    stop: CancellationToken,
    /// Stops the run at once.
    halt: CancellationToken,
    state: channel::Receiver<State>,
}

#[derive(Debug, Clone)]
enum State {
    Runs(Progress),
    Ended(Arc<Report>),
}

/// How a run ended.
#[derive(Debug)]
enum Outcome {
    Done,
    Stopped,
    Failed(String),
}

impl Runs {
    pub(super) fn new(gateway: Arc<Gateway>, stopping: CancellationToken) -> Self {
        let (all, watchers) = (Mutex::default(), Arc::new(Semaphore::new(MOST_WATCHERS)));
        Self { gateway, stopping, all, watchers }
    }

    /// Starts a run.
    ///
    /// # Errors
    /// Returns a 400 for invalid options, a 409 while another run of this kind is in progress, or a 503 when the gateway is stopping.
    pub(super) fn start(
        &self,
        kind: Kind,
        options: &Map<String, Value>,
        schemas: &Schemas,
        request: RequestId,
    ) -> Result<Value, Failure> {
        let order = Order::read(kind, options, schemas)?;
        let mut all = self.all();
        if let Some(other) = all.iter().find(|run| run.kind == kind && !run.is_over()) {
            return Err(Failure::busy(other.kind.as_str(), other.summary()));
        }
        if self.stopping.is_cancelled() {
            return Err(Failure::stopping());
        }
        let progress = Progress::default();
        let (sender, state) = channel::channel(State::Runs(progress.clone()));
        let run = Arc::new(Run {
            id: Uuid::new_v4().simple().to_string(),
            kind,
            options: options.clone(),
            request,
            began: SystemTime::now(),
            clock: Instant::now(),
            stop: CancellationToken::new(),
            halt: CancellationToken::new(),
            state,
        });
        tracing::info!(run = %run.id, kind = kind.as_str(), %request, "a run was started");
        let work = Arc::clone(&run).work(Arc::clone(&self.gateway), order, progress, sender, self.stopping.clone());
        drop(self.gateway.tasks.spawn("run", Box::pin(work)));
        all.push_front(Arc::clone(&run));
        forget(&mut all, kind);
        Ok(run.shown())
    }

    /// Returns the runs of a kind, newest first, without their tables.
    pub(super) fn list(&self, kind: Kind) -> Value {
        self.all().iter().filter(|run| run.kind == kind).map(|run| run.summary()).collect()
    }

    /// Returns a run with its results per database and its faults.
    ///
    /// # Errors
    /// Returns a 404 for a run that does not exist, or is no longer remembered.
    pub(super) fn read(&self, kind: Kind, id: &str) -> Result<Value, Failure> {
        Ok(self.find(kind, id)?.shown())
    }

    /// Stops a run after the work in progress; a second call stops it at once. Does nothing if it has ended.
    ///
    /// # Errors
    /// Fails as [`read`](Self::read) does.
    pub(super) fn stop(&self, kind: Kind, id: &str) -> Result<Value, Failure> {
        let run = self.find(kind, id)?;
        if run.stop.is_cancelled() {
            run.halt.cancel();
        }
        run.stop.cancel();
        Ok(run.shown())
    }

    /// Streams the state of a run as server-sent events.
    ///
    /// # Errors
    /// Fails as [`read`](Self::read) does, or returns a 429 if there are too many watchers.
    pub(super) fn watch(&self, kind: Kind, id: &str) -> Result<Body, Failure> {
        let run = self.find(kind, id)?;
        let permit = Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| Failure::too_many())?;
        Ok(watch::events(run, permit))
    }

    fn find(&self, kind: Kind, id: &str) -> Result<Arc<Run>, Failure> {
        let found = self.all().iter().find(|run| run.kind == kind && run.id == id).cloned();
        found.ok_or_else(|| Failure::bad_identifier(id))
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Run>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps only the newest runs of a kind.
fn forget(all: &mut VecDeque<Arc<Run>>, kind: Kind) {
    let mut kept = 0;
    all.retain(|run| {
        kept += usize::from(run.kind == kind);
        run.kind != kind || kept <= MOST_KEPT
    });
}

impl Run {
    fn is_over(&self) -> bool {
        // A sender dropped without an end means a panic.
        matches!(*self.state.borrow(), State::Ended(_)) || self.state.has_changed().is_err()
    }

    /// Performs the run and records its outcome.
    async fn work(
        self: Arc<Self>,
        gateway: Arc<Gateway>,
        order: Order,
        progress: Progress,
        sender: channel::Sender<State>,
        stopping: CancellationToken,
    ) {
        // A drain waits for the work in progress, but not for a compaction.
        let drain = async {
            stopping.cancelled().await;
            self.stop.cancel();
            gateway.tasks.stopping().await;
            tokio::time::sleep(LAST_STEPS).await;
        };
        // Dropping the future undoes what no document names yet; commits continue in tasks of their own.
        let outcome: Option<Result<(), Error>> = tokio::select! {
            outcome = order.carry_out(&gateway, &progress, &self.stop) => Some(outcome),
            () = self.halt.cancelled() => None,
            () = drain => None,
        };
        let outcome = match outcome {
            Some(Err(error)) => Outcome::Failed(error.to_string()),
            Some(Ok(())) if !self.stop.is_cancelled() => Outcome::Done,
            Some(Ok(())) | None => Outcome::Stopped,
        };
        let report = Report::new(&self, &progress, &outcome);
        tracing::info!(run = %self.id, kind = self.kind.as_str(), outcome = report.state(), "a run has ended");
        sender.send_replace(State::Ended(Arc::new(report)));
    }
}

/// The number of runs remembered per kind.
const MOST_KEPT: usize = 5;
/// The number of watchers, each of which holds a connection.
const MOST_WATCHERS: usize = 32;
/// How long work in progress may take to finish once no client request is left.
const LAST_STEPS: Duration = Duration::from_secs(10);
