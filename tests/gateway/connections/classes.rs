//! The connection of a class: all requests for its databases go there, and clients see that server's responses.

use serde_json::json;

use crate::connections::{FIRST, SECOND, World};
use stowage_testing::gateway::{Couch, JSON, authorization, exchange};
use stowage_testing::raw::RawResponse;

/// Method, the target after the database (`{rev}` is the last revision returned), headers and body.
type Step = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [u8]);

const STEPS: &[Step] = &[
    ("PUT", "", &[], b""),
    ("PUT", "", &[], b""),
    ("GET", "", &[], b""),
    ("HEAD", "", &[], b""),
    ("PUT", "/doc", &[JSON], br#"{"pvt_type":"call_recording","n":1.0}"#),
    ("GET", "/doc", &[], b""),
    ("GET", "/doc?rev={rev}&revs=true", &[], b""),
    ("HEAD", "/doc", &[], b""),
    ("PUT", "/doc/a.mp3?rev={rev}", &[("Content-Type", "audio/mpeg")], b"0123456789"),
    ("GET", "/doc/a.mp3", &[], b""),
    ("GET", "/doc/a.mp3", &[("Range", "bytes=2-5")], b""),
    ("GET", "/doc/a.mp3", &[("If-None-Match", "\"eB5eJF1ptWaXm4bijSPyxw==\"")], b""),
    ("HEAD", "/doc/a.mp3", &[], b""),
    ("GET", "/doc/none.mp3", &[], b""),
    ("DELETE", "/doc/a.mp3?rev={rev}", &[], b""),
    ("POST", "", &[JSON], br#"{"_id":"posted","n":2}"#),
    ("POST", "/_bulk_docs", &[JSON], br#"{"docs":[{"_id":"b1"},{"_id":"b2","n":3}]}"#),
    ("POST", "/_bulk_get", &[JSON], br#"{"docs":[{"id":"b1"},{"id":"none"}]}"#),
    ("GET", "/_all_docs?include_docs=true", &[], b""),
    ("POST", "/_all_docs", &[JSON], br#"{"keys":["b1","none"]}"#),
    ("GET", "/_changes", &[], b""),
    ("GET", "/_changes?feed=longpoll&timeout=100&since=now", &[], b""),
    ("PUT", "/_local/l", &[JSON], br#"{"n":1}"#),
    ("GET", "/_local/l", &[], b""),
    ("PUT", "/_design/d", &[JSON], br#"{"views":{"v":{"map":"function(doc){emit(doc._id)}"}}}"#),
    ("GET", "/_design/d", &[], b""),
    ("GET", "/_design/d/_view/v", &[], b""),
    ("PUT", "/_design/d/a.txt?rev={rev}", &[("Content-Type", "text/plain")], b"of a design document"),
    ("GET", "/_design/d/a.txt", &[], b""),
    ("POST", "/_find", &[JSON], br#"{"selector":{}}"#),
    ("GET", "/_security", &[], b""),
    ("GET", "/none", &[], b""),
    ("POST", "/_ensure_full_commit", &[JSON], b""),
    ("DELETE", "", &[], b""),
    ("DELETE", "", &[], b""),
    ("GET", "/doc", &[], b""),
];

#[tokio::test]
async fn everything_of_a_class_is_what_its_connection_says() {
    let world = World::start().await;
    world.plan(json!({"plan": {"modb": {"connection": FIRST}}})).await;
    let twin = Couch::embedded(world.gateway.couch.admin.clone()).await;
    let twin_address = twin.url.trim_start_matches("http://").parse().unwrap();
    let (mut rev, mut steps) = (String::new(), 0);
    for (method, rest, headers, body) in STEPS {
        let target = format!("/{}{}", world.gateway.path(), rest.replace("{rev}", &rev));
        let mut all = vec![authorization(&world.gateway.couch.admin)];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let ours = exchange(world.gateway.address, method, &target, &all, body).await;
        let theirs = exchange(twin_address, method, &target, &all, body).await;
        let shown = format!("{method} {target}: {ours:?}\n{theirs:?}");
        assert_eq!((ours.status, &ours.reason), (theirs.status, &theirs.reason), "{shown}");
        let is_feed = rest.starts_with("/_changes");
        let headers = [plain(&ours, world.gateway.address), plain(&theirs, twin_address)];
        let [our_headers, their_headers] = headers.map(|mut headers| {
            headers.retain(|(name, _)| !is_feed || name != "etag");
            headers
        });
        assert_eq!(our_headers, their_headers, "{shown}");
        if !rest.is_empty() || *method == "POST" {
            let [our_body, their_body] = [&ours, &theirs].map(|answer| without_seqs(answer, is_feed));
            assert_eq!(our_body, their_body, "{shown}");
        }
        if let Some(new) = serde_json::from_slice(&ours.body)
            .ok()
            .and_then(|body: serde_json::Value| body["rev"].as_str().map(str::to_owned))
        {
            rev = new;
        }
        steps += 1;
        assert_eq!(world.counts()[0], 0, "the configured server sees nothing of it: {shown}");
    }
    assert_eq!(world.counts(), [0, world.counts()[1], 0]);
    assert!(world.counts()[1] >= steps, "every request got there");
    world.gateway.stop().await;
}

/// Returns the headers except for those that depend on the server, the time or the hop.
fn plain(answer: &RawResponse, address: std::net::SocketAddr) -> Vec<(String, String)> {
    let own = |name: &str| ["connection", "date", "x-couch-request-id", "x-couchdb-body-time"].contains(&name);
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.replace(&address.to_string(), "HOST")))
        .filter(|(name, _)| !own(name))
        .collect();
    headers.sort();
    headers
}

/// Returns the body, for a feed without sequence numbers, which differ between servers.
fn without_seqs(answer: &RawResponse, is_feed: bool) -> String {
    let text = answer.text();
    if !is_feed {
        return text;
    }
    let parts = text.split("seq\":\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
    parts.collect::<Vec<_>>().join("seq")
}

#[tokio::test]
async fn a_location_names_the_host_that_the_client_asked() {
    let world = World::start().await;
    world.plan(json!({"plan": {"modb": {"connection": FIRST}}})).await;
    world.database_at(&world.first_couch).await;
    let headers = [JSON, ("Host", "db.example:5984")];
    let body = br#"{"n":1}"#;
    // Replaces the raw client's own `Host` header.
    let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (name, value) = authorization(&world.gateway.couch.admin);
    let request = format!(
        "PUT /{}/doc HTTP/1.1\r\n{head}{name}: {value}\r\nContent-Length: {}\r\n\r\n",
        world.gateway.path(),
        body.len()
    );
    let mut client = stowage_testing::raw::RawClient::connect(world.gateway.address).await.unwrap();
    let answer = client.exchange([request.as_bytes(), body].concat()).await.unwrap().expect_status(201);
    let expected = format!("http://db.example:5984/{}/doc", world.gateway.path());
    assert_eq!(answer.header("location"), Some(expected.as_str()));
    world.gateway.stop().await;
}

#[tokio::test]
async fn attachments_that_a_plan_sends_elsewhere_have_their_documents_at_the_connection() {
    let world = World::start().await;
    world.plan_with_types(true).await;
    world.database_at(&world.first_couch).await;
    world.database_at(&world.second_couch).await;
    let rev = world.gateway.document("doc", json!({"n": 1})).await;
    let put = world.gateway.attach("doc", "a.mp3", &rev, b"0123456789").await;
    let expected = format!("http://{}/{}/doc/a.mp3", world.gateway.address, world.gateway.database());
    assert_eq!(put.header("location"), Some(expected.as_str()));
    assert_eq!(world.gateway.stored().len(), 1);
    let shown = stowage_testing::gateway::json(&world.gateway.get("doc").await);
    assert_eq!(shown["_attachments"]["a.mp3"]["stub"], true, "{shown}");
    assert_eq!(world.gateway.get("doc/a.mp3").await.body, b"0123456789");
    assert_eq!(world.counts()[0], 0);
    let rev = stowage_testing::gateway::rev(&put);
    assert_eq!(world.gateway.delete(&format!("doc/a.mp3?rev={rev}")).await.status, 200);
    world.gateway.settled().await;
    assert!(world.gateway.stored().is_empty());
    world.gateway.stop().await;
}

#[tokio::test]
async fn what_has_no_class_is_local() {
    let world = World::start().await;
    let every = json!({"connection": FIRST});
    let classes = json!({"account": every, "modb": every, "yodb": every, "system": every, "aggregate": every});
    let plan = json!({"pvt_type": "storage", "connections": world.connections(), "plan": classes});
    world.gateway.save_plan("system", plan).await;
    let own = uuid::Uuid::new_v4().simple().to_string();
    let provisioner = format!("{}-provisioner", world.gateway.path().trim_end_matches("-202411"));
    for target in
        ["/", "/_all_dbs", "/_up", "/_session", "/system_config/none", "/system_data", "/services", "/_users/x"]
    {
        world.gateway.request("GET", target, &[], b"").await;
        assert_eq!(world.first.seen(), [""; 0], "{target}");
    }
    for database in [format!("other_{own}"), provisioner] {
        assert_eq!(world.gateway.request("PUT", &format!("/{database}"), &[], b"").await.status, 201);
        assert_eq!(world.gateway.request("GET", &format!("/{database}"), &[], b"").await.status, 200);
        assert_eq!(world.first.seen(), [""; 0], "{database}");
    }
    // And databases with a connection are not.
    let (year, account) = (world.gateway.path(), world.gateway.path());
    let databases = [
        year.replace("-202411", "-2024"),
        account.trim_end_matches("-202411").to_owned(),
        account.replace("-202411", "-selectors"),
        "alerts".to_owned(),
        "faxes".to_owned(),
        "numbers%2F%2B1555".to_owned(),
    ];
    for (index, database) in databases.iter().enumerate() {
        assert_eq!(world.gateway.request("PUT", &format!("/{database}"), &[], b"").await.status, 201, "{database}");
        assert_eq!(world.first.seen().len(), index + 1, "{database}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_database_of_the_system_may_be_named_as_a_type() {
    let world = World::start().await;
    let types = json!({"system_media": {"connection": SECOND}});
    let system = json!({"pvt_type": "storage", "connections": world.connections(),
        "plan": {"system": {"connection": FIRST, "types": types}}});
    world.gateway.save_plan("system", system).await;
    for (database, expected) in [("system_media", [0, 1]), ("alerts", [1, 1])] {
        assert_eq!(world.gateway.request("GET", &format!("/{database}"), &[], b"").await.status, 404);
        assert_eq!([world.first.seen().len(), world.second.seen().len()], expected, "{database}");
    }
    world.gateway.stop().await;
}
