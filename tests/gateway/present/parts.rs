//! A document with the bytes of its attachments, as JSON and as `multipart/related`.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::json as parsed;

const SOUND: &[u8] = b"\x00\x01sound\xff\r\n--\r\n";

#[tokio::test]
async fn every_form_is_couchdbs() {
    let twins = Twins::start().await;
    let long = vec![b'x'; 300_001];
    let attachments: [(&str, &[u8]); 4] = [("a.mp3", SOUND), ("b.mp3", b""), ("c.mp3", &long), ("d e.mp3", b"12")];
    let attachments = attachments.map(|(name, bytes)| (name.replace(' ', "%20"), bytes));
    let attachments: Vec<_> = attachments.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    twins.make("doc", &json!({"n": 1}), &attachments).await;
    for accept in ["application/json", "*/*", "", "multipart/related", "multipart/mixed", "application/json, */*;q=0.1"]
    {
        for query in ["attachments=true", "attachments=true&att_encoding_info=true&revs=true", "attachments=false"] {
            let rest = format!("doc?{query}");
            let shown = twins.same("GET", &rest, &[("Accept", accept)], b"").await;
            assert!(shown.header("content-length").is_some(), "{accept} {query}");
            twins.same("HEAD", &rest, &[("Accept", accept)], b"").await;
        }
    }
    twins.stop().await;
}

#[tokio::test]
async fn the_words_of_couchdb_are_used() {
    // As sent by CouchDB 3.5: a document in JSON, and with its attachment as a part.
    let twins = Twins::start().await;
    twins.make("inl", &json!({"k": 1}), &[("b.bin", b"\x00\x01\x02\x03\x04\x05")]).await;
    let shown = twins.gateway.ask("GET", "inl?attachments=true", &[], b"").await;
    let media_type = shown.header("content-type").unwrap();
    let boundary = media_type.strip_prefix("multipart/related; boundary=\"").unwrap().strip_suffix('"').unwrap();
    let (rev, _) = (parsed(&twins.gateway.get("inl").await)["_rev"].clone(), ());
    let rev = rev.as_str().unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n\
         {{\"_id\":\"inl\",\"_rev\":\"{rev}\",\"k\":1,\"_attachments\":{{\"b.bin\":{{\"content_type\":\"audio/mpeg\",\
         \"revpos\":2,\"digest\":\"md5-0VrlOTGID9e3JN14iLS07Q==\",\"length\":6,\"follows\":true}}}}}}\r\n\
         --{boundary}\r\nContent-Disposition: attachment; filename=\"b.bin\"\r\nContent-Type: audio/mpeg\r\n\
         Content-Length: 6\r\n\r\n\0\u{1}\u{2}\u{3}\u{4}\u{5}\r\n--{boundary}--"
    );
    assert_eq!(shown.text(), expected);
    assert_eq!(shown.header("cache-control"), None);
    assert_eq!(shown.header("etag"), Some(&*format!("\"{rev}\"")));
    let accept = [("Accept", "application/json")];
    let shown = twins.gateway.ask("GET", "inl?attachments=true", &accept, b"").await;
    let expected = format!(
        "{{\"_id\":\"inl\",\"_rev\":\"{rev}\",\"k\":1,\"_attachments\":{{\"b.bin\":{{\"content_type\":\"audio/mpeg\",\
         \"revpos\":2,\"digest\":\"md5-0VrlOTGID9e3JN14iLS07Q==\",\"data\":\"AAECAwQF\"}}}}}}\n"
    );
    assert_eq!(shown.text(), expected);
    assert_eq!(shown.header("cache-control"), Some("must-revalidate"));
    twins.stop().await;
}

#[tokio::test]
async fn what_came_as_gzip_is_plain_in_json_and_packed_in_parts() {
    let twins = Twins::start().await;
    let packed = stowage_testing::gzip(b"hello attachment");
    let target = format!("/{}/doc/hello.txt", twins.gateway.path());
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    assert_eq!(twins.gateway.request("PUT", &target, &headers, &packed).await.status, 201);
    let length = packed.len();
    let get = async |query: &str, accept: &str| {
        twins.gateway.ask("GET", &format!("doc{query}"), &[("Accept", accept)], b"").await
    };
    let stub = &parsed(&get("", "*/*").await)["_attachments"]["hello.txt"];
    assert_eq!((&stub["length"], stub.get("encoding")), (&json!(length), None));
    let stub = &parsed(&get("?att_encoding_info=true", "*/*").await)["_attachments"]["hello.txt"];
    assert_eq!(
        (&stub["length"], &stub["encoding"], &stub["encoded_length"]),
        (&json!(length), &json!("gzip"), &json!(length))
    );
    let inline = parsed(&get("?attachments=true", "application/json").await);
    assert_eq!(inline["_attachments"]["hello.txt"]["data"], "aGVsbG8gYXR0YWNobWVudA==");
    assert_eq!(inline["_attachments"]["hello.txt"].get("length"), None);
    let inline = parsed(&get("?attachments=true&att_encoding_info=true", "application/json").await);
    assert_eq!(inline["_attachments"]["hello.txt"]["encoded_length"], length);
    let parts = get("?attachments=true", "*/*").await;
    let text = parts.text();
    assert!(text.contains(&format!("Content-Length: {length}\r\nContent-Encoding: gzip\r\n\r\n")), "{text}");
    assert!(parts.body.windows(length).any(|window| window == packed), "{text}");
    assert!(text.contains(&format!(r#""length":{length},"follows":true,"encoding":"gzip","encoded_length":{length}"#)));
    assert_eq!(parts.header("content-length"), Some(&*parts.body.len().to_string()));
    twins.stop().await;
}
