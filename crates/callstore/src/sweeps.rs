//! Adapts the trackers' responses for the watchdog, and appends to the journal what it is missing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stowage_http::body::BoxError;
use tokio::sync::{Mutex, watch};

use crate::broker::{LiveChannel, Sweep as Listed, Trackers};
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
    /// Channels of the last sweep whose talk the state missed, each with the leg that it talks with.
    missed: BTreeMap<String, Option<String>>,
    /// The missed channels that were appended to the journal and are still missed: if that did not complete a dialog, a repetition would not do so
    /// either.
    told: BTreeMap<String, Option<String>>,
    /// The trackers that listed channels of a switch when it last had some.
    listing: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    /// Returns the switches that are no longer listed by any of the trackers that listed them last, provided that all of these answered.
    fn emptied(&mut self, swept: &Listed) -> Vec<&str> {
        let mut listing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for channel in swept.channels.values().filter(|channel| !channel.switch.is_empty()) {
            listing.entry(channel.switch.clone()).or_default().insert(channel.tracker.clone());
        }
        let present: BTreeSet<String> = listing.keys().cloned().collect();
        self.listing.extend(listing);
        let is_emptied = |switch: &String, trackers: &BTreeSet<String>| {
            swept.is_complete() && !present.contains(switch) && trackers.is_subset(&swept.answered)
        };
        let emptied = self.listing.iter().filter(|&(switch, trackers)| is_emptied(switch, trackers));
        emptied.map(|(switch, _)| switch.as_str()).collect()
    }
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
    /// declared dead. So are those whose answer, or connection with another leg, was missed.
    async fn tell_strange(&self, known: &mut Known, channels: &BTreeMap<String, LiveChannel>) -> Result<(), BoxError> {
        let strange = self.state.unfollowed(channels.keys().map(String::as_str))?;
        let answered = channels.iter().filter(|(_, channel)| is_answered(channel));
        let talking = answered.map(|(id, channel)| (id.as_str(), partner(id, channel, channels)));
        let missed = self.state.missed_talks(talking);
        known.told.retain(|id, _| missed.contains_key(id));
        let is_news = |id: &String, other: &Option<String>| {
            known.missed.get(id) == Some(other) && known.told.get(id) != Some(other)
        };
        let talks: BTreeMap<_, _> = missed.clone().into_iter().filter(|(id, other)| is_news(id, other)).collect();
        let lasting: Vec<&String> = strange.intersection(&known.strange).chain(talks.keys()).collect();
        for some in lasting.chunks(AT_ONCE) {
            let facts: serde_json::Map<_, _> = some
                .iter()
                .filter_map(|id| channels.get(*id).map(|channel| ((*id).clone(), told(channel, channels).into())))
                .collect();
            let body =
                json!({ "Event-Category": "call_event", "Event-Name": "query_channels_resp", "Channels": facts });
            tracing::info!(
                channels = some.len(),
                "the trackers list calls that are not known, not known to talk, or believed to be dead"
            );
            self.journal.append(vec![Draft { body: body.to_string().into(), is_decision: false }]).await?;
        }
        known.told.extend(talks);
        (known.strange, known.missed) = (strange, missed);
        Ok(())
    }
}

fn is_answered(channel: &LiveChannel) -> bool {
    channel.facts.get("Answered").is_some_and(|told| told.as_bool() == Some(true) || told.as_str() == Some("true"))
}

/// Returns the leg that a channel talks with: both name each other, and both are answered. Any other leg may be ringing, or may have left the path.
fn partner<'a>(id: &str, channel: &'a LiveChannel, channels: &BTreeMap<String, LiveChannel>) -> Option<&'a str> {
    fn other(channel: &LiveChannel) -> Option<&str> {
        channel.facts.get("Other-Leg-Call-ID").and_then(Value::as_str)
    }
    let named = other(channel).filter(|named| *named != id)?;
    let listed = channels.get(named).filter(|listed| is_answered(listed))?;
    (other(listed) == Some(id)).then_some(named)
}

/// Returns the facts about a channel, with the direction of the channel that it talks with: that one may be known already or be in another entry, but
/// its direction is needed to tell the caller from the called.
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
        for switch in known.emptied(&swept) {
            answers.entry(switch).or_default();
        }
        let answer = |(node, channels): (&str, _)| Answer { node: node.into(), at, channels, is_whole: is_complete };
        Ok(Sweep { answers: answers.into_iter().map(answer).collect(), is_complete })
    }
}

/// Maximum number of channels per entry.
const AT_ONCE: usize = 64;
