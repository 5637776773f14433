//! The gateway's memory: its peak resident set after one large transfer, and during many concurrent uploads.

use tokio::task::JoinSet;

use crate::client::Client;
use crate::cores::Place;
use crate::gateway::{Gateway, Servers, UPLOAD_BUFFER};
use crate::recording::{MIB, fetch, reserve};
use crate::report::{Report, Row};
use crate::workload::{BACKENDS, Backend, attachment_target};
use crate::{Outcome, Run};

/// The limit on what one transfer may add, in bytes.
const GROWTH: u64 = 64 * MIB;
/// The concurrent uploads, and the limit on what they may hold besides the upload buffer, in bytes.
const UPLOADS: usize = 100;
const BESIDE: u64 = 100 * MIB;
/// The document of a single transfer.
const ID: &str = "202011-memory";

pub(crate) async fn run(report: &mut Report, run: &Run) -> Outcome<()> {
    let sizes = if run.is_quick { [4, 16] } else { [64, 1024] };
    let mut failures = Vec::new();
    for backend in &BACKENDS {
        for mebibytes in sizes {
            if let Err(error) = transfers(report, run, backend, mebibytes).await {
                failures.push(format!("{mebibytes} MiB, {}: {error}", backend.name));
            }
        }
    }
    for backend in BACKENDS.iter().filter(|backend| backend.many) {
        if let Err(error) = at_once(report, run, backend, if run.is_quick { 1 } else { 10 }).await {
            failures.push(format!("uploads at once, {}: {error}", backend.name));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// Measures one upload, then one download, each with a gateway of its own.
async fn transfers(report: &mut Report, run: &Run, backend: &Backend, mebibytes: u64) -> Outcome<()> {
    let servers = Servers::start(backend).await?;
    let length = mebibytes * MIB;
    let gateway = servers.gateway(&run.binary, &Place::default()).await?;
    let mut client = Client::connect(gateway.address).await?;
    let target = reserve(&mut client, ID, backend).await?;
    let idle = gateway.process.peak_memory()?;
    client.put_recording(&target, length).await.map_err(|error| told(&gateway, &error))?;
    report.add(growth(&format!("upload of {mebibytes} MiB, {}", backend.name), idle, gateway.process.peak_memory()?));
    drop(gateway);

    let gateway = servers.gateway(&run.binary, &Place::default()).await?;
    let mut client = Client::connect(gateway.address).await?;
    let idle = gateway.process.peak_memory()?;
    let fetched = fetch(&mut client, &attachment_target(ID), length, true).await;
    fetched.map_err(|error| told(&gateway, &error))?;
    report.add(growth(&format!("download of {mebibytes} MiB, {}", backend.name), idle, gateway.process.peak_memory()?));
    Ok(())
}

/// Measures a hundred uploads that start together; all must be stored.
async fn at_once(report: &mut Report, run: &Run, backend: &Backend, mebibytes: u64) -> Outcome<()> {
    let servers = Servers::start(backend).await?;
    let gateway = servers.gateway(&run.binary, &Place::default()).await?;
    let mut uploads = Vec::new();
    for number in 0..UPLOADS {
        let mut client = Client::connect(gateway.address).await?;
        let target = reserve(&mut client, &format!("{ID}{number}"), backend).await?;
        uploads.push((client, target));
    }
    let idle = gateway.process.peak_memory()?;
    let mut tasks = JoinSet::new();
    for (mut client, target) in uploads {
        tasks.spawn(async move { client.put_recording(&target, mebibytes * MIB).await });
    }
    while let Some(done) = tasks.join_next().await {
        done?.map_err(|error| told(&gateway, &error))?;
    }
    let peak = gateway.process.peak_memory()?;
    report.add(Row {
        measure: format!("{UPLOADS} uploads of {mebibytes} MiB at once, {}: peak RSS in MiB; base: idle", backend.name),
        base: mebi(idle),
        stowage: mebi(peak),
        compared: format!("{} MiB", mebi(peak)),
        target: format!("at most {} MiB", mebi(UPLOAD_BUFFER + BESIDE)),
        met: Some(peak <= UPLOAD_BUFFER + BESIDE),
        ..Row::default()
    });
    Ok(())
}

fn growth(what: &str, idle: u64, peak: u64) -> Row {
    let growth = peak.saturating_sub(idle);
    Row {
        measure: format!("{what}: peak RSS in MiB; base: idle"),
        base: mebi(idle),
        stowage: mebi(peak),
        compared: format!("{} MiB more", mebi(growth)),
        target: format!("at most {} MiB", mebi(GROWTH)),
        met: Some(growth <= GROWTH),
        ..Row::default()
    }
}

fn mebi(bytes: u64) -> String {
    bytes.div_ceil(MIB).to_string()
}

/// Returns the error with the gateway's output.
fn told(gateway: &Gateway, error: &dyn std::fmt::Display) -> String {
    gateway.process.failure(&format!("fails: {error}")).to_string()
}
