//! Other sites: their journals are folded into states of their own, and their calls are finished here once they are adopted.
//!
//! Another site's journal is never written. The site's adoption, and decisions about its calls, are entries of this site's journal, so that every
//! instance here learns of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use stowage_base::log;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;
use tokio::sync::watch;

use crate::act::Actor;
use crate::clock::Clock;
use crate::config::Config;
use crate::dead::{Answer, Sweep, Switches};
use crate::decision::{Decision, What};
use crate::fold::Micros;
use crate::journal::rabbitmq::{Inlet, StreamJournal};
use crate::journal::{Journal, JournalError, Offset};
use crate::lead::Leading;
use crate::state::State;
use crate::time::rfc3339;

/// Another site; cheap to clone.
#[derive(Debug, Clone)]
pub struct Site {
    /// Local name of the site.
    pub name: Box<str>,
    /// The state of its calls.
    pub state: Arc<State>,
    /// The site's journal, which is only read.
    pub journal: Arc<StreamJournal>,
    /// How long its link may be down before it is adopted automatically.
    pub adopt_after: Option<Duration>,
    seen: watch::Sender<Seen>,
}

/// Observations of its journal.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The last entry, as of a few seconds ago.
    end: Option<Offset>,
    /// The opening of the link it was observed over.
    openings: u64,
    /// Since when it cannot be read, by wall clock and monotonic clock; `None` while it can.
    lost: Option<(Micros, Instant)>,
}

/// This site, as the one that looks after the others.
#[derive(Debug, Clone)]
pub struct Own {
    /// The instance's name.
    pub name: Box<str>,
    /// Journal that decisions are appended to.
    pub journal: Arc<dyn Journal>,
    /// This site's state, including which sites are adopted.
    pub state: Arc<State>,
    /// Whether this instance acts.
    pub leading: Leading,
    /// Source of the current time.
    pub clock: Clock,
}

impl Own {
    /// Decides whether a site is adopted, so that its calls are finished here.
    ///
    /// # Errors
    /// If the journal may not contain the decision.
    pub async fn adopt(&self, site: &str, is_adopted: bool) -> Result<(), JournalError> {
        let what = What::Adopted { is_adopted };
        let decision = Decision { group: 0, epoch: 0, by: self.name.clone(), site: Some(site.into()), what };
        let draft = decision.draft().map_err(|error| JournalError::Unavailable(error.into()))?;
        self.journal.append(vec![draft]).await
    }
}

impl Site {
    /// Opens the states of all configured sites. Does not fail for an unreachable site, which is waited for.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn open_all(
        config: &Config,
        state: impl Fn(&str) -> Result<State, BoxError>,
        tasks: &Tasks,
    ) -> Result<Vec<Self>, BoxError> {
        let open = |options: &crate::config::SiteOptions| {
            Ok(Self {
                name: options.name.as_str().into(),
                state: Arc::new(state(&format!("site-{}.redb", options.name))?),
                journal: Arc::new(crate::cluster::journal_of_another(config, options, tasks)?),
                adopt_after: options.adopt_after,
                seen: watch::Sender::default(),
            })
        };
        config.sites.iter().map(open).collect()
    }

    /// Returns whether its journal can be read now.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.journal.inlet().borrow().is_open
    }

    /// Returns how many of its entries are not folded here yet, by its last known end.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let end = self.seen.borrow().end;
        let at = self.state.index().offset;
        end.map_or(0, |end| at.map_or(end + 1, |at| end.saturating_sub(at)))
    }

    /// Returns whether its state is as current as possible: read to the end, or settled since the link was lost.
    fn is_current(&self) -> bool {
        let seen = *self.seen.borrow();
        let inlet = self.journal.inlet().borrow().clone();
        match seen.lost {
            Some((_, since)) => !inlet.is_open && since.elapsed() >= SETTLED,
            None => inlet.is_open && seen.openings == inlet.openings && self.lag() == 0,
        }
    }

    async fn becomes_current(&self, is_wanted: bool) {
        while self.is_current() != is_wanted {
            tokio::time::sleep(LOOK / 5).await;
        }
    }

    /// Returns its status as JSON.
    #[must_use]
    pub fn json(&self, own: &State) -> Value {
        json!({
            "name": &*self.name,
            "is_linked": self.is_linked(),
            "lost_since": self.seen.borrow().lost.map(|(at, _)| rfc3339(at)),
            "is_adopted": own.adopted().borrow().contains(&self.name),
            "lag_entries": self.is_linked().then(|| self.lag()),
            "live": self.state.index().live.keys().filter(|key| key.is_dialog()).count(),
            "records_waiting": self.state.index().waiting,
        })
    }

    /// Watches its link, and adopts it if that is configured.
    pub async fn look(self, own: Own, tasks: Tasks) {
        let looking = async {
            let (mut heard, mut link) = (Instant::now(), self.journal.inlet());
            let mut asked: Option<Instant> = None;
            loop {
                asked = self.look_once(&own, asked).await;
                // After it was handed back, the wait starts over.
                if self.is_linked() || own.state.adopted().borrow().contains(&self.name) {
                    heard = Instant::now();
                }
                if self.adopt_after.is_some_and(|after| heard.elapsed() >= after) && own.leading.epoch().is_some() {
                    tracing::warn!(site = self.name, "nothing was heard of the site for so long that it is adopted");
                    match own.adopt(&self.name, true).await {
                        Ok(()) => heard = Instant::now(),
                        Err(error) => tracing::error!(error = log::chain(&error), "the journal does not take it"),
                    }
                }
                // React to any change immediately: what was read of a lost site must be flushed.
                let _ = tokio::time::timeout(LOOK, link.changed()).await.is_ok();
            }
        };
        tokio::select! {
            () = looking => {}
            () = tasks.stopping() => {}
        }
    }

    /// Records whether it is linked, and periodically its end; returns when the end was last requested.
    async fn look_once(&self, own: &Own, asked: Option<Instant>) -> Option<Instant> {
        let inlet = self.journal.inlet().borrow().clone();
        let state = Arc::clone(&self.state);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || state.flush()).await {
            tracing::error!(site = self.name, error = log::chain(&error), "its state cannot be flushed");
        }
        if !inlet.is_open {
            let now = (own.clock.now(), Instant::now());
            self.seen.send_modify(|seen| seen.lost = seen.lost.or(Some(now)));
            return None;
        }
        self.seen.send_modify(|seen| seen.lost = None);
        if asked.is_some_and(|asked| asked.elapsed() < ENDS) {
            return asked;
        }
        let known = self.state.index().offset;
        match self.journal.end_after(known).await {
            Ok(end) => self.seen.send_modify(|seen| (seen.end, seen.openings) = (end, inlet.openings)),
            Err(error) => tracing::debug!(site = self.name, error = log::chain(&error), "its end cannot be asked for"),
        }
        Some(Instant::now())
    }

    /// Finishes its calls for as long as it is adopted and this instance acts.
    pub async fn finish(self, actor: Actor, own: Own, tasks: Tasks) {
        let switches = Unheard { link: self.journal.inlet(), state: Arc::clone(&self.state) };
        let (site, state) = (Some(self.name.clone()), Arc::clone(&self.state));
        let actor = Actor { site, state, switches: Some(Arc::new(switches)), ..actor };
        let (mut begins, mut ends) = (own.state.adopted(), own.state.adopted());
        loop {
            // The sender lives in the state, which is held here. Waits until the state is current: otherwise old records would overwrite newer ones.
            let ready = async {
                let _ = begins.wait_for(|sites| sites.contains(&self.name)).await;
                self.becomes_current(true).await;
            };
            tokio::select! {
                () = ready => {}
                () = tasks.stopping() => return,
            }
            tokio::select! {
                _ = ends.wait_for(|sites| !sites.contains(&self.name)) => {}
                () = self.becomes_current(false) => {}
                () = actor.clone().run(tasks.clone()) => return,
            }
        }
    }
}

/// The switches of another site, which cannot be queried from here: they never respond while their site is lost.
#[derive(Debug)]
struct Unheard {
    link: watch::Receiver<Inlet>,
    state: Arc<State>,
}

#[async_trait]
impl Switches for Unheard {
    async fn sweep(&self) -> Result<Sweep, BoxError> {
        let mut answers = Vec::new();
        // While events are arriving, silence proves nothing.
        if self.link.borrow().is_open {
            let nodes = self.state.index().nodes.clone();
            let answer = |(node, known): (Arc<str>, crate::state::Node)| Answer {
                node: (*node).into(),
                at: known.last(),
                ..Answer::default()
            };
            answers.extend(nodes.into_iter().map(answer));
        }
        Ok(Sweep { answers, is_complete: true })
    }
}

/// Interval between checks of a link.
const LOOK: Duration = Duration::from_secs(1);
/// Interval between requests for a journal's end.
const ENDS: Duration = Duration::from_secs(5);
/// How long a link must be down before the state counts as complete: it may just be opening.
const SETTLED: Duration = Duration::from_secs(5);
