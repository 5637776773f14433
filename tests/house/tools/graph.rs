//! The double of Microsoft Graph rejects what the real service rejects.

use super::ask;
use stowage_testing::graph::Graph;
use stowage_testing::tokens::Tokens;
use stowage_testing::trouble::Double as _;

const FAIL: &str = "?@microsoft.graph.conflictBehavior=fail";

#[tokio::test]
async fn requests_of_another_form_are_refused() {
    let tokens = Tokens::default();
    let (token, graph) = (tokens.issue(), Graph::start(tokens.clone()).await);
    let good = format!("Authorization: Bearer {token}\r\n");
    let at = |name: &str, query: &str| format!("/v1.0/me/drive/root:/{name}:/content{query}");
    for (target, headers, body, status) in [
        (at("a", FAIL), "", &b"x"[..], 401),
        (at("a", ""), &good, b"x", 400),
        (at("a%3Ab", FAIL), &good, b"x", 400),
        (at("CON", FAIL), &good, b"x", 400),
        (at("a", FAIL), &good, &vec![0; 4_000_001], 413),
        (at("a", FAIL), &good, b"x", 201),
        (at("A", FAIL), &good, b"x", 409),
        (at("a/b", FAIL), &good, b"x", 404),
    ] {
        assert_eq!(ask(graph.address(), "PUT", &target, headers, body).await.status, status, "{target}");
    }
    assert_eq!(graph.paths(), ["a"]);
}

#[tokio::test]
async fn fragments_have_to_be_in_order_and_without_a_token() {
    let tokens = Tokens::default();
    let (token, graph) = (tokens.issue(), Graph::start(tokens.clone()).await);
    let good = format!("Authorization: Bearer {token}\r\n");
    let target = "/v1.0/me/drive/root:/a:/createUploadSession";
    let body = br#"{"item":{"@microsoft.graph.conflictBehavior":"fail"}}"#;
    assert_eq!(ask(graph.address(), "POST", target, &good, b"{}").await.status, 400);
    let begun = ask(graph.address(), "POST", target, &good, body).await.text();
    let url = begun.split('"').find(|part| part.contains("/up/")).expect("a URL").to_owned();
    let target = url.replace(&format!("http://{}", graph.edge()), "");
    let unit = vec![7; 327_680];
    for (range, more, data, status) in [
        ("bytes 0-327679/327690", good.as_str(), &unit[..], 401),
        ("bytes 0-9/327690", "", &unit[..10], 400),
        ("bytes 0-327679/*", "", &unit[..], 400),
        ("bytes 0-327678/327690", "", &unit[..], 400),
        ("bytes 327680-327689/327690", "", &unit[..10], 416),
        ("bytes 0-327679/327690", "", &unit[..], 202),
        ("bytes 0-327679/327690", "", &unit[..], 416),
        ("bytes 327680-327680/327681", "", &unit[..1], 400),
        ("bytes 327680-327689/327690", "", &unit[..10], 201),
        ("bytes 327680-327689/327690", "", &unit[..10], 404),
    ] {
        let headers = format!("Content-Range: {range}\r\n{more}");
        assert_eq!(ask(graph.edge(), "PUT", &target, &headers, data).await.status, status, "{range} {more}");
    }
    assert_eq!((graph.paths(), graph.sessions()), (vec!["a".to_owned()], Vec::new()));
}
