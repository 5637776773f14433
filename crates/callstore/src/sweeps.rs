//! What KAZOO's trackers say, as the watchdog wants it, and what of it the journal has to know.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use stowage_http::body::BoxError;
use tokio::sync::{Mutex, watch};

use crate::broker::{LiveChannel, Trackers};
use crate::clock::Clock;
use crate::dead::{Answer, Sweep, Switches};
use crate::fold::Key;
use crate::journal::rabbitmq::Inlet;
use crate::journal::{Draft, Journal};
use crate::state::State;

/// Asks the trackers, and puts calls into the journal whose events were lost.
#[derive(Debug)]
pub struct Sweeps {
    trackers: Trackers,
    journal: Arc<dyn Journal>,
    state: Arc<State>,
    clock: Clock,
    /// Whether events come in, where the journal is fed by KAZOO itself.
    inlet: Option<watch::Receiver<Inlet>>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    openings: Option<u64>,
    /// Channels that the last sweep had and state did not.
    strange: BTreeSet<String>,
}

impl Sweeps {
    /// Asks through these.
    #[must_use]
    pub fn new(
        trackers: Trackers,
        journal: Arc<dyn Journal>,
        state: Arc<State>,
        clock: Clock,
        inlet: Option<watch::Receiver<Inlet>>,
    ) -> Self {
        Self { trackers, journal, state, clock, inlet, known: Mutex::default() }
    }

    /// An opened inlet was closed before, and events may be missing since.
    fn is_fed(&self, known: &mut Known) -> Result<(), BoxError> {
        let Some(inlet) = &self.inlet else { return Ok(()) };
        let inlet = inlet.borrow().clone();
        let before = known.openings.replace(inlet.openings);
        if !inlet.is_open || before.is_some_and(|before| before != inlet.openings) {
            return Err("events do not come in, or did not for a while".into());
        }
        Ok(())
    }

    /// Channels that two sweeps in a row had and state does not: nobody told of their beginning.
    async fn tell_strange(&self, known: &mut Known, channels: &BTreeMap<String, LiveChannel>) -> Result<(), BoxError> {
        let strange: BTreeSet<String> = {
            let index = self.state.index();
            channels.keys().filter(|id| !index.live.contains_key(&Key::leg(id))).cloned().collect()
        };
        let lasting: Vec<&String> = strange.intersection(&known.strange).collect();
        for some in lasting.chunks(AT_ONCE) {
            let facts: serde_json::Map<_, _> = some
                .iter()
                .filter_map(|id| channels.get(*id).map(|channel| ((*id).clone(), channel.facts.clone().into())))
                .collect();
            let body =
                json!({ "Event-Category": "call_event", "Event-Name": "query_channels_resp", "Channels": facts });
            tracing::info!(channels = some.len(), "the trackers know calls that no event told of");
            self.journal.append(vec![Draft { body: body.to_string().into(), is_decision: false }]).await?;
        }
        known.strange = strange;
        Ok(())
    }
}

#[async_trait]
impl Switches for Sweeps {
    async fn sweep(&self) -> Result<Sweep, BoxError> {
        let mut known = self.known.lock().await;
        self.is_fed(&mut known)?;
        let swept = self.trackers.sweep().await?;
        self.tell_strange(&mut known, &swept.channels).await?;
        let (at, is_complete) = (self.clock.now(), swept.is_complete());
        let mut answers: BTreeMap<&str, HashSet<Box<str>>> = BTreeMap::new();
        for (id, channel) in swept.channels.iter().filter(|(_, channel)| !channel.switch.is_empty()) {
            answers.entry(&channel.switch).or_default().insert(id.as_str().into());
        }
        let answer = |(node, channels): (&str, _)| Answer { node: node.into(), at, channels, is_whole: is_complete };
        Ok(Sweep { answers: answers.into_iter().map(answer).collect(), is_complete })
    }
}

/// Channels of one entry.
const AT_ONCE: usize = 64;
