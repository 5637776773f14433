//! The ages of calls. This machine's clock may be set, so an age is measured by the clock of the call's own switch: by the time of the call's
//! beginning, and the steady time since that clock was last seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Moment, micros};
use crate::fold::Micros;
use crate::state::Index;

/// The clocks of the switches, as known from their events.
#[derive(Debug)]
pub(super) struct Ages {
    began: Moment,
    /// Each switch's newest event, and when it was seen here.
    heard: HashMap<Arc<str>, (Micros, Duration)>,
}

impl Ages {
    pub(super) fn new(began: Moment) -> Self {
        Self { began, heard: HashMap::new() }
    }

    /// Updates the clocks from the switches' newest events.
    pub(super) fn hear(&mut self, index: &Index, now: Moment) {
        self.heard.retain(|node, _| index.nodes.contains_key(node));
        for (node, known) in index.nodes.iter().filter(|(_, known)| known.event > 0) {
            let heard = self.heard.entry(Arc::clone(node)).or_insert((known.event, now.steady));
            // A switch's clock that was set back may show less than has passed here.
            if known.event > heard.0 {
                *heard = (known.event, now.steady);
            }
        }
    }

    /// Returns the current time of a switch's clock. Without events of the switch, it is this machine's time, without any forward jump since the
    /// start.
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
