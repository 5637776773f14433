//! Canary secrets must not appear in any output.

use std::error::Error as _;
use std::fmt::Write;

use http::Method;
use serde_json::json;

use super::server::{Reply, Server};
use super::{at, object, open, open_whole, store, try_open};

#[tokio::test]
async fn no_secret_is_in_debug_errors_or_locations() {
    let mut texts = String::new();
    for code in [200, 301, 307, 403, 500] {
        let server = Server::start(move |method, _, _| match *method {
            Method::HEAD => Reply::Status(404),
            _ => Reply::Status(code),
        })
        .await;
        let url = server.url("/p?key=queryCANARY&name=").replace("://", "://userCANARY:passCANARY@");
        let settings = json!({"url": url, "headers": {"Authorization": "Bearer CANARY", "x-key": "CANARY"}});
        let storage = open(settings);
        write!(texts, "{storage:?} {:?}", object("n")).unwrap();
        match store(&storage, "n", "x").await {
            Ok(stored) => {
                let location = json!(stored.location).to_string();
                assert!(!location.contains("userCANARY") && !location.contains("passCANARY"), "{location}");
            }
            Err(error) => add(&mut texts, &error),
        }
        if let Err(error) = open_whole(&storage, &at(&url), 5).await {
            add(&mut texts, &error);
        }
    }
    let storage = open(json!({"url": "http://CANARY:CANARY@127.0.0.1:1/?k=CANARY"}));
    add(&mut texts, &store(&storage, "n", "x").await.unwrap_err());
    for settings in [
        json!({"url": "ftp://CANARY@h"}),
        json!({"url": "http://h", "headers": {"host": "CANARY"}}),
        json!({"url": "http://h", "headers": {"x": "CANARY\n"}}),
        json!({"url": "http://h", "verb": "CANARY"}),
    ] {
        add(&mut texts, &try_open(settings).unwrap_err());
    }
    assert!(texts.len() > 1000 && !texts.contains("CANARY") && !texts.contains("Q0FOQVJZ"), "{texts}");
    assert!(!texts.contains("backend text"), "{texts}");
}

fn add(texts: &mut String, error: &crate::Error) {
    write!(texts, "{error} {error:?}").unwrap();
    let mut source = error.source();
    while let Some(error) = source {
        write!(texts, "{error} {error:?}").unwrap();
        source = error.source();
    }
}
