//! A request must have exactly one valid `Host` (RFC 9112 section 3.2).

use super::{OK, World, assert_refusal};

#[tokio::test]
async fn without_one_clear_host_a_request_is_refused() {
    let mut world = World::start().await;
    for (target, hosts) in [
        ("/", vec![]),
        ("/", vec!["h", "h"]),
        ("/", vec!["h", "i"]),
        ("/", vec!["h/x"]),
        ("/", vec!["h x"]),
        ("/", vec!["h@i"]),
        ("/", vec!["h\u{e9}"]),
        ("/", vec!["h?x"]),
        ("/", vec!["h#x"]),
        ("/", vec!["h\\x"]),
        ("/", vec!["h:x"]),
        ("/", vec!["h:1:2"]),
        ("/", vec!["h:123456"]),
        ("/", vec!["[::1"]),
        ("/", vec!["::1"]),
        ("/", vec!["[::1]x"]),
        ("/", vec!["[x]:1"]),
        ("/", vec!["h%zz"]),
        ("http://h/", vec![]),
        ("http://h/", vec!["i"]),
        ("http://h/", vec!["h:81"]),
        ("http://h/", vec![""]),
        ("http://u:p@h/", vec!["h"]),
        ("http://u:p@h/", vec!["u:p@h"]),
    ] {
        let headers: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let got = world.refused(format!("GET {target} HTTP/1.1\r\n{headers}\r\n")).await;
        assert_refusal(&got, 400);
        assert_eq!(got.header("connection"), Some("close"), "{target} {hosts:?}");
    }
    let got = world.refused("GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n").await;
    assert_refusal(&got, 400);
}

#[tokio::test]
async fn every_sound_host_passes() {
    let mut world = World::start().await;
    for host in [
        "h",
        "H.example:5984",
        "[::1]",
        "[fe80::1%25eth0]:80",
        "10.0.0.1:65535",
        "h:",
        "",
        "a_b-c.%41!$&'()*+,;=",
        "[v1.x]",
    ] {
        let (seen, _) = world.pass(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), OK).await;
        assert_eq!(seen.all("host"), [host]);
    }
}
