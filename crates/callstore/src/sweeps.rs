//! Adapts the trackers' responses for the watchdog, and appends to the journal what it is missing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stowage_http::body::BoxError;
use tokio::sync::{Mutex, watch};

use crate::broker::{LiveChannel, Trackers};
use crate::clock::Clock;
use crate::dead::{Answer, Sweep, Switches};
use crate::journal::rabbitmq::Inlet;
use crate::journal::{Draft, Journal};
use crate::state::State;

/// Queries the trackers, and appends calls whose events were lost to the journal.
#[derive(Debug)]
pub struct Sweeps {
    trackers: Trackers,
    journal: Arc<dyn Journal>,
    state: Arc<State>,
    clock: Clock,
    /// Whether events are arriving, if the journal is fed by KAZOO itself.
    inlet: Option<watch::Receiver<Inlet>>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    openings: Option<u64>,
    /// Channels that were in the last sweep but that the state does not follow.
    strange: BTreeSet<String>,
}

impl Sweeps {
    /// Creates sweeps through these trackers.
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

    /// Fails if the inlet is closed, or was in between: events may be missing.
    fn is_fed(&self, known: &mut Known) -> Result<(), BoxError> {
        let Some(inlet) = &self.inlet else { return Ok(()) };
        let inlet = inlet.borrow().clone();
        let before = known.openings.replace(inlet.openings);
        if !inlet.is_open || before.is_some_and(|before| before != inlet.openings) {
            return Err("events do not come in, or did not for a while".into());
        }
        Ok(())
    }

    /// Appends channels that two consecutive sweeps reported and the state does not follow: their start was missed, or they were wrongly
    /// declared dead.
    async fn tell_strange(&self, known: &mut Known, channels: &BTreeMap<String, LiveChannel>) -> Result<(), BoxError> {
        let strange = self.state.unfollowed(channels.keys().map(String::as_str))?;
        let lasting: Vec<&String> = strange.intersection(&known.strange).collect();
        for some in lasting.chunks(AT_ONCE) {
            let facts: serde_json::Map<_, _> = some
                .iter()
                .filter_map(|id| channels.get(*id).map(|channel| ((*id).clone(), told(channel, channels).into())))
                .collect();
            let body =
                json!({ "Event-Category": "call_event", "Event-Name": "query_channels_resp", "Channels": facts });
            tracing::info!(
                channels = some.len(),
                "the trackers list calls that are not known, or are believed to be dead"
            );
            self.journal.append(vec![Draft { body: body.to_string().into(), is_decision: false }]).await?;
        }
        known.strange = strange;
        Ok(())
    }
}

/// Returns what is said of a channel. The one that it talks with may be known, or in another entry, but its direction is needed to decide
/// who called whom.
fn told(channel: &LiveChannel, channels: &BTreeMap<String, LiveChannel>) -> serde_json::Map<String, Value> {
    let mut facts = channel.facts.clone();
    let other = facts.get("Other-Leg-Call-ID").and_then(Value::as_str).and_then(|other| channels.get(other));
    if let Some(direction) = other.and_then(|other| other.facts.get("Call-Direction")) {
        facts.insert("Other-Leg-Direction".to_owned(), direction.clone());
    }
    facts
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

/// Maximum number of channels per entry.
const AT_ONCE: usize = 64;
