//! What an upload may have left, until the caller has taken it over.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::service::Service;
use crate::Result;
use crate::engine::finish::clean_up;

/// An object of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim<T: Trace> {
    /// How to find the object.
    pub(super) trace: T,
    state: State,
}

/// How to find an object that an upload made.
pub(super) trait Trace: Debug + Clone + Send + 'static {
    fn service(&self) -> &Arc<Service>;

    /// The object's name or id, for log lines.
    fn shown(&self) -> &str;

    /// Removes the object. `certain`: it was stored. `false`: nothing of ours is there, as yet.
    fn remove(&mut self, certain: bool) -> impl Future<Output = Result<bool>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of ours is there.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// The object is ours.
    Ours,
}

impl<T: Trace> Claim<T> {
    /// For an object that nothing has been sent for.
    pub(super) const fn new(trace: T) -> Self {
        Self { trace, state: State::Nothing }
    }

    /// A request is about to be sent that may make the object.
    pub(super) const fn doubt(&mut self) {
        self.state = State::Doubtful;
    }

    /// The object was stored.
    pub(super) const fn confirm(&mut self) {
        self.state = State::Ours;
    }

    /// Nothing was stored.
    pub(super) const fn give_up(&mut self) {
        self.state = State::Nothing;
    }

    /// Takes the object over: it stays.
    pub(super) fn keep(mut self) -> T {
        self.give_up();
        self.trace.clone()
    }
}

impl<T: Trace> Drop for Claim<T> {
    fn drop(&mut self) {
        if self.state != State::Nothing {
            let removal = remove(self.trace.clone(), self.state == State::Ours);
            clean_up(&self.trace.service().tasks, "google clean-up", removal);
        }
    }
}

async fn remove<T: Trace>(mut trace: T, certain: bool) {
    let mut failure = None;
    for pause in PAUSES {
        tokio::time::sleep(pause).await;
        match trace.remove(certain).await {
            Ok(true) => return,
            Ok(false) => failure = None,
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        let (storage, object) = (&trace.service().id, trace.shown());
        tracing::warn!(%storage, %object, %error, "an object that no document names may be left");
    }
}

/// A request whose answer was lost may still be at work on the server: look more than once.
pub(super) const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
