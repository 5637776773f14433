//! Every path with every method.

use serde_json::{Value, json};

use crate::api::{MINE, OTHER, ask, data, envelope, file_plan, of, setup, start, stored, write};
use stowage_testing::gateway::STORAGE;

/// Creates, changes and deletes a document under a path.
async fn lives(gateway: &crate::api::Running, path: &str, id: &str) {
    for method in ["GET", "HEAD", "DELETE"] {
        let missing = ask(gateway, method, path, None).await;
        assert_eq!(missing.status, 404, "{method} {path}");
        if method != "HEAD" {
            let missing = envelope(&missing);
            assert_eq!((&missing["message"], &missing["data"]["cause"]), (&json!("bad_identifier"), &json!(id)));
        }
    }
    for method in ["POST", "PATCH"] {
        assert_eq!(ask(gateway, method, path, Some(&file_plan("a"))).await.status, 404, "{method} {path}");
    }
    let made = ask(gateway, "PUT", path, Some(&file_plan("a"))).await;
    assert_eq!(made.status, 201, "{path}: {}", made.text());
    assert_eq!(data(&made)["id"], id);
    let again = ask(gateway, "PUT", path, Some(&file_plan("b"))).await;
    assert_eq!((again.status, &envelope(&again)["message"]), (409, &json!("datastore_conflict")), "{path}");
    rest_of_life(gateway, path, id, &made).await;
    let again = ask(gateway, "PUT", path, Some(&file_plan("b"))).await;
    assert_eq!(again.status, 201, "after DELETE: {path}: {}", again.text());
}

/// GETs, POSTs, PATCHes and DELETEs a newly created document.
async fn rest_of_life(gateway: &crate::api::Running, path: &str, id: &str, made: &crate::api::RawResponse) {
    let revision = envelope(made)["revision"].clone();
    let got = ask(gateway, "GET", path, None).await;
    assert_eq!((got.status, data(&got)), (200, data(made)), "{path}");
    assert_eq!(envelope(&got)["revision"], revision);
    assert_eq!(got.header("etag"), Some(format!("\"{}\"", revision.as_str().unwrap()).as_str()));
    let head = ask(gateway, "HEAD", path, None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    let mut posted = file_plan("c");
    posted["ui_metadata"] = json!({"x": 1});
    let answer = ask(gateway, "POST", path, Some(&posted)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    posted["id"] = json!(id);
    assert_eq!(data(&answer), posted, "POST replaces");
    assert_ne!(envelope(&answer)["revision"], revision);

    let patch = json!({"attachments": {STORAGE: {"name": null, "settings": {"directory": "d"}}}, "ui_metadata": null});
    let answer = ask(gateway, "PATCH", path, Some(&patch)).await;
    let mut patched = file_plan("d");
    patched["attachments"][STORAGE].as_object_mut().unwrap().remove("name");
    patched["id"] = json!(id);
    assert_eq!((answer.status, data(&answer)), (200, patched.clone()), "PATCH merges, null removes");
    assert_eq!(data(&ask(gateway, "GET", path, None).await), patched);

    let gone = ask(gateway, "DELETE", path, None).await;
    assert_eq!((gone.status, data(&gone)), (200, patched));
    assert_eq!(ask(gateway, "GET", path, None).await.status, 404);
    assert_eq!(stored(gateway, id).await["error"], "not_found");
}

#[tokio::test]
async fn documents_live_under_their_paths() {
    let gateway = start().await;
    lives(&gateway, "/v2/storage", "system").await;
    lives(&gateway, &of(MINE), MINE).await;
    lives(&gateway, &format!("/v2/accounts/{MINE}/users/user1/storage"), "user1").await;
    gateway.stop().await;
}

#[tokio::test]
async fn plans_are_made_in_a_list() {
    let gateway = start().await;
    for list in ["/v2/storage/plans".to_owned(), format!("{}/plans", of(MINE)), format!("{}/plans", of(OTHER))] {
        let empty = ask(&gateway, "GET", &list, None).await;
        assert_eq!((empty.status, data(&empty)), (200, json!([])), "{list}");
        let mut ids = Vec::new();
        for directory in ["a", "b"] {
            let made = ask(&gateway, "PUT", &list, Some(&file_plan(directory))).await;
            assert_eq!(made.status, 201, "{list}: {}", made.text());
            ids.push(data(&made)["id"].as_str().unwrap().to_owned());
            assert_eq!(stored(&gateway, ids.last().unwrap()).await["pvt_type"], "storage_plan");
        }
        ids.sort();
        let found = data(&ask(&gateway, "GET", &list, None).await);
        let listed: Vec<&Value> = found.as_array().unwrap().iter().map(|plan| &plan["id"]).collect();
        assert_eq!(listed, ids.iter().collect::<Vec<_>>());
        let path = format!("{list}/{}", ids[0]);
        assert_eq!(ask(&gateway, "PUT", &path, Some(&file_plan("x"))).await.status, 405, "a plan is made in its list");
        let made = ask(&gateway, "GET", &path, None).await;
        rest_of_life(&gateway, &path, &ids[0], &made).await;
        assert_eq!(ask(&gateway, "GET", &format!("{list}/nobody"), None).await.status, 404);
    }
    // Each is only in its own list.
    let system = data(&ask(&gateway, "GET", "/v2/storage/plans", None).await);
    let id = system[0]["id"].as_str().unwrap();
    assert_eq!(ask(&gateway, "GET", &format!("{}/plans/{id}", of(MINE)), None).await.status, 404);
    let mine = data(&ask(&gateway, "GET", &format!("{}/plans", of(MINE)), None).await);
    let id = mine[0]["id"].as_str().unwrap();
    for path in [format!("/v2/storage/plans/{id}"), format!("{}/plans/{id}", of(OTHER))] {
        for method in ["GET", "DELETE"] {
            assert_eq!(ask(&gateway, method, &path, None).await.status, 404, "{method} {path}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_none() {
    let gateway = start().await;
    let user = format!("/v2/accounts/{MINE}/users/u/storage");
    let cases = [
        ("/v2/storage", "GET, HEAD, PUT, POST, PATCH, DELETE"),
        (&of(MINE), "GET, HEAD, PUT, POST, PATCH, DELETE"),
        (&user, "GET, HEAD, PUT, POST, PATCH, DELETE"),
        ("/v2/storage/plans", "GET, HEAD, PUT"),
        ("/v2/storage/plans/p", "GET, HEAD, POST, PATCH, DELETE"),
        ("/v2/storage/explain", "GET, HEAD"),
        (&format!("{}/explain", of(MINE)), "GET, HEAD"),
        (&format!("{}/errors", of(MINE)), "GET, HEAD"),
    ];
    for (path, allowed) in cases {
        for method in ["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "COPY", "TRACE"] {
            let is_allowed = allowed.split(", ").any(|one| one == method);
            if !is_allowed {
                let answer = ask(&gateway, method, path, None).await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
                assert_eq!(envelope(&answer)["message"], "invalid_method");
            }
        }
    }
    let long = format!("/v2/storage/plans/{}", "x".repeat(300));
    for path in ["/v2", "/v2/", "/v2/storages", "/v2/storage/x", "/v2/accounts", "/v2/accounts/short/storage", &long] {
        let answer = ask(&gateway, "GET", path, None).await;
        assert_eq!((answer.status, &envelope(&answer)["message"]), (404, &json!("bad_identifier")), "{path}");
    }
    assert_eq!(ask(&gateway, "GET", "/v1/storage", None).await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn ids_may_be_in_any_script() {
    let gateway = start().await;
    for (path, id) in [("%D0%B8%D0%B2%D0%B0%D0%BD", "иван"), ("a%2Fb%20%3F%23", "a/b ?#"), ("%F0%9F%8E%BA", "🎺")]
    {
        let path = format!("/v2/accounts/{MINE}/users/{path}/storage");
        let made = ask(&gateway, "PUT", &path, Some(&file_plan("a"))).await;
        assert_eq!((made.status, &data(&made)["id"]), (201, &json!(id)), "{}", made.text());
        assert_eq!(data(&ask(&gateway, "GET", &path, None).await)["id"], id);
        assert_eq!(ask(&gateway, "DELETE", &path, None).await.status, 200);
    }
    for path in ["_design%2Fx", "_local", "%FF", "%00", "a%0Ab", "%zz", ""] {
        let path = format!("/v2/accounts/{MINE}/users/{path}/storage");
        assert_eq!(ask(&gateway, "PUT", &path, Some(&file_plan("a"))).await.status, 404, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_gateways_own_members_are_kept_and_nobody_elses_are_taken() {
    let gateway = start().await;
    let mut sent = file_plan("a");
    sent["pvt_type"] = json!("account");
    sent["pvt_account_id"] = json!(OTHER);
    sent["_id"] = json!("elsewhere");
    sent["_rev"] = json!("1-x");
    sent["_deleted"] = json!(true);
    sent["id"] = json!("elsewhere");
    sent["attachments"][STORAGE]["_sig"] = json!("forged");
    let made = ask(&gateway, "PUT", &of(MINE), Some(&sent)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let mut document = stored(&gateway, MINE).await;
    assert_eq!((&document["pvt_type"], &document["pvt_account_id"]), (&json!("storage"), &json!(MINE)));
    assert!(!document.to_string().contains("forged"), "{document}");
    assert!(document["pvt_created"].as_u64().is_some_and(|seconds| seconds > 63_900_000_000), "{document}");
    document["pvt_plan_id"] = json!("reseller");
    document["pvt_other"] = json!({"a": [1]});
    write(&gateway, MINE, &document).await;
    for method in ["POST", "PATCH"] {
        let answer = ask(&gateway, method, &of(MINE), Some(&sent)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("pvt_"), "{}", answer.text());
        let after = stored(&gateway, MINE).await;
        for key in ["pvt_type", "pvt_account_id", "pvt_created", "pvt_plan_id", "pvt_other", "_id"] {
            assert_eq!(after[key], document[key], "{method} {key}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_others_wrote_is_read_and_never_a_500() {
    let gateway = start().await;
    let odd = [
        json!({"pvt_type": "storage"}),
        json!({"pvt_type": "storage", "attachments": [1], "connections": "x", "plan": 5, "unknown": {"a": null}}),
        json!({"pvt_type": "storage", "attachments": {"Odd Id": {"handler": 5, "settings": ["x"]}, "n": null}}),
        json!({"pvt_type": "storage", "pvt_deleted": "no", "plan": {"modb": {"types": {"x": 7}}}}),
    ];
    for (index, document) in odd.iter().enumerate() {
        let account = format!("{MINE:.31}{index}");
        write(&gateway, &account, document).await;
        let got = ask(&gateway, "GET", &of(&account), None).await;
        assert_eq!(got.status, 200, "{}", got.text());
        assert_eq!(data(&got)["id"], account);
        for method in ["PATCH", "POST"] {
            let answer = ask(&gateway, method, &of(&account), Some(&json!({"ui_metadata": {}}))).await;
            assert!(matches!(answer.status, 200 | 400), "{method}: {}", answer.text());
        }
        assert_eq!(ask(&gateway, "DELETE", &of(&account), None).await.status, 200);
    }
    // Documents that are not plans, and plans of others.
    for (id, document) in [
        ("aaaabbbbccccddddeeeeffff00002221", json!({"pvt_type": "user"})),
        ("aaaabbbbccccddddeeeeffff00002222", json!({})),
        ("aaaabbbbccccddddeeeeffff00002223", json!({"pvt_type": ["storage"]})),
        ("aaaabbbbccccddddeeeeffff00002224", json!({"pvt_type": "storage", "pvt_deleted": true})),
        ("aaaabbbbccccddddeeeeffff00002225", json!({"pvt_type": "storage", "pvt_account_id": OTHER})),
    ] {
        write(&gateway, id, &document).await;
        for method in ["GET", "DELETE"] {
            assert_eq!(ask(&gateway, method, &of(id), None).await.status, 404, "{method} {document}");
        }
        assert_eq!(ask(&gateway, "PATCH", &of(id), Some(&json!({}))).await.status, 404, "{document}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn lists_are_complete_whatever_stands_between() {
    let gateway = setup().set("limits.document_bytes", "64 KiB").start().await;
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let target = format!("/{}/deep", gateway.couch.plans);
    let body = format!(r#"{{"pvt_type": "storage_plan", "deep": {deep}}}"#);
    gateway.couch.request("PUT", &target, "application/json", body.as_bytes()).await;
    for number in 0..230 {
        let large = if number % 50 == 0 { "x".repeat(40_000) } else { String::new() };
        let document = json!({"pvt_type": "storage_plan", "ui_metadata": {"large": large}});
        write(&gateway, &format!("plan{number:03}"), &document).await;
        write(&gateway, &format!("other{number:03}"), &json!({"pvt_type": "media"})).await;
    }
    let listed = data(&ask(&gateway, "GET", "/v2/storage/plans", None).await);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|plan| plan["id"].as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| *id != "deep").collect();
    assert_eq!(ids, (0..230).map(|number| format!("plan{number:03}")).collect::<Vec<_>>());
    gateway.stop().await;
}
