//! `callstore replay`: sends the events of a file to a running call store.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use stowage_base::console::{complain, say};
use stowage_http::body::BoxError;
use stowage_http::talker::Talker;

use super::running::Running;
use super::serve::block_on;
use crate::api::{Piece, Splitter};

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    running: Running,
    /// Events as JSON: one a line, or a list
    file: PathBuf,
}

impl Replay {
    /// Sends the events in batches, and prints how many were taken.
    pub(super) fn run(&self) -> Result<(), BoxError> {
        let file = std::fs::File::open(&self.file)
            .map_err(|error| format!("{} cannot be read: {error}", self.file.display()))?;
        let mut file = BufReader::new(file);
        block_on(async {
            let talker = self.running.talker()?;
            let (mut splitter, mut taken) = (Splitter::new(MOST, false), 0);
            loop {
                let mut pieces = Vec::new();
                let bytes = file.fill_buf()?;
                let count = bytes.len();
                if count == 0 {
                    splitter.finish(&mut pieces);
                    taken += send(&talker, &pieces).await?;
                    break;
                }
                splitter.add(Bytes::copy_from_slice(bytes), &mut pieces);
                file.consume(count);
                taken += send(&talker, &pieces).await?;
            }
            Ok(say(&format!("{taken} events were taken"))?)
        })
    }
}

async fn send(talker: &Talker, pieces: &[Piece]) -> Result<u64, BoxError> {
    let mut taken = 0;
    for some in pieces.chunks(AT_ONCE) {
        let (mut body, mut sent) = (Vec::new(), Vec::new());
        for piece in some {
            let Some(text) = &piece.text else {
                complain(&format!("event {}: is longer than {MOST} bytes", piece.number));
                continue;
            };
            // An object across several lines in the file becomes one line.
            let line: Value = serde_json::from_slice(text).unwrap_or_default();
            serde_json::to_writer(&mut body, &line)?;
            body.push(b'\n');
            sent.push(piece.number);
        }
        let answer = talker.ask(Method::POST, "/v1/events", "application/x-ndjson", body.into()).await?;
        taken += answer.get("taken").and_then(Value::as_u64).unwrap_or_default();
        for bad in answer.get("bad").and_then(Value::as_array).into_iter().flatten() {
            let place = bad.get("line").and_then(Value::as_u64).and_then(|line| usize::try_from(line).ok());
            let number = place.and_then(|place| sent.get(place.saturating_sub(1))).copied();
            complain(&format!("event {}: {}", number.unwrap_or_default(), bad.get("reason").unwrap_or(&Value::Null)));
        }
    }
    Ok(taken)
}

/// The number of events per request.
const AT_ONCE: usize = 256;
/// The maximum size of an event in memory, in bytes. The running call store has its own limit (`limits.event_bytes`), and says which events are above it.
const MOST: usize = 4 << 20;
