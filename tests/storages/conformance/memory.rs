//! Memory does not grow with the body's size, in both directions, on every target. Each test runs alone in its own process, because the process is
//! measured. New targets are included automatically.

use crate::conformance::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use stowage_http::body::BoxError;

/// Twelve chunks, and much larger than any buffer.
const LENGTH: u64 = 64 << 20;
/// The maximum growth of the process, in KiB: more than two chunks and the sockets, but much less than the body.
const GROWTH: u64 = 40 << 10;
/// Set in the measuring process.
const ALONE: &str = "STOWAGE_TEST_ALONE";
/// The frame of every body.
static FRAME: [u8; 64 << 10] = [b'x'; 64 << 10];

/// Runs a module's measurement in a separate process, or is that process.
pub fn alone<F: Future<Output = Target>>(module: &str, target: impl FnOnce() -> F) {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async { flat(target().await).await });
        return;
    }
    let (_, module) = module.split_once("::").expect("a module of this crate");
    let name = format!("{module}::memory_stays_flat");
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).args([&name, "--exact", "--nocapture"]).env(ALONE, "1").output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    for line in text.lines().filter(|line| line.contains("KiB")) {
        println!("{line}");
    }
}

async fn flat(target: Target) {
    for announced in [true, false] {
        let before = begin();
        let body = Body::boxed(Long { left: LENGTH, announced });
        let stored = target.put(&object("long.mp3"), body).await.expect("stored");
        check(if announced { "upload" } else { "upload without a length" }, before);
        let before = begin();
        let mut body = target.get(&stored.location, None, LENGTH).await.expect("an object").body;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.expect("the object").into_data().map_or(0, |data| data.len() as u64);
        }
        assert_eq!(length, LENGTH);
        check("download", before);
        target.backend.delete(&stored.location).await.expect("removed");
    }
}

/// Resets the peak; returns the current resident memory in KiB.
fn begin() -> u64 {
    // proc(5): 5 resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux 4.0 or later");
    status("VmRSS:")
}

fn check(what: &str, before: u64) {
    let grown = status("VmHWM:").saturating_sub(before);
    println!("{what} of {LENGTH} bytes: {grown} KiB more");
    assert!(grown < GROWTH, "{what}: {grown} KiB more");
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A body that needs no memory.
struct Long {
    left: u64,
    announced: bool,
}

impl HttpBody for Long {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        this.left -= FRAME.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FRAME)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}
