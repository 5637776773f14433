//! A 64 MiB recording through the gateway, beside the same client straight at the backend.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::client::Client;
use crate::gateway::Servers;
use crate::pattern::{self, Check};
use crate::report::{Report, Row, median, spread};
use crate::workload::{Backend, DATABASE, HTTP, attachment_target};

const MIB: u64 = 1024 * 1024;
/// The target of the object that the client stores and fetches without the gateway.
const DIRECT: &str = "/direct";

/// Rounds, and the length of the recording in MiB.
const fn effort(is_quick: bool) -> (usize, u64) {
    if is_quick { (1, 8) } else { (15, 64) }
}

/// The rate in MiB/s of something that takes this many MiB, and happens while the future runs.
async fn rate<T>(mebibytes: u64, work: impl Future<Output = Outcome<T>>) -> Outcome<f64> {
    let start = Instant::now();
    work.await?;
    Ok(f64::from(u32::try_from(mebibytes)?) / start.elapsed().as_secs_f64())
}

pub(crate) async fn get(report: &mut Report, binary: &Path, is_quick: bool) -> Outcome<()> {
    let (rounds, mebibytes) = effort(is_quick);
    let length = mebibytes * MIB;
    let servers = Servers::start(HTTP).await?;
    let gateway = servers.gateway(binary, None).await?;
    let mut straight = Client::connect(servers.objects).await?;
    let mut through = Client::connect(gateway.address).await?;
    straight.put_recording(DIRECT, length).await?;
    let target = upload(&mut through, "202011-get", length).await?;
    // The first round is not counted: it compares every byte.
    fetch(&mut straight, DIRECT, length, true).await?;
    fetch(&mut through, &target, length, true).await?;
    let (mut base, mut stowage, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let direct = rate(mebibytes, fetch(&mut straight, DIRECT, length, false)).await?;
        let proxied = rate(mebibytes, fetch(&mut through, &target, length, false)).await?;
        base.push(direct);
        stowage.push(proxied);
        ratios.push(proxied / direct);
    }
    report.add(Row {
        measure: format!("GET of {mebibytes} MiB: MiB/s; base: straight from the backend"),
        base: spread(&base, 0),
        stowage: spread(&stowage, 0),
        compared: format!("{} of base", spread(&ratios, 2)),
        target: "at least 0.80".to_owned(),
        met: median(&ratios).map(|ratio| ratio >= 0.8),
        ..Row::default()
    });
    Ok(())
}

pub(crate) async fn put(report: &mut Report, binary: &Path, is_quick: bool) -> Outcome<()> {
    let (rounds, mebibytes) = effort(is_quick);
    let length = mebibytes * MIB;
    let servers = Servers::start(HTTP).await?;
    let gateway = servers.gateway(binary, None).await?;
    let mut straight = Client::connect(servers.objects).await?;
    let mut through = Client::connect(gateway.address).await?;
    let (mut base, mut hashed, mut stowage, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Round 0 opens connections and is not counted.
    for round in 0..=rounds {
        let direct = rate(mebibytes, straight.put_recording(DIRECT, length)).await?;
        let hashing = rate(mebibytes, async { hash(length) }).await?;
        let id = format!("202011-put{round}");
        let target = reserve(&mut through, &id, HTTP).await?;
        let proxied = rate(mebibytes, through.put_recording(&target, length)).await?;
        if round > 0 {
            base.push(direct);
            hashed.push(hashing);
            stowage.push(proxied);
            ratios.push(proxied / direct.min(hashing));
        }
    }
    report.add(Row {
        measure: format!("PUT of {mebibytes} MiB: MiB/s; base: straight to the backend"),
        base: spread(&base, 0),
        stowage: spread(&stowage, 0),
        compared: format!("{} of the lesser of base and hashing", spread(&ratios, 2)),
        target: "at least 0.80".to_owned(),
        met: median(&ratios).map(|ratio| ratio >= 0.8),
        ..Row::default()
    });
    report.add(Row {
        measure: format!("MD5 and SHA-256 of {mebibytes} MiB on one thread: MiB/s"),
        base: spread(&hashed, 0),
        ..Row::default()
    });
    Ok(())
}

/// What the gateway has to compute of an upload, and nothing else.
fn hash(length: u64) -> Outcome<()> {
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    for slice in pattern::slices(length) {
        md5.update(slice);
        sha256.update(slice);
    }
    black_box((md5.finalize(), sha256.finalize()));
    Ok(())
}

/// Makes a document whose attachments go to this backend; answers the target for its attachment.
pub(crate) async fn reserve(client: &mut Client, id: &str, backend: &Backend) -> Outcome<String> {
    let rev = client.put_document(DATABASE, id, &backend.document()).await?;
    Ok(format!("{}?rev={rev}", attachment_target(id)))
}

async fn upload(client: &mut Client, id: &str, length: u64) -> Outcome<String> {
    let target = reserve(client, id, HTTP).await?;
    client.put_recording(&target, length).await?;
    Ok(attachment_target(id))
}

/// GETs a recording whole, and compares its bytes where asked.
pub(crate) async fn fetch(client: &mut Client, target: &str, length: u64, is_checked: bool) -> Outcome<()> {
    let mut check = Check::default();
    let got = client.get(target, is_checked.then_some(&mut check)).await?;
    match (got == length, check.is_right()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{target}: {got} bytes where {length} were expected").into()),
        (true, false) => Err(format!("{target}: other bytes than those that were stored").into()),
    }
}
