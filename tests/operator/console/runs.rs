//! Migrations and verifications: started, watched, ended; each has the same effect as its command.

use std::sync::Arc;

use serde_json::json;
use stowage_testing::gateway::{Running, STORAGE, json as parsed};
use stowage_testing::recorder::{Answer, Recorder};
use tokio::sync::Notify;

use super::{BOUND, ask, ask_as, data, ended, event, setup, start, watched, watching};
use crate::moving::world::{OTHER, come_back, fill, lines, plan, run, seen, slow};

async fn begin(documents: usize) -> (Running, Vec<String>) {
    let gateway = setup().start().await;
    gateway.make_database().await;
    let ids = fill(&gateway, documents).await;
    plan(&gateway, Some(STORAGE)).await;
    (gateway, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_does_what_the_command_does() {
    let (gateway, ids) = begin(20).await;
    let before = seen(&gateway, &ids).await;
    let database = gateway.database();
    let (_, said) = run(&gateway, &["migrate", "--db", &database, "--format", "json", "--dry-run"]).await;
    let told = lines(&said, "total").next().unwrap();

    let dry = start(&gateway, "migrations", json!({ "databases": [database], "dry_run": true })).await;
    let dry = ended(&gateway, &dry).await;
    assert_eq!((&dry["state"], &dry["total"]), (&json!("done"), &told), "{dry}");
    assert!(gateway.stored().is_empty());

    let path = start(&gateway, "migrations", json!({ "databases": [database] })).await;
    let moved = ended(&gateway, &path).await;
    assert_eq!((&moved["state"], &moved["total"]), (&json!("done"), &told), "{moved}");
    assert_eq!(moved["finished"][0]["database"], json!(database), "{moved}");
    assert_eq!((&moved["databases"], &moved["faults"]), (&json!({ "done": 1, "all": 1 }), &json!([])));
    assert_eq!(gateway.stored().len(), 40);
    assert_eq!(seen(&gateway, &ids).await, before);

    // To another storage, back into CouchDB, and a type without documents.
    plan(&gateway, Some(OTHER)).await;
    let scope = json!({ "accounts": [gateway.account], "direction": "rehome" });
    let rehomed = ended(&gateway, &start(&gateway, "migrations", scope).await).await;
    assert_eq!(rehomed["total"]["attachments"], 40, "{rehomed}");
    gateway.settled().await;
    assert!(gateway.stored().iter().all(|file| file.starts_with("two/")), "{:?}", gateway.stored());
    let scope = json!({ "accounts": [gateway.account], "direction": "back", "types": ["none"] });
    let none = ended(&gateway, &start(&gateway, "migrations", scope).await).await;
    assert_eq!((&none["total"]["attachments"], &none["total"]["looked"]), (&json!(0), &json!(21)), "{none}");
    let scope = json!({ "accounts": [gateway.account], "direction": "back" });
    let back = ended(&gateway, &start(&gateway, "migrations", scope).await).await;
    assert_eq!(back["total"]["attachments"], 40, "{back}");
    gateway.settled().await;
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    come_back(&gateway, &ids).await;

    // The last five are kept, newest first and without their tables.
    let list = data(&ask(&gateway, "GET", "migrations", None).await, 200);
    let list = list.as_array().unwrap();
    assert_eq!((list.len(), &list[0]["id"]), (5, &back["id"]));
    assert!(list.iter().all(|run| run["faults"].is_null() && run["state"] == "done"), "{list:?}");
    ended(&gateway, &start(&gateway, "migrations", json!({ "all": true, "dry_run": true })).await).await;
    let list = data(&ask(&gateway, "GET", "migrations", None).await, 200);
    assert_eq!((list.as_array().unwrap().len(), &list[1]["id"]), (5, &back["id"]));
    let forgotten = format!("migrations/{}", dry["id"].as_str().unwrap());
    assert_eq!(ask(&gateway, "GET", &forgotten, None).await.status, 404, "the oldest is forgotten");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_finds_what_the_command_finds() {
    let (gateway, _) = begin(3).await;
    let account = gateway.account.clone();
    ended(&gateway, &start(&gateway, "migrations", json!({ "accounts": [account] })).await).await;
    let stored = gateway.stored();
    let known = gateway.files().join(&stored[0]);
    std::fs::write(known.with_file_name("left.mp3"), b"left").unwrap();
    let scope = json!({ "accounts": [account], "read": true, "orphans": true, "older_than": "0s" });
    let found = ended(&gateway, &start(&gateway, "verifications", scope.clone()).await).await;
    assert_eq!((&found["state"], &found["total"]["attachments"]), (&json!("done"), &json!(6)), "{found}");
    assert_eq!((found["faults"].as_array().unwrap().len(), &found["faults"][0]["kind"]), (1, &json!("orphan")));
    let mut removing = scope;
    removing["remove_orphans"] = json!(true);
    let removed = ended(&gateway, &start(&gateway, "verifications", removing).await).await;
    assert_eq!((&removed["removed"]["objects"], &removed["total"]["faults"]), (&json!(1), &json!(0)), "{removed}");
    std::fs::remove_file(known).unwrap();
    let missing = ended(&gateway, &start(&gateway, "verifications", json!({ "accounts": [account] })).await).await;
    assert_eq!((&missing["faults"][0]["kind"], &missing["total"]["faults"]), (&json!("missing"), &json!(1)));
    assert_eq!(gateway.stored().len(), 5, "only the one that was removed is gone");
    gateway.stop().await;
}

/// Sets up documents; returns the options of a run that moves them slowly, at 1 MiB a second, one at a time.
async fn slowly(gateway: &Running) -> serde_json::Value {
    slow(gateway).await;
    json!({ "databases": [gateway.database()], "jobs": 1, "rate": 1 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_kind_runs_at_a_time_and_can_be_watched_and_stopped() {
    let gateway = setup().start().await;
    let options = slowly(&gateway).await;
    let path = start(&gateway, "migrations", options.clone()).await;
    let mut watcher = watching(&gateway, &path).await;
    loop {
        let chunk = watcher.chunk().await.unwrap();
        let (name, run) = event(std::str::from_utf8(&chunk).unwrap().trim_end());
        assert_eq!((&*name, &run["state"]), ("progress", &json!("running")), "{run}");
        if run["total"]["attachments"].as_u64().unwrap() > 0 {
            assert_eq!(
                (&run["in_work"][0]["database"], &run["in_work"][0]["documents"]),
                (&json!(gateway.database()), &json!(30))
            );
            assert_eq!(run["databases"], json!({ "done": 0, "all": 1 }));
            break;
        }
    }
    let refused = ask(&gateway, "POST", "migrations", Some(options)).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let other = &parsed(&refused)["data"]["run"];
    assert_eq!(
        (format!("migrations/{}", other["id"].as_str().unwrap()), &other["state"]),
        (path.clone(), &json!("running"))
    );
    // A run of the other kind may run concurrently.
    let verified = start(&gateway, "verifications", json!({ "databases": [gateway.database()] })).await;
    assert_eq!(ended(&gateway, &verified).await["state"], "done");

    let stopped = data(&ask(&gateway, "DELETE", &path, None).await, 200);
    assert!(matches!(stopped["state"].as_str(), Some("stopping" | "stopped")), "{stopped}");
    drop(watcher);
    let run = ended(&gateway, &path).await;
    let moved = run["total"]["attachments"].as_u64().unwrap();
    assert!(run["state"] == "stopped" && (1..30).contains(&moved), "{run}");
    assert_eq!(gateway.stored().len() as u64, moved);
    assert_eq!(data(&ask(&gateway, "DELETE", &path, None).await, 200), run, "what has ended stays as it is");
    assert_eq!(watched(&gateway, &path).await.len(), 1, "its end is told at once");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_to_stop_twice_waits_for_nothing() {
    let gateway = setup().start().await;
    let server = Recorder::start().await;
    gateway.make_database().await;
    fill(&gateway, 1).await;
    gateway.plan("http", json!({ "url": server.url("/r") })).await;
    let never = Arc::new(Notify::new());
    server.always(Answer::Held(Arc::clone(&never), Box::new(Answer::Normal)));
    let path = start(&gateway, "migrations", json!({ "databases": [gateway.database()] })).await;
    server.wait_until(|requests| !requests.is_empty()).await;
    let first = data(&ask(&gateway, "DELETE", &path, None).await, 200);
    assert_eq!(first["state"], "stopping", "it waits for what is under way: {first}");
    assert_eq!(data(&ask(&gateway, "GET", &path, None).await, 200)["state"], "stopping");
    data(&ask(&gateway, "DELETE", &path, None).await, 200);
    let run = ended(&gateway, &path).await;
    assert_eq!((&run["state"], &run["total"]["attachments"]), (&json!("stopped"), &json!(0)), "{run}");
    server.reset_rules();
    never.notify_waiters();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_with_the_gateway() {
    let gateway = setup().start().await;
    let options = slowly(&gateway).await;
    let path = start(&gateway, "migrations", options).await;
    while data(&ask(&gateway, "GET", &path, None).await, 200)["total"]["attachments"] == 0 {
        tokio::task::yield_now().await;
    }
    let began = std::time::Instant::now();
    assert_eq!(gateway.app.stop().await, 0, "something had to be cut off");
    assert!(began.elapsed().as_secs() < 10, "it would have run for half a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_and_what_cannot_be_is_refused() {
    let gateway = setup().start().await;
    let nothing = "migrations/0123456789abcdef";
    for (method, path, body) in [
        ("POST", "migrations", Some(json!({ "all": true }))),
        ("GET", "migrations", None),
        ("GET", "verifications", None),
        ("GET", nothing, None),
        ("DELETE", nothing, None),
        ("GET", "migrations/1/events", None),
        ("GET", "queue", None),
        ("POST", "jobs?all=true", Some(json!({}))),
        ("DELETE", "jobs/move-1", None),
        ("GET", "schema", None),
        ("POST", "check", Some(json!({}))),
    ] {
        for (token, status) in [("", 401), ("wrong", 401), (BOUND, 403)] {
            let answer = ask_as(&gateway, token, method, path, body.clone()).await;
            assert_eq!(answer.status, status, "{token} {method} {path}: {}", answer.text());
        }
    }
    assert_eq!(data(&ask(&gateway, "GET", "migrations", None).await, 200), json!([]), "none was started");
    for path in [nothing, "migrations/0123456789abcdef/events"] {
        assert_eq!(ask(&gateway, "GET", path, None).await.status, 404);
    }
    let wrong = ask(&gateway, "POST", "migrations", Some(json!({ "direction": "up", "jobs": 0 }))).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert!(parsed(&wrong)["data"]["direction"]["enum"].is_object(), "{}", wrong.text());
    // A failed run reports the reason.
    let run = ended(&gateway, &start(&gateway, "migrations", json!({ "databases": ["nothing*"] })).await).await;
    assert_eq!(run["state"], "failed", "{run}");
    assert!(run["error"].as_str().unwrap().contains("no database fits nothing*"), "{run}");
    gateway.stop().await;
}
