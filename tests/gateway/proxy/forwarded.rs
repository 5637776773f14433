//! The headers that tell CouchDB about the client's address and protocol, which a client cannot forge.

use serde_json::json;

use super::tls::{Secured, open};
use super::{OK, RawClient, World, answered};
use stowage_testing::gateway::{Setup, json as parsed};
use stowage_testing::upstream::{Connection, Seen};

/// Headers with which a client tries to deceive CouchDB.
const SAID: &str = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Ssl: on\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=1.1.1.1;proto=https\r\nX-Real-IP: 1.1.1.1\r\n";

fn told(seen: &Seen) -> Vec<(&str, &str)> {
    let told = seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut told: Vec<_> = told.filter(|(name, _)| name.contains("forwarded") || name.contains("real")).collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn the_word_of_a_client_counts_nothing() {
    let mut world = World::start().await;
    for more in [
        "",
        SAID,
        "Connection: X-Forwarded-For\r\n",
        "Connection: x-forwarded-for, X-Forwarded-Proto\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n",
        "X-Forwarded-For:\r\n",
        "X-Forwarded-For: , ,\r\n",
    ] {
        let (seen, _) = world.pass(format!("GET /db/doc HTTP/1.1\r\nHost: h\r\n{more}\r\n"), OK).await;
        assert_eq!(told(&seen), [("x-forwarded-for", "127.0.0.1")], "{more}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let mut world = World::with(&[("listen.trusted_proxies", "127.0.0.0/8,192.0.2.0/24")]).await;
    for (said, expected) in [
        ("198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, 198.51.100.7", "1.1.1.1, 198.51.100.7"),
        ("1.1.1.1\r\nX-Forwarded-For: 198.51.100.7, 192.0.2.1", "1.1.1.1, 198.51.100.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("unknown", "unknown, 127.0.0.1"),
    ] {
        let request =
            format!("GET /db/doc HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {said}\r\nX-Forwarded-Proto: https\r\n\r\n");
        let (seen, _) = world.pass(request, OK).await;
        assert_eq!(told(&seen), [("x-forwarded-for", expected), ("x-forwarded-proto", "https")], "{said}");
    }
}

#[tokio::test]
async fn what_came_over_tls_says_so_unless_a_trusted_proxy_says_otherwise() {
    let mut secured = Secured::start().await;
    let ours = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-ssl", "on")];
    let seen = over_tls(&mut secured, SAID).await;
    assert_eq!(told(&seen), ours);
    let mut secured = Secured::with(&[("listen.trusted_proxies", "127.0.0.1")]).await;
    assert_eq!(told(&over_tls(&mut secured, "").await), ours);
    let seen = over_tls(&mut secured, "X-Forwarded-Proto: http\r\n").await;
    assert_eq!(told(&seen), [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")]);
}

/// Returns what CouchDB sees of a request over TLS with these headers.
async fn over_tls(secured: &mut Secured, more: &str) -> Seen {
    let stream = open(&secured.world.gateway, &secured.certs.ca(), None, &["http/1.1"]).await.expect("a connection");
    let mut client = RawClient::over(stream);
    client.send(format!("GET /db/doc HTTP/1.1\r\nHost: h\r\n{more}\r\n")).await.expect("sent");
    let (mut connection, seen): (Connection, Seen) = secured.world.upstream.request().await;
    connection.send(OK).await;
    secured.world.upstream.keep(connection);
    answered(&mut client).await;
    seen
}

/// URLs in responses, the gateway's own and the store's, are reachable for the client.
#[tokio::test]
async fn locations_lead_back_the_way_the_client_came() {
    let gateway = Setup::default().set("listen.trusted_proxies", "127.0.0.1").storing_in("d").await;
    let rev = gateway.document("doc", json!({})).await;
    let (path, database) = (gateway.path(), gateway.database());
    for (headers, base) in [
        (vec![], format!("http://{}", gateway.address)),
        (vec![("X-Forwarded-Proto", "https")], format!("https://{}", gateway.address)),
        (vec![("X-Forwarded-Ssl", "on"), ("X-Forwarded-Host", "couch.example")], "https://couch.example".to_owned()),
    ] {
        let target = format!("/{path}/new-{}/a.mp3", headers.len());
        let stored = gateway.request("PUT", &target, &headers, b"sound").await;
        let expected = format!("{base}/{database}/new-{}/a.mp3", headers.len());
        assert_eq!((stored.status, stored.header("location")), (201, Some(expected.as_str())), "{stored:?}");
    }
    assert!(!rev.is_empty() && parsed(&gateway.get("doc").await)["_rev"] == rev);
    gateway.stop().await;
}

#[tokio::test]
async fn requests_that_the_gateway_makes_for_a_client_carry_its_address_and_its_own_do_not() {
    let mut world = World::with(&[("listen.trusted_proxies", "127.0.0.1")]).await;
    let target = format!("/{}/doc/a.mp3", world.gateway.path());
    let mut client = world.client().await;
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"))
        .await
        .expect("sent");
    let mut whose = Vec::new();
    loop {
        let (mut connection, seen) = tokio::select! {
            asked = world.upstream.request() => asked,
            answer = client.response() => {
                assert_eq!(answer.expect("an answer").status, 404);
                break;
            }
        };
        whose.push((seen.target().contains("plans_"), seen.all("x-forwarded-for").join("|")));
        connection.answer("404 Object Not Found", "{\"error\":\"not_found\",\"reason\":\"missing\"}\n").await;
        world.upstream.keep(connection);
    }
    assert!(whose.contains(&(true, "_stowage".to_owned())), "its plans: {whose:?}");
    assert!(whose.iter().filter(|(own, _)| !own).all(|(_, address)| address == "198.51.100.7"), "{whose:?}");
    assert!(whose.iter().filter(|(own, _)| *own).all(|(_, address)| address == "_stowage"), "{whose:?}");
}
