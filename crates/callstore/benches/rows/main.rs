//! The rows of the call store's targets, each beside its limit. `cargo bench -p callstore` runs all of them against the program.
//!
//! `CALLSTORE_BENCH_PROGRAM` names another program than the one that was just built, `CALLSTORE_BENCH_EVENTS` how many events the inlet gets,
//! `CALLSTORE_BENCH_ROWS` which rows are run, separated by commas: `short`, `kazoo`, `live`, `hours`, `memory`, `stream`.
//!
//! What was not worth it: sums made by the tasks that take requests, as CRC-32 is below one per cent of a profile. What misled: `/metrics`, asked every
//! 5 ms while all that lived was counted for each answer, took as much of the processor as the fold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench stops where something is wrong"
)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "figures are for people")]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "of the servers of the tests few are used here"
)]

mod events;
mod program;
#[path = "../../tests/cluster/servers/mod.rs"]
mod servers;
mod stream;

use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};

use events::{call, of_600_bytes, of_kazoo};
use program::{Client, Program};

fn main() {
    println!("| what | measured | target |\n|---|---|---|");
    let count = std::env::var("CALLSTORE_BENCH_EVENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let rows = std::env::var("CALLSTORE_BENCH_ROWS").unwrap_or_default();
    let is_wanted = |row| rows.is_empty() || rows.split(',').any(|wanted| wanted == row);
    if is_wanted("short") {
        durable("600-byte events", &of_600_bytes(count));
    }
    if is_wanted("kazoo") {
        durable("KAZOO's events of 1.9 KB", &of_kazoo(count / 4));
    }
    if is_wanted("live") {
        live();
    }
    if is_wanted("hours") {
        hours();
    }
    if is_wanted("memory") {
        memory();
    }
    if is_wanted("stream") {
        stream::row(&of_kazoo(count));
    }
}

/// Sends events in acknowledged requests of 256 from four clients; compares with appending the same bytes to redb alone.
fn durable(what: &str, requests: &[Vec<u8>]) {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let events = requests.len() * events::AT_ONCE;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for part in requests.chunks(requests.len().div_ceil(CLIENTS)) {
            let address = program.address;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for request in part {
                    assert_eq!(client.post(request), 200);
                }
            });
        }
    });
    let acknowledged = began.elapsed();
    let mut client = Client::connect(program.address);
    program::until(|| client.metric("callstore_lag_entries") == 0.0);
    let folded = began.elapsed();
    let rate = events as f64 / acknowledged.as_secs_f64();
    let plain = events as f64 / append(folder.path(), requests).as_secs_f64();
    println!("| {what}, durable and acknowledged | {rate:.0}/s | at least 42000/s |");
    println!(
        "| the same bytes appended to redb with nothing else | {plain:.0}/s; the journal reaches {:.2} of it | at least 0.7 |",
        rate / plain
    );
    println!("| the same, folded as well | {:.0}/s | |", events as f64 / folded.as_secs_f64());
}

fn append(folder: &Path, requests: &[Vec<u8>]) -> Duration {
    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("plain");
    let db = Database::builder().set_cache_size(8 << 20).create(folder.join("plain.redb")).unwrap();
    let began = Instant::now();
    for (number, request) in requests.iter().enumerate() {
        let transaction = db.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(number as u64, request.as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    began.elapsed()
}

/// Holds 18,000 live dialogs: measures memory, listing one domain while 3,000 events a second arrive, and a restart.
fn live() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let mut client = Client::connect(program.address);
    begin_all(&mut client);
    println!("| memory with {DIALOGS} live dialogs (RSS) | {:.1} MB | under 100 MB |", program.rss());
    let busy = listing(&program);
    println!(
        "| list of one domain's dialogs while 3,000 events/s arrive, 99th percentile | {:.1} ms | under 20 ms |",
        busy.as_secs_f64() * 1e3
    );
    println!("| memory then (RSS) | {:.1} MB | under 100 MB |", program.rss());
    program::until(|| client.metric("callstore_lag_entries") == 0.0);
    program.kill();
    println!("| start with them on disk, after a kill, until ready | {:.2} s | under 1 s |", start(folder.path()));
}

/// Measures the same start with a journal of four hours at 100 events a second.
fn hours() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let mut client = Client::connect(program.address);
    begin_all(&mut client);
    send(&program, DIALOGS * 8..DIALOGS * 8 + HOURS, events::request_of_kazoo);
    println!("| memory after {HOURS} events more (RSS) | {:.1} MB | |", program.rss());
    program.kill();
    println!(
        "| start after a kill with these in the journal, until ready | {:.2} s | under 1 s |",
        start(folder.path())
    );
}

/// Memory while whole calls come and go as fast as they are taken.
fn memory() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    for part in 0..4 {
        send(&program, part * MANY..(part + 1) * MANY, events::request_of_whole_calls);
        println!(
            "| memory after {} events of whole calls (RSS) | {:.1} MB | the same each time |",
            (part + 1) * MANY,
            program.rss()
        );
    }
}

/// Sends these events as fast as they are taken, and waits until they are folded and their records done.
fn send(program: &Program, events: std::ops::Range<usize>, request: fn(usize) -> Vec<u8>) {
    std::thread::scope(|scope| {
        for part in 0..CLIENTS {
            let (address, events) = (program.address, events.clone());
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for first in events.step_by(events::AT_ONCE).skip(part).step_by(CLIENTS) {
                    loop {
                        match client.post(&request(first)) {
                            200 => break,
                            // What the inlet answers while it has no room: the events are sent again.
                            429 | 503 | 507 => std::thread::sleep(Duration::from_millis(100)),
                            status => panic!("the inlet answers {status}"),
                        }
                    }
                }
            });
        }
    });
    let mut client = Client::connect(program.address);
    program::until(|| client.metric("callstore_lag_entries") == 0.0);
    program::until(|| client.metric("callstore_records_waiting{group=\"0\"}") == 0.0);
}

/// Begins all calls, and waits until they are folded.
fn begin_all(client: &mut Client) {
    let calls: Vec<_> = (0..DIALOGS).flat_map(call).collect();
    for some in calls.chunks(events::AT_ONCE) {
        assert_eq!(client.post(some.concat().as_bytes()), 200);
    }
    program::until(|| client.metric("callstore_lag_entries") == 0.0);
    assert_eq!(client.metric("callstore_live{state=\"live\"}"), DIALOGS as f64);
}

/// Starts the program on existing data; returns the seconds until it is ready.
fn start(folder: &Path) -> f64 {
    let began = Instant::now();
    let program = Program::start(folder);
    let mut client = Client::connect(program.address);
    program::until(|| client.get("/ready").0 == 200);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(client.metric("callstore_live{state=\"live\"}"), DIALOGS as f64);
    took
}

fn listing(program: &Program) -> Duration {
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = Client::connect(program.address);
            let began = Instant::now();
            let (mut next, mut number) = (began, 0);
            while !is_over.load(std::sync::atomic::Ordering::Acquire) {
                let events: String =
                    (0..60).map(|event| events::update((number * 60 + event) % DIALOGS, number)).collect();
                assert_eq!(client.post(events.as_bytes()), 200);
                next += Duration::from_millis(20);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                number += 1;
            }
            (number * 60) as f64 / began.elapsed().as_secs_f64()
        });
        let mut client = Client::connect(program.address);
        let mut times: Vec<_> = (0..500)
            .map(|number| {
                let began = Instant::now();
                let (status, body) =
                    client.get(&format!("/v1/dialogs?domain=d{}.example.com&limit=1000", number % events::DOMAINS));
                assert_eq!(status, 200);
                assert!(body.contains("\"state\":\"live\""));
                began.elapsed()
            })
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Release);
        let rate = sender.join().unwrap();
        assert!(rate > 2_850.0, "only {rate:.0} of 3,000 events/s were sent");
        times.sort_unstable();
        times[times.len() * 99 / 100]
    })
}

/// 100 call set-ups a second for 180 s.
const DIALOGS: usize = 18_000;
/// 100 events a second for four hours.
const HOURS: usize = 1_440_000;
/// Events of one part of those whose memory is measured: whole requests.
const MANY: usize = 512_000;
/// The number of concurrent clients.
const CLIENTS: usize = 4;
