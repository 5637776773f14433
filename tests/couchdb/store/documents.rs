//! Branches, races and lists.

use serde_json::json;

use super::{rev, small};

#[tokio::test]
async fn branches_are_kept_and_told() {
    let (_data, store) = small().await;
    let first = rev(&store.put("/db/d", json!({"v": 1})).await);
    let second = rev(&store.put("/db/d", json!({"_rev": first, "v": 2})).await);
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let other = json!({"_id": "d", "_rev": format!("3-{a}"), "v": 3,
        "_revisions": {"start": 3, "ids": [a, b, first.split_once('-').unwrap().1]}});
    let saved = store.post("/db/_bulk_docs", json!({"new_edits": false, "docs": [other]})).await;
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
    let all = store.target.ask("GET", "/db/d?open_revs=all", &json, b"").await.json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    store.target.ask("DELETE", &format!("/db/d?rev={second}"), &[], b"").await;
    let told = store.get("/db/d?meta=true").await.json();
    assert!(told.get("_conflicts").is_none(), "{told}");
    assert_eq!(told["_deleted_conflicts"].as_array().unwrap().len(), 1);
    let latest = store.get(&format!("/db/d?rev=2-{b}&latest=true")).await;
    assert_eq!(latest.json()["v"], 3);
    let diff = store.post("/db/_revs_diff", json!({"d": [first, format!("4-{b}")]})).await.json();
    assert_eq!(diff["d"]["missing"], json!([format!("4-{b}")]));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_twenty_clients_with_the_same_revision_wins() {
    let (_data, store) = small().await;
    let first = rev(&store.put("/db/d", json!({"_attachments": {"a": {"data": "YQ=="}}})).await);
    // Half of them remove the attachment, which takes a different code path.
    let paths: Vec<_> = (0..20).map(|n| (format!("/db/d/x{n}?rev={first}"), n)).collect();
    let racing = paths.iter().map(async |(path, n)| {
        if n % 2 == 0 {
            store.target.ask("PUT", path, &[], b"x").await.status
        } else {
            store.put("/db/d", json!({"_rev": first, "n": n})).await.status
        }
    });
    let mut outcomes = futures_util::future::join_all(racing).await;
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], 201);
    assert!(outcomes[1..].iter().all(|status| *status == 409), "{outcomes:?}");
    store.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (_data, store) = small().await;
    let (host, login) = (&store.target.authority, store.target.login());
    let head = format!("PUT /db/d/a HTTP/1.1\r\nHost: {host}\r\nAuthorization: {login}\r\nContent-Length: 4\r\n\r\n");
    let mut client = tokio::net::TcpStream::connect(host).await.unwrap();
    client.write_all(format!("{head}text").as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer:?}");
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
    assert_eq!(ids("startkey=%22b%22&endkey=%22c%22").await, ("bc".into(), json!(1), json!(4)));
    assert_eq!(ids("startkey=%22b%22&inclusive_end=false&endkey=%22d%22").await.0, "bc");
    assert_eq!(ids("descending=true&startkey=%22c%22").await, ("cba".into(), json!(1), json!(4)));
    assert_eq!(ids("skip=1&limit=2").await, ("bc".into(), json!(1), json!(4)));
    assert_eq!(ids("key=%22d%22").await.0, "d");
    let body = json!({"keys": ["d", "a"], "include_docs": true});
    let list = store.post("/db/_all_docs", body).await.json();
    assert_eq!(list["rows"][0]["doc"]["id"], "d");
    store.put("/dc", serde_json::Value::Null).await;
    let names = store.get("/_all_dbs?startkey=%22dc%22&endkey=%22dz%22").await;
    assert_eq!(names.json(), json!(["dc"]));
    assert_eq!(store.get("/_all_dbs?limit=1").await.json(), json!(["db"]));
    store.stop().await;
}
