//! COPY and DELETE through the gateway have CouchDB's responses, whatever the document contains.

use serde_json::{Value, json};

use super::world::{deleting, planned};
use stowage_testing::gateway::{JSON, Running, authorization, exchange, json as parsed};
use stowage_testing::raw::RawResponse;

/// Sends the same requests to the gateway and directly to CouchDB, for a database of its own.
struct Both<'a> {
    gateway: &'a Running,
    direct: String,
}

/// The compared parts: status, headers and body, without names of servers and databases, and without hashes of revisions, since documents with and
/// without pointers differ.
type Told = (u16, Vec<(String, String)>, String);

impl<'a> Both<'a> {
    async fn of(gateway: &'a Running) -> Self {
        // No plan includes this database.
        let direct = format!("direct_{}", uuid::Uuid::new_v4().simple());
        assert_eq!(gateway.couch.request("PUT", &format!("/{direct}"), "", b"").await.status, 201);
        Self { gateway, direct }
    }

    async fn direct(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let mut all = vec![authorization(&self.gateway.couch.admin)];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let address = self.gateway.couch.address();
        exchange(address, method, &format!("/{}/{rest}", self.direct), &all, body).await
    }

    /// Returns the current revision of a document on each side.
    async fn revs(&self, id: &str) -> [String; 2] {
        let rev = |answer: &RawResponse| parsed(answer)["_rev"].as_str().unwrap_or("9-none").to_owned();
        [rev(&self.direct("GET", id, &[], b"").await), rev(&self.gateway.ask("GET", id, &[], b"").await)]
    }

    /// Sends a request to both; `$doc` in the target and in headers is replaced by that document's current revision.
    async fn same(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        let mut filled = [Vec::new(), Vec::new()];
        let mut targets = [rest.to_owned(), rest.to_owned()];
        for id in ["doc", "copy"] {
            let revs = self.revs(id).await;
            for (target, rev) in targets.iter_mut().zip(&revs) {
                *target = target.replace(&format!("${id}"), rev);
            }
        }
        for (name, value) in headers {
            let mut values = [(*value).to_owned(), (*value).to_owned()];
            for id in ["doc", "copy"] {
                let revs = self.revs(id).await;
                for (value, rev) in values.iter_mut().zip(&revs) {
                    *value = value.replace(&format!("${id}"), rev);
                }
            }
            for (filled, value) in filled.iter_mut().zip(values) {
                filled.push((*name, value));
            }
        }
        let [first, second] = filled
            .each_ref()
            .map(|headers| headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
        let direct = self.direct(method, &targets[0], &first, body).await;
        let through = self.gateway.ask(method, &targets[1], &second, body).await;
        self.gateway.settled().await;
        assert_eq!(self.told(&through), self.told(&direct), "{method} {rest} {headers:?}");
        direct.status
    }

    fn told(&self, answer: &RawResponse) -> Told {
        let plain = |text: &str| {
            let text = text
                .replace(&self.gateway.address.to_string(), "HOST")
                .replace(self.gateway.couch.url.trim_start_matches("http://"), "HOST")
                .replace(&self.gateway.path(), "DATABASE")
                .replace(&self.direct, "DATABASE");
            without_hashes(&text)
        };
        let told = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), plain(value)));
        let ignored = ["date", "server", "x-couch-request-id", "x-couchdb-body-time"];
        let mut headers: Vec<_> = told.filter(|(name, _)| !ignored.contains(&name.as_str())).collect();
        headers.sort();
        (answer.status, headers, plain(&answer.text()))
    }
}

/// Replaces `N-HASH` by `N-*`.
fn without_hashes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(dash) = rest.find('-') {
        let (before, after) = rest.split_at(dash + 1);
        plain.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_rev = digits == 32 && before[..dash].bytes().last().is_some_and(|byte| byte.is_ascii_digit());
        plain.push_str(if is_rev { "*" } else { &after[..digits] });
        rest = &after[digits..];
    }
    plain + rest
}

const AUDIO: (&str, &str) = ("Content-Type", "audio/mpeg");

async fn copies(both: &Both<'_>) {
    for (rest, headers, expected) in [
        ("doc", vec![("Destination", "copy")], 201),
        ("doc", vec![("Destination", "copy")], 409),
        ("doc", vec![("Destination", "copy?rev=1-00000000000000000000000000000000")], 409),
        ("doc", vec![("Destination", "copy?rev=nonsense")], 400),
        ("doc", vec![("Destination", "copy?rev=$copy")], 201),
        ("doc?rev=$doc", vec![("Destination", "a%2Fb%20c")], 201),
        ("doc", vec![("Destination", "plus+sign")], 201),
        ("doc", vec![("Destination", "%C3%BC")], 201),
        ("doc", vec![("Destination", "doc?rev=$doc")], 201),
        ("doc", vec![("Destination", "doc")], 409),
        ("doc?rev=9-00000000000000000000000000000000", vec![("Destination", "other")], 404),
        ("doc?rev=nonsense", vec![("Destination", "other")], 400),
        ("doc", vec![], 400),
        ("doc", vec![("Destination", "_bad")], 400),
        ("nosuch", vec![("Destination", "other")], 404),
        ("deleted", vec![("Destination", "other")], 404),
        ("doc", vec![("Destination", "deleted")], 201),
    ] {
        assert_eq!(both.same("COPY", rest, &headers, b"").await, expected, "{rest} {headers:?}");
    }
}

async fn deleted_first(both: &Both<'_>) {
    both.same("PUT", "deleted", &[JSON], b"{}").await;
    let [direct, through] = both.revs("deleted").await;
    assert_eq!(both.direct("DELETE", &format!("deleted?rev={direct}"), &[], b"").await.status, 200);
    assert_eq!(both.gateway.ask("DELETE", &format!("deleted?rev={through}"), &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_copy_of_a_plain_document_is_answered_as_couchdb_answers() {
    let gateway = planned().await;
    let both = Both::of(&gateway).await;
    both.same("PUT", "doc", &[JSON], br#"{"pvt_type":"call_recording","n":1}"#).await;
    deleted_first(&both).await;
    copies(&both).await;
    assert_eq!(gateway.stored(), [""; 0]);
    gateway.stop().await;
}

#[tokio::test]
async fn so_is_a_copy_of_a_document_with_attachments() {
    let gateway = planned().await;
    let both = Both::of(&gateway).await;
    for name in ["one.mp3", "dir/two.mp3"] {
        let [direct, through] = both.revs("doc").await;
        let query = |rev: &str| if rev.starts_with('9') { String::new() } else { format!("?rev={rev}") };
        both.direct("PUT", &format!("doc/{name}{}", query(&direct)), &[AUDIO], b"recording").await.expect_status(201);
        gateway.ask("PUT", &format!("doc/{name}{}", query(&through)), &[AUDIO], b"recording").await.expect_status(201);
    }
    deleted_first(&both).await;
    copies(&both).await;
    // Whether CouchDB makes such a copy of a plain document depends on the other documents in the shard.
    for rev in ["1-00000000000000000000000000000000", "2-", "0-", "99999999999999999999-a"] {
        assert_eq!(both.same("COPY", "doc", &[("Destination", &format!("new?rev={rev}"))], b"").await, 409, "{rev}");
    }
    assert_eq!(both.same("COPY", "doc", &[("Destination", "copy?rev=0$copy")], b"").await, 201);
    for id in ["copy", "a%2Fb%20c", "plus%20sign", "%C3%BC", "doc", "deleted"] {
        for name in ["one.mp3", "dir/two.mp3"] {
            assert_eq!(both.same("GET", &format!("{id}/{name}"), &[], b"").await, 200, "{id}/{name}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_deletion_is_answered_as_couchdb_answers() {
    for on_delete in ["keep", "delete"] {
        let gateway = deleting(on_delete).await;
        let both = Both::of(&gateway).await;
        for id in ["doc", "copy"] {
            assert_eq!(both.direct("PUT", &format!("{id}/a.mp3"), &[AUDIO], b"recording").await.status, 201);
            assert_eq!(gateway.ask("PUT", &format!("{id}/a.mp3"), &[AUDIO], b"recording").await.status, 201);
        }
        let quoted = [("If-Match", "\"$copy\"")];
        let none: &[(&str, &str)] = &[];
        for (rest, headers, expected) in [
            ("doc", none, 409),
            ("doc?rev=1-00000000000000000000000000000000", none, 409),
            ("doc?rev=nonsense", none, 400),
            ("doc?rev=$doc", &[("If-Match", "1-00000000000000000000000000000000")], 400),
            ("doc?rev=$doc", none, 200),
            ("doc", none, 404),
            ("nosuch?rev=1-00000000000000000000000000000000", none, 404),
            ("copy", &quoted, 200),
        ] {
            assert_eq!(both.same("DELETE", rest, headers, b"").await, expected, "{rest} {headers:?}");
        }
        assert_eq!(both.same("GET", "doc/a.mp3", &[], b"").await, 404);
        let left = gateway.stored().len();
        assert_eq!(left, if on_delete == "keep" { 2 } else { 0 });
        gateway.stop().await;
    }
}

#[test]
fn hashes_are_left_out_and_nothing_else() {
    let hash = "0123456789abcdef0123456789abcdef";
    assert_eq!(without_hashes(&format!("a-b \"12-{hash}\" -{hash} 1-abc")), format!("a-b \"12-*\" -{hash} 1-abc"));
    assert_eq!(json!(without_hashes("")), Value::from(""));
}
