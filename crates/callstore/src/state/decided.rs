//! Applying decisions about this site's calls, and passing on those about other sites' calls.

use std::collections::HashMap;

use super::StateError;
use super::apply::Batch;
use super::stored::Stored;
use crate::decision::{Decision, End, What};
use crate::fold::{Attr, Key, Micros};
use crate::journal::{Entry, Offset};

impl Batch<'_> {
    pub(super) fn decision(
        &mut self,
        decision: Decision,
        entry: &Entry,
        hot: &mut HashMap<Key, Stored>,
    ) -> Result<(), StateError> {
        if let What::Adopted { is_adopted } = decision.what {
            match decision.site {
                Some(site) if is_adopted => drop(self.meta.adopted.insert(site)),
                Some(site) => drop(self.meta.adopted.remove(&site)),
                None => self.done.bad += 1,
            }
            return Ok(());
        }
        let newest = self.meta.epochs.entry(decision.group).or_default();
        if decision.epoch < *newest {
            self.done.refused += 1;
            return Ok(());
        }
        *newest = decision.epoch;
        match decision.site.clone() {
            None => self.decided(&decision, entry.offset, hot),
            Some(site) => {
                self.of_others.entry(site).or_default().push(decision);
                Ok(())
            }
        }
    }

    /// Applies a decision. `offset` is a position in the journal of the items.
    pub(super) fn decided(
        &mut self,
        decision: &Decision,
        offset: Offset,
        hot: &mut HashMap<Key, Stored>,
    ) -> Result<(), StateError> {
        match &decision.what {
            What::Active | What::Adopted { .. } => {}
            What::NodeSeen { node, at } => {
                let known = self.meta.nodes.entry(node.clone()).or_default();
                known.answer = known.answer.max(*at);
            }
            What::DlgDead { key, end, .. } => self.death(key, end, decision.epoch, offset, hot)?,
            What::Recorded { key, prints, through } => {
                let item = self.item(key, hot)?;
                item.item.recorded.extend(prints.iter().map(|(kind, print)| (kind.clone(), print.clone())));
                self.touched.entry(key.clone()).or_default();
                self.recorded.push((key.clone(), *through));
            }
            What::Told { id, dialog, at } => {
                // An entry of an early version has no time.
                let by = if *at == 0 { Micros::MAX } else { *at };
                let until = self.told.entry(id.clone()).or_default();
                *until = by.max(*until);
                let until = self.settled.entry(dialog.clone()).or_default();
                *until = (*until).max(*at);
            }
        }
        Ok(())
    }

    fn death(
        &mut self,
        key: &Key,
        end: &End,
        epoch: u64,
        offset: Offset,
        hot: &mut HashMap<Key, Stored>,
    ) -> Result<(), StateError> {
        let item = self.item(key, hot)?;
        if !item.item.die(&end.death(epoch)) {
            return Ok(());
        }
        item.changed = offset;
        self.touched.insert(key.clone(), "dlg_dead".into());
        self.done.dead += 1;
        let legs = self.legs_without_a_life(key);
        for leg in legs {
            let leg_item = self.item(&leg, hot)?;
            leg_item.item.die(&end.death(epoch));
            leg_item.changed = offset;
            self.touched.insert(leg, "dlg_dead".into());
        }
        Ok(())
    }

    /// Returns the legs of an ERA dialog: they have no events of their own, and die with their dialog.
    fn legs_without_a_life(&self, key: &Key) -> Vec<Key> {
        let dialog =
            self.fresh.get(key).filter(|stored| key.is_dialog() && stored.item.text(Attr::Source) == Some("era"));
        dialog.map(|dialog| dialog.item.linked("leg").cloned().collect()).unwrap_or_default()
    }
}
