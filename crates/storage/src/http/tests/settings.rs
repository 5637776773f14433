//! Valid and invalid settings.

use http::Method;
use serde_json::json;

use super::super::form::Subtype;
use super::{open, try_open};
use crate::Kind;

#[test]
fn settings_may_be_few() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let storage = open(json!({"url": "http://h/p"}));
    assert_eq!(storage.options.verb, Method::PUT);
    assert!(!storage.options.form.base64 && storage.options.form.multipart.is_none());
    let storage =
        open(json!({"url": "http://h", "verb": "PoSt", "send_multipart": "true", "base64_encode_data": true}));
    assert_eq!(storage.options.verb, Method::POST);
    assert_eq!(storage.options.form.multipart, Some(Subtype::Mixed));
    assert!(storage.options.form.base64);
}

#[test]
fn wrong_settings_name_the_storage_and_the_key() {
    for (settings, key) in [
        (json!({}), "url"),
        (json!({"url": ""}), "url"),
        (json!({"url": ["http://h"]}), "url"),
        (json!({"url": "ftp://h/p"}), "url"),
        (json!({"url": "http://h/p#f"}), "url"),
        (json!({"url": "http://h", "verb": "patch"}), "verb"),
        (json!({"url": "http://h", "verb": true}), "verb"),
        (json!({"url": "http://h", "send_multipart": "yes"}), "send_multipart"),
        (json!({"url": "http://h", "base64_encode_data": 1}), "base64_encode_data"),
        (json!({"url": "http://h", "multipart_subtype": "related"}), "multipart_subtype"),
        (json!({"url": "http://h", "document_url_field": {}}), "document_url_field"),
        (json!({"url": "http://h", "document_url_field": "_attachments"}), "document_url_field"),
        (json!({"url": "http://h", "headers": []}), "headers"),
        (json!({"url": "http://h", "headers": {"a": 1}}), "headers.a"),
        (json!({"url": "http://h", "headers": {"a b": "c"}}), "headers.a b"),
        (json!({"url": "http://h", "headers": {"a": "b\r\nc: d"}}), "headers.a"),
        (json!({"url": "http://h", "headers": {"Content-Type": "x"}}), "headers.Content-Type"),
        (json!({"url": "http://h", "headers": {"content-length": "1"}}), "headers.content-length"),
        (json!({"url": "http://h", "headers": {"Transfer-Encoding": "x"}}), "headers.Transfer-Encoding"),
        (json!({"url": "http://h", "headers": {"HOST": "x"}}), "headers.HOST"),
        (json!({"url": "http://h", "headers": {"Keep-Alive": "x"}}), "headers.Keep-Alive"),
    ] {
        let error = try_open(settings).unwrap_err();
        assert_eq!(error.kind(), Kind::Settings);
        assert!(error.to_string().contains(&format!("the setting {key} of storage store1 ")), "{error}");
    }
}
