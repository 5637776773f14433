//! What the recordings do not show of the embedded store: users, feeds with changes landing, branches, large bodies,
//! shutdown, and what is still there after a restart.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]
#![allow(dead_code, reason = "the replay is used by another test")]

#[path = "support/wire/mod.rs"]
mod wire;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use stowage::store::{Options, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::{Answer, Connection, Target};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A store on a port of its own.
struct Running {
    target: Target,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server of a test; `stop` waits for it"
)]
async fn start(data: &Path, limit: u64) -> Running {
    let options = Options {
        data: data.to_owned(),
        admin: ("admin".into(), "secret".into()),
        user: Some(("ann".into(), "word".into())),
    };
    let store = Store::open(options).unwrap().with_body_limit(limit);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        store.serve(listener, stopped).await
    });
    let target = Target {
        authority,
        name: "admin".into(),
        password: "secret".into(),
    };
    Running {
        target,
        stop,
        served,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        let served = tokio::time::timeout(Duration::from_secs(10), self.served).await;
        served.expect("the server ends in time").unwrap().unwrap();
    }

    async fn get(&self, path: &str) -> Answer {
        self.target.ask("GET", path, &[], b"").await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.target
            .ask("PUT", path, &[JSON], body.to_string().as_bytes())
            .await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.target
            .ask("POST", path, &[JSON], body.to_string().as_bytes())
            .await
    }

    /// Starts a request whose answer is read piece by piece.
    async fn feed(&self, path: &str) -> Connection {
        let mut connection = Connection::open(&self.target.authority).await;
        let (host, login) = (&self.target.authority, self.target.login());
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {login}\r\n\r\n");
        connection.send(head.as_bytes()).await;
        assert_eq!(connection.next_head().await.unwrap().status, 200);
        connection
    }
}

async fn small() -> (tempfile::TempDir, Running) {
    let data = tempfile::tempdir().unwrap();
    let running = start(data.path(), 1024 * 1024).await;
    assert_eq!(running.put("/db", Value::Null).await.status, 201);
    (data, running)
}

fn rev(answer: &Answer) -> String {
    assert!(matches!(answer.status, 200..=202), "{answer:?}");
    answer.json()["rev"]
        .as_str()
        .expect("a revision")
        .to_owned()
}

/// The next chunk that is not a heartbeat, as JSON.
async fn row(feed: &mut Connection) -> Value {
    loop {
        let chunk = tokio::time::timeout(Duration::from_secs(10), feed.chunk()).await;
        let chunk = chunk.expect("a chunk in time").unwrap();
        assert!(!chunk.is_empty(), "the feed ended");
        if chunk != b"\n" {
            return serde_json::from_slice(&chunk).expect("one row in a chunk");
        }
    }
}

#[tokio::test]
async fn a_user_sees_a_database_only_when_its_security_says_so() {
    let (_data, store) = small().await;
    let ann = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("ann:word")
    );
    let ann = [("Authorization", ann.as_str()), JSON];
    let nobody = [("Authorization", "")];
    let ask = async |method: &'static str, path: &'static str, body: &'static str| {
        store.target.ask(method, path, &ann, body.as_bytes()).await
    };
    assert_eq!(ask("GET", "/db", "").await.status, 403);
    assert_eq!(ask("GET", "/none", "").await.status, 404);
    assert_eq!(ask("PUT", "/other", "").await.status, 401);
    assert_eq!(ask("DELETE", "/db", "").await.status, 401);
    assert_eq!(ask("GET", "/_all_dbs", "").await.status, 401);
    assert_eq!(
        ask("GET", "/_session", "").await.json()["userCtx"],
        json!({"name": "ann", "roles": []})
    );

    let security = json!({"members": {"names": ["ann"]}, "note": {"z": 1, "a": 2}});
    assert_eq!(
        store.put("/db/_security", security.clone()).await.status,
        200
    );
    let kept = store.get("/db/_security").await;
    assert_eq!(kept.body, format!("{security}\n").into_bytes());
    assert_eq!(ask("PUT", "/db/d", "{}").await.status, 201);
    assert_eq!(ask("PUT", "/db/_design/d", "{}").await.status, 401);
    assert_eq!(ask("PUT", "/db/_security", "{}").await.status, 401);
    assert_eq!(
        ask(
            "POST",
            "/db/_bulk_docs",
            r#"{"docs":[{"_id":"_design/d"}]}"#
        )
        .await
        .status,
        401
    );
    assert_eq!(
        store.target.ask("GET", "/db/d", &nobody, b"").await.status,
        401
    );

    let admins = json!({"admins": {"names": ["ann"]}, "members": {"roles": ["none"]}});
    store.put("/db/_security", admins).await;
    assert_eq!(ask("PUT", "/db/_design/d", "{}").await.status, 201);
    store.stop().await;
}

#[tokio::test]
async fn a_cookie_stands_for_its_user_until_it_is_given_back() {
    let (_data, store) = small().await;
    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Authorization", ""),
    ];
    let login = store
        .target
        .ask("POST", "/_session", &form, b"name=admin&password=secret")
        .await;
    assert_eq!(
        login.json(),
        json!({"ok": true, "name": "admin", "roles": ["_admin"]})
    );
    let cookie = login
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let with = [("Cookie", cookie.as_str()), ("Authorization", "")];
    let session = store
        .target
        .ask("GET", "/_session", &with, b"")
        .await
        .json();
    assert_eq!(session["info"]["authenticated"], "cookie");
    assert_eq!(store.target.ask("GET", "/db", &with, b"").await.status, 200);
    assert_eq!(
        store
            .target
            .ask("DELETE", "/_session", &with, b"")
            .await
            .status,
        200
    );
    assert_eq!(store.target.ask("GET", "/db", &with, b"").await.status, 401);
    let forged = [("Cookie", "AuthSession=YWRtaW4"), ("Authorization", "")];
    assert_eq!(
        store.target.ask("GET", "/db", &forged, b"").await.status,
        401
    );
    store.stop().await;
}

#[tokio::test]
async fn a_continuous_feed_shows_changes_as_they_land() {
    let (_data, store) = small().await;
    store.put("/db/before", json!({})).await;
    let path = "/db/_changes?feed=continuous&since=now&heartbeat=50&include_docs=true";
    let mut feed = store.feed(path).await;
    for _ in 0..3 {
        assert_eq!(feed.chunk().await.unwrap(), b"\n", "a heartbeat");
    }
    let made = rev(&store.put("/db/live", json!({"n": 1})).await);
    let seen = row(&mut feed).await;
    assert_eq!(seen["changes"], json!([{"rev": made}]));
    assert_eq!(seen["doc"], json!({"_id": "live", "_rev": made, "n": 1}));
    let kind = [("Content-Type", "audio/mpeg")];
    store
        .target
        .ask("PUT", "/db/call/x.mp3", &kind, b"sound")
        .await;
    assert_eq!(
        row(&mut feed).await["doc"]["_attachments"]["x.mp3"]["length"],
        5
    );
    let path = format!("/db/live?rev={made}");
    let gone = rev(&store.target.ask("DELETE", &path, &[], b"").await);
    let seen = row(&mut feed).await;
    assert_eq!(seen["deleted"], true);
    assert_eq!(
        seen["doc"],
        json!({"_id": "live", "_rev": gone, "_deleted": true})
    );
    // A feed that waits does not hold the server up, and ends in order.
    let stopping = store.stop();
    let ending = async {
        assert!(row(&mut feed).await["last_seq"].is_string());
        while !feed.chunk().await.unwrap().is_empty() {}
    };
    tokio::join!(stopping, ending);
}

#[tokio::test]
async fn a_longpoll_is_woken_by_the_next_change_and_resumes_from_its_sequence() {
    let (_data, store) = small().await;
    store.put("/db/one", json!({})).await;
    let mut feed = store.feed("/db/_changes?feed=longpoll&since=now").await;
    assert_eq!(feed.chunk().await.unwrap(), b"{\"results\":[\n");
    assert_eq!(feed.chunk().await.unwrap(), b"\n");
    store.put("/db/two", json!({})).await;
    assert_eq!(row(&mut feed).await["id"], "two");
    while !feed.chunk().await.unwrap().is_empty() {}
    let first = store.get("/db/_changes?limit=1").await.json();
    assert_eq!(first["results"][0]["id"], "one");
    assert_eq!(first["pending"], 1);
    let last = first["last_seq"].as_str().unwrap();
    let rest = store
        .get(&format!("/db/_changes?since={last}"))
        .await
        .json();
    assert_eq!(rest["results"].as_array().unwrap().len(), 1);
    assert_eq!(rest["results"][0]["id"], "two");
    // The sequence of a database that is gone means the beginning of the one that took its name.
    store.target.ask("DELETE", "/db", &[], b"").await;
    store.put("/db", Value::Null).await;
    store.put("/db/three", json!({})).await;
    let anew = store
        .get(&format!("/db/_changes?since={last}"))
        .await
        .json();
    assert_eq!(anew["results"][0]["id"], "three");
    let newest = store
        .get("/db/_changes?descending=true&limit=1")
        .await
        .json();
    assert_eq!(newest["results"][0]["id"], "three");
    store.stop().await;
}

#[tokio::test]
async fn a_feed_ends_when_its_database_is_deleted() {
    let (_data, store) = small().await;
    let mut feed = store
        .feed("/db/_changes?feed=continuous&heartbeat=50")
        .await;
    store.target.ask("DELETE", "/db", &[], b"").await;
    assert!(row(&mut feed).await["last_seq"].is_string());
    assert_eq!(store.get("/db").await.status, 404);
    store.stop().await;
}

#[tokio::test]
async fn branches_are_kept_and_told() {
    let (_data, store) = small().await;
    let first = rev(&store.put("/db/d", json!({"v": 1})).await);
    let second = rev(&store.put("/db/d", json!({"_rev": first, "v": 2})).await);
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let other = json!({"_id": "d", "_rev": format!("3-{a}"), "v": 3,
        "_revisions": {"start": 3, "ids": [a, b, first.split_once('-').unwrap().1]}});
    let saved = store
        .post(
            "/db/_bulk_docs",
            json!({"new_edits": false, "docs": [other]}),
        )
        .await;
    assert_eq!(saved.json(), json!([]));
    let told = store.get("/db/d?conflicts=true&revs=true").await.json();
    assert_eq!(told["_rev"], format!("3-{a}"));
    assert_eq!(told["_conflicts"], json!([second]));
    assert_eq!(told["_revisions"]["ids"][1], b);
    let wanted = format!("/db/d?open_revs=[%22{second}%22,%229-{b}%22]");
    let json = [("Accept", "application/json")];
    let open = store.target.ask("GET", &wanted, &json, b"").await.json();
    assert_eq!(open[0]["ok"]["v"], 2);
    assert_eq!(open[1], json!({"missing": format!("9-{b}")}));
    let all = store
        .target
        .ask("GET", "/db/d?open_revs=all", &json, b"")
        .await
        .json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    store
        .target
        .ask("DELETE", &format!("/db/d?rev={second}"), &[], b"")
        .await;
    let told = store.get("/db/d?meta=true").await.json();
    assert!(told.get("_conflicts").is_none(), "{told}");
    assert_eq!(told["_deleted_conflicts"].as_array().unwrap().len(), 1);
    let latest = store.get(&format!("/db/d?rev=2-{b}&latest=true")).await;
    assert_eq!(latest.json()["v"], 3);
    let diff = store
        .post("/db/_revs_diff", json!({"d": [first, format!("4-{b}")]}))
        .await
        .json();
    assert_eq!(diff["d"]["missing"], json!([format!("4-{b}")]));
    store.stop().await;
}

#[tokio::test]
async fn one_of_twenty_clients_with_the_same_revision_wins() {
    let (_data, store) = small().await;
    let first = rev(&store
        .put("/db/d", json!({"_attachments": {"a": {"data": "YQ=="}}}))
        .await);
    // Half of them drop the attachment, which is saved on another way than the rest.
    let paths: Vec<_> = (0..20)
        .map(|n| (format!("/db/d/x{n}?rev={first}"), n))
        .collect();
    let racing = paths.iter().map(async |(path, n)| {
        if n % 2 == 0 {
            store.target.ask("PUT", path, &[], b"x").await.status
        } else {
            store
                .put("/db/d", json!({"_rev": first, "n": n}))
                .await
                .status
        }
    });
    let mut outcomes = futures_util::future::join_all(racing).await;
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], 201);
    assert!(
        outcomes[1..].iter().all(|status| *status == 409),
        "{outcomes:?}"
    );
    store.stop().await;
}

#[tokio::test]
async fn lists_keep_to_their_ranges() {
    let (_data, store) = small().await;
    for id in ["a", "b", "c", "d"] {
        store.put(&format!("/db/{id}"), json!({"id": id})).await;
    }
    let ids = async |query: &str| {
        let list = store.get(&format!("/db/_all_docs?{query}")).await.json();
        let rows = list["rows"].as_array().unwrap().iter();
        let ids: String = rows.map(|row| row["id"].as_str().unwrap()).collect();
        (ids, list["offset"].clone(), list["total_rows"].clone())
    };
    assert_eq!(
        ids("startkey=%22b%22&endkey=%22c%22").await,
        ("bc".into(), json!(1), json!(4))
    );
    assert_eq!(
        ids("startkey=%22b%22&inclusive_end=false&endkey=%22d%22")
            .await
            .0,
        "bc"
    );
    assert_eq!(
        ids("descending=true&startkey=%22c%22").await,
        ("cba".into(), json!(1), json!(4))
    );
    assert_eq!(
        ids("skip=1&limit=2").await,
        ("bc".into(), json!(1), json!(4))
    );
    assert_eq!(ids("key=%22d%22").await.0, "d");
    let body = json!({"keys": ["d", "a"], "include_docs": true});
    let list = store.post("/db/_all_docs", body).await.json();
    assert_eq!(list["rows"][0]["doc"]["id"], "d");
    store.put("/dc", Value::Null).await;
    let names = store
        .get("/_all_dbs?startkey=%22dc%22&endkey=%22dz%22")
        .await;
    assert_eq!(names.json(), json!(["dc"]));
    assert_eq!(store.get("/_all_dbs?limit=1").await.json(), json!(["db"]));
    store.stop().await;
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_and_nothing_is_kept() {
    let (_data, store) = small().await;
    let long = vec![7; 1024 * 1024 + 1];
    let refused = store.target.ask("PUT", "/db/d/x.mp3", &[], &long).await;
    assert_eq!(
        (refused.status, refused.reason.as_str()),
        (413, "Request Entity Too Large")
    );
    assert_eq!(
        refused.json(),
        json!({"error": "attachment_too_large", "reason": "x.mp3"})
    );
    assert_eq!(
        store
            .target
            .ask("PUT", "/db/d", &[JSON], &long)
            .await
            .status,
        413
    );
    let mut chunked =
        b"PUT /db/d/x.mp3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".to_vec();
    chunked
        .extend_from_slice(format!("Authorization: {}\r\n\r\n", store.target.login()).as_bytes());
    chunked.extend_from_slice(format!("{:x}\r\n", long.len()).as_bytes());
    chunked.extend_from_slice(&long);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut connection = Connection::open(&store.target.authority).await;
    connection.send(&chunked).await;
    assert_eq!(connection.answer(false).await.unwrap().status, 413);
    // Packed it is small, unpacked it is not.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packer, &long).unwrap();
    let gzip = [("Content-Encoding", "gzip")];
    let packed = store
        .target
        .ask("PUT", "/db/d/x.mp3", &gzip, &packer.finish().unwrap())
        .await;
    assert_eq!(packed.status, 413);
    assert_eq!(store.get("/db/d").await.status, 404);
    store.stop().await;
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let (data, store) = small().await;
    let name = "/account%2F12%2F34%2Fab-202011";
    store.put(name, Value::Null).await;
    let kind = [("Content-Type", "text/plain; charset=utf-8")];
    let saved = store
        .target
        .ask("PUT", &format!("{name}/d/a.txt"), &kind, b"text")
        .await;
    let security = json!({"members": {"roles": []}});
    store
        .put(&format!("{name}/_security"), security.clone())
        .await;
    store
        .put(&format!("{name}/_local/l"), json!({"n": 1}))
        .await;
    let info = store.get(name).await.json();
    store.target.ask("DELETE", "/db", &[], b"").await;
    store.stop().await;

    let store = start(data.path(), 1024).await;
    assert_eq!(
        store.get("/_all_dbs").await.json(),
        json!(["account/12/34/ab-202011"])
    );
    assert_eq!(store.get(name).await.json(), info);
    assert_eq!(
        store.get(&format!("{name}/d")).await.json()["_rev"],
        rev(&saved)
    );
    assert_eq!(store.get(&format!("{name}/d/a.txt")).await.body, b"text");
    assert_eq!(
        store.get(&format!("{name}/_security")).await.json(),
        security
    );
    assert_eq!(store.get(&format!("{name}/_local/l")).await.json()["n"], 1);
    store.stop().await;
}

#[tokio::test]
async fn a_copy_has_the_attachments_too() {
    let (_data, store) = small().await;
    store
        .target
        .ask(
            "PUT",
            "/db/d/a.mp3",
            &[("Content-Type", "audio/mpeg")],
            b"sound",
        )
        .await;
    let to = [("Destination", "e%20f")];
    assert_eq!(
        store.target.ask("COPY", "/db/d", &to, b"").await.status,
        201
    );
    let copied = store.get("/db/e%20f/a.mp3").await;
    assert_eq!(copied.body, b"sound");
    assert_eq!(copied.header("content-type"), Some("audio/mpeg"));
    assert_eq!(
        store.target.ask("COPY", "/db/d", &to, b"").await.status,
        409
    );
    store.stop().await;
}

#[tokio::test]
async fn two_hundred_megabytes_come_back_as_they_went() {
    let data = tempfile::tempdir().unwrap();
    let store = start(data.path(), stowage::store::DEFAULT_BODY_LIMIT).await;
    store.put("/db", Value::Null).await;
    // Without a period that a lost or doubled piece could hide in.
    let mut state = 1_u32;
    let recording: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(200 * 1024 * 1024)
    .collect();
    let saved = store
        .target
        .ask(
            "PUT",
            "/db/d/big.wav",
            &[("Content-Type", "audio/x-wav")],
            &recording,
        )
        .await;
    assert_eq!(saved.status, 201);
    let whole = store.get("/db/d/big.wav").await;
    assert!(whole.body == recording, "other bytes");
    let range = [("Range", "bytes=104857600-104857699")];
    let part = store.target.ask("GET", "/db/d/big.wav", &range, b"").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, recording[104_857_600..104_857_700]);
    store.stop().await;
}

#[test]
fn passwords_are_not_shown() {
    let options = Options {
        data: "/data".into(),
        admin: ("admin".into(), "canary-1".into()),
        user: Some(("ann".into(), "canary-2".into())),
    };
    let shown = format!("{options:?}");
    assert!(shown.contains("admin") && shown.contains("ann"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
