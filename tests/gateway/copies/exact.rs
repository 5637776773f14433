//! CouchDB gets exactly the same bytes as without a copy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::world::{bytes, in_chunks, plan};
use stowage_testing::gateway::{Couch, Running, STORAGE, Setup, authorization, json as parsed};
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::serve::listen;

/// Records what is sent to a server.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Tap {
    async fn start(target: SocketAddr) -> Self {
        let (listener, address) = listen().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.expect("the store");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let seen = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                        seen.lock().expect("a lock").extend_from_slice(&buffer[..count]);
                        if to_server.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, seen, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the PUTs of attachments: heads, and the lengths of bodies without framing.
    fn puts(&self) -> Vec<(Vec<String>, usize)> {
        let seen = self.seen.lock().expect("a lock").clone();
        let text: String = seen.iter().copied().map(char::from).collect();
        let starts = text
            .match_indices("PUT /account")
            .filter(|(at, _)| text[*at..].lines().next().is_some_and(|line| line.contains("/call.mp3")));
        starts
            .map(|(at, _)| {
                let end = at + text[at..].find("\r\n\r\n").expect("a whole head");
                let mut head: Vec<String> = text[at..end].lines().map(str::to_owned).collect();
                head[1..].sort();
                (head, end)
            })
            .collect()
    }
}

async fn start() -> (Running, Tap) {
    let couch = Couch::start().await;
    let tap = Tap::start(couch.address()).await;
    let gateway = Setup::default().upstream(&format!("http://{}", tap.address)).start_over(couch).await;
    (gateway, tap)
}

/// Sends some unusual PUTs; returns the responses.
async fn put_everything(gateway: &Running) -> Vec<RawResponse> {
    let (name, value) = authorization(&gateway.couch.admin);
    let mut answers = Vec::new();
    for (index, (query, headers, body, chunked)) in [
        ("", vec!["Content-Type: audio/mpeg; x=\"y z\""], bytes(1000, 1), false),
        ("", vec!["content-type:a/b", "X-Custom: 1", "x-custom: 2", "Cookie: a=b"], bytes(70_000, 2), true),
        (
            "&batch=ok&x=%2f+%20",
            vec!["Content-Encoding: gzip", "Accept: application/json"],
            vec![31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            false,
        ),
        ("&new_edits=true", vec!["Expect: 100-continue"], Vec::new(), false),
        ("", vec!["If-None-Match: *", "User-Agent: odd/1"], bytes(3, 3), true),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("doc-{index}");
        let rev = gateway.document(&id, json!({})).await;
        let framing =
            if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {}", body.len()) };
        let target = format!("/{}/{id}/call.mp3?rev={rev}{query}", gateway.path());
        let mut request = format!(
            "PUT {target} HTTP/1.1\r\nHost: couch.test:1\r\n{name}: {value}\r\n{framing}\r\n{}\r\n\r\n",
            headers.join("\r\n")
        )
        .into_bytes();
        request.extend(if chunked { in_chunks(&body) } else { body });
        let mut client = RawClient::connect(gateway.address).await.expect("a connection");
        let answer = client.exchange(request).await.expect("an answer");
        assert_eq!(answer.status / 100, 2, "{id}: {answer:?}");
        answers.push(answer);
    }
    gateway.settled().await;
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_sees_the_same_request_with_a_copy_and_without() {
    let (plain, plain_tap) = start().await;
    // The document is read to decide, and the attachment is forwarded.
    plain.make_database().await;
    let of_type = json!({ "modb": { "types": { "other": { "attachments": { "handler": STORAGE } } } } });
    let attachments = json!({ STORAGE: { "handler": "file", "settings": { "directory": "d" } } });
    plain
        .save_plan(&plain.account, json!({ "pvt_type": "storage", "attachments": attachments, "plan": of_type }))
        .await;
    let (copying, copying_tap) = start().await;
    plan(&copying, "file", json!({ "directory": "d" })).await;

    let (expected, answers) = (put_everything(&plain).await, put_everything(&copying).await);
    assert_eq!((plain.stored().len(), copying.stored().len()), (0, 5));
    let account = |gateway: &Running, line: &str| line.replace(&gateway.path(), "DB");
    let heads = |gateway: &Running, tap: &Tap| -> Vec<Vec<String>> {
        tap.puts().iter().map(|(head, _)| head.iter().map(|line| account(gateway, line)).collect()).collect()
    };
    let (before, after) = (heads(&plain, &plain_tap), heads(&copying, &copying_tap));
    assert_eq!(before.len(), 5, "{before:?}");
    assert_eq!(before, after);
    for (expected, answer) in expected.iter().zip(&answers) {
        assert_eq!((expected.status, parsed(expected)), (answer.status, parsed(answer)));
        let names = |answer: &RawResponse| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(expected), names(answer));
    }
    plain.stop().await;
    copying.stop().await;
}
