//! Walks through the documents of several databases concurrently, and visits each: the common part of moving and verifying attachments.
//!
//! Nothing is kept between runs: the next one finds what is done already.

mod branches;
mod databases;
mod documents;
mod ended;
mod pace;
mod progress;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use glob::Pattern;
use stowage_couch::{Answers, Caller, Document};
use tokio_util::sync::CancellationToken;

use crate::database::AccountId;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::Found;
use crate::record::GREGORIAN_EPOCH;
use crate::router::Database;
pub(crate) use branches::Branches;
pub(crate) use databases::of as databases;
pub(crate) use documents::Pages;
use ended::{Ended, Failure, Like};
pub use pace::Pace;
pub use progress::{Fault, Progress, Tally, Totals};
use turn::{Turn, held_during};

/// The documents that a walk covers.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Databases whose decoded name matches one of these.
    pub databases: Vec<Pattern>,
    /// All databases of these accounts.
    pub accounts: Vec<AccountId>,
    /// Every database that plans cover.
    pub all: bool,
    /// Documents whose `pvt_type` is one of these; empty for any.
    pub types: Vec<String>,
    /// Documents whose `pvt_created` is this or later.
    pub since: Option<SystemTime>,
    /// Documents whose `pvt_created` is before this.
    pub until: Option<SystemTime>,
}

impl Scope {
    /// Returns whether a database is covered.
    fn has(&self, database: &Database) -> bool {
        self.all
            || database.account.as_ref().is_some_and(|account| self.accounts.contains(account))
            || self.databases.iter().any(|pattern| pattern.matches(&database.name))
    }

    /// Returns whether a document is covered. One without a creation time is not, if a time is given.
    pub(crate) fn takes(&self, document: &Document) -> bool {
        let has_type = self.types.is_empty()
            || document.text("pvt_type").is_some_and(|document_type| self.types.contains(&document_type));
        let created = || document.value("pvt_created").and_then(|value| value.as_u64());
        let seconds =
            |time: SystemTime| GREGORIAN_EPOCH + time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let since = self.since.is_none_or(|since| created().is_some_and(|created| created >= seconds(since)));
        let until = self.until.is_none_or(|until| created().is_some_and(|created| created < seconds(until)));
        has_type && since && until
    }
}

/// Parses a day or a time in RFC 3339; `None` for anything else.
#[must_use]
pub fn time(text: &str) -> Option<SystemTime> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    humantime::parse_rfc3339(&whole).ok()
}

/// The action for each document of a walk.
pub(crate) trait Visit: Send + Sync + 'static {
    /// Visits a document, and returns the result. An error only concerns the document.
    fn visit<'a>(&'a self, gateway: &'a Arc<Gateway>, found: Found) -> BoxFuture<'a, Result<Tally, Error>>;

    /// Returns whether concurrent walks through the same documents share the work.
    fn is_shared(&self) -> bool {
        false
    }

    /// Finishes a database. Returns how many bytes CouchDB has freed.
    fn leave<'a>(&'a self, _walk: Walk<'a>, _database: &'a Database) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async { Ok(0) })
    }
}

/// A walk through the documents of a scope.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'a> {
    /// The gateway that reads them.
    pub gateway: &'a Arc<Gateway>,
    /// The documents that it covers.
    pub scope: &'a Scope,
    /// Its pace.
    pub pace: &'a Pace,
    /// Receives its results.
    pub progress: &'a Progress,
    /// Ends it after the work in progress.
    pub stop: &'a CancellationToken,
}

impl Walk<'_> {
    /// Visits all documents, until done or stopped. Fails if no database matches, or if CouchDB does not list them.
    pub(crate) async fn visit(self, visit: &dyn Visit) -> Result<(), Error> {
        let databases = databases::of(self.gateway, self.scope).await?;
        self.progress.begins(databases.len() as u64);
        databases::absent(self.scope, &databases).into_iter().for_each(|fault| self.progress.says(fault));
        let ended = &Ended::default();
        stream::iter(databases)
            .for_each_concurrent(DATABASES_AT_ONCE, |database| async move {
                if self.stop.is_cancelled() {
                    return;
                }
                self.progress.enters(&database.name);
                let ends = AtomicBool::new(false);
                let through = Through { walk: self, database: &database, visit, ended, ends };
                if let Err(error) = Box::pin(through.go()).await {
                    self.progress.faulty(&database.name, Fault::of(&database.name, "", "", &error));
                }
                self.progress.leaves(&database.name);
            })
            .await;
        Ok(())
    }
}

/// A walk through one database.
struct Through<'a> {
    walk: Walk<'a>,
    database: &'a Database,
    visit: &'a dyn Visit,
    /// The documents that the databases of this walk skip.
    ended: &'a Ended,
    /// Set once visiting more of this database is pointless.
    ends: AtomicBool,
}

impl Through<'_> {
    /// Visits all documents. A database that was deleted in the meantime is finished.
    async fn go(&self) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        self.walk.gateway.plans.all_read(self.database.account.as_ref(), None).await?;
        let home = self.walk.gateway.homes.of(self.database).await?;
        for caller in home.own_accounts()? {
            let mut pages = Pages::of(&caller, self.database);
            let Some(documents) = pages.count().await? else { continue };
            self.walk.progress.add(&self.database.name, &Totals { documents, ..Totals::default() });
            let mut taken = Vec::new();
            while let Some(from) = pages.from().map(str::to_owned).filter(|_| !self.is_over()) {
                match self.turn(&from).await {
                    Turn::Own(held) => held_during(held, Box::pin(self.page(&caller, &mut pages))).await?,
                    Turn::Taken => {
                        pages.pass().await?;
                        taken.push((from, pages.from().map(str::to_owned)));
                    }
                }
            }
            for (from, end) in taken {
                Box::pin(self.after_another(&caller, &from, end.as_deref())).await?;
            }
        }
        if !self.is_over() {
            self.walk.progress.won(self.visit.leave(self.walk, self.database).await?);
        }
        Ok(())
    }

    /// Visits documents that another walk had in progress, in case it was killed.
    async fn after_another(&self, caller: &Caller, from: &str, end: Option<&str>) -> Result<(), Error> {
        let held = loop {
            if self.is_over() {
                return Ok(());
            }
            match self.turn(from).await {
                Turn::Own(held) => break held,
                Turn::Taken => tokio::time::sleep(AGAIN_AFTER).await,
            }
        };
        let mut pages = Pages::of(caller, self.database).between(from, end);
        let all = async {
            while pages.from().is_some() && !self.is_over() {
                self.page(caller, &mut pages).await?;
            }
            Ok(())
        };
        held_during(held, Box::pin(all)).await
    }

    async fn turn(&self, from: &str) -> Turn {
        if self.visit.is_shared() {
            Turn::at(&self.walk.gateway.jobs, self.database, from).await
        } else {
            Turn::Own(None)
        }
    }

    async fn page(&self, caller: &Caller, pages: &mut Pages<'_>) -> Result<(), Error> {
        let Some(documents) = pages.next().await? else {
            self.gone();
            return Ok(());
        };
        let visits = documents.into_iter().map(|(id, document)| self.look(caller, id, document));
        stream::iter(visits).buffer_unordered(self.walk.pace.at_once).collect::<Vec<()>>().await;
        Ok(())
    }

    async fn look(&self, caller: &Caller, id: String, document: Result<Document, Error>) {
        if self.is_over() {
            return;
        }
        let outcome = match document {
            Ok(document) if !self.walk.scope.takes(&document) => Ok(None),
            Ok(document) => self.one(caller, &id, document).await,
            Err(error) => Err(error.into()),
        };
        let (progress, database) = (self.walk.progress, &self.database.name);
        progress.add(database, &Totals { looked: 1, ..Totals::default() });
        match outcome {
            Ok(None) => {}
            Ok(Some(tally)) => progress.done(database, tally),
            Err(failure) => self.failed(caller, &id, &failure).await,
        }
    }

    /// Reports a fault of a document; only once for all documents that it concerns, and not if the database is gone.
    async fn failed(&self, caller: &Caller, id: &str, Failure { error, concerns }: &Failure) {
        let database = &self.database.name;
        if let Some(like) = concerns {
            if self.ended.add(like) {
                let mut fault = Fault::of(database, id, "", error);
                fault.reason.push_str("; other documents that this concerns are skipped");
                self.walk.progress.faulty(database, fault);
            }
        } else if matches!(Pages::of(caller, self.database).count().await, Ok(None)) {
            self.gone();
        } else {
            self.walk.progress.faulty(database, Fault::of(database, id, "", error));
        }
    }

    /// Reports, only once, that the database was deleted in the meantime.
    fn gone(&self) {
        if !self.ends.swap(true, Ordering::Relaxed) {
            self.walk.progress.is_gone(&self.database.name);
        }
    }

    fn is_over(&self) -> bool {
        self.walk.stop.is_cancelled() || self.ends.load(Ordering::Relaxed)
    }

    /// Visits a document; returns `None` if it is skipped.
    async fn one(&self, caller: &Caller, id: &str, document: Document) -> Result<Option<Tally>, Failure> {
        let _turn = self.walk.pace.turn().await;
        let answers = Answers::default();
        let caller = caller.clone().recorded(&answers);
        let found = Found::of(self.walk.gateway, self.database.document(id), document, caller).await?;
        let like = Like::of(self.database, &found.plan);
        if self.ended.has(&like) {
            return Ok(None);
        }
        let visited = self.visit.visit(self.walk.gateway, found).await;
        let pause = async {
            match &visited {
                Ok(tally) => self.walk.pace.took(answers.slowest(), tally).await,
                Err(Error::Couch(_)) => self.walk.pace.failed().await,
                Err(_) if answers.has_failed() => self.walk.pace.failed().await,
                Err(_) => {}
            }
        };
        tokio::select! {
            () = pause => {}
            () = self.walk.stop.cancelled() => {}
        }
        visited.map(Some).map_err(|error| Failure { concerns: like.explains(&error).then_some(like), error })
    }
}

/// Attempts for a document that clients keep changing.
pub(crate) const TRIES: u32 = 5;
/// The delay between attempts.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The number of databases walked through concurrently.
const DATABASES_AT_ONCE: usize = 4;
