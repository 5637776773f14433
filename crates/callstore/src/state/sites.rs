//! Other sites beside this one: each has a state of its own, made from its journal and from what was decided of its calls here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::apply::Batch;
use super::{State, StateError};
use crate::decision::Decision;
use crate::fold::Micros;

impl State {
    /// The same; what this site decides of others' calls is taken in there.
    #[must_use]
    pub fn beside(mut self, others: BTreeMap<Box<str>, Arc<Self>>) -> Self {
        self.others = others;
        self
    }

    /// The sites whose calls are finished here, as it changes.
    #[must_use]
    pub fn adopted(&self) -> watch::Receiver<BTreeSet<Box<str>>> {
        self.adopted.subscribe()
    }

    /// Flushes the file where something was written since it was flushed: a site that is lost cannot be read again.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&self) -> Result<(), StateError> {
        let mut hot = self.hot();
        if !hot.is_flushed {
            self.file.write(true)?.commit()?;
            hot.is_flushed = true;
            hot.flushed = Instant::now();
        }
        Ok(())
    }

    /// Hands on what was decided of others' calls; gives how many deaths that were. What nobody follows any more is left.
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

    /// Takes in what another site decided of this one's calls. It is on disk afterwards: nobody reads it again.
    fn take_decided(&self, decisions: &[Decision], now: Micros) -> Result<u64, StateError> {
        let mut hot = self.hot();
        let mut batch = Batch::new(self, now)?;
        let at = batch.meta.offset.unwrap_or_default();
        for decision in decisions {
            batch.decided(decision, at, &mut hot.items)?;
        }
        Ok(self.commit(batch, &mut hot, true)?.dead)
    }
}
