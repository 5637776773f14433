//! The exact URLs of names, queries and redirects.

use serde_json::{Value, json};

use super::super::link::{Base, Link};
use super::super::query::query;

#[test]
fn a_name_goes_behind_the_url() {
    let cases = [
        ("http://h/p", "a/b.mp3", "http://h/p/a/b.mp3"),
        ("http://h/p///", "a", "http://h/p/a"),
        ("http://h", "a", "http://h/a"),
        ("http://h/", "a", "http://h/a"),
        ("http://H:80/p", "a", "http://h/p/a"),
        ("https://h:8443/p", "a", "https://h:8443/p/a"),
        ("http://[::1]:81/p", "a", "http://[::1]:81/p/a"),
        (
            "http://my.http.server:37635/some_prefix",
            "acc/doc/x.mp3",
            "http://my.http.server:37635/some_prefix/acc/doc/x.mp3",
        ),
        ("http://h/p", "?path=a/b", "http://h/p/?path=a/b"),
        ("http://storage.server.com/storage/", "?from=x/y.mp3", "http://storage.server.com/storage/?from=x/y.mp3"),
        ("http://storage.server.com/storage/", "", "http://storage.server.com/storage/"),
        ("http://h/p?key=abc&recording=", "a%2Fb/c", "http://h/p?key=abc&recording=a%2Fb/c"),
        ("http://h?f=", "a", "http://h/?f=a"),
        ("http://h/p", "a%2fb%2F..%20c/./x//y", "http://h/p/a%2fb%2F..%20c/./x//y"),
        ("http://h/a/../b", "c", "http://h/a/../b/c"),
        ("http://h/p", "x#y z\u{fc}", "http://h/p/x%23y%20z%C3%BC"),
        ("http://u:p@h/p", "a", "http://h/p/a"),
    ];
    for (url, name, expected) in cases {
        assert_eq!(Base::parse(url).unwrap().object(name).text(), expected, "{url} {name}");
    }
}

#[test]
fn only_web_urls_are_taken() {
    for url in
        ["ftp://h/p", "h/p", "/p", "http://", "http:///p", "http://h/p#f", "http://h\\@evil/", "http://h/\r\nX: y", ""]
    {
        assert!(Base::parse(url).is_none(), "{url:?}");
    }
}

#[test]
fn the_account_is_decoded_and_stays_out_of_every_text() {
    let link = Link::parse("http://us%40er:p%3Aw@h/p?k=secretvalue").unwrap();
    assert_eq!(link.account().unwrap(), "Basic dXNAZXI6cDp3");
    assert_eq!(link.text(), "http://h/p?k=secretvalue");
    assert_eq!(format!("{link} {link:?} {:?}", link.account()), "http://h/p http://h/p Some(Sensitive)");
}

#[test]
fn metadata_becomes_a_query() {
    let cases = [
        (json!({}), ""),
        (json!({"from": "x y", "length": 1, "f": 1.5}), "from=x%20y&length=1&f=1.5"),
        (json!({"a": {"b": "c", "d": {"e": 1}}}), "a[b]=c&a[d][e]=1"),
        (json!({"list": ["x", "y", null]}), "list[]=x&list[]=y"),
        (json!({"l": [{"k": 1}], "o": {"l": [1, 2]}}), "l[][k]=1&o[l][]=1&o[l][]=2"),
        (json!({"t": true, "f": false, "n": null, "e": "", "o": {}, "a": []}), "t=true&f=false&e="),
        (json!({"to": "1010@53cb34.sip.2600hz.com"}), "to=1010%4053cb34.sip.2600hz.com"),
        (json!({"a&b=c": "ü+/?#"}), "a%26b%3Dc=%C3%BC%2B%2F%3F%23"),
    ];
    for (metadata, expected) in cases {
        assert_eq!(query(metadata.as_object().unwrap()), expected);
    }
}

#[test]
fn a_query_joins_the_one_that_is_there() {
    let cases = [
        ("http://h/p", "http://h/p?a=1"),
        ("http://h/p?x=y", "http://h/p?x=y&a=1"),
        ("http://h/p?", "http://h/p?a=1"),
        ("http://h/p?x&", "http://h/p?x&a=1"),
        (
            "http://storage.server.com/storage/?from=db/doc/uploaded_file_63754892074.mp3",
            "http://storage.server.com/storage/?from=db/doc/uploaded_file_63754892074.mp3&a=1",
        ),
    ];
    for (url, expected) in cases {
        let link = Link::parse(url).unwrap();
        assert_eq!(link.with_query("a=1").text(), expected);
        assert_eq!(link.with_query("").text(), url);
    }
}

#[test]
fn locations_resolve_beside_the_request() {
    let link = Link::parse("http://u:p@h/a/b%2Fc?q").unwrap();
    let cases = [
        ("https://o/x", Some("https://o/x")),
        ("HTTP://o:8080/x%2f?y#z", Some("http://o:8080/x%2f?y")),
        ("//o/x", Some("http://o/x")),
        ("/x/../y%20", Some("http://h/x/../y%20")),
        ("?z", Some("http://h/a/b%2Fc?z")),
        ("x", Some("http://h/a/x")),
        ("../x?y/../z", Some("http://h/x?y/../z")),
        ("./", Some("http://h/a/")),
        ("..", Some("http://h/")),
        ("/a b", Some("http://h/a%20b")),
        ("", None),
        ("#f", None),
        ("ftp://o/x", None),
        ("javascript:x", None),
        ("http://", None),
    ];
    for (location, expected) in cases {
        assert_eq!(link.resolve(location).map(|link| link.text()).as_deref(), expected, "{location:?}");
    }
    assert!(link.resolve("/x").unwrap().account().is_some());
    assert!(link.resolve("https://h/x").unwrap().account().is_none());
    assert!(link.resolve("//evil:y@o/x").unwrap().account().is_none());
}

#[test]
fn a_query_keeps_the_order_of_the_document() {
    let text = r#"{"z":1,"a":2,"m":3}"#;
    let metadata: Value = serde_json::from_str(text).unwrap();
    assert_eq!(query(metadata.as_object().unwrap()), "z=1&a=2&m=3");
}
