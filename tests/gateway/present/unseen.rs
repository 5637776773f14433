//! The locations of attachments are never revealed, however a request is spelled, and in any form of response.

use serde_json::json;

use stowage_testing::gateway::{JSON, Running, Setup, json as parsed};
use stowage_testing::gzip;
use stowage_testing::raw::RawResponse;
use stowage_testing::recorder::Recorder;
use stowage_testing::upstream::{Connection, Upstream};

/// A gateway in front of a scripted server.
struct Scene {
    upstream: Upstream,
    gateway: Running,
    /// A document with one of KAZOO's entries.
    document: String,
    _storage: Recorder,
}

impl Scene {
    async fn start() -> Self {
        let storage = Recorder::start().await;
        let upstream = Upstream::start().await;
        let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&upstream.url()).start().await;
        gateway.followed().await;
        storage.store("/objects/c.mp3", "sound");
        let url = storage.url("/objects/c.mp3").replace("http://", "http://me:canary@");
        let document = json!({"_id": "x", "_rev": "1-a", "pvt_attachments": {"c.mp3": {"content_type": "audio/mpeg",
            "length": 5, "handler": {"kz_att_http": {"url": url}}}}})
        .to_string();
        Self { upstream, gateway, document, _storage: storage }
    }

    /// Sends a request to which the server responds with this rest of a head and this body.
    async fn ask(
        &mut self,
        (method, rest): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
        answer: (&str, &[u8]),
    ) -> RawResponse {
        let target = format!("/{}/{rest}", self.gateway.path());
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n", answer.0, answer.1.len());
        let text = [head.as_bytes(), answer.1].concat();
        let Self { upstream, gateway, .. } = self;
        let asking = gateway.request(method, &target, headers, body);
        let answering = async |mut connection: Connection, _| {
            connection.send(&text).await;
            None
        };
        let shown = upstream.until(&target, asking, answering).await;
        assert!(!shown.text().contains("canary"), "{method} {rest}: {shown:?}");
        assert!(
            !shown.text().contains("pvt_attachments") || shown.status >= 400 || rest.ends_with("app.js"),
            "{method} {rest} {headers:?}: {shown:?}"
        );
        shown
    }

    async fn stop(self) {
        self.gateway.stop().await;
    }
}

const STUB: &str = r#"{"_id":"x","_rev":"1-a","_attachments":{"c.mp3":{"content_type":"audio/mpeg","revpos":1,"length":5,"stub":true}}}"#;

fn mixed(document: &str, boundary: &str, content_type: &str) -> Vec<u8> {
    let head = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    format!("\r\n--{boundary}\r\n{head}\r\n{document}\r\n--{boundary}--\r\n").into_bytes()
}

/// Headers and body of a request.
type Asked<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);

#[tokio::test]
async fn a_bulk_get_is_understood_or_refused() {
    let mut scene = Scene::start().await;
    let document = scene.document.clone();
    let packed = gzip(br#"{"docs":[{"id":"x"}]}"#);
    let twice = [gzip(br#"{"docs":"#), gzip(br#"[{"id":"x"}]}"#)].concat();
    let accept = ("Accept", "multipart/mixed");
    let understood: [Asked<'_>; 8] = [
        (&[JSON, accept, ("Content-Encoding", "gzip")], &packed),
        (&[JSON, accept, ("Content-Encoding", "gzip")], &twice),
        (&[JSON, accept, ("Content-Encoding", "identity")], br#"{"docs":[{"id":"x"}]}"#),
        (&[JSON, accept], br#"{"docs":[{"id":"x"},1]}"#),
        (&[JSON, accept], br#"{"docs":[{"id":"y"}],"docs":[{"id":"x"}]}"#),
        (&[JSON, accept], br#"{"\u0064ocs":[{"\u0069d":"x"}],"n":1e999}"#),
        (&[JSON, accept], br#"{"docs":[{"id":"x","rev":7,"atts_since":{}}]}"#),
        (&[accept], br#" {"docs" : [ ] } "#),
    ];
    for (headers, body) in understood {
        for content_type in [
            "multipart/mixed; boundary=\"--b\"",
            "Multipart/Mixed;Boundary=--b",
            "multipart/related; x=\"a;b\"; boundary=--b",
        ] {
            let answer = mixed(&document, "--b", "application/json");
            let head = format!("Content-Type: {content_type}\r\n");
            let shown = scene.ask(("POST", "_bulk_get"), headers, body, (&head, &answer)).await;
            assert!(shown.status == 200 && shown.complete && shown.text().contains("sound"), "{headers:?} {shown:?}");
        }
        let answer = format!(r#"{{"results":[{{"id":"x","docs":[{{"ok":{}}},{{"error":1}}]}}]}}"#, document);
        let shown = scene.ask(("POST", "_bulk_get"), headers, body, ("", answer.as_bytes())).await;
        assert_eq!(shown.text(), format!(r#"{{"results":[{{"id":"x","docs":[{{"ok":{STUB}}},{{"error":1}}]}}]}}"#));
    }
    let unclear: [Asked<'_>; 9] = [
        (&[JSON, accept, ("Content-Encoding", "gzip")], br#"{"docs":[]}"#),
        (&[JSON, accept, ("Content-Encoding", "GZIP")], &packed),
        (&[JSON, accept, ("Content-Encoding", "deflate")], br#"{"docs":[]}"#),
        (&[JSON, accept, ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")], &packed),
        (&[JSON, accept], b""),
        (&[JSON, accept], br#"{"docs":[]} x"#),
        (&[JSON, accept], br#"{"docs":7}"#),
        (&[JSON, accept], b"\xef\xbb\xbf{\"docs\":[]}"),
        (&[JSON, accept], b"{\"docs\":[{\"id\":\"\xff\"}]}"),
    ];
    for (headers, body) in unclear {
        let answer = mixed(&document, "--b", "application/json");
        let head = "Content-Type: multipart/mixed; boundary=\"--b\"\r\n";
        let shown = scene.ask(("POST", "_bulk_get"), headers, body, (head, &answer)).await;
        assert_eq!(
            (shown.status, parsed(&shown)["error"].as_str()),
            (400, Some("bad_request")),
            "{headers:?} {shown:?}"
        );
    }
    scene.stop().await;
}

#[tokio::test]
async fn parts_that_are_not_understood_are_not_passed_on() {
    let mut scene = Scene::start().await;
    let document = scene.document.clone();
    let head = "Content-Type: multipart/mixed; boundary=\"b\"\r\n";
    let inner = mixed(&document, "i", "application/json");
    let inner = String::from_utf8(inner[2..].to_vec()).unwrap();
    for (rest, body) in [("_bulk_get", r#"{"docs":[{"id":"x"}]}"#), ("x?open_revs=all", "")] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut ask = async |content_type: &str, text: &str, boundary: &str| {
            let answer = mixed(text, boundary, content_type);
            let headers = [JSON, ("Accept", "multipart/mixed")];
            scene.ask((method, rest), &headers, body.as_bytes(), (head, &answer)).await
        };
        for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/json; error=\"true\""]
        {
            let shown = ask(content_type, &document, "b").await;
            assert!(shown.status == 200 && shown.text().contains("sound"), "{content_type}: {shown:?}");
        }
        for content_type in ["multipart/related; boundary=\"i\"", "Multipart/Related;boundary=i"] {
            let shown = ask(content_type, &inner, "b").await;
            assert!(shown.status == 200 && shown.text().contains("sound"), "{content_type}: {shown:?}");
        }
        for content_type in
            ["", "text/plain", "multipart/related", "multipart/related; boundary=other", "multipart/mixed; boundary=i"]
        {
            let shown = ask(content_type, if content_type.contains('/') { &inner } else { &document }, "b").await;
            assert!(shown.status >= 500 || !shown.complete, "{content_type}: {shown:?}");
        }
        let shown = ask("application/json", &document, "other").await;
        assert!(shown.status >= 500 || !shown.complete, "{shown:?}");
        let shown = ask("application/json", "{\"pvt_attachments\":{\"canary\"", "b").await;
        assert!(shown.status >= 500 || !shown.complete, "{shown:?}");
    }
    scene.stop().await;
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a line for each form")]
async fn answers_in_every_form_and_coding_are_read() {
    let mut scene = Scene::start().await;
    let document = scene.document.clone();
    let rows = |document: &str| {
        format!(
            "{{\"total_rows\":1,\"offset\":0,\"rows\":[\r\n{{\"id\":\"x\",\"key\":1,\"value\":null,\"doc\":{document}}}\r\n]}}\n"
        )
    };
    let related = format!("--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--", document);
    let forms: [(&str, &str, String, String); 11] = [
        ("GET", "x", document.clone(), STUB.to_owned()),
        ("GET", "_all_docs", rows(&document), rows(STUB)),
        ("GET", "_all_docs?include_docs=TRUE", rows(&document), rows(STUB)),
        ("GET", "%5Fall_docs?%69nclude_docs=%74rue", rows(&document), rows(STUB)),
        ("GET", "_local_docs?x;include_docs=true", rows(&document), rows(STUB)),
        ("GET", "_design/d/_view/_changes?include_docs=true", rows(&document), rows(STUB)),
        ("POST", "_design/d/_view/_find", rows(&document), rows(STUB)),
        ("GET", "_partition/p/_design/d/_view/v?include_docs=true", rows(&document), rows(STUB)),
        (
            "GET",
            "_design/d/_search/s?include_docs=true",
            format!(r#"{{"groups":[{{"rows":[{{"doc":{}}}]}}]}}"#, document),
            format!(r#"{{"groups":[{{"rows":[{{"doc":{STUB}}}]}}]}}"#),
        ),
        (
            "GET",
            "_design/d/_nouveau/s?include_docs=true",
            format!(r#"{{"hits":[{{"doc":{}}}]}}"#, document),
            format!(r#"{{"hits":[{{"doc":{STUB}}}]}}"#),
        ),
        (
            "GET",
            "_changes?Include_Docs=true",
            format!("{{\"results\":[\n{{\"doc\":{}}}\n]}}\n", document),
            format!("{{\"results\":[\n{{\"doc\":{STUB}}}\n]}}\n"),
        ),
    ];
    for (method, rest, stored, expected) in &forms {
        let body = if *method == "POST" { "{}" } else { "" };
        for head in [
            "Content-Type: application/json\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "",
            "Content-Type: application/json\r\nContent-Encoding: identity\r\n",
        ] {
            let shown = scene.ask((method, rest), &[JSON], body.as_bytes(), (head, stored.as_bytes())).await;
            assert!(expected.is_empty() || shown.text() == *expected, "{rest} {head}: {shown:?}");
        }
        let packed = gzip(stored.as_bytes());
        for coding in ["gzip", "x-gzip", "GZip"] {
            let head = format!("Content-Type: application/json\r\nContent-Encoding: {coding}\r\n");
            let shown = scene
                .ask((method, rest), &[JSON, ("Accept-Encoding", "gzip")], body.as_bytes(), (&head, &packed))
                .await;
            assert!(expected.is_empty() || shown.text() == *expected, "{rest} {coding}: {shown:?}");
            assert_eq!(shown.header("content-encoding"), None);
        }
        for head in [
            "Content-Encoding: br\r\n",
            "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n",
            "Content-Type: multipart/x; boundary=b\r\n",
            "Content-Type: application/json\u{1}\r\n",
            "Content-Type: multipart/mixed\r\n",
        ] {
            let shown = scene.ask((method, rest), &[JSON], body.as_bytes(), (head, stored.as_bytes())).await;
            assert!(shown.status >= 500 || !shown.complete, "{rest} {head}: {shown:?}");
        }
        let shown = scene
            .ask(
                (method, rest),
                &[JSON],
                body.as_bytes(),
                ("Content-Type: multipart/related; boundary=b\r\n", related.as_bytes()),
            )
            .await;
        assert!(shown.status == 200 && shown.complete, "{rest}: {shown:?}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn what_is_not_known_to_hold_documents_is_watched() {
    let mut scene = Scene::start().await;
    let document = scene.document.clone();
    let json_head = "Content-Type: application/json\r\n";
    for rest in [
        "_design/d/_show/s/x",
        "_design/d/_list/l/v",
        "_design/d/_rewrite/x",
        "_local/x",
        "_design/d",
        "_explain",
        "",
        "_security",
    ] {
        let shown = scene.ask(("GET", rest), &[], b"", (json_head, document.as_bytes())).await;
        assert_eq!(shown.text(), r#"{"_id":"x","_rev":"1-a"}"#, "{rest}");
        let emitted = format!(
            r#"{{"rows":[{{"value":{}}},{{"value":{{"c":{{"handler":{{"kz_att_http":{{"url":"canary"}}}}}}}}}}]}}"#,
            document
        );
        let shown = scene.ask(("GET", rest), &[], b"", (json_head, emitted.as_bytes())).await;
        assert_eq!(
            shown.text(),
            r#"{"rows":[{"value":{"_id":"x","_rev":"1-a"}},{"value":{"c":{"handler":{}}}}]}"#,
            "{rest}"
        );
        let shown = scene
            .ask(
                ("GET", rest),
                &[],
                b"",
                ("Content-Type: application/javascript\r\n", format!("/* CouchDB */f[({});", document).as_bytes()),
            )
            .await;
        assert_eq!(shown.text(), r#"/* CouchDB */f[({"_id":"x","_rev":"1-a"});"#, "{rest}");
        for head in ["Content-Type: text/html\r\n", "Content-Type: text/csv\r\n"] {
            let shown = scene.ask(("GET", rest), &[], b"", (head, format!("<p>{}</p>", document).as_bytes())).await;
            assert_eq!((shown.status, parsed(&shown)["error"].as_str()), (502, Some("bad_gateway")), "{rest}");
            let shown = scene.ask(("GET", rest), &[], b"", (head, b"<p>5\" of it</p>")).await;
            assert_eq!((shown.status, shown.text().as_str()), (200, "<p>5\" of it</p>"), "{rest}");
        }
    }
    let update = scene.ask(("POST", "_design/d/_update/u/x"), &[], b"{}", (json_head, document.as_bytes())).await;
    assert_eq!(update.text(), r#"{"_id":"x","_rev":"1-a"}"#);
    // A map function's own value, next to a document.
    let rows = format!(r#"{{"rows":[{{"id":"x","value":{0},"doc":{0}}}]}}"#, document);
    let shown = scene.ask(("GET", "_design/d/_view/v?include_docs=true"), &[], b"", (json_head, rows.as_bytes())).await;
    assert_eq!(shown.text(), format!(r#"{{"rows":[{{"id":"x","value":{{"_id":"x","_rev":"1-a"}},"doc":{STUB}}}]}}"#));
    // Attachments are not documents.
    let script = b"let x = doc.pvt_attachments;";
    let shown =
        scene.ask(("GET", "_design/d/app.js"), &[], b"", ("Content-Type: application/javascript\r\n", script)).await;
    assert_eq!(shown.body, script);
    scene.stop().await;
}
