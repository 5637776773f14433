//! The work of the active instance: declaring deaths, writing records and notifying others. Each decision is derived from the state and appended to
//! the journal.

mod writing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stowage_base::log;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;

use crate::clock::Clock;
use crate::dead::{Rules, Switches, Watchdog};
use crate::decision::{Decision, What};
use crate::fold::Micros;
use crate::follow::Progress;
use crate::journal::{Journal, JournalError};
use crate::lead::Leading;
use crate::metrics::Metrics;
use crate::orders::{Orders, Undeliverable};
use crate::records::{self, Writer};
use crate::roles::Serves;
use crate::state::State;

/// The dependencies of an actor; cheap to clone.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The instance's name.
    pub name: Arc<str>,
    /// The other site whose calls are finished; `None` for the own site.
    pub site: Option<Box<str>>,
    /// The journal that decisions are appended to.
    pub journal: Arc<dyn Journal>,
    /// The state that decisions are derived from.
    pub state: Arc<State>,
    /// How far the journal has been folded into the state.
    pub progress: Progress,
    /// The leadership, which permits acting.
    pub leading: Leading,
    /// The clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// Queries the switches for their channels; `None` without a broker.
    pub switches: Option<Arc<dyn Switches>>,
    /// Sends notices of deaths and finalization orders; `None` without a broker and a webhook.
    pub orders: Option<Arc<dyn Orders>>,
    /// The writer of records, if any are written.
    pub writer: Option<Writer>,
    /// The configured kinds of records.
    pub records: Arc<records::Options>,
    /// The rules for declaring deaths.
    pub rules: Rules,
    /// The group's share of the calls.
    pub serves: Serves,
}

impl Actor {
    /// Acts while this instance leads, until the program stops.
    pub async fn run(self, tasks: Tasks) {
        let mut leading = self.leading.clone();
        if !self.becomes_ready(&tasks).await {
            return;
        }
        let mut epoch = leading.epoch();
        loop {
            if let Some(acting) = epoch {
                tracing::info!(instance = &*self.name, epoch = acting, site = self.site, "this instance acts now");
                tokio::select! {
                    // Acting comes last: it must not go on with what is not true any more.
                    biased;
                    () = tasks.stopping() => return,
                    () = self.progress.until_rewound() => {
                        tracing::info!(
                            instance = &*self.name,
                            site = self.site,
                            "the journal is read again: until its end, this instance does not act"
                        );
                        if !self.becomes_ready(&tasks).await {
                            return;
                        }
                        epoch = leading.epoch();
                    }
                    other = leading.other_than(epoch) => {
                        tracing::info!(instance = &*self.name, site = self.site, "this instance does not act any more");
                        epoch = other;
                    }
                    () = self.act(acting) => {}
                }
            } else {
                tokio::select! {
                    other = leading.other_than(None) => epoch = other,
                    () = tasks.stopping() => return,
                }
            }
        }
    }

    /// Waits until the journal has been read to its end. Returns false if the program stops before.
    async fn becomes_ready(&self, tasks: &Tasks) -> bool {
        tokio::select! {
            () = self.progress.until_ready() => true,
            () = tasks.stopping() => false,
        }
    }

    /// Acts in one epoch.
    async fn act(&self, epoch: u64) {
        let begins = || if self.site.is_none() { vec![What::Active] } else { Vec::new() };
        while let Err(error) = self.decide(epoch, begins()).await {
            tracing::error!(error = log::chain(&error), "the journal does not take that this instance acts");
            tokio::time::sleep(AGAIN).await;
        }
        tokio::join!(self.watch(epoch), self.write_records(epoch), self.tell(epoch));
    }

    /// Checks that this instance still leads in this epoch, and that its state is not one of the past; called before each write.
    fn may_act(&self, epoch: u64) -> Result<(), BoxError> {
        let may = self.leading.epoch() == Some(epoch) && self.progress.is_ready();
        if may { Ok(()) } else { Err("this instance does not act any more".into()) }
    }

    fn decision(&self, epoch: u64, what: What) -> Decision {
        Decision { group: self.serves.group(), epoch, by: (&*self.name).into(), site: self.site.clone(), what }
    }

    async fn decide(&self, epoch: u64, decided: Vec<What>) -> Result<(), JournalError> {
        self.may_act(epoch).map_err(JournalError::Unavailable)?;
        let mut decided = decided.into_iter().peekable();
        while decided.peek().is_some() {
            let drafts = decided.by_ref().take(AT_ONCE).map(|what| self.decision(epoch, what).draft());
            let drafts =
                drafts.collect::<Result<Vec<_>, _>>().map_err(|error| JournalError::Unavailable(error.into()))?;
            self.journal.append(drafts).await?;
        }
        Ok(())
    }

    /// Runs the watchdog that looks for dead calls.
    async fn watch(&self, epoch: u64) {
        let mut watchdog = Watchdog::new(self.rules.clone(), self.clock.moment()).serving(self.serves.clone());
        let mut ticks = tokio::time::interval(LOOK.min(self.rules.hold_off / 2).max(SHORTEST));
        let mut sweeps = tokio::time::interval(self.rules.sweep);
        loop {
            let decided = tokio::select! {
                _ = ticks.tick() => watchdog.look(&self.state.index(), self.clock.moment()),
                _ = sweeps.tick(), if self.switches.is_some() => self.sweep(&mut watchdog).await,
            };
            match self.decide(epoch, decided.clone()).await {
                Ok(()) => watchdog.declared(&decided, self.clock.moment()),
                Err(error) => {
                    tracing::error!(
                        error = log::chain(&error),
                        "the journal does not take who is dead; it is tried again"
                    );
                }
            }
        }
    }

    async fn sweep(&self, watchdog: &mut Watchdog) -> Vec<What> {
        let Some(switches) = &self.switches else { return Vec::new() };
        let now = self.clock.now();
        match switches.sweep().await {
            Ok(sweep) => {
                self.count_sweep(true);
                watchdog.inlet(true, now);
                watchdog.swept(&sweep, &self.state.index(), self.clock.now())
            }
            Err(error) => {
                self.count_sweep(false);
                watchdog.inlet(false, now);
                tracing::warn!(
                    error = log::chain(&*error),
                    "the switches cannot be asked; nobody is believed to be dead meanwhile"
                );
                Vec::new()
            }
        }
    }

    /// Counts a sweep; another site's switches are never queried.
    fn count_sweep(&self, is_answered: bool) {
        if self.site.is_none() {
            self.metrics.sweep(is_answered);
        }
    }

    /// Sends notices of deaths in order.
    async fn tell(&self, epoch: u64) {
        // A notice that its recipient does not take is tried again later, without holding back the others.
        let mut refused: HashMap<Box<str>, Micros> = HashMap::new();
        loop {
            tokio::time::sleep(IDLE).await;
            let now = self.clock.now();
            refused.retain(|_, until| *until > now);
            if let Err(error) = self.tell_some(epoch, &mut refused, now).await {
                self.metrics.order(false);
                tracing::warn!(error = log::chain(&*error), "others cannot be told of deaths; it is tried again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn tell_some(
        &self,
        epoch: u64,
        refused: &mut HashMap<Box<str>, Micros>,
        now: Micros,
    ) -> Result<(), BoxError> {
        let mut told = Vec::new();
        let mut failed = None;
        for (id, news) in self.state.news(AT_ONCE + refused.len())? {
            if refused.contains_key(&id) {
                continue;
            }
            if let Some(orders) = &self.orders {
                self.may_act(epoch)?;
                match crate::orders::tell(&**orders, &news).await {
                    Ok(()) => self.metrics.order(true),
                    // If this many are not taken, the recipient is at fault: then all wait.
                    Err(error) if error.is::<Undeliverable>() && refused.len() < AT_ONCE => {
                        self.metrics.order(false);
                        tracing::error!(
                            error = log::chain(&*error),
                            id = &*id,
                            "a notice of a death is not taken; it is tried again later"
                        );
                        refused.insert(id, now.saturating_add(NOT_TAKEN));
                        continue;
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            // The death may have been found by a clock that is ahead: a time before it would leave the notice to be sent for ever.
            let (dialog, found) = crate::orders::about(&news);
            told.push(What::Told { id, dialog, at: self.clock.now().max(found) });
        }
        if !told.is_empty() {
            self.decide(epoch, told).await?;
            if let Some(end) = self.journal.end().await? {
                self.progress.reaches(end).await;
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The number of decisions per append, and of records written before it.
const AT_ONCE: usize = 256;
/// The watchdog's interval.
const LOOK: Duration = Duration::from_secs(1);
/// The minimum of the watchdog's interval, for a short hold-off.
const SHORTEST: Duration = Duration::from_millis(20);
/// The interval of looking for due records and notices.
const IDLE: Duration = Duration::from_millis(200);
/// The delay before a retry.
const AGAIN: Duration = Duration::from_secs(1);
/// The delay before a notice that its recipient did not take is tried again, in microseconds.
const NOT_TAKEN: Micros = 60_000_000;
