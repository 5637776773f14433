//! The API's view of runs.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{Outcome, Run, State};
use crate::walk::Progress;

/// The result of a run that has ended.
#[derive(Debug)]
pub(super) struct Report {
    state: &'static str,
    summary: Map<String, Value>,
    tables: Map<String, Value>,
}

impl Report {
    pub(super) fn new(run: &Run, progress: &Progress, outcome: &Outcome) -> Self {
        let (state, error) = match outcome {
            Outcome::Done => ("done", None),
            Outcome::Stopped => ("stopped", None),
            Outcome::Failed(error) => ("failed", Some(error.as_str())),
        };
        let ended = Some((SystemTime::now(), run.clock.elapsed()));
        Self { state, summary: summary(run, progress, (state, error), ended), tables: tables(progress) }
    }

    pub(super) const fn state(&self) -> &'static str {
        self.state
    }
}

impl Run {
    /// Returns the progress or the result of the run, in brief.
    pub(super) fn summary(&self) -> Value {
        self.members(false).into()
    }

    /// Returns the summary, with the finished databases and the faults.
    pub(super) fn shown(&self) -> Value {
        self.members(true).into()
    }

    fn members(&self, with_tables: bool) -> Map<String, Value> {
        let state = self.state.borrow().clone();
        let (mut shown, more) = match &state {
            State::Ended(report) => (report.summary.clone(), with_tables.then(|| report.tables.clone())),
            State::Runs(progress) => {
                let state = match (self.is_over(), self.stop.is_cancelled()) {
                    (true, _) => ("failed", Some("a fault of the gateway ended it; the log has more")),
                    (false, true) => ("stopping", None),
                    (false, false) => ("running", None),
                };
                (summary(self, progress, state, None), with_tables.then(|| tables(progress)))
            }
        };
        shown.extend(more.unwrap_or_default());
        shown
    }
}

fn summary(
    run: &Run,
    progress: &Progress,
    (state, error): (&str, Option<&str>),
    ended: Option<(SystemTime, Duration)>,
) -> Map<String, Value> {
    let (done, all) = progress.databases();
    let (objects, bytes) = progress.removed();
    let (left, more) = progress.left();
    let took = ended.map_or_else(|| run.clock.elapsed(), |(_, took)| took);
    let in_work = if ended.is_none() { progress.in_work() } else { Vec::new() };
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    let shown = json!({
        "id": run.id,
        "kind": run.kind.as_str(),
        "state": state,
        "options": run.options,
        "started_by": run.request.to_string(),
        "began": time(run.began),
        "ended": ended.map(|(ended, _)| time(ended)),
        "seconds": took.as_secs_f64(),
        "databases": { "done": done, "all": all },
        "total": progress.totals(),
        "in_work": in_work,
        "bytes_won": progress.bytes_won(),
        "removed": { "objects": objects, "bytes": bytes },
        "jobs": progress.jobs(),
        "left": left.len() as u64 + more,
        "error": error,
    });
    match shown {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Returns the tables, up to the row limit, with the number of rows left out.
fn tables(progress: &Progress) -> Map<String, Value> {
    let (mut faults, unsaid) = progress.faults();
    let (mut finished, mut deleted) = (progress.ended(), progress.gone());
    let more = (finished.len().saturating_sub(MOST_ROWS), unsaid + faults.len().saturating_sub(MOST_ROWS) as u64);
    faults.truncate(MOST_ROWS);
    finished.truncate(MOST_ROWS);
    deleted.truncate(MOST_ROWS);
    Map::from_iter([
        ("finished".to_owned(), json!(finished)),
        ("faults".to_owned(), json!(faults)),
        ("deleted".to_owned(), json!(deleted)),
        ("more".to_owned(), json!({ "finished": more.0, "faults": more.1 })),
    ])
}

/// The row limit of a table. The commands list more.
const MOST_ROWS: usize = 1000;
