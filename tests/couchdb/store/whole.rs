//! Documents with their attachments in one request, beyond the recordings.

use serde_json::{Value, json};

use super::wire::Answer;
use super::{Running, rev, small};

const TAKES_JSON: [(&str, &str); 1] = [("Accept", "application/json")];
const TAKES_RELATED: [(&str, &str); 1] = [("Accept", "multipart/related")];
const TAKES_MIXED: [(&str, &str); 1] = [("Accept", "multipart/mixed")];

impl Running {
    /// Sends a document followed by parts with their header lines.
    async fn related(&self, path: &str, document: &Value, parts: &[(&str, &[u8])]) -> Answer {
        let mut body = format!("--b c\r\nContent-Type: application/json\r\n\r\n{document}").into_bytes();
        for (headers, data) in parts {
            body.extend_from_slice(format!("\r\n--b c\r\n{headers}\r\n").as_bytes());
            body.extend_from_slice(data);
        }
        body.extend_from_slice(b"\r\n--b c--");
        let kind = [("Content-Type", "multipart/related; type=\"x;y\"; boundary=\"b c\"")];
        self.target.ask("PUT", path, &kind, &body).await
    }

    /// Creates a document with `a` since its first revision and `b` since its second; returns both revisions.
    async fn two(&self, id: &str) -> [String; 2] {
        let path = format!("/db/{id}");
        let first = json!({"_attachments": {"a": {"content_type": "a/a", "data": "YQ=="}}});
        let first = rev(&self.put(&path, first).await);
        let second =
            json!({"_rev": first, "_attachments": {"b": {"content_type": "b/b", "data": "YmI="}, "a": {"stub": true}}});
        [first, rev(&self.put(&path, second).await)]
    }
}

/// Returns the type of a multipart response, and the text of its parts between the delimiters.
fn parts(answer: &Answer) -> (String, Vec<String>) {
    let kind = answer.header("content-type").unwrap();
    let (kind, boundary) = kind.split_once("; boundary=").unwrap();
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut parts: Vec<_> = text.split(&delimiter).map(|part| part.replace("\r\n", "\n")).collect();
    assert_eq!(parts.pop().unwrap().trim_end(), "--", "{text}");
    assert_eq!(parts.remove(0).trim(), "", "{text}");
    (kind.to_owned(), parts)
}

fn names(document: &Value) -> String {
    document["_attachments"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn only_what_came_after_a_known_revision_is_sent() {
    let (_data, store) = small().await;
    let [first, second] = store.two("d").await;
    let since = |rev: &str| format!("/db/d?atts_since=[%22{rev}%22,%229-{}%22]", "f".repeat(32));
    let told = store.target.ask("GET", &since(&first), &TAKES_JSON, b"").await.json();
    let (a, b) = (&told["_attachments"]["a"], &told["_attachments"]["b"]);
    assert_eq!((&a["stub"], a.get("data")), (&json!(true), None));
    assert_eq!((&b["data"], b.get("stub")), (&json!("YmI="), None));
    assert!(told.get("_revisions").is_none(), "{told}");
    let (kind, sent) = parts(&store.target.ask("GET", &since(&first), &TAKES_RELATED, b"").await);
    assert_eq!((kind.as_str(), sent.len()), ("multipart/related", 2));
    assert!(sent[0].contains(r#""b":{"content_type":"b/b","revpos":2,"digest":"md5-Ia0L2Da5DQj0z2QLTCmOfA==","#));
    assert!(sent[0].contains(r#""length":2,"follows":true},"a":{"content_type":"a/a","revpos":1,"#), "{}", sent[0]);
    let expected = "\nContent-Disposition: attachment; filename=\"b\"\nContent-Type: b/b\nContent-Length: 2\n\nbb\n";
    assert_eq!(sent[1], expected);
    let nothing = store.target.ask("GET", &format!("{}&revs=true", since(&second)), &TAKES_RELATED, b"").await;
    assert_eq!(nothing.header("content-type"), Some("application/json"));
    assert_eq!((nothing.header("cache-control"), nothing.body.last()), (None, Some(&b'}')));
    assert_eq!(nothing.json()["_revisions"]["start"], 2);
    let all = store.target.ask("GET", "/db/d?atts_since=[]", &TAKES_JSON, b"").await.json();
    assert_eq!(all["_attachments"]["a"]["data"], "YQ==");
    assert_eq!(store.get("/db/d?atts_since=[%22x%22]").await.status, 400);
    store.stop().await;
}

#[tokio::test]
async fn parts_fill_the_entries_in_their_order_whatever_their_headers_say() {
    let (_data, store) = small().await;
    let follows = |length: u64| json!({"follows": true, "content_type": "x/y", "length": length});
    let document = json!({"k": 1, "_attachments": {"z": follows(3), "empty": follows(0), "in": {"data": "aQ=="}, "a": follows(5)}});
    let wrong = "Content-Disposition: attachment; filename=\"a\"\r\nContent-Length: 9\r\n";
    let saved =
        store.related("/db/d", &document, &[(wrong, b"one"), ("", b""), ("", b"\r\n--b"), ("", b"surplus")]).await;
    let first = rev(&saved);
    assert_eq!(saved.header("etag"), Some(format!("\"{first}\"").as_str()));
    assert!(saved.header("location").unwrap().ends_with("/db/d"));
    assert_eq!(store.get("/db/d/z").await.body, b"one");
    assert_eq!(store.get("/db/d/empty").await.body, b"");
    assert_eq!(store.get("/db/d/a").await.body, b"\r\n--b");
    assert_eq!(names(&store.get("/db/d").await.json()), "zemptyina");
    // A part may end in the middle of an entry.
    let split =
        store.related("/db/split", &json!({"_attachments": {"a": follows(4)}}), &[("", b"on"), ("", b"ce")]).await;
    assert_eq!(split.status, 201);
    assert_eq!(store.get("/db/split/a").await.body, b"once");
    let kept = json!({"_attachments": {"z": {"stub": true}, "new": follows(1)}});
    assert_eq!(store.related("/db/d", &kept, &[("", b"n")]).await.status, 409);
    assert_eq!(store.related(&format!("/db/d?rev={first}"), &kept, &[("", b"n")]).await.status, 201);
    assert_eq!(store.related(&format!("/db/d?rev={first}"), &kept, &[("", b"n")]).await.status, 409);
    let now = store.get("/db/d").await.json();
    assert_eq!((names(&now).as_str(), &now["_attachments"]["new"]["revpos"]), ("znew", &json!(2)));
    store.stop().await;
}

#[tokio::test]
async fn a_gzipped_part_is_unpacked_and_a_wrong_digest_refused() {
    let (_data, store) = small().await;
    let packed = stowage_testing::gzip(b"hello");
    let digest = rouchdb_core::document::attachment_digest(&packed);
    let entry = json!({"follows": true, "content_type": "text/plain", "length": 5, "digest": digest,
        "encoding": "gzip", "encoded_length": packed.len()});
    let document = json!({"_attachments": {"a": entry}});
    assert_eq!(store.related("/db/d", &document, &[("", &packed)]).await.status, 201);
    assert_eq!(store.get("/db/d/a").await.body, b"hello");
    let entry = json!({"follows": true, "length": 5, "digest": digest});
    let refused = store.related("/db/e", &json!({"_attachments": {"a": entry}}), &[("", b"hello")]).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("content_md5_mismatch")));
    assert_eq!(store.get("/db/e").await.status, 404);
    store.stop().await;
}

#[tokio::test]
async fn multipart_documents_that_make_no_sense_are_refused() {
    let (_data, store) = small().await;
    let follows = json!({"_attachments": {"a": {"follows": true, "length": 5}}});
    let refused = async |document: &Value, parts: &[(&str, &[u8])]| {
        let answer = store.related("/db/d", document, parts).await;
        (answer.status, answer.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused(&follows, &[("", b"sixsix")]).await, (400, "attachment longer than expected".into()));
    assert_eq!(refused(&follows, &[("", b"four")]).await, (400, "attachment shorter than expected".into()));
    assert_eq!(refused(&follows, &[]).await, (400, "attachment shorter than expected".into()));
    assert_eq!(refused(&follows, &[("no header\r\n", b"five+")]).await, (400, "bad part header".into()));
    let unknown = json!({"_attachments": {"a": {"follows": true}}});
    assert_eq!(refused(&unknown, &[("", b"x")]).await, (400, "Invalid attachment data for a".into()));
    let stub = json!({"_attachments": {"a": {"stub": true}}});
    assert_eq!(refused(&stub, &[]).await, (412, "Invalid attachment stub in d for a".into()));
    let raw =
        async |kind: &str, body: &[u8]| store.target.ask("PUT", "/db/d", &[("Content-Type", kind)], body).await.status;
    let whole = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--";
    assert_eq!(raw("multipart/related; type=x", whole).await, 400);
    assert_eq!(raw("multipart/related; boundary=c", whole).await, 400);
    assert_eq!(raw("multipart/related; boundary=b", b"--b\r\n\r\n{}\r\n--b--").await, 415);
    // Not recognized as multipart by CouchDB, so it is invalid JSON.
    assert_eq!(raw("multipart/related", whole).await, 400);
    assert_eq!(store.get("/db/d").await.json()["reason"], "missing");
    assert_eq!(raw("multipart/related; boundary=b", whole).await, 201);
    // CouchDB accepts a missing final delimiter.
    let open = b"--b\r\nContent-Type: application/json\r\n\r\n{}";
    let kind = [("Content-Type", "multipart/related; boundary=b")];
    assert_eq!(store.target.ask("PUT", "/db/open", &kind, open).await.status, 201);
    let inline = json!({"_attachments": {"a": {"follows": true, "length": 5}}});
    assert_eq!(store.put("/db/inline", inline).await.status, 400);
    store.stop().await;
}

#[tokio::test]
async fn open_revisions_come_with_their_attachments() {
    let (_data, store) = small().await;
    let [first, second] = store.two("d").await;
    let other = format!("2-{}", "0".repeat(32));
    let branch = json!({"_id": "d", "_rev": other, "_revisions": {"start": 2, "ids": ["0".repeat(32), first[2..]]}});
    store.post("/db/_bulk_docs", json!({"new_edits": false, "docs": [branch]})).await;
    let lost = format!("7-{}", "1".repeat(32));
    let path = format!("/db/d?open_revs=[%22{second}%22,%22{lost}%22,%22{other}%22]");
    let answer = store.target.ask("GET", &path, &TAKES_MIXED, b"").await;
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let (kind, sent) = parts(&answer);
    assert_eq!((kind.as_str(), sent.len()), ("multipart/mixed", 3));
    assert!(
        sent[0].starts_with("\nContent-Type: multipart/related; boundary=\"") && sent[0].contains("\n\nbb\n"),
        "{sent:?}"
    );
    let missing = format!("\nContent-Type: application/json; error=\"true\"\n\n{{\"missing\":\"{lost}\"}}\n");
    assert_eq!(sent[1], missing);
    assert!(sent[2].starts_with("\nContent-Type: application/json\n\n{"), "{sent:?}");
    let stubs = store.target.ask("GET", &path, &TAKES_JSON, b"").await.json();
    assert_eq!(stubs[0]["ok"]["_attachments"]["b"]["stub"], true);
    let inline = store.target.ask("GET", &format!("{path}&attachments=true"), &TAKES_JSON, b"").await.json();
    assert_eq!(inline[0]["ok"]["_attachments"]["b"]["data"], "YmI=");
    assert_eq!((&inline[1], inline[2]["ok"]["_rev"].as_str()), (&json!({"missing": lost}), Some(other.as_str())));
    let latest = format!("/db/d?open_revs=[%22{first}%22,%22{lost}%22]&latest=true");
    let latest = store.target.ask("GET", &latest, &TAKES_JSON, b"").await.json();
    let mut leaves: Vec<_> = latest.as_array().unwrap().iter().filter_map(|row| row["ok"]["_rev"].as_str()).collect();
    leaves.sort_unstable();
    let mut expected = vec![other.as_str(), second.as_str()];
    expected.sort_unstable();
    assert_eq!((leaves, &latest[2]), (expected, &json!({"missing": lost})));
    store.stop().await;
}

#[tokio::test]
async fn many_documents_are_read_at_once() {
    let (_data, store) = small().await;
    let [first, second] = store.two("d").await;
    store.put("/db/plain", json!({})).await;
    let wanted = json!({"docs": [{"id": "d", "rev": second, "atts_since": [first]}, {"id": "plain"}, {"id": "none"},
        {"id": "d", "rev": "x"}, {"rev": second}, 1]});
    let found = store.post("/db/_bulk_get?revs=true", wanted.clone()).await.json();
    let row = |at: usize| &found["results"][at]["docs"][0];
    let entries = &row(0)["ok"]["_attachments"];
    assert_eq!((&entries["a"]["stub"], &entries["b"]["data"]), (&json!(true), &json!("YmI=")));
    assert_eq!(row(0)["ok"]["_revisions"]["start"], 2);
    assert_eq!(row(1)["ok"]["_id"], "plain");
    assert_eq!(row(2)["error"], json!({"rev": "undefined", "reason": "missing", "id": "none", "error": "not_found"}));
    assert_eq!(row(3)["error"]["reason"], "Invalid rev format");
    assert_eq!(row(4)["error"]["reason"], "document id missed");
    assert_eq!(row(5)["error"]["reason"], "document must be a JSON object");
    assert_eq!(store.post("/db/_bulk_get?rev=1-a", wanted.clone()).await.status, 400);
    let accepts = [("Accept", "multipart/mixed"), ("Content-Type", "application/json")];
    let answer = store.target.ask("POST", "/db/_bulk_get", &accepts, wanted.to_string().as_bytes()).await;
    assert!(answer.body.starts_with(b"\r\n----") && answer.body.ends_with(b"--\r\n"));
    let (kind, sent) = parts(&answer);
    assert_eq!((kind.as_str(), sent.len()), ("multipart/mixed", 6));
    assert!(
        sent[0].starts_with(&format!("\nX-Doc-Id: d\nX-Rev-Id: {second}\nContent-Type: multipart/related; boundary="))
    );
    assert!(sent[0].contains("filename=\"b\"") && !sent[0].contains("filename=\"a\""), "{sent:?}");
    assert!(sent[1].starts_with("\nContent-Type: application/json\n\n{\"_id\":\"plain\""), "{sent:?}");
    assert!(
        sent[2].starts_with("\nContent-Type: application/json; error=\"true\"\n\n{\"rev\":\"undefined\""),
        "{sent:?}"
    );
    store.stop().await;
}

#[tokio::test]
async fn stubs_of_a_replicated_revision_are_those_of_its_nearest_known_ancestor() {
    let (_data, store) = small().await;
    let [first, second] = store.two("d").await;
    let hash = |digit: &str| digit.repeat(32);
    let write = |rev: &str, ids: Vec<&str>, entries: Value| {
        let start: u64 = rev.split_once('-').unwrap().0.parse().unwrap();
        let document =
            json!({"_id": "d", "_rev": rev, "_revisions": {"start": start, "ids": ids}, "_attachments": entries});
        store.post("/db/_bulk_docs", json!({"new_edits": false, "docs": [{"_id": "with", "_rev": "1-a"}, document]}))
    };
    let far = format!("4-{}", hash("4"));
    let (id, unknown, known) = (hash("4"), hash("3"), &second[2..]);
    let ids = || vec![id.as_str(), unknown.as_str(), known, &first[2..]];
    let wrong = write(&far, ids(), json!({"b": {"stub": true, "revpos": 1}})).await;
    assert_eq!((wrong.status, wrong.json()["reason"].as_str()), (412, Some("Invalid attachment stub in d for b")));
    assert_eq!(write(&far, ids(), json!({"c": {"stub": true}})).await.status, 412);
    assert_eq!(store.get("/db/with").await.status, 404);
    let entries = json!({"new": {"data": "bmV3", "revpos": 3}, "b": {"stub": true, "revpos": 2, "digest": "md5-x"}});
    assert_eq!(write(&far, ids(), entries).await.json(), json!([]));
    let saved = store.get("/db/d").await.json();
    assert_eq!((saved["_rev"].as_str(), names(&saved).as_str()), (Some(far.as_str()), "newb"));
    assert_eq!(
        (&saved["_attachments"]["new"]["revpos"], &saved["_attachments"]["b"]["revpos"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(store.get("/db/d/b").await.body, b"bb");
    // The revision is known already, so its contents are ignored.
    assert_eq!(write(&far, ids(), json!({"x": {"stub": true}})).await.status, 201);
    let orphan = json!({"_id": "e", "_rev": far, "_attachments": {"b": {"stub": true, "digest": saved["_attachments"]["b"]["digest"]}}});
    assert_eq!(store.put("/db/e?new_edits=false", orphan).await.status, 412);
    assert_eq!(store.post("/db/_bulk_docs", json!({"new_edits": false, "docs": [{"_id": "e"}]})).await.status, 400);
    // A stub with another revision's number is invalid, even in a new edit.
    let edit = json!({"_rev": far, "_attachments": {"b": {"stub": true, "revpos": 4}}});
    assert_eq!(store.put("/db/d", edit).await.status, 412);
    store.stop().await;
}

#[tokio::test]
async fn a_document_moves_whole_to_another_database() {
    let (_data, store) = small().await;
    let [_, second] = store.two("d").await;
    store.put("/other", Value::Null).await;
    let whole = store.get("/db/d?attachments=true&revs=true").await;
    let kind = [("Content-Type", whole.header("content-type").unwrap())];
    let saved = store.target.ask("PUT", "/other/d?new_edits=false", &kind, &whole.body).await;
    assert_eq!(rev(&saved), second);
    let (here, there) = (store.get("/db/d").await, store.get("/other/d").await);
    assert_eq!(here.body, there.body);
    assert_eq!(store.get("/other/d/b").await.body, b"bb");
    store.stop().await;
}

#[tokio::test]
async fn a_copy_has_the_attachments_too() {
    let (_data, store) = small().await;
    let [first, _] = store.two("d").await;
    let copy = async |from: &str, to: &str| store.target.ask("COPY", from, &[("Destination", to)], b"").await;
    let made = rev(&copy("/db/d", "e%20f").await);
    assert!(made.starts_with("1-"));
    let copied = store.get("/db/e%20f").await.json();
    // The generations are those of the original.
    assert_eq!((names(&copied).as_str(), &copied["_attachments"]["b"]["revpos"]), ("ba", &json!(2)));
    let b = store.get("/db/e%20f/b").await;
    assert_eq!((b.body.as_slice(), b.header("content-type")), (b"bb".as_slice(), Some("b/b")));
    assert_eq!(copy("/db/d", "e%20f").await.status, 409);
    let again = rev(&copy(&format!("/db/d?rev={first}"), &format!("e%20f?rev={made}")).await);
    assert!(again.starts_with("2-"));
    assert_eq!(names(&store.get("/db/e%20f").await.json()), "a");
    assert_eq!(copy("/db/d", &format!("e%20f?rev={made}")).await.status, 409);
    assert_eq!(copy("/db/d", &format!("g?rev={made}")).await.status, 409);
    assert_eq!(store.target.ask("DELETE", &format!("/db/e%20f?rev={again}"), &[], b"").await.status, 200);
    assert!(rev(&copy("/db/d", "e%20f").await).starts_with("4-"));
    let history = store.get("/db/e%20f?revs=true").await.json();
    assert_eq!(history["_revisions"]["ids"].as_array().unwrap().len(), 4);
    assert_eq!(copy("/db/d", "http://elsewhere/d").await.status, 400);
    assert_eq!(copy("/db/none", "h").await.status, 404);
    store.stop().await;
}
