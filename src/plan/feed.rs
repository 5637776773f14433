//! Follows the changes feed of the plans database, so that a changed plan takes effect at once.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stowage_base::backoff::Backoff;
use stowage_base::tasks::Tasks;
use stowage_couch::{Changes, Row, is_without_database};
use stowage_http::body::collect;
use stowage_http::target::encode;
use tokio::time::Instant;

use super::cache::Plans;

impl Plans {
    /// Follows the feed until the program stops; retries with growing delays if there is none.
    pub async fn follow(self, tasks: Tasks) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        let mut complained = false;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.follow_once() => ended,
                () = tasks.stopping() => return,
            };
            self.0.metrics.plan_feed(false);
            if !ended.no_plans {
                self.0.local.ends();
            }
            // A feed that is cut off at once is no better than none.
            if ended.had_begun && began.elapsed() > HEARTBEAT {
                backoff.reset();
                complained = false;
            }
            if !complained {
                let database = &self.0.config.database;
                tracing::warn!(%database, reason = %ended.reason, "no changes feed of the storage plans; asking again with growing pauses");
                complained = true;
            }
            self.everything_may_have_changed();
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = tasks.stopping() => return,
            }
        }
    }

    /// Reads every plan once, for a command, which does not follow the feed: only then are the users' plans known.
    ///
    /// # Errors
    /// Returns the reason, for a person, if the plans cannot be read.
    pub async fn read_once(&self) -> Result<(), String> {
        match self.read_all().await {
            Err(ended) if !ended.no_plans => Err(format!("the storage plans cannot be read: {}", ended.reason)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reads all plans, then their changes. It never continues from where an earlier feed ended: a CouchDB that was restored from a backup accepts a
    /// sequence that it has not reached again, and would report none of the plans saved until then.
    async fn follow_once(&self) -> Ended {
        let since = match self.read_all().await {
            Ok(since) => since,
            Err(ended) => return ended,
        };
        let heartbeat = HEARTBEAT.as_millis();
        let query = format!("feed=continuous&include_docs=true&heartbeat={heartbeat}&since={}", encode(&since));
        let mut changes = match self.open(&query).await {
            Ok(changes) => changes,
            Err(ended) => return ended,
        };
        self.0.metrics.plan_feed(true);
        loop {
            if let Err(reason) = changes.line().await.and_then(|line| self.line(&line)) {
                return Ended { had_begun: true, reason, ..Ended::default() };
            }
        }
    }

    /// Reads every plan, and returns the sequence to continue from.
    async fn read_all(&self) -> Result<String, Ended> {
        let broken = |reason| Ended { had_begun: true, reason, ..Ended::default() };
        let mut changes = self.open("feed=normal&include_docs=true&since=0").await?;
        // After a 404 the database has appeared, and may have plans.
        self.0.local.ends();
        // Later, the users of before still count until their plans are reported anew: documents on their connections stay within reach.
        if !self.users().is_known() {
            self.feed_begins();
        }
        self.everything_may_have_changed();
        loop {
            match changes.row().await.map_err(broken)? {
                Row::Change(line) => self.change(&line).map_err(broken)?,
                Row::End(since) => return Ok(since),
            }
        }
    }

    async fn open(&self, query: &str) -> Result<Changes, Ended> {
        let database = encode(&self.0.config.database);
        let answer = match self.0.couch.changes(&database, query).await {
            Ok(answer) => answer,
            Err(error) => return Err(Ended { reason: stowage_base::log::chain(&error), ..Ended::default() }),
        };
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = collect(answer.into_body(), LONGEST_REFUSAL).await.unwrap_or_default();
            // A 404 of a proxy does not say that there are no plans.
            let no_plans = status == StatusCode::NOT_FOUND && is_without_database(&body);
            if no_plans {
                self.0.local.all_told();
            }
            let reason = format!("CouchDB answered {}", status.as_u16());
            return Err(Ended { had_begun: false, no_plans, reason });
        }
        Ok(Changes::new(answer.into_body()))
    }

    /// Records a line of the continuous feed.
    ///
    /// # Errors
    /// The reason if the feed cannot be used any more: it may have left out a change, so all plans have to be read again.
    fn line(&self, line: &[u8]) -> Result<(), String> {
        let line = line.trim_ascii();
        if line.is_empty() {
            // All plans were read before this feed began, and this line proves that the feed arrives: a proxy could have held it back.
            self.0.local.all_told();
            return Ok(());
        }
        self.change(line)
    }

    /// Records a change.
    ///
    /// # Errors
    /// The line is no change, or leaves out a document that is not deleted: CouchDB could not read it, and it may be a plan.
    fn change(&self, line: &[u8]) -> Result<(), String> {
        let Ok(change) = serde_json::from_slice::<Change>(line) else {
            return Err("CouchDB broke it off".to_owned());
        };
        let document = change.doc.as_ref().filter(|_| !change.deleted);
        if document.is_none() && !change.deleted {
            self.tell(&change.id, true);
            return Err(format!("CouchDB left out the document `{}`", change.id));
        }
        self.document_changed(&change.id, document);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Change {
    id: String,
    #[serde(default)]
    deleted: bool,
    doc: Option<Value>,
}

/// How the feed ended.
#[derive(Default)]
struct Ended {
    had_begun: bool,
    /// Whether there is no plans database.
    no_plans: bool,
    reason: String,
}

/// The delay before the first retry.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest delay.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// The interval between CouchDB's empty lines, which let `timeouts.idle_body` detect a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The maximum length of the body of a refusal, in bytes.
const LONGEST_REFUSAL: u64 = 64 << 10;
