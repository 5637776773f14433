//! The display of a walk while it runs: bars on a terminal, lines for a pipe.

use std::collections::HashMap;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use stowage_base::console::{complain, say};
use stowage_http::body::BoxError;

use crate::walk::{Progress, Totals};

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Progress bars and a table; without a terminal, lines every 10 seconds
    Text,
    /// One JSON object per line
    Json,
}

/// The display, on the screen or as lines.
pub(super) struct Shown {
    view: View,
    began: Instant,
    /// When it was refreshed last.
    last: Instant,
    /// Since when each database is in work.
    since: HashMap<String, Instant>,
}

enum View {
    Bars { all: ProgressBar, each: HashMap<String, ProgressBar>, screen: MultiProgress },
    Lines(Format),
}

impl Shown {
    pub(super) fn new(format: Format) -> Self {
        if format == Format::Json || !stderr().is_terminal() {
            return Self::with(View::Lines(format));
        }
        Self::on(MultiProgress::new())
    }

    fn on(screen: MultiProgress) -> Self {
        let all = screen.add(ProgressBar::new(0));
        Self::with(View::Bars { all, each: HashMap::new(), screen })
    }

    fn with(view: View) -> Self {
        let began = Instant::now();
        Self { view, began, last: began, since: HashMap::new() }
    }

    pub(super) const fn every(&self) -> Duration {
        match self.view {
            View::Bars { .. } => Duration::from_millis(150),
            View::Lines(_) => Duration::from_secs(10),
        }
    }

    pub(super) fn show(&mut self, progress: &Progress, done: &str, now: Instant) -> Result<(), BoxError> {
        let (whole, in_work) = self.lines(progress, now);
        let (ended, databases) = progress.databases();
        match &mut self.view {
            View::Lines(Format::Json) => say(&json_line((ended, databases), &whole, &in_work))?,
            View::Lines(Format::Text) => {
                text_lines((ended, databases), &whole, &in_work, done).iter().for_each(|line| complain(line));
            }
            View::Bars { all, each, screen } => {
                all.set_style(style(template(ended)));
                all.set_length(databases);
                all.set_position(ended);
                all.set_message(format!("databases, {}", whole.text(done)));
                each.retain(|name, bar| {
                    let stays = in_work.iter().any(|part| part.totals.database == *name);
                    if !stays {
                        bar.finish_and_clear();
                    }
                    stays
                });
                for part in in_work {
                    let Totals { database, documents, looked, .. } = &part.totals;
                    let bar = each.entry(database.clone()).or_insert_with(|| {
                        screen.add(ProgressBar::new(0).with_style(style("  {prefix} {bar:20} {pos}/{len} {msg}")))
                    });
                    bar.set_prefix(database.clone());
                    bar.set_length(*documents.max(looked));
                    bar.set_position(*looked);
                    bar.set_message(part.text_with_rest(done));
                }
            }
        }
        Ok(())
    }

    /// Returns the line for the whole, and those of the databases in work.
    fn lines(&mut self, progress: &Progress, now: Instant) -> (Line, Vec<Line>) {
        let in_work = progress.in_work();
        self.since.retain(|name, _| in_work.iter().any(|part| part.database == *name));
        let mut lines = Vec::with_capacity(in_work.len());
        for part in in_work {
            // A database that is new has begun after the last refresh.
            let since = *self.since.entry(part.database.clone()).or_insert(self.last);
            lines.push(Line::of(part, now.duration_since(since)));
        }
        self.last = now;
        (Line::of(progress.totals(), now.duration_since(self.began)), lines)
    }

    pub(super) fn end(self) {
        if let View::Bars { all, each, .. } = self.view {
            each.into_values().for_each(|bar| bar.finish_and_clear());
            all.finish_and_clear();
        }
    }
}

/// What is shown of a database in work, or of the whole.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    totals: Totals,
    bytes_per_second: u64,
    /// Those of databases in work that are not visited yet.
    documents_left: u64,
}

impl Line {
    fn of(totals: Totals, time: Duration) -> Self {
        let documents_left = totals.documents.saturating_sub(totals.looked);
        Self { bytes_per_second: rate(totals.bytes, time), documents_left, totals }
    }

    fn text(&self, done: &str) -> String {
        let Totals { looked, attachments, bytes, faults, .. } = &self.totals;
        let wrong = if *faults > 0 { format!(", {faults} faults") } else { String::new() };
        let (bytes, rate) = (HumanBytes(*bytes), HumanBytes(self.bytes_per_second));
        format!("{looked} documents, {attachments} attachments {done} ({bytes}, {rate}/s){wrong}")
    }

    fn text_with_rest(&self, done: &str) -> String {
        format!("{}, {} documents left", self.text(done), self.documents_left)
    }
}

pub(super) fn rate(bytes: u64, time: Duration) -> u64 {
    (bytes as f64 / time.as_secs_f64().max(0.001)) as u64
}

fn json_line((ended, databases): (u64, u64), whole: &Line, in_work: &[Line]) -> String {
    json!({ "progress": whole, "databases": { "done": ended, "all": databases }, "in_work": in_work }).to_string()
}

fn text_lines((ended, databases): (u64, u64), whole: &Line, in_work: &[Line], done: &str) -> Vec<String> {
    let all = format!("databases {ended}/{databases}, {}", whole.text(done));
    let parts = in_work.iter().map(|part| format!("  {}: {}", part.totals.database, part.text_with_rest(done)));
    [all].into_iter().chain(parts).collect()
}

/// Returns the template of the bar for the whole. The time left follows from the databases that are done: before the first, it would be 0 s.
const fn template(ended: u64) -> &'static str {
    if ended == 0 {
        "{bar:30.cyan} {pos}/{len} {msg} {elapsed_precise}"
    } else {
        "{bar:30.cyan} {pos}/{len} {msg} {elapsed_precise} left {eta}"
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;
    use serde_json::Value;

    use super::*;
    use crate::walk::Tally;

    /// Returns the progress of two databases, of which one is done.
    fn halfway() -> Progress {
        let progress = Progress::default();
        progress.begins(2);
        for (database, looked) in [("first", 10), ("second", 20)] {
            progress.enters(database);
            progress.add(database, &Totals { documents: looked * 3 / 2, looked, ..Totals::default() });
            progress.done(database, Tally { attachments: 5, bytes: 10 << 20, ..Tally::default() });
        }
        progress.leaves("first");
        progress
    }

    #[test]
    fn a_pipe_gets_a_line_for_the_whole_and_one_for_each_database_in_work() {
        let mut shown = Shown::with(View::Lines(Format::Text));
        let (whole, in_work) = shown.lines(&halfway(), shown.began + Duration::from_secs(10));
        let said = text_lines((1, 2), &whole, &in_work, "moved");
        let expected = [
            "databases 1/2, 30 documents, 10 attachments moved (20.00 MiB, 2.00 MiB/s)",
            "  second: 20 documents, 5 attachments moved (10.00 MiB, 1.00 MiB/s), 10 documents left",
        ];
        assert_eq!(said, expected);
        let json: Value = serde_json::from_str(&json_line((1, 2), &whole, &in_work)).unwrap();
        assert_eq!(json["progress"]["bytes_per_second"], 2 << 20, "{json}");
        assert_eq!(json["databases"], json!({ "done": 1, "all": 2 }), "{json}");
        let part = &json["in_work"][0];
        let numbers = ["documents", "looked", "bytes_per_second", "documents_left"].map(|key| part[key].as_u64());
        assert_eq!((part["database"].as_str(), numbers), (Some("second"), [30, 20, 1 << 20, 10].map(Some)), "{json}");
    }

    #[test]
    fn bars_show_rates_and_what_is_left() {
        let mut shown = Shown::on(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let progress = halfway();
        shown.show(&progress, "moved", shown.began + Duration::from_secs(10)).unwrap();
        let View::Bars { all, each, .. } = &shown.view else { panic!("no bars") };
        assert_eq!(all.message(), "databases, 30 documents, 10 attachments moved (20.00 MiB, 2.00 MiB/s)");
        let bar = &each["second"];
        assert_eq!((each.len(), bar.position(), bar.length()), (1, 20, Some(30)));
        assert_eq!(bar.message(), "20 documents, 5 attachments moved (10.00 MiB, 1.00 MiB/s), 10 documents left");
        progress.leaves("second");
        shown.show(&progress, "moved", shown.began + Duration::from_secs(11)).unwrap();
        let View::Bars { each, .. } = &shown.view else { panic!("no bars") };
        assert!(each.is_empty());
    }

    #[test]
    fn the_time_left_is_shown_once_a_database_is_done() {
        assert_eq!([0, 1].map(|ended| template(ended).contains("eta")), [false, true]);
    }
}
