//! States of other sites: each is folded from the site's own journal and from decisions made here about its calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::apply::Batch;
use super::{Hot, State, StateError};
use crate::decision::Decision;
use crate::fold::Micros;

impl State {
    /// Adds the states of other sites, which receive this site's decisions about their calls.
    #[must_use]
    pub fn beside(mut self, others: BTreeMap<Box<str>, Arc<Self>>) -> Self {
        self.others = others;
        self
    }

    /// Subscribes to the set of adopted sites, whose calls are finished here.
    #[must_use]
    pub fn adopted(&self) -> watch::Receiver<BTreeSet<Box<str>>> {
        self.adopted.subscribe()
    }

    /// Flushes the file if it was written since the last flush: a lost site cannot be read again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&self) -> Result<(), StateError> {
        let mut hot = self.hot();
        if !hot.is_flushed {
            self.file.write(true)?.commit()?;
            hot.is_flushed = true;
            hot.flushed = Instant::now();
        }
        Ok(())
    }

    /// Passes on decisions about others' calls; returns the number of deaths. Decisions about sites no longer followed are dropped.
    pub(super) fn tell_others(
        &self,
        decided: BTreeMap<Box<str>, Vec<Decision>>,
        now: Micros,
    ) -> Result<u64, StateError> {
        let mut dead = 0;
        for (site, decisions) in decided {
            if let Some(other) = self.others.get(&site) {
                dead += other.take_decided(&decisions, now)?;
            }
        }
        Ok(dead)
    }

    /// Applies another site's decisions about this site's calls. They are durable on return, as they are never read again.
    ///
    /// After a failed write redb refuses the file until it is opened again, which only the follower of these calls may do: it has to fold again what
    /// was not flushed. The next [`flush`](Self::flush) tells it.
    fn take_decided(&self, decisions: &[Decision], now: Micros) -> Result<u64, StateError> {
        let mut hot = self.hot();
        let taken = self.decide(decisions, now, &mut hot);
        if taken.is_err() {
            hot.is_flushed = false;
        }
        taken
    }

    fn decide(&self, decisions: &[Decision], now: Micros, hot: &mut Hot) -> Result<u64, StateError> {
        let mut batch = Batch::new(self, now)?;
        let at = batch.meta.offset.unwrap_or_default();
        for decision in decisions {
            batch.decided(decision, at, &mut hot.items)?;
        }
        Ok(self.commit(batch, hot, true)?.dead)
    }
}
