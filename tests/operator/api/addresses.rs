//! Forbidden addresses of a tenant's storage: refused when the plan is saved, and when connecting.

use hyper::Method;
use serde_json::{Value, json};
use stowage_storage::driver;
use tokio::net::TcpListener;

use crate::api::{MINE, Running, ask, of, plan, setup, wrong};
use stowage_testing::gateway::{STORAGE, Setup};
use stowage_testing::recorder::{Answer, Recorder};

const INSIDE: [&str; 36] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "0",
    "2130706433",
    "3232235777",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "①②⑦.0.0.1",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fc00::1]",
    "[fe80::1]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST",
    "any.localhost",
];

fn strict() -> Setup {
    setup().set("egress.allow", "[]")
}

async fn refused(gateway: &Running, plan: &Value, field: &str) {
    let answer = ask(gateway, "PUT", &of(MINE), Some(plan)).await;
    assert_eq!(answer.status, 400, "{plan}: {}", answer.text());
    assert_eq!(wrong(&answer), [format!("{field}: invalid")], "{plan}");
    assert_eq!(ask(gateway, "GET", &of(MINE), None).await.status, 404, "{plan}");
}

#[tokio::test]
async fn addresses_inside_are_refused_however_they_are_written() {
    let gateway = strict().start().await;
    let settings = format!("attachments.{STORAGE}.settings");
    for host in INSIDE {
        for url in [format!("http://{host}/x"), format!("https://me:pw@{host}:8443/x?y=")] {
            refused(&gateway, &plan("http", &json!({ "url": url })), &format!("{settings}.url")).await;
        }
        if driver("ftp").is_some() {
            for scheme in ["ftp", "ftps", "ftpes"] {
                let plan = plan("ftp", &json!({ "url": format!("{scheme}://u:p@{host}/dir") }));
                refused(&gateway, &plan, &format!("{settings}.url")).await;
            }
        }
        let s3 = json!({"bucket": "recordings", "key": "k", "secret": "s", "host": host});
        refused(&gateway, &plan("s3", &s3), &format!("{settings}.host")).await;
        if driver("azure").is_some() {
            let azure = json!({"account": "account", "container": "files", "key": "a2V5", "host": host});
            refused(&gateway, &plan("azure", &azure), &format!("{settings}.host")).await;
        }
        let ip = host.trim_matches(['[', ']']);
        for ip in [host, ip] {
            let couch =
                json!({"connections": {STORAGE: {"driver": "kazoo_couch", "settings": {"ip": ip, "port": 5984}}}});
            refused(&gateway, &couch, &format!("connections.{STORAGE}.settings.ip")).await;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let gateway = strict().start().await;
    let field = format!("attachments.{STORAGE}.settings.url");
    for url in
        ["https://ignore@me:0.0.0.0", "http://", "http:///x", "http://a b/", "//h/", "http://[::1", "http://h:99999/"]
    {
        refused(&gateway, &plan("http", &json!({ "url": url })), &field).await;
    }
    for ip in ["a b", "http://h", "u@h", "h/x", "h:1:", "[::1"] {
        let couch = json!({"connections": {STORAGE: {"driver": "kazoo_couch", "settings": {"ip": ip, "port": 5984}}}});
        refused(&gateway, &couch, &format!("connections.{STORAGE}.settings.ip")).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn public_addresses_and_names_that_nobody_knows_are_fine() {
    let gateway = strict().start().await;
    for url in
        ["http://8.8.8.8/", "https://[2606:4700::1111]/x", "https://storage.invalid/", "http://[::ffff:8.8.8.8]/"]
    {
        let saved = ask(&gateway, "PUT", &of(MINE), Some(&plan("http", &json!({ "url": url })))).await;
        assert_eq!(saved.status, 201, "{url}: {}", saved.text());
        assert_eq!(ask(&gateway, "DELETE", &of(MINE), None).await.status, 200);
    }
    for url in ["ftp://u:p@8.8.8.8/x", "ftps://8.8.8.8/x", "ftpes://u:p@8.8.8.8/x", "ftpes://8.8.8.8:2121"] {
        let saved = ask(&gateway, "PUT", &of(MINE), Some(&plan("ftp", &json!({ "url": url })))).await;
        assert_eq!(saved.status, 201, "{url}: {}", saved.text());
        assert_eq!(ask(&gateway, "DELETE", &of(MINE), None).await.status, 200);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_operator_opens_and_closes_networks() {
    let gateway =
        setup().set("egress.allow", r#"["10.0.0.0/8"]"#).set("egress.deny", r#"["8.8.8.0/24"]"#).start().await;
    let field = format!("attachments.{STORAGE}.settings.url");
    refused(&gateway, &plan("http", &json!({"url": "http://8.8.8.8/"})), &field).await;
    refused(&gateway, &plan("http", &json!({"url": "http://127.0.0.1/"})), &field).await;
    let saved = ask(&gateway, "PUT", &of(MINE), Some(&plan("http", &json!({"url": "http://10.0.0.1/"})))).await;
    assert_eq!(saved.status, 201, "{}", saved.text());
    gateway.stop().await;
}

/// Returns whether a client has connected.
fn was_asked(listener: &TcpListener) -> bool {
    use std::task::{Context, Poll, Waker};
    matches!(listener.poll_accept(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_)))
}

#[tokio::test]
async fn the_policy_holds_for_plans_that_nobody_checked() {
    let gateway = Setup::default().set("egress.allow", "[]").start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (index, host) in ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"].iter().enumerate() {
        gateway.plan("http", json!({"url": format!("http://{host}:{port}/")})).await;
        let id = format!("doc{index}");
        let rev = gateway.document(&id, json!({})).await;
        let put = gateway.put(&id, "a.mp3", &rev, b"bytes").await;
        assert_eq!(put.status, 502, "{host}: {put:?}");
        assert!(put.text().contains(STORAGE), "{put:?}");
        assert!(!was_asked(&listener), "{host}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_policy_holds_for_every_redirect() {
    let gateway = Setup::default().set("egress.allow", r#"["127.0.0.1/32"]"#).start().await;
    let server = Recorder::start().await;
    let inside = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let target = format!("http://{}/x", inside.local_addr().unwrap());
    gateway.plan("http", json!({"url": server.url("/store")})).await;
    for status in [301, 302, 303, 307, 308] {
        let id = format!("doc{status}");
        let rev = gateway.document(&id, json!({})).await;
        for method in [Method::PUT, Method::HEAD, Method::GET] {
            server.next(method, 1, Answer::Redirect(status, Some(target.clone())));
        }
        let put = gateway.put(&id, "a.mp3", &rev, b"bytes").await;
        assert_eq!(put.status, 502, "{status}: {put:?}");
        assert!(!was_asked(&inside), "{status}");
        server.reset_rules();
        gateway.attached(&format!("get{status}"), json!({}), "a.mp3", b"bytes").await;
        server.next(Method::GET, 1, Answer::Redirect(status, Some(target.clone())));
        let got = gateway.get(&format!("get{status}/a.mp3")).await;
        assert_eq!(got.status, 502, "{status}: {got:?}");
        assert!(!was_asked(&inside), "{status}");
        server.reset_rules();
    }
    gateway.stop().await;
}
