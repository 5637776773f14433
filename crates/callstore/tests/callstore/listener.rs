//! The listener: events in, calls out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use callstore::api::Inlet;
use callstore::app::World;
use callstore::journal::{Draft, Entries, Journal, JournalError, Offset};
use callstore::metrics::Metrics;
use callstore::roles::Serves;
use http::StatusCode;
use serde_json::{Value, json};
use stowage_http::body::Body;
use stowage_testing::raw::RawClient;

use crate::events::{ACCOUNT, INTERACTION, begun, ended, kazoo, with};
use crate::running::{self, until};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_in_every_form_and_bad_ones_are_named() {
    let store = running::start(&[], World::default()).await;
    let good = |leg: &str| kazoo("CHANNEL_CREATE", leg, 0.0);
    let pretty = serde_json::to_string_pretty(&good("a3")).unwrap();
    for (body, media_type, taken, bad) in [
        (good("a1").to_string(), "application/json", 1, vec![]),
        (pretty, "application/json", 1, vec![]),
        (json!([good("a4"), good("a5"), 7, {}]).to_string(), "application/json", 2, vec![3, 4]),
        (
            format!("{}\nnonsense\n\n{}\n{{\"Event-Name\":\"X\"}}\n", good("a6"), good("a7")),
            "application/x-ndjson",
            2,
            vec![2, 5],
        ),
        (format!("{}\n{}", good("a8"), good("a9")), "", 2, vec![]),
        ("[]".to_owned(), "application/json", 0, vec![]),
        (String::new(), "application/json", 0, vec![]),
        ("{\"a\"".to_owned(), "application/json", 0, vec![1]),
    ] {
        let answer = store.ask("POST", "/v1/events", &[("Content-Type", media_type)], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}");
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        let lines: Vec<_> = said["bad"].as_array().unwrap().iter().map(|bad| bad["line"].as_u64().unwrap()).collect();
        assert_eq!((said["taken"].as_u64().unwrap(), lines), (taken, bad), "{body}: {said}");
    }
    let long = format!("{}\n", kazoo("X", &"x".repeat(2 << 20), 0.0));
    let answer = store.ask("POST", "/v1/events", &[], format!("{long}{}\n", good("a10")).as_bytes()).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((said["taken"].clone(), said["bad"][0]["line"].clone()), (json!(1), json!(1)), "{said}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_a_body_broke_off_is_told_by_its_absence() {
    let store = running::start(&[], World::default()).await;
    let mut client = RawClient::connect(store.address).await.unwrap();
    let line = format!("{}\n", kazoo("CHANNEL_CREATE", "a1", 0.0));
    client.send(format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{line}")).await.unwrap();
    drop(client);
    store.post(&[kazoo("CHANNEL_CREATE", "a2", 0.0)]).await;
    until("the whole one", || async { (store.get("/v1/calls").await["calls"][0]["legs"][0] == "a2").then_some(()) })
        .await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_dialogs_are_listed_and_shown_whole() {
    let store = running::start(&[], World::default()).await;
    store.post(&[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat()).await;
    let dialogs = until("the dialogs", || async {
        Some(store.get("/v1/dialogs").await["dialogs"].clone()).filter(|dialogs| dialogs.as_array().unwrap().len() == 1)
    })
    .await;
    assert_eq!(dialogs[0]["id"], "a2+b2");
    assert_eq!((dialogs[0]["from"].clone(), dialogs[0]["to"].clone()), (json!("+74955550101"), json!("1001")));
    let call = store.get("/v1/calls").await["calls"][0].clone();
    assert_eq!(
        (call["id"].clone(), call["legs"].clone(), call["dialogs"].clone()),
        (json!(INTERACTION), json!(["a2", "b2"]), json!(["a2+b2"]))
    );
    for (query, count) in [
        ("domain=example.com", 1),
        ("domain=other", 0),
        ("number=0101", 1),
        ("node=nowhere", 0),
        ("state=suspect", 0),
        ("state=ended", 1),
        ("longer_than=1", 1),
        ("older_than=1", 1),
        ("older_than=2020-01-01T00:00:00Z", 0),
        (&format!("account={ACCOUNT}"), 1),
    ] {
        assert_eq!(
            store.get(&format!("/v1/dialogs?{query}")).await["dialogs"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }
    for query in ["state=odd", "limit=0", "limit=x", "longer_than=x", "older_than=x", "nonsense=1", "token=x"] {
        assert_eq!(store.ask("GET", &format!("/v1/dialogs?{query}"), &[], b"").await.status, 400, "{query}");
    }
    let first = store.get("/v1/calls?limit=1").await;
    let next = first["next"].as_str().unwrap().replace('/', "%2F").replace('@', "%40");
    assert_eq!(store.get(&format!("/v1/calls?limit=1&cursor={next}")).await["calls"][0]["legs"], json!(["b2"]));
    let whole = store.get("/v1/dialogs/a1%2Bb1").await;
    assert_eq!(whole["state"], "ended");
    let names: Vec<_> =
        whole["legs"][0]["story"].as_array().unwrap().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(names, ["CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_DESTROY"]);
    assert_eq!(whole["legs"][0]["other"]["Channel-Name"], "sofia/sipinterface_1/1001");
    assert_eq!(store.get(&format!("/v1/calls/{INTERACTION}")).await["legs"].as_array().unwrap().len(), 4);
    for missing in ["/v1/dialogs/none", "/v1/calls/none", "/v1/else", "/else"] {
        assert_eq!(store.ask("GET", missing, &[], b"").await.status, 404, "{missing}");
    }
    assert_eq!(store.get("/v1/nodes").await["nodes"][0]["legs"], 2);
    assert_eq!(store.get("/v1/groups").await["is_active"], true);
    assert_eq!(store.ask("DELETE", "/v1/calls", &[], b"").await.status, 405);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_page_and_description_are_there() {
    let store = running::start(&[], World::default()).await;
    store.ready().await;
    for (path, part) in [
        ("/live", "live"),
        ("/metrics", "callstore_entries_total"),
        ("/", "<title>Call store</title>"),
        ("/page.js", "use strict"),
        ("/page.css", "color-scheme"),
        ("/openapi.json", "\"openapi\""),
    ] {
        let answer = store.ask("GET", path, &[], b"").await;
        assert!(answer.status == 200 && answer.text().contains(part), "{path}: {}", answer.text());
    }
    let described: Value = serde_json::from_str(include_str!("../../src/api/page/openapi.json")).unwrap();
    for path in described["paths"].as_object().unwrap().keys() {
        let answer = store.ask("HEAD", &path.replace("{id}", "x"), &[], b"").await;
        assert_ne!(answer.status, 405, "{path}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_on_sees_changes_as_they_come() {
    let store = running::start(&[("LIMITS__WATCHERS", "1")], World::default()).await;
    let mut watcher = RawClient::connect(store.address).await.unwrap();
    watcher.send("GET /v1/events?domain=example.com HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = watcher.head().await.unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(store.ask("GET", "/v1/events", &[], b"").await.status, 429, "no more may look on");
    store.post(&begun("a1", "b1")).await;
    let mut seen = String::new();
    while !seen.contains("\"id\":\"a1+b1\"") {
        seen.push_str(&String::from_utf8_lossy(&watcher.chunk().await.unwrap()));
    }
    assert!(seen.contains("event: change\ndata: {"), "{seen}");
    drop(watcher);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_say_who_may_ask_for_what() {
    let tokens = format!(
        "[\"operator\", {{ token = \"tenant\", account = \"{ACCOUNT}\" }}, {{ token = \"other\", account = \"another\" }}]"
    );
    let store = running::start(&[("LISTEN__TOKENS", &tokens)], World::default()).await;
    let event = kazoo("CHANNEL_CREATE", "a1", 0.0).to_string();
    let ask = |token: &'static str, method: &'static str, path: String, body: String| {
        let store = &store;
        async move { store.ask(method, &path, &[("X-Auth-Token", token)], body.as_bytes()).await }
    };
    assert_eq!(ask("", "GET", "/v1/calls".into(), String::new()).await.status, 401);
    assert_eq!(ask("wrong", "POST", "/v1/events".into(), event.clone()).await.status, 401);
    assert_eq!(ask("tenant", "POST", "/v1/events".into(), event.clone()).await.status, 403);
    assert_eq!(ask("operator", "POST", "/v1/events".into(), event).await.status, 200);
    until("the call", || async {
        ask("operator", "GET", "/v1/calls".into(), String::new()).await.text().contains("a1").then_some(())
    })
    .await;
    for (token, sees) in [("operator", true), ("tenant", true), ("other", false)] {
        let list = ask(token, "GET", format!("/v1/calls?account={ACCOUNT}"), String::new()).await;
        assert_eq!((list.status, list.text().contains("a1")), (200, sees), "{token}");
        let whole = ask(token, "GET", format!("/v1/calls/{INTERACTION}"), String::new()).await;
        assert_eq!(whole.status, if sees { 200 } else { 404 }, "{token}");
        let nodes = ask(token, "GET", "/v1/nodes".into(), String::new()).await;
        assert_eq!(nodes.status, if token == "operator" { 200 } else { 403 }, "{token}");
    }
    // It takes no token.
    store.ready().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_account_shows_nothing_of_the_other_account_of_a_call() {
    let tokens = format!(
        "[\"operator\", {{ token = \"tenant\", account = \"{ACCOUNT}\" }}, {{ token = \"other\", account = \"another\" }}]"
    );
    let store = running::start(&[("LISTEN__TOKENS", &tokens)], World::default()).await;
    let vars = |account: &str, mark: &str| json!({ "Custom-Channel-Vars": { "Account-ID": account, "Call-Interaction-ID": INTERACTION, "Mark": mark } });
    let of_leg = |event: Value| {
        let vars =
            if event["Call-ID"] == "a1" { vars(ACCOUNT, "of the tenant") } else { vars("another", "of another") };
        with(event, &vars)
    };
    let lines: String = begun("a1", "b1").into_iter().map(|event| format!("{}\n", of_leg(event))).collect();
    let headers = [("X-Auth-Token", "operator"), ("Content-Type", "application/x-ndjson")];
    assert_eq!(store.ask("POST", "/v1/events", &headers, lines.as_bytes()).await.status, 200);
    let (call, dialog) = (format!("/v1/calls/{INTERACTION}"), "/v1/dialogs/a1%2Bb1");
    let get = |token: &'static str, path: String| {
        let store = &store;
        async move { store.ask("GET", &path, &[("X-Auth-Token", token)], b"").await }
    };
    until("the dialog", || async { (get("operator", dialog.to_owned()).await.status == 200).then_some(()) }).await;
    for (token, legs, dialog_status) in
        [("operator", vec!["a1", "b1"], 200), ("tenant", vec!["a1"], 200), ("other", vec!["b1"], 404)]
    {
        let whole = get(token, call.clone()).await;
        let part = get(token, dialog.to_owned()).await;
        assert_eq!((whole.status, part.status), (200, dialog_status), "{token}");
        for answer in [whole, part].into_iter().filter(|answer| answer.status == 200) {
            let shown: Value = serde_json::from_slice(&answer.body).unwrap();
            let ids: Vec<_> = shown["legs"].as_array().unwrap().iter().map(|leg| leg["id"].as_str().unwrap()).collect();
            assert_eq!(ids, legs, "{token}: {shown}");
            for (mark, leg) in [("of the tenant", "a1"), ("of another", "b1")] {
                assert_eq!(answer.text().contains(mark), legs.contains(&leg), "{token}, {mark}: {shown}");
            }
        }
    }
    store.stop().await;
}

/// The broker accepts connections, and says nothing over them.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_do_not_wait_for_a_broker_that_hangs() {
    let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", broker.local_addr().unwrap());
    let settings = [("JOURNAL__KIND", "rabbitmq"), ("BROKER__URLS", url.as_str()), ("BROKER__TIMEOUT", "6s")];
    let store = running::start(&settings, World::default()).await;
    let scrape = store.ask("GET", "/metrics", &[], b"");
    let answer = tokio::time::timeout(Duration::from_secs(5), scrape).await.expect("an answer without the broker's");
    assert!(answer.text().contains("callstore_lag_entries 0"), "{}", answer.text());
    // The handshake with the broker is cut off.
    stowage_base::signals::Program::stop(store.app).await;
}

/// A journal that can be full or slow.
#[derive(Debug)]
struct Moody {
    full: AtomicBool,
    gate: tokio::sync::Semaphore,
    waiting: AtomicUsize,
}

#[async_trait]
impl Journal for Moody {
    async fn append(&self, _: Vec<Draft>) -> Result<(), JournalError> {
        if self.full.load(Ordering::Acquire) {
            return Err(JournalError::Full);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.gate.acquire().await.map_err(|error| JournalError::Unavailable(error.into()))?.forget();
        Ok(())
    }

    async fn follow(&self, _: Option<Offset>) -> Result<Entries, JournalError> {
        Err(JournalError::Full)
    }

    async fn end(&self) -> Result<Option<Offset>, JournalError> {
        Ok(None)
    }

    fn last_known(&self) -> Option<Offset> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_full_or_behind_is_told_by_status_and_never_by_dropping() {
    let journal = Arc::new(Moody {
        full: AtomicBool::new(false),
        gate: tokio::sync::Semaphore::new(0),
        waiting: AtomicUsize::new(0),
    });
    let inlet = Inlet::new(journal.clone(), Metrics::new(&Serves::default()).unwrap(), 1000, 5000);
    let small = || Body::full(json!({ "Event-Name": "X", "Call-ID": "a1" }).to_string());
    let headers = http::HeaderMap::new();
    let tasks = stowage_base::tasks::Tasks::default();
    let take = |body: Body| {
        let (inlet, headers) = (inlet.clone(), headers.clone());
        tasks.spawn("inlet", async move { inlet.take(&headers, body).await })
    };
    // Two requests wait for the journal, and a third finds no room.
    let (one, two) = (take(small()), take(small()));
    until("both to wait", || async { (journal.waiting.load(Ordering::Acquire) == 2).then_some(()) }).await;
    assert_eq!(inlet.take(&headers, small()).await.0, StatusCode::TOO_MANY_REQUESTS);
    journal.gate.add_permits(10);
    for waited in [one, two] {
        let (status, answer) = waited.await.unwrap().unwrap();
        assert_eq!((status, answer["taken"].clone()), (StatusCode::OK, json!(1)));
    }
    journal.full.store(true, Ordering::Release);
    let (status, answer) = inlet.take(&headers, small()).await;
    assert_eq!(
        (status, answer["taken"].clone(), answer["error"].clone()),
        (StatusCode::INSUFFICIENT_STORAGE, json!(0), json!("disk_full"))
    );
}
