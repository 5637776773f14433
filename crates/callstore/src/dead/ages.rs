//! How old calls are. This machine's clock may be set, so that it says nothing of a call: what counts is the clock of the call's own
//! switch, which told when the call began, and what has passed here since that clock was heard of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::micros;
use crate::clock::Moment;
use crate::fold::Micros;
use crate::state::Index;

/// The clocks of the switches, as far as they were heard of.
#[derive(Debug)]
pub(super) struct Ages {
    began: Moment,
    /// The newest event of each, and when it was seen here.
    heard: HashMap<Arc<str>, (Micros, Duration)>,
}

impl Ages {
    pub(super) fn new(began: Moment) -> Self {
        Self { began, heard: HashMap::new() }
    }

    /// Takes in what the switches told of.
    pub(super) fn hear(&mut self, index: &Index, now: Moment) {
        self.heard.retain(|node, _| index.nodes.contains_key(node));
        for (node, known) in index.nodes.iter().filter(|(_, known)| known.event > 0) {
            let heard = self.heard.entry(Arc::clone(node)).or_insert((known.event, now.steady));
            // A clock that was set back may be behind what had passed here.
            if known.event > heard.0 {
                *heard = (known.event, now.steady);
            }
        }
    }

    /// What a switch's clock shows now. Where nothing was heard of it, ours does, as far as it was not set ahead since this began.
    pub(super) fn now(&self, node: Option<&Arc<str>>, now: Moment) -> Micros {
        match node.and_then(|node| self.heard.get(node)) {
            Some((event, seen)) => event.saturating_add(micros(now.steady.saturating_sub(*seen))),
            None => {
                let passed = micros(now.steady.saturating_sub(self.began.steady));
                now.day.min(self.began.day.saturating_add(passed))
            }
        }
    }
}
