//! The rules for declaring calls dead, as pure functions of a clock that tests can move.
//!
//! A dead call ends at the last sign of life of the call or its switch, not at the time of its detection. A call is silent for minutes before its
//! switch dies, so the switch counts: its last event of any call, and its last response.

mod ages;
mod switches;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use switches::{Answer, Sweep, Switches};

use self::ages::Ages;
use crate::clock::{Moment, micros};
use crate::decision::{End, What, death_id};
use crate::fold::{Key, Micros, Standing};
use crate::roles::Serves;
use crate::state::{Brief, Index};

/// `[dead]`: the timeouts.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The time from a suspicion to the death.
    pub hold_off: Duration,
    /// The maximum duration of a call.
    pub max_call: Duration,
    /// The interval of the sweeps.
    pub sweep: Duration,
    /// The number of sweeps that a switch may leave unanswered.
    pub sweeps: u8,
    /// The time for which further losses are gathered after the first loss of a switch.
    pub collect: Duration,
    /// The delay of `CHANNEL_DISCONNECTED`: KAZOO's grace period and its wait before that.
    pub grace: Duration,
}

/// A suspicion: since when, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    since: Micros,
    cause: &'static str,
    /// Whether a tracker listed the call after the suspicion was observed here.
    is_listed: bool,
}

/// The state that the active instance's watchdog keeps between checks.
#[derive(Debug)]
pub struct Watchdog {
    rules: Rules,
    /// The time of the first unanswered sweep, and the number of unanswered sweeps.
    unanswered: HashMap<Arc<str>, (Micros, u8)>,
    /// When a call was last in a response of its switch.
    listed: HashMap<Key, Micros>,
    /// How often a call was missing in the responses that listed others, since it was last listed.
    missing: HashMap<Key, u8>,
    /// How often it was missing in empty responses, which prove less.
    missing_in_empty: HashMap<Key, u8>,
    /// The suspicions, with the time of their first observation.
    doubts: HashMap<Key, Doubt>,
    /// The deaths that the journal has taken and the fold may not have applied yet, with the last sign of life and the time of each.
    declared: HashMap<Key, (Micros, Duration)>,
    inlet: Inlet,
    ages: Ages,
    serves: Serves,
}

/// Whether events can arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inlet {
    /// Events cannot arrive.
    Away,
    /// Events arrive since this time, and no sweep has been complete since.
    Back(Micros),
    /// Events arrive, and a complete sweep has revealed the missed ones.
    There,
}

impl Watchdog {
    /// Creates the watchdog of an instance that becomes active. It declares no deaths until the inlet has worked for a while.
    #[must_use]
    pub fn new(rules: Rules, now: Moment) -> Self {
        Self {
            rules,
            unanswered: HashMap::new(),
            listed: HashMap::new(),
            missing: HashMap::new(),
            missing_in_empty: HashMap::new(),
            doubts: HashMap::new(),
            declared: HashMap::new(),
            inlet: Inlet::Back(now.day),
            ages: Ages::new(now),
            serves: Serves::default(),
        }
    }

    /// Restricts the watchdog to these calls.
    #[must_use]
    pub fn serving(self, serves: Serves) -> Self {
        Self { serves, ..self }
    }

    /// Records whether events can arrive.
    pub fn inlet(&mut self, is_there: bool, now: Micros) {
        self.inlet = match (is_there, self.inlet) {
            (false, _) => Inlet::Away,
            (true, Inlet::Away) => Inlet::Back(now),
            (true, known) => known,
        };
        if !is_there {
            self.forget();
        }
    }

    /// Records the deaths that the journal has taken: each is declared once, also while the fold is behind.
    pub fn declared(&mut self, decided: &[What], now: Moment) {
        self.declared.extend(decided.iter().filter_map(|what| match what {
            What::DlgDead { key, end, .. } => Some((key.clone(), (end.seen, now.steady))),
            _ => None,
        }));
    }

    /// Discards the counts made while no events could arrive.
    fn forget(&mut self) {
        self.unanswered.clear();
        self.missing.clear();
        self.missing_in_empty.clear();
        self.doubts.clear();
    }

    /// Processes a sweep's responses. Returns when switches responded, and the calls missing too often in complete responses.
    pub fn swept(&mut self, sweep: &Sweep, index: &Index, now: Micros) -> Vec<What> {
        let mut decided = Vec::new();
        let answers: Vec<&Answer> = sweep.answers.iter().filter(|answer| !answer.is_empty()).collect();
        for answer in &answers {
            self.unanswered.remove(&*answer.node);
            if index.nodes.get(&*answer.node).is_none_or(|known| known.last() < answer.at) {
                decided.push(What::NodeSeen { node: answer.node.clone(), at: answer.at });
            }
        }
        if sweep.is_complete && matches!(self.inlet, Inlet::Back(_)) {
            self.inlet = Inlet::There;
        }
        let proves = self.silence_proves(now);
        for (node, known) in index.nodes.iter().filter(|_| proves) {
            if answers.iter().any(|answer| *answer.node == **node) {
                continue;
            }
            let counted = self.unanswered.entry(Arc::clone(node)).or_insert((now, 0));
            // The switch's events show that it lives; only the query fails.
            if known.event > counted.0 {
                *counted = (now, 0);
            }
            counted.1 = counted.1.saturating_add(1);
        }
        decided.extend(self.missing_ones(sweep, index, now));
        decided
    }

    fn missing_ones(&mut self, sweep: &Sweep, index: &Index, now: Micros) -> Vec<What> {
        let mut dead = Vec::new();
        for answer in &sweep.answers {
            let most = if answer.is_empty() { self.most_in_empty() } else { MISSING };
            let legs = index.live.values().filter(|leg| {
                !leg.key.is_dialog()
                    && !leg.standing.is_over()
                    && self.serves.has(leg.domain.as_deref())
                    && leg.node.as_deref() == Some(&*answer.node)
            });
            for leg in legs {
                if answer.channels.contains(leg.key.id()) {
                    self.missing.remove(&leg.key);
                    self.missing_in_empty.remove(&leg.key);
                    self.listed.insert(leg.key.clone(), answer.at);
                    if let Some(doubt) = self.doubts.get_mut(&leg.key) {
                        doubt.is_listed = true;
                    }
                } else if answer.is_empty() && leg.standing == Standing::Suspect {
                    // The tracker said that it lost the switch, and so lists none of its calls.
                } else if answer.is_whole && leg.last < answer.at {
                    let counts = if answer.is_empty() { &mut self.missing_in_empty } else { &mut self.missing };
                    let count = counts.entry(leg.key.clone()).or_default();
                    *count = count.saturating_add(1);
                    if *count >= most && self.inlet == Inlet::There && !is_declared(&self.declared, leg) {
                        let listed = self.listed.get(&leg.key).copied().unwrap_or_default();
                        let late = if answer.is_empty() { middle(&self.rules) } else { 0 };
                        let listed = listed.saturating_sub(late);
                        dead.push(death(leg, "dead", "missing", leg.last.max(listed), now));
                    }
                }
            }
        }
        dead
    }

    /// Returns the number of empty responses that prove a death: as many as last until a silent switch's calls are dead, since a tracker
    /// that has just started may not have asked its switches yet.
    fn most_in_empty(&self) -> u8 {
        let held = self.rules.hold_off.as_millis() / self.rules.sweep.as_millis().max(1);
        u8::try_from(held).unwrap_or(u8::MAX).saturating_add(self.rules.sweeps).max(MISSING)
    }

    /// Checks all live calls, and returns the dead ones.
    pub fn look(&mut self, index: &Index, moment: Moment) -> Vec<What> {
        let now = moment.day;
        self.ages.hear(index, moment);
        self.doubts.retain(|key, _| index.live.get(key).is_some_and(|brief| !brief.standing.is_over()));
        self.listed.retain(|key, _| index.live.contains_key(key));
        self.missing.retain(|key, _| index.live.contains_key(key));
        self.missing_in_empty.retain(|key, _| index.live.contains_key(key));
        self.declared.retain(|key, (_, at)| index.live.contains_key(key) && moment.steady < at.saturating_add(REPEAT));
        if !self.may_judge(now) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        let serves = self.serves.clone();
        for brief in index.live.values().filter(|brief| is_judged(brief) && serves.has(brief.domain.as_deref())) {
            if is_declared(&self.declared, brief) {
                continue;
            }
            let doubt = self.doubt(brief, index, now);
            let held = self.doubts.get(&brief.key).copied();
            match (doubt, held) {
                (None, _) => drop(self.doubts.remove(&brief.key)),
                (Some(doubt), Some(held)) if held.cause == doubt.cause => {
                    // A tracker sends no event when the link to its switch returns: that it lists the call again is the only sign.
                    let listed = self.listed.get(&brief.key).copied().unwrap_or_default();
                    if now >= held.since.max(listed).saturating_add(micros(self.rules.hold_off)) {
                        dead.push(death(brief, "dead", held.cause, self.end(brief, index, held, now), now));
                        continue;
                    }
                }
                (Some(doubt), _) => drop(self.doubts.insert(brief.key.clone(), doubt)),
            }
            if brief.created.saturating_add(micros(self.rules.max_call)) < self.ages.now(brief.node.as_ref(), moment) {
                let doubt = Doubt { since: now, cause: "max_call", is_listed: false };
                dead.push(death(brief, "timeout", "max_call", self.end(brief, index, doubt, now), now));
            }
        }
        dead
    }

    /// Returns whether the silence of a switch proves anything. Trackers that start together with the broker do not answer at first; those that do not
    /// answer for long have died with their switches.
    fn silence_proves(&self, now: Micros) -> bool {
        match self.inlet {
            Inlet::Away => false,
            Inlet::There => true,
            Inlet::Back(since) => now >= since.saturating_add(micros(self.rules.hold_off).saturating_mul(HOLD_OFFS)),
        }
    }

    /// Returns whether deaths may be declared: not while events cannot arrive, nor before the missed ones are known.
    fn may_judge(&mut self, now: Micros) -> bool {
        match self.inlet {
            Inlet::Away => false,
            Inlet::There => true,
            Inlet::Back(since) => now >= since.saturating_add(micros(self.rules.hold_off)),
        }
    }

    /// Returns the suspicion against a call, if any.
    fn doubt(&self, brief: &Brief, index: &Index, now: Micros) -> Option<Doubt> {
        if brief.standing == Standing::Suspect {
            let said = brief.doubted.unwrap_or(now).min(now);
            let heard = match self.inlet {
                Inlet::Back(since) => said.max(since),
                Inlet::Away | Inlet::There => said,
            };
            return Some(Doubt { since: heard, cause: "disconnected", is_listed: false });
        }
        let node = brief.node.as_ref()?;
        let (first, count) = self.unanswered.get(node)?;
        let is_silent = *count >= self.rules.sweeps
            && index.nodes.get(node).is_none_or(|known| known.last() <= *first)
            && brief.last <= *first;
        let since = now.saturating_add(micros(self.rules.collect));
        is_silent.then_some(Doubt { since, cause: "silent", is_listed: false })
    }

    /// Returns the last sign of life of the call, or of its switch unless that was heard from again.
    fn end(&self, brief: &Brief, index: &Index, doubt: Doubt, now: Micros) -> Micros {
        let node = brief.node.as_ref().and_then(|node| index.nodes.get(node)).copied().unwrap_or_default();
        let listed = self.listed.get(&brief.key).copied().unwrap_or_default();
        let (told, heard) = if doubt.cause == "disconnected" {
            // The tracker that listed the call until then gives its own delay. A switch with events after the suspicion is alive: its signs of life
            // prove nothing about this call. Earlier lists say nothing more, and are dated by another clock than the suspicion.
            let told = brief.doubted.max(doubt.is_listed.then_some(listed));
            let grace = micros(self.rules.grace);
            (told.map(|at| at.saturating_sub(grace)), Some(node.event).filter(|event| *event <= doubt.since))
        } else {
            (Some(listed.max(node.answer).saturating_sub(middle(&self.rules))), Some(node.event))
        };
        let end = [Some(brief.last), told, heard].into_iter().flatten().max();
        end.unwrap_or(now).min(now)
    }
}

/// Returns how long before its last list a switch probably died. A tracker lists the calls of a dead switch for its grace period, and a switch that was
/// alive until now may only be queried a sweep later: the middle is off by at most half of both.
fn middle(rules: &Rules) -> Micros {
    micros(rules.grace).saturating_sub(micros(rules.sweep)) / 2
}

/// Returns whether a call is judged: legs with events of their own, and ERA's dialogs, whose legs have none.
fn is_judged(brief: &Brief) -> bool {
    let is_era = brief.source.as_deref() == Some("era");
    // An ERA call is its initiator's leg until its dialog is known.
    let has_life = brief.key.is_dialog() == is_era || is_era && brief.links.is_empty();
    has_life && !brief.standing.is_over()
}

/// Returns whether the call was declared dead, without a sign of life since.
fn is_declared(declared: &HashMap<Key, (Micros, Duration)>, brief: &Brief) -> bool {
    declared.get(&brief.key).is_some_and(|(seen, _)| *seen == brief.last)
}

fn death(brief: &Brief, kind: &str, cause: &str, ended: Micros, found: Micros) -> What {
    What::DlgDead {
        id: death_id(&brief.key, kind, cause),
        key: brief.key.clone(),
        end: End { kind: kind.into(), cause: cause.into(), ended, seen: brief.last, found },
    }
}

/// The number of complete responses with other calls that prove the death of a call that was not listed in between.
const MISSING: u8 = 2;
/// The number of hold-offs after an outage of the inlet until trackers that never answered count as dead.
const HOLD_OFFS: Micros = 12;
/// The time after which a death is declared again that the fold did not apply: the journal may have lost it.
const REPEAT: Duration = Duration::from_secs(300);
