//! Settings, paths and locations, without a server.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_base::settings::Settings;

use super::address::{Address, Security, folder, wire};
use crate::{Kind, Location};

fn settings(members: &Value) -> Settings {
    Settings::new("f1", "ftp", members.as_object().cloned().unwrap())
}

fn address(url: &str) -> Address {
    Address::read(&settings(&json!({ "url": url }))).unwrap()
}

#[test]
fn the_scheme_says_how_tls_begins_and_the_setting_overrides_it() {
    use Security::{Explicit, Implicit, Plain};
    for (url, tls, port, security) in [
        ("ftp://h", None, 21, Plain),
        ("FTP://h:2121/a", None, 2121, Plain),
        ("ftps://h", None, 990, Implicit),
        ("ftps://h:2990", None, 2990, Implicit),
        ("ftps://h:21", None, 21, Explicit),
        ("ftpes://h", None, 21, Explicit),
        ("ftpes://h:990", None, 990, Explicit),
        ("ftps://h", Some("explicit"), 21, Explicit),
        ("ftps://h:21", Some("implicit"), 21, Implicit),
        ("ftp://h", Some("explicit"), 21, Explicit),
        ("ftp://h", Some("implicit"), 990, Implicit),
    ] {
        let found = Address::read(&settings(&json!({ "url": url, "tls": tls }))).unwrap();
        assert_eq!((found.origin.port, found.security), (port, security), "{url} {tls:?}");
    }
}

#[test]
fn accounts_are_decoded_and_anonymous_where_missing() {
    let found = address("ftp://us%40er:p%3Aa:s%2Fs@[::1]:2121/dir/");
    assert_eq!((found.user.as_str(), found.password.expose()), ("us@er", "p:a:s/s"));
    assert_eq!((found.origin.host.as_str(), found.origin.port), ("::1", 2121));
    assert_eq!(found.url(&found.below("x")), "ftp://[::1]:2121/dir/x");
    let found = address("ftp://h");
    assert_eq!((found.user.as_str(), found.password.expose()), ("anonymous", "stowage@"));
    let found = address("ftp://only@h");
    assert_eq!((found.user.as_str(), found.password.expose()), ("only", ""));
}

#[test]
fn nothing_shows_the_account() {
    let found = address("ftps://canary-user:canary-pass@h/dir");
    assert_eq!(format!("{found:?}"), "Address { url: \"ftps://h/dir/\", security: Implicit }");
}

#[test]
fn wrong_settings_name_the_key_and_not_the_value() {
    let wrong = [
        json!({}),
        json!({"url": 7}),
        json!({"url": "http://canary/"}),
        json!({"url": "ftp://"}),
        json!({"url": "ftp://user:canary@"}),
        json!({"url": "ftp://h:canary/"}),
        json!({"url": "ftp://h:70000/"}),
        json!({"url": "ftp://canary/a?b"}),
        json!({"url": "ftp://canary/a#b"}),
        json!({"url": "ftp://canary/a/../b"}),
        json!({"url": "ftp://canary/a//b"}),
        json!({"url": "ftp://canary/a%0d%0aDELE%20x"}),
        json!({"url": "ftp://canary:x%0d%0aDELE%20x@h/"}),
    ];
    for members in wrong {
        let error = Address::read(&settings(&members)).unwrap_err();
        assert_eq!(error.key(), "url", "{members}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let error = Address::read(&settings(&json!({"url": "ftp://h", "tls": "canary"}))).unwrap_err();
    assert_eq!((error.key(), error.what()), ("tls", "must be explicit or implicit"));
    let field = |name: &str| settings(&json!({ "document_url_field": name })).public_field("document_url_field");
    assert!(field("pvt_url").is_err());
    assert_eq!(field("url").unwrap().as_deref(), Some("url"));
}

#[test]
fn paths_begin_at_the_root_or_where_a_login_leads() {
    assert_eq!(address("ftp://h/a%20b/").below("x/y"), "/a b/x/y");
    assert_eq!(address("ftp://h").below("x"), "/x");
    let home = address("ftp://h/~/rec").place("x").unwrap();
    assert_eq!((home.as_str(), wire(&home), folder(&home)), ("/~/rec/x", "rec/x", "/~/rec"));
    for wrong in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\rb", "a\nb", "a\0b"] {
        assert_eq!(address("ftp://h").place(wrong).unwrap_err().kind(), Kind::Refused, "{wrong:?}");
    }
}

#[test]
fn a_url_is_escaped_and_has_no_account() {
    let found = address("ftp://user:canary@h/dir");
    assert_eq!(found.url(&found.below("a%2Fb c?d#e;f/ü")), "ftp://h/dir/a%252Fb%20c%3Fd%23e%3Bf/%C3%BC");
}

#[test]
fn a_location_is_the_plans_server_or_it_is_refused() {
    let found = |url: &str, location: Value| -> Result<String, Kind> {
        let Value::Object(location) = location else { panic!("an object") };
        address(url).find(&location).map(str::to_owned).map_err(|error| error.kind())
    };
    let ours = Value::Object(address("ftp://u:p@h/dir").location("/dir/a%2Fb"));
    assert_eq!(ours, json!({"server": "ftp://h", "path": "/dir/a%2Fb"}));
    assert_eq!(found("ftp://h", ours.clone()), Ok("/dir/a%2Fb".to_owned()));
    assert_eq!(found("ftps://H", ours.clone()), Ok("/dir/a%2Fb".to_owned()), "the same server, with TLS now");
    for other in ["ftp://i", "ftp://h:2121", "ftps://h:9900"] {
        assert_eq!(found(other, ours.clone()), Err(Kind::Location), "{other}");
    }
    // KAZOO stored the path literally.
    let kazoo = json!({"url": "ftp://u:p@h/dir/a%20b?c#d"});
    assert_eq!(found("ftp://h", kazoo), Ok("/dir/a%20b?c#d".to_owned()));
    for wrong in [
        json!({}),
        json!({"url": "ftp://h"}),
        json!({"url": "ftp://h/a/../b"}),
        json!({"url": "ftp://h/a\r\nDELE b"}),
        json!({"server": "ftp://h"}),
        json!({"server": "ftp://h", "path": "a"}),
        json!({"server": "ftp://h", "path": "/a\nDELE b"}),
        json!({"server": "ftp://i", "url": "ftp://h/a", "path": "/a"}),
    ] {
        assert_eq!(found("ftp://h", wrong.clone()), Err(Kind::Location), "{wrong}");
    }
}

#[test]
fn an_object_is_known_by_the_end_of_its_path_whoever_names_it() {
    let key = |location: Value| super::address::key(location.as_object().unwrap());
    let own = key(json!({ "server": "ftp://h", "path": "/~/rec/a/d/x.mp3" }));
    assert_eq!(own.as_deref(), Some("a/d/x.mp3"));
    assert_eq!(key(json!({ "url": "ftp://h/files/u/rec/a/d/x.mp3" })), own);
    assert_eq!(key(json!({ "server": "ftp://h", "path": "/~/x.mp3" })), key(json!({ "url": "ftp://h/x.mp3" })));
    assert_ne!(key(json!({ "server": "ftp://h", "path": "/rec/a/d/y.mp3" })), own);
    assert_eq!(key(json!({ "url": "no URL" })), None);
}

proptest! {
    #[test]
    fn every_location_leads_back_to_its_path(name in "[^/]{1,20}(/[^/]{1,20}){0,3}", port in 1_u16..) {
        let address = address(&format!("ftp://user:pass@host.example:{port}/some/dir"));
        if let Ok(path) = address.place(&name) {
            let location: Location = address.location(&path);
            prop_assert_eq!(address.find(&location).unwrap(), &path);
            prop_assert_eq!(&path, &format!("/some/dir/{name}"));
        }
    }

    #[test]
    fn no_url_makes_it_panic(text in ".{0,40}", scheme in "(ftp|ftps|ftpes)://") {
        let _ = Address::read(&settings(&json!({ "url": text })));
        let _ = Address::read(&settings(&json!({ "url": format!("{scheme}{text}") })));
    }

    #[test]
    fn a_shown_url_is_one_and_decodes_to_the_path(name in "[^/\r\n\0]{1,20}") {
        let address = address("ftp://h/d");
        if let Ok(path) = address.place(&name) {
            let url: url::Url = address.url(&path).parse().unwrap();
            let decoded = percent_encoding::percent_decode_str(url.path()).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded, path);
        }
    }
}
