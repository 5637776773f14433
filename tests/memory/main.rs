//! A body of any size passes in little memory. Alone in its process, because the process is what is measured.

#![allow(clippy::expect_used, reason = "a test that cannot set up its world has to stop, saying where")]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]

#[path = "../support/mod.rs"]
mod support;

use support::gateway::Setup;
use support::upstream::{Upstream, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than any buffer.
const LENGTH: usize = 256 << 20;
/// How much the process may grow meanwhile, in KiB.
const GROWTH: u64 = 64 << 10;

/// The most memory that this process ever had resident, in KiB (proc(5), `VmHWM`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_pass_in_little_memory() {
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().upstream(&upstream.url()).start().await;
    upstream.followed().await;
    let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
    let chunk = vec![b'x'; 64 << 10];
    let mut buffer = chunk.clone();
    let before = peak();

    client
        .write_all(format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut connection = upstream.accept().await;
    connection.head().await;
    let sending = async {
        for _ in 0..LENGTH / chunk.len() {
            client.write_all(&chunk).await.expect("sent");
        }
    };
    let receiving = async {
        for _ in 0..LENGTH / chunk.len() {
            connection.bytes(chunk.len()).await;
        }
    };
    soon("the body", async { tokio::join!(sending, receiving) }).await;
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;

    let sending = async {
        for _ in 0..LENGTH / chunk.len() {
            connection.send(&chunk).await;
        }
    };
    let receiving = async {
        let mut read = 0;
        while read < LENGTH {
            read += match client.read(&mut buffer).await.expect("the connection is open") {
                0 => panic!("closed after {read} bytes"),
                count => count,
            };
        }
    };
    soon("the answer", async { tokio::join!(sending, receiving) }).await;

    let grown = peak() - before;
    println!("{LENGTH} bytes each way: {grown} KiB more");
    assert!(grown < GROWTH, "{grown} KiB more");
}
