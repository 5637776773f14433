//! Displays the progress of a walk through databases, to a person or a program.

use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use serde_json::{Value, json};
use stowage_base::console::{complain, say};
use stowage_http::body::BoxError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::shown::{Format, Shown, rate};
use crate::walk::{Progress, Totals};

/// Displays a walk while it runs, and a table at its end. The first SIGINT or SIGTERM ends it after the work in progress, the second at once. `done` is
/// the word for what is counted: `moved`, `to be moved` or `checked`. `rest` is what still goes on after the walk: any further signal ends it.
pub(super) async fn watched(
    progress: &Progress,
    (format, done): (Format, &str),
    stop: &CancellationToken,
    walk: impl Future<Output = Result<(), crate::error::Error>>,
    rest: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        ended: false,
    };
    let outcome = shown_to_its_end(progress, (format, done), stop, Box::pin(walk), &mut signals).await;
    if signals.ended {
        return outcome;
    }
    tokio::select! {
        () = rest => outcome,
        () = signals.next() => {
            outcome.and_then(|()| Err("stopped before everything that was replaced is removed".into()))
        }
    }
}

/// The signals that end a command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Whether a second one has ended the walk.
    ended: bool,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Handles a signal during the walk.
    fn end(&mut self, stop: &CancellationToken) -> Result<(), BoxError> {
        if stop.is_cancelled() {
            self.ended = true;
            return Err("stopped at once by a second signal".into());
        }
        complain("stopping after what is under way; the next run goes on from here");
        stop.cancel();
        Ok(())
    }
}

async fn shown_to_its_end(
    progress: &Progress,
    (format, done): (Format, &str),
    stop: &CancellationToken,
    walk: impl Future<Output = Result<(), crate::error::Error>>,
    signals: &mut Signals,
) -> Result<(), BoxError> {
    let began = Instant::now();
    let mut shown = Shown::new(format);
    let mut walk = std::pin::pin!(walk);
    let mut tick = tokio::time::interval(shown.every());
    let outcome = loop {
        tokio::select! {
            outcome = &mut walk => break outcome,
            _ = tick.tick() => shown.show(progress, done, Instant::now())?,
            () = signals.next() => signals.end(stop)?,
        }
    };
    shown.end();
    // What was found is told, also where the walk could not go on.
    if outcome.is_ok() || progress.databases().0 > 0 {
        table(progress, (format, done), began.elapsed(), stop.is_cancelled())?;
    }
    outcome.map_err(|error| error.to_string())?;
    let faults = progress.totals().faults;
    if faults > 0 {
        return Err(format!("{faults} could not be {done} or are wrong").into());
    }
    if stop.is_cancelled() { Err("it was stopped before its end".into()) } else { Ok(()) }
}

/// Returns the last line of a result in JSON. `more` is what has no line of its own.
fn last_line(progress: &Progress, took: Duration, stopped: bool) -> Value {
    let ((_, faults), (left, more_left)) = (progress.faults(), progress.left());
    json!({
        "total": progress.totals(),
        "bytes_won": progress.bytes_won(),
        "removed": progress.removed().0,
        "jobs": progress.jobs(),
        "left": left.len() as u64 + more_left,
        "more": { "faults": faults, "left": more_left },
        "seconds": took.as_secs_f64(),
        "stopped": stopped,
    })
}

/// Prints the result: the faults, each database, and the totals.
fn table(progress: &Progress, (format, done): (Format, &str), took: Duration, stopped: bool) -> Result<(), BoxError> {
    let (faults, unsaid) = progress.faults();
    let (totals, ended) = (progress.totals(), progress.ended());
    let (left, left_unsaid) = progress.left();
    let all_left = left.len() as u64 + left_unsaid;
    if format == Format::Json {
        faults.iter().try_for_each(|fault| say(&json!({ "fault": fault }).to_string()))?;
        left.iter().try_for_each(|left| say(&json!({ "left": left }).to_string()))?;
        progress.gone().iter().try_for_each(|name| say(&json!({ "deleted": name }).to_string()))?;
        ended.iter().try_for_each(|part| say(&json!({ "database": part }).to_string()))?;
        say(&last_line(progress, took, stopped).to_string())?;
        return Ok(());
    }
    for fault in faults.iter().chain(&left) {
        let place = [&*fault.database, &*fault.document, &*fault.attachment].join(" ");
        say(&format!("{}  {}  {}", fault.kind, place.trim_end(), fault.reason))?;
    }
    if unsaid + left_unsaid > 0 {
        say(&format!("and {} more", unsaid + left_unsaid))?;
    }
    for name in progress.gone() {
        say(&format!("{name} was deleted meanwhile"))?;
    }
    let width = ended.iter().map(|part| part.database.len()).max().unwrap_or(0).max("all".len());
    say(&format!(
        "{:width$}  {:>10}  {:>11}  {:>12}  {:>7}",
        "database", "documents", "attachments", "bytes", "faults"
    ))?;
    let all = Totals { database: "all".to_owned(), ..totals };
    for part in ended.iter().chain([&all]) {
        let Totals { database, looked, attachments, bytes, faults, .. } = part;
        let bytes = HumanBytes(*bytes).to_string();
        say(&format!("{database:width$}  {looked:>10}  {attachments:>11}  {bytes:>12}  {faults:>7}"))?;
    }
    let rate = HumanBytes(rate(all.bytes, took));
    say(&format!("{} attachments {done} in {:.1} s, {rate}/s", all.attachments, took.as_secs_f64()))?;
    if all_left > 0 {
        say(&format!("{all_left} attachments stay where they are"))?;
    }
    let (removed, of_bytes) = progress.removed();
    if removed > 0 {
        say(&format!("{removed} objects removed ({})", HumanBytes(of_bytes)))?;
    }
    if progress.jobs() > 0 {
        say(&format!("{} jobs wait for a gateway to do them (stowage jobs)", progress.jobs()))?;
    }
    if progress.bytes_won() > 0 {
        say(&format!("CouchDB's files are {} smaller", HumanBytes(progress.bytes_won())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Fault;

    #[test]
    fn the_last_line_says_how_many_faults_have_none() {
        let progress = Progress::default();
        for _ in 0..10_002 {
            progress.faulty("db", Fault::new(("db", "doc", "a"), "missing", "the object is gone"));
        }
        for _ in 0..10_001 {
            progress.leaves_behind(Fault::new(("db", "doc", "a"), "kazoo", "a pointer of KAZOO's"));
        }
        let last = last_line(&progress, Duration::ZERO, false);
        assert_eq!((&last["more"], &last["left"]), (&json!({ "faults": 2, "left": 1 }), &json!(10_001)), "{last}");
    }
}
