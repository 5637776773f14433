//! The bench's recordings: creates their documents, stores and fetches their bytes, and measures the cost of hashing them.

use std::hint::black_box;
use std::time::Instant;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::client::Client;
use crate::pattern::{self, Check};
use crate::workload::{Backend, DATABASE, HTTP, attachment_target};

pub(crate) const MIB: u64 = 1024 * 1024;
/// The target of the object that is transferred without the gateway.
pub(crate) const DIRECT: &str = "/direct";

/// Creates a document whose attachments go to this backend; returns the target of its attachment.
pub(crate) async fn reserve(client: &mut Client, id: &str, backend: &Backend) -> Outcome<String> {
    let rev = client.put_document(DATABASE, id, &backend.document()).await?;
    Ok(format!("{}?rev={rev}", attachment_target(id)))
}

/// Stores a recording on the object server through the gateway; returns the target to fetch it.
pub(crate) async fn upload(client: &mut Client, id: &str, length: u64) -> Outcome<String> {
    let target = reserve(client, id, HTTP).await?;
    client.put_recording(&target, length).await?;
    Ok(attachment_target(id))
}

/// GETs a whole recording, and optionally compares its bytes.
pub(crate) async fn fetch(client: &mut Client, target: &str, length: u64, is_checked: bool) -> Outcome<()> {
    let mut check = Check::default();
    let got = client.get(target, is_checked.then_some(&mut check)).await?;
    match (got == length, check.is_right()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{target}: {got} bytes where {length} were expected").into()),
        (true, false) => Err(format!("{target}: other bytes than those that were stored").into()),
    }
}

/// Measures the rate in MiB/s of work on this many MiB.
pub(crate) async fn rate<T>(mebibytes: u64, work: impl Future<Output = Outcome<T>>) -> Outcome<f64> {
    let start = Instant::now();
    work.await?;
    Ok(f64::from(u32::try_from(mebibytes)?) / start.elapsed().as_secs_f64())
}

/// Measures the rate in MiB/s at which one thread computes the hashes that an upload needs, one after the other for each MiB, and nothing else. The
/// gateway alternates them and is 1.17 times as fast; the targets were set against this order.
pub(crate) fn hashing(mebibytes: u64) -> Outcome<f64> {
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    let start = Instant::now();
    for slice in pattern::slices(mebibytes * MIB) {
        md5.update(slice);
        sha256.update(slice);
    }
    black_box((md5.finalize(), sha256.finalize()));
    Ok(f64::from(u32::try_from(mebibytes)?) / start.elapsed().as_secs_f64())
}

/// Measures the rate for MD5 alone, which cannot be split across threads.
pub(crate) fn hashing_md5(mebibytes: u64) -> Outcome<f64> {
    let mut md5 = Md5::new();
    let start = Instant::now();
    pattern::slices(mebibytes * MIB).for_each(|slice| md5.update(slice));
    black_box(md5.finalize());
    Ok(f64::from(u32::try_from(mebibytes)?) / start.elapsed().as_secs_f64())
}
