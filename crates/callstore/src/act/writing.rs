//! Writing due records: in order, except for those that CouchDB does not take now.

use std::collections::BTreeMap;
use std::time::Duration;

use stowage_base::backoff::Backoff;
use stowage_base::log;
use stowage_http::body::BoxError;

use super::{AGAIN, AT_ONCE, Actor, IDLE};
use crate::clock::micros;
use crate::decision::What;
use crate::fold::Key;
use crate::records::{Outcome, Rests, Subject, Unable, records};
use crate::state::{standing_of, talk_of};

/// The result of one look at due records.
enum Look {
    /// Some were written.
    Wrote,
    /// All of them have to wait.
    Passed,
    /// There were no more.
    Ended,
}

impl Actor {
    /// Writes due records in order, and waits while CouchDB is unavailable.
    pub(super) async fn write_records(&self, epoch: u64) {
        let mut rests = Rests::default();
        let (mut pause, mut backoff) = (IDLE, Backoff::new(AGAIN, LONGEST));
        loop {
            tokio::time::sleep(pause).await;
            match self.write_due(epoch, &mut rests).await {
                Ok(Look::Wrote) => {
                    pause = Duration::ZERO;
                    backoff.reset();
                }
                Ok(Look::Passed) => pause = Duration::ZERO,
                Ok(Look::Ended) => pause = IDLE,
                Err(error) => {
                    self.metrics.record("failed");
                    pause = backoff.next_pause();
                    tracing::warn!(error = log::chain(&*error), again = ?pause, "records cannot be written; they wait");
                }
            }
        }
    }

    /// Looks at some due records, and writes those that do not have to wait.
    async fn write_due(&self, epoch: u64, rests: &mut Rests) -> Result<Look, BoxError> {
        let now = self.clock.moment();
        let (at, key) = rests.begin(now.steady);
        let due = self.state.due_after((at, key.as_str()), now.day, AT_ONCE)?;
        if due.is_empty() {
            rests.ended(now.day);
            return Ok(Look::Ended);
        }
        let (mut decided, mut last) = (Vec::new(), None);
        let (mut failing, mut failed) = (false, None);
        for (at, key) in due {
            match self.write_one(epoch, &key, rests).await {
                Ok(Some(what)) => {
                    failing = false;
                    decided.push(what);
                }
                Ok(None) => {}
                Err(error) => {
                    let unable = error.downcast_ref::<Unable>();
                    if let Some(unable) = unable {
                        rests.failed(&unable.database, self.clock.moment().steady);
                    }
                    // One database may fail alone: its records wait, and those of the others are tried. A second one, with nothing written in
                    // between, or no answer means that the whole of CouchDB may have failed.
                    if failing || unable.is_none() {
                        failed = Some(error);
                        break;
                    }
                    failing = true;
                    self.metrics.record("failed");
                    tracing::warn!(error = log::chain(&*error), "a database takes no records; they wait");
                }
            }
            last = Some((at, key));
        }
        let look = if decided.is_empty() { Look::Passed } else { Look::Wrote };
        if !decided.is_empty() {
            self.decide(epoch, decided).await?;
            // Wait until the decisions are folded: until then the same records count as due.
            if let Some(end) = self.journal.end().await? {
                self.progress.reaches(end).await;
            }
        }
        // Only now: what the journal did not take has to be looked at again.
        if let Some((at, key)) = last {
            rests.reached(at, &key);
        }
        failed.map_or(Ok(look), Err)
    }

    /// Writes the records of one call. Returns `None` if it has to wait.
    async fn write_one(&self, epoch: u64, key: &Key, rests: &mut Rests) -> Result<Option<What>, BoxError> {
        let now = self.clock.moment();
        if rests.has_record(key, now.steady) {
            return Ok(None);
        }
        let through = self.state.index().offset.unwrap_or_default();
        let Some((stored, legs)) = self.state.dialog(key)? else { return Ok(None) };
        let (standing, ended) = standing_of(&stored, &legs);
        let call = match stored.call.as_deref() {
            Some(call) if self.records.invites || self.records.forks => self.state.call(call)?,
            _ => Vec::new(),
        };
        let ended = ended.unwrap_or_else(|| stored.item.last.unwrap_or_default());
        let recording = if key.is_dialog() { None } else { self.state.recording_of(&stored)? };
        let recording = recording.as_deref();
        let talk = talk_of(&stored, &legs).filter(|_| key.is_dialog());
        let subject = Subject { key, stored: &stored, standing, ended, talk, legs: &legs, recording, call: &call };
        // Leave KAZOO time to write its own document first.
        let found =
            stored.item.standing_death().map(|death| death.found.saturating_add(micros(self.records.kazoo_wait)));
        let wait = found.map_or(0, |until| until.saturating_sub(now.day));
        if !key.is_dialog() && self.records.kazoo && wait > 0 {
            rests.wait(now.steady.saturating_add(Duration::from_micros(wait.unsigned_abs())));
            return Ok(None);
        }
        let mut prints = BTreeMap::new();
        for record in records(&subject, &self.records) {
            let Some(writer) = &self.writer else { continue };
            prints.insert(record.kind.into(), record.print.as_str().into());
            let known = stored.item.recorded.get(record.kind);
            if known.is_some_and(|known| **known == *record.print) {
                continue;
            }
            if rests.has_database(&record.database, now.steady) {
                return Ok(None);
            }
            self.may_act(epoch)?;
            let outcome = writer.save(&record).await?;
            self.metrics.record(outcome.word());
            let (kind, database, now) = (record.kind, &*record.database, self.clock.moment().steady);
            match outcome {
                Outcome::Refused(status) => {
                    tracing::error!(status, kind, database, "CouchDB refuses a record; it is tried again later");
                    rests.refused(key, database, now);
                    return Ok(None);
                }
                Outcome::Barred(status) => {
                    tracing::error!(status, kind, database, "CouchDB refuses a database; its records wait");
                    rests.failed(database, now);
                    return Ok(None);
                }
                Outcome::Written | Outcome::Known | Outcome::Corrected | Outcome::Foreign => {
                    rests.saved(key, database);
                }
            }
        }
        Ok(Some(What::Recorded { key: key.clone(), prints, through }))
    }
}

/// The maximum delay before a retry.
const LONGEST: Duration = Duration::from_secs(30);
