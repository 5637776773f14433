//! Follows the changes feed of the plans database, so that a changed plan takes effect at once.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_couch::{Changes, is_without_database};
use stowage_http::body::collect;
use stowage_http::target::encode;
use tokio::time::Instant;

use super::cache::Plans;

impl Plans {
    /// Follows the feed until the program stops; retries with growing delays if there is none.
    pub async fn follow(self, tasks: Tasks) {
        let mut since = "0".to_owned();
        let mut pause = FIRST_PAUSE;
        let mut complained = false;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.follow_once(&mut since) => ended,
                () = tasks.stopping() => return,
            };
            self.0.metrics.plan_feed(false);
            if !ended.no_plans {
                self.0.local.ends();
            }
            // A feed that is cut off at once is no better than none.
            if ended.had_begun && began.elapsed() > HEARTBEAT {
                pause = FIRST_PAUSE;
                complained = false;
            }
            if !complained {
                let database = &self.0.config.database;
                tracing::warn!(%database, reason = %ended.reason, "no changes feed of the storage plans; asking again with growing pauses");
                complained = true;
            }
            if ended.start_over {
                since = "0".to_owned();
            }
            self.everything_may_have_changed();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = tasks.stopping() => return,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn follow_once(&self, since: &mut String) -> Ended {
        let database = encode(&self.0.config.database);
        let heartbeat = HEARTBEAT.as_millis();
        let query = format!("feed=continuous&include_docs=true&heartbeat={heartbeat}&since={}", encode(since));
        let answer = match self.0.couch.changes(&database, &query).await {
            Ok(answer) => answer,
            Err(error) => return Ended { reason: stowage_base::log::chain(&error), ..Ended::default() },
        };
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = collect(answer.into_body(), LONGEST_REFUSAL).await.unwrap_or_default();
            // A 404 of a proxy does not say that there are no plans.
            let no_plans = status == StatusCode::NOT_FOUND && is_without_database(&body);
            if no_plans {
                self.0.local.all_told();
            }
            let start_over = no_plans || status == StatusCode::BAD_REQUEST;
            let reason = format!("CouchDB answered {}", status.as_u16());
            return Ended { had_begun: false, start_over, no_plans, reason };
        }
        self.0.metrics.plan_feed(true);
        if since == "0" {
            self.feed_begins();
        }
        self.everything_may_have_changed();
        let mut changes = Changes::new(answer.into_body());
        loop {
            match changes.line().await {
                Ok(line) => self.line(&line, since),
                Err(reason) => return Ended { had_begun: true, reason, ..Ended::default() },
            }
        }
    }

    fn line(&self, line: &[u8], since: &mut String) {
        let line = line.trim_ascii();
        if line.is_empty() {
            // CouchDB sends an empty line when the feed is caught up, and then at intervals.
            self.0.local.all_told();
            return;
        }
        match serde_json::from_slice::<Change>(line) {
            Ok(change) => {
                let document = change.doc.as_ref().filter(|_| !change.deleted);
                self.document_changed(&change.id, document);
                *since = match change.seq {
                    Value::String(seq) => seq,
                    seq => seq.to_string(),
                };
            }
            Err(_) => self.everything_may_have_changed(),
        }
    }
}

#[derive(Deserialize)]
struct Change {
    seq: Value,
    id: String,
    #[serde(default)]
    deleted: bool,
    doc: Option<Value>,
}

/// How the feed ended.
#[derive(Default)]
struct Ended {
    had_begun: bool,
    start_over: bool,
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
