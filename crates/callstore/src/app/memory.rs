//! Opens journal and state, and removes old data from both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stowage_base::log;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;
use tokio::sync::watch;

use super::{Groups, Shared};
use crate::broker::{Broker, Trackers};
use crate::clock::{Clock, micros};
use crate::cluster;
use crate::config::{Config, JournalKind};
use crate::follow::Progress;
use crate::journal::rabbitmq::Inlet;
use crate::journal::{Embedded, Journal, Options, SEGMENT};
use crate::lead::Leading;
use crate::roles::Serves;
use crate::sites::Site;
use crate::state::{State, StateError};
use crate::sweeps::Sweeps;

/// Journal and state.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// The journal.
    pub(super) journal: Arc<dyn Journal>,
    /// The state.
    pub(super) state: Arc<State>,
    /// The inlet's state, if KAZOO feeds the journal itself.
    inlet: Option<watch::Receiver<Inlet>>,
    /// The other sites.
    pub(super) sites: Vec<Site>,
    embedded: Option<Embedded>,
}

impl Memory {
    /// Opens both. A damaged state is rebuilt from the journal if that is complete.
    ///
    /// # Errors
    /// If files are unusable, the journal is not the state's, or the broker refuses a prerequisite. An unreachable broker is waited for.
    pub(super) async fn open(
        config: &Config,
        groups: &Groups,
        broker: Option<&Broker>,
        tasks: &Tasks,
    ) -> Result<Self, BoxError> {
        let serves = &groups.serves;
        let sites = Site::open_all(config, |file| Ok(state_at(config, serves, file)?.0), tasks)?;
        match config.journal.kind {
            JournalKind::Embedded => Self::embedded(config, serves, sites, tasks).await,
            JournalKind::Rabbitmq => Self::stream(config, groups, sites, broker, tasks).await,
        }
    }

    async fn stream(
        config: &Config,
        groups: &Groups,
        sites: Vec<Site>,
        broker: Option<&Broker>,
        tasks: &Tasks,
    ) -> Result<Self, BoxError> {
        use crate::broker::Kind;
        let journal = cluster::journal(config, broker, tasks)?.taking_locally(groups.is_local);
        match journal.prepare().await {
            Err(error) if matches!(error.kind, Kind::Refused | Kind::Mismatch) => return Err(error.into()),
            Err(error) => tracing::warn!(error = log::chain(&error), "the broker cannot be used yet; it is waited for"),
            Ok(()) => {}
        }
        let inlet = Some(journal.inlet());
        let state = state(config, &groups.serves, &sites)?.0;
        Ok(Self { journal: Arc::new(journal), state, inlet, sites, embedded: None })
    }

    async fn embedded(config: &Config, serves: &Serves, sites: Vec<Site>, tasks: &Tasks) -> Result<Self, BoxError> {
        refuse_older(config)?;
        let options = Options {
            path: config.journal.data.join("journal"),
            reserve: config.journal.reserve,
            segment: SEGMENT,
            room: None,
        };
        let journal = Embedded::open(&options, tasks)
            .map_err(|error| at(&options.path, &format!("the journal cannot be opened: {}", log::chain(&error))))?;
        let (state, is_new) = state(config, serves, &sites)?;
        let first = journal.first().await?.map(|(offset, _)| offset);
        let end = journal.end().await?;
        let offset = state.index().offset;
        if is_new && first.is_some_and(|first| first > 0) {
            tracing::warn!(
                "the journal begins later than the state did: what was live before that is not known any more"
            );
        }
        // A journal behind its state is another one or an old copy: its new entries would be skipped as already folded.
        if offset.is_some_and(|offset| end.is_none_or(|end| end < offset)) {
            return Err(at(
                &options.path,
                "the journal ends before what the state has of it: it is another one, or an old copy",
            ));
        }
        Ok(Self { journal: Arc::new(journal.clone()), state, inlet: None, sites, embedded: Some(journal) })
    }

    /// Creates the sweeps, if trackers are to be queried.
    pub(super) fn sweeps(&self, config: &Config, broker: Option<&Broker>, clock: Clock) -> Option<Sweeps> {
        let answers = config.broker.as_ref()?.answers?;
        let trackers = Trackers::new(broker?.clone(), answers);
        let (journal, state) = (Arc::clone(&self.journal), Arc::clone(&self.state));
        Some(Sweeps::new(trackers, journal, state, clock, self.inlet.clone()))
    }

    /// Leads without a group, in a new epoch per start, which is known once the journal, with the previous epochs, has been read.
    pub(super) fn alone(&self, progress: Progress, tasks: &Tasks) -> Leading {
        let (sender, told) = watch::channel(None);
        let state = Arc::clone(&self.state);
        drop(tasks.spawn("epoch", async move {
            progress.until_ready().await;
            sender.send_replace(Some(state.index().epoch + 1));
        }));
        Leading::new(told)
    }
}

/// Periodically asks for the journal's end, which the metrics show.
pub(super) async fn look(parts: Shared, tasks: Tasks) {
    let looking = async {
        loop {
            if let Err(error) = parts.memory.journal.end().await {
                tracing::debug!(error = log::chain(&error), "the journal's end cannot be asked for");
            }
            tokio::time::sleep(ENDS).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = tasks.stopping() => {}
    }
}

/// Periodically removes old calls from the states, and old folded entries from the journal.
pub(super) async fn keep(parts: Shared, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEEP) => {}
            () = tasks.stopping() => return,
        }
        if let Err(error) = forget(&parts).await {
            tracing::warn!(error = log::chain(&*error), "what is old cannot be forgotten; it is tried again");
        }
    }
}

async fn forget(parts: &Shared) -> Result<(), BoxError> {
    let Shared { config, memory, clock, .. } = parts;
    let before = |keep: Duration| clock.now().saturating_sub(micros(keep));
    let mut states = vec![Arc::clone(&memory.state)];
    states.extend(memory.sites.iter().map(|site| Arc::clone(&site.state)));
    let over = before(config.state.keep);
    tokio::task::spawn_blocking(move || {
        for state in states {
            state.purge(over)?;
        }
        Ok::<_, StateError>(())
    })
    .await??;
    let folded = memory.state.index().offset;
    // The broker trims a stream itself.
    if let Some(journal) = &memory.embedded
        && let Some(old) = journal.before(before(config.journal.keep)).await?
        && let Some(folded) = folded
    {
        journal.trim(old.min(folded)).await?;
    }
    Ok(())
}

/// Refuses a journal in an unsupported form. A new journal beside it would hide that the old entries are missing.
///
/// # Errors
/// Where there is one, or where that cannot be found out.
pub(super) fn refuse_older(config: &Config) -> Result<(), BoxError> {
    let path = config.journal.data.join(OLDER);
    if !path.try_exists().map_err(|error| at(&path, &error.to_string()))? {
        return Ok(());
    }
    let what = "this is a journal of a version before 0.2.0, whose form is not read any more: calls that only it has are not known here. \
                Move it away, and state.redb with it, to begin anew";
    Err(at(&path, what))
}

fn state(config: &Config, serves: &Serves, sites: &[Site]) -> Result<(Arc<State>, bool), BoxError> {
    let (state, is_new) = state_at(config, serves, "state.redb")?;
    let others = sites.iter().map(|site| (site.name.clone(), Arc::clone(&site.state)));
    Ok((Arc::new(state.beside(others.collect())), is_new))
}

fn state_at(config: &Config, serves: &Serves, file: &str) -> Result<(State, bool), BoxError> {
    let path = config.state.data.join(file);
    let (state, damaged) = State::open_or_begin_anew(&path, config.close_after)
        .map_err(|error| at(&path, &format!("the state cannot be opened: {}", log::chain(&error))))?;
    Ok((state.serving(serves.clone()), damaged.is_some()))
}

fn at(path: &Path, what: &str) -> BoxError {
    format!("{}: {what}", path.display()).into()
}

/// The journal's file before it was a folder; no release had it.
const OLDER: &str = "journal.redb";
/// The interval of the removal.
const KEEP: Duration = Duration::from_secs(10);
/// The interval between queries of the journal's end.
const ENDS: Duration = Duration::from_secs(5);
