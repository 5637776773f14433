//! Other sites: their journals are read into states of their own, and their calls are finished here once they were adopted.
//!
//! Nothing is ever written to another site's journal. That it was adopted, and what was decided of its calls, are entries of this
//! site's journal, so that every instance here knows.

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
    /// What it is called here.
    pub name: Box<str>,
    /// What is known of its calls.
    pub state: Arc<State>,
    /// Its journal, which is only read.
    pub journal: Arc<StreamJournal>,
    /// So long its link may be lost before it is adopted by itself.
    pub adopt_after: Option<Duration>,
    seen: watch::Sender<Seen>,
}

/// What was seen of its journal.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Its last entry, as of some seconds ago.
    end: Option<Offset>,
    /// The opening of the link that it was asked over.
    openings: u64,
    /// Since when it cannot be read, by the clock and by this program's own; none while it can.
    lost: Option<(Micros, Instant)>,
}

/// This site, as the others are looked after from it.
#[derive(Debug, Clone)]
pub struct Own {
    /// The instance's name.
    pub name: Box<str>,
    /// Where decisions go.
    pub journal: Arc<dyn Journal>,
    /// What is known here: which sites are adopted, too.
    pub state: Arc<State>,
    /// Whether this instance acts.
    pub leading: Leading,
    /// The time.
    pub clock: Clock,
}

impl Own {
    /// Says that a site's calls are finished here from now on, or are not any more.
    ///
    /// # Errors
    /// Where the journal may not have it.
    pub async fn adopt(&self, site: &str, is_adopted: bool) -> Result<(), JournalError> {
        let what = What::Adopted { is_adopted };
        let decision = Decision { group: 0, epoch: 0, by: self.name.clone(), site: Some(site.into()), what };
        let draft = decision.draft().map_err(|error| JournalError::Unavailable(error.into()))?;
        self.journal.append(vec![draft]).await
    }
}

impl Site {
    /// Opens the states of all sites that are configured, beside that of this site. A site that cannot be reached is waited for.
    ///
    /// # Errors
    /// A file that cannot be used.
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

    /// Whether its journal can be read now.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.journal.inlet().borrow().is_open
    }

    /// How many of its entries are not folded here, by what was known of its end last.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let end = self.seen.borrow().end;
        let at = self.state.index().offset;
        end.map_or(0, |end| at.map_or(end + 1, |at| end.saturating_sub(at)))
    }

    /// Whether what is known is all that can be known: it is read to its end, or lost for a while.
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

    /// How it stands, as JSON.
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

    /// Looks after its link, and adopts it where that is configured.
    pub async fn look(self, own: Own, tasks: Tasks) {
        let looking = async {
            let (mut heard, mut link) = (Instant::now(), self.journal.inlet());
            let mut asked: Option<Instant> = None;
            loop {
                asked = self.look_once(&own, asked).await;
                // Whoever gives it back begins to wait anew.
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
                // Whatever changes is noted at once: what was read of a site that is lost has to be flushed.
                let _ = tokio::time::timeout(LOOK, link.changed()).await.is_ok();
            }
        };
        tokio::select! {
            () = looking => {}
            () = tasks.stopping() => {}
        }
    }

    /// Notes whether it is linked, and now and then its end; gives when that was asked for.
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
        match self.journal.end().await {
            Ok(end) => self.seen.send_modify(|seen| (seen.end, seen.openings) = (end, inlet.openings)),
            Err(error) => tracing::debug!(site = self.name, error = log::chain(&error), "its end cannot be asked for"),
        }
        Some(Instant::now())
    }

    /// Finishes its calls for as long as it is adopted, where this instance acts.
    pub async fn finish(self, actor: Actor, own: Own, tasks: Tasks) {
        let switches = Unheard { link: self.journal.inlet(), state: Arc::clone(&self.state) };
        let (site, state) = (Some(self.name.clone()), Arc::clone(&self.state));
        let actor = Actor { site, state, switches: Some(Arc::new(switches)), ..actor };
        let (mut begins, mut ends) = (own.state.adopted(), own.state.adopted());
        loop {
            // Its sender is in the state, which is here. Not before all is known: what is old would be written over what is new.
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

/// The switches of another site, which cannot be asked from here: they answer nothing while their site is lost.
#[derive(Debug)]
struct Unheard {
    link: watch::Receiver<Inlet>,
    state: Arc<State>,
}

#[async_trait]
impl Switches for Unheard {
    async fn sweep(&self) -> Result<Sweep, BoxError> {
        let mut answers = Vec::new();
        // While events come in, silence proves nothing.
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

/// How often links are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a journal's end is asked for.
const ENDS: Duration = Duration::from_secs(5);
/// How long a link is lost before what is known counts for all: it may just be opening.
const SETTLED: Duration = Duration::from_secs(5);
