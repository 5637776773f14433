//! Scripts of other origins can read the gateway's own responses to the same extent as CouchDB's.

use super::{World, answered, get};
use stowage_testing::raw::RawResponse;

/// CouchDB's headers for a known origin (`chttpd_cors:headers`).
const RULES: &str = "Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Credentials: true\r\n\
    Access-Control-Expose-Headers: content-type, cache-control, accept-ranges, etag, server\r\n";

fn with_origin(method: &str, target: &str, origin: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: couch.example\r\nOrigin: {origin}\r\n\r\n")
}

fn couchdb(rules: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nServer: CouchDB/3.5.2 (Erlang OTP/26)\r\n{rules}Content-Length: 3\r\n\r\n{{}}\n")
}

fn rules(answer: &RawResponse) -> (Option<&str>, Option<&str>, bool) {
    let allows = (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials"));
    (allows.0, allows.1, answer.header("access-control-expose-headers").is_some())
}

const TIMEOUTS: [(&str, &str); 2] = [("timeouts.response_head", "300ms"), ("timeouts.connect", "300ms")];

/// Returns a response of the gateway itself, while the upstream is asked for its rules `asked` times and responds with `says`.
async fn own_answer(world: &mut World, origin: &str, says: &str, asked: usize) -> RawResponse {
    let (mut client, silent, seen) = world.ask(with_origin("GET", "/db/doc", origin)).await;
    assert_eq!(seen.target(), "/db/doc");
    for _ in 0..asked {
        let (mut connection, seen) = world.upstream.request().await;
        assert_eq!((seen.target(), seen.all("origin"), seen.all("host")), ("/", vec![origin], vec!["couch.example"]));
        assert!(!seen.has("authorization"), "{seen:?}");
        connection.send(couchdb(says)).await;
    }
    let answer = answered(&mut client).await.expect_status(504);
    drop(silent);
    answer
}

#[tokio::test]
async fn couchdbs_rules_hold_for_the_gateways_own_answers() {
    let mut world = World::with(&TIMEOUTS).await;
    let allowed = (Some("https://app.example"), Some("true"), true);
    let answer = own_answer(&mut world, "https://app.example", RULES, 1).await;
    assert_eq!(rules(&answer), allowed, "{answer:?}");
    let answer = own_answer(&mut world, "https://app.example", RULES, 0).await;
    assert_eq!(rules(&answer), allowed, "it is remembered");
    let answer = own_answer(&mut world, "https://other.example", "", 1).await;
    assert_eq!(rules(&answer), (None, None, false), "another origin has other rules");
    let answer = own_answer(&mut world, "https://other.example", "", 0).await;
    assert_eq!(rules(&answer), (None, None, false));
}

#[tokio::test]
async fn what_couchdb_says_is_passed_on_and_remembered() {
    let mut world = World::with(&TIMEOUTS).await;
    let (_, got) = world.pass(with_origin("GET", "/db/doc", "https://app.example"), couchdb(RULES)).await;
    assert_eq!(got.headers.iter().filter(|(name, _)| name.starts_with("access-control")).count(), 3, "{got:?}");
    let answer = own_answer(&mut world, "https://app.example", "", 0).await;
    assert_eq!(rules(&answer), (Some("https://app.example"), Some("true"), true), "{answer:?}");
    // CouchDB's responses are unchanged, even without these headers.
    let (_, got) = world.pass(with_origin("GET", "/db/doc", "https://app.example"), couchdb("")).await;
    assert_eq!(rules(&got), (None, None, false));
    let preflight = with_origin("OPTIONS", "/db/doc", "https://app.example");
    let (seen, got) = world.pass(preflight, "HTTP/1.1 204 No Content\r\nAccess-Control-Max-Age: 600\r\n\r\n").await;
    assert_eq!((seen.line.as_str(), seen.has("origin")), ("OPTIONS /db/doc HTTP/1.1", true));
    assert_eq!((got.status, got.header("access-control-max-age")), (204, Some("600")));
}

#[tokio::test]
async fn a_request_without_an_origin_costs_no_question() {
    let mut world = World::with(&TIMEOUTS).await;
    let (mut client, silent, _) = world.ask(get("/db/doc")).await;
    let answer = answered(&mut client).await;
    assert_eq!((answer.status, rules(&answer)), (504, (None, None, false)));
    drop(silent);
    assert!(!world.upstream.has_more());
}
