//! Looks at the documents of many databases, a few at once, and does something with each: what moving and verifying
//! attachments have in common.
//!
//! Nothing is kept between runs: what was done already is found done by the next one.

mod databases;
mod documents;
mod pace;
mod progress;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use glob::Pattern;
use stowage_couch::Document;
use tokio_util::sync::CancellationToken;

use crate::database::AccountId;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::Found;
use crate::record::GREGORIAN_EPOCH;
use crate::router::{Database, DocumentTarget};
pub(crate) use databases::of as databases;
use documents::Pages;
pub use pace::Pace;
pub use progress::{Fault, Part, Progress, Tally, Totals};

/// Which documents are looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Databases whose decoded name fits one of these.
    pub databases: Vec<Pattern>,
    /// All databases of these accounts.
    pub accounts: Vec<AccountId>,
    /// Every database that plans speak of.
    pub all: bool,
    /// Documents with one of these as their `pvt_type`; empty: of any.
    pub types: Vec<String>,
    /// Documents whose `pvt_created` is this or later.
    pub since: Option<SystemTime>,
    /// Documents whose `pvt_created` is before this.
    pub until: Option<SystemTime>,
}

impl Scope {
    /// Whether a database is looked at.
    fn has(&self, database: &Database) -> bool {
        self.all
            || database.account.as_ref().is_some_and(|account| self.accounts.contains(account))
            || self.databases.iter().any(|pattern| pattern.matches(&database.name))
    }

    /// Whether a document is. One that does not say when it was made is not, where that is asked.
    fn takes(&self, document: &Document) -> bool {
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

/// What is done with each document that is looked at.
pub(crate) trait Visit: Send + Sync + 'static {
    /// Does it, and says what came of it. An error is the document's, and ends nothing.
    fn visit<'a>(&'a self, gateway: &'a Arc<Gateway>, found: Found) -> BoxFuture<'a, Result<Tally, Error>>;

    /// A database has been looked through.
    fn leave<'a>(&'a self, _gateway: &'a Arc<Gateway>, _database: &'a Database) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async { Ok(0) })
    }
}

/// Looks at all documents of a scope, until that is done or `stop` is raised. Fails where no database fits, or CouchDB does
/// not list them.
pub(crate) async fn walk(
    gateway: &Arc<Gateway>,
    scope: &Scope,
    pace: &Pace,
    visit: &dyn Visit,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let databases = databases::of(gateway, scope).await?;
    progress.begins(databases.len() as u64);
    stream::iter(databases)
        .for_each_concurrent(DATABASES_AT_ONCE, |database| async move {
            if stop.is_cancelled() {
                return;
            }
            let part = progress.enters(&database.name);
            let outcome = through(gateway, &database, (scope, pace), visit, (progress, &part), stop).await;
            if let Err(error) = outcome {
                progress.faulty(&part, Fault::of(&database.name, "", "", &error));
            }
            progress.leaves(part);
        })
        .await;
    Ok(())
}

/// Looks through one database. One that was deleted meanwhile has ended.
async fn through(
    gateway: &Arc<Gateway>,
    database: &Database,
    (scope, pace): (&Scope, &Pace),
    visit: &dyn Visit,
    (progress, part): (&Progress, &Part),
    stop: &CancellationToken,
) -> Result<(), Error> {
    let home = gateway.homes.of(database).await?;
    for caller in home.own_accounts()? {
        let mut pages = Pages::of(&caller, database);
        part.will_have(pages.count().await?);
        while let Some(documents) = pages.next().await? {
            let visits = documents.into_iter().map(|read| {
                let caller = caller.clone();
                async move {
                    if stop.is_cancelled() {
                        return;
                    }
                    let (id, document) = read;
                    let outcome = match document {
                        Ok(document) if !scope.takes(&document) => Ok(None),
                        Ok(document) => {
                            one(gateway, database.document(&id), document, caller, pace, visit).await.map(Some)
                        }
                        Err(error) => Err(error),
                    };
                    part.looked();
                    match outcome {
                        Ok(None) => {}
                        Ok(Some(tally)) => progress.done(part, tally),
                        Err(error) => progress.faulty(part, Fault::of(&database.name, &id, "", &error)),
                    }
                }
            });
            stream::iter(visits).buffer_unordered(pace.at_once).collect::<Vec<()>>().await;
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }
    progress.won(visit.leave(gateway, database).await?);
    Ok(())
}

async fn one(
    gateway: &Arc<Gateway>,
    target: DocumentTarget,
    document: Document,
    caller: stowage_couch::Caller,
    pace: &Pace,
    visit: &dyn Visit,
) -> Result<Tally, Error> {
    let _turn = pace.turn().await;
    let began = tokio::time::Instant::now();
    let found = Found::of(gateway, target, document, caller).await?;
    let tally = visit.visit(gateway, found).await?;
    pace.took(began.elapsed(), &tally).await;
    Ok(tally)
}

/// How often a document is tried that clients write at the same time.
pub(crate) const TRIES: u32 = 5;
/// The pause before it is tried again.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Databases that are looked through at the same time.
const DATABASES_AT_ONCE: usize = 4;
