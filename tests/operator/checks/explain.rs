//! `GET .../storage/explain` returns the same as the command.

use serde_json::{Value, json};

use super::{OPERATOR, answered, ask, own, start};
use stowage_testing::gateway::STORAGE;
use stowage_testing::gateway::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_explained() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d", "password": "canary"})).await;
    gateway.document("doc", json!({"pvt_type": "call_recording"})).await;
    let path = format!("{}/explain?db={}&doc=doc&attachment=a.mp3", own(&gateway), gateway.path());
    let answer = answered(&gateway, "GET", &path, Value::Null, 200).await;
    let data = &answer["data"];
    assert_eq!((&data["class"], &data["account"]), (&json!("modb"), &json!(gateway.account)));
    assert_eq!((&data["backend"], &data["handler"]), (&json!(STORAGE), &json!("file")));
    assert_eq!(data["object"], format!("{}/doc/a.mp3", gateway.account), "{answer}");
    assert_eq!((&data["refused"], &data["connection"]), (&Value::Null, &json!("local")));
    assert!(!answer.to_string().contains("canary"), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_is_explained_and_what_is_refused_says_why() {
    let gateway = start().await;
    gateway.plan("s3", json!({"bucket": "recordings"})).await;
    let path = format!("/v2/storage/explain?db={}&type=fax", gateway.path());
    let answer = answered(&gateway, "GET", &path, Value::Null, 200).await;
    assert!(answer["data"]["refused"].as_str().is_some_and(|why| why.contains("key")), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_document_and_type_the_class_decides() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d"})).await;
    let mut plan =
        json!({"pvt_type": "storage", "attachments": {"fax": {"handler": "file", "settings": {"directory": "f"}}}});
    plan["plan"] = json!({"modb": {"types": {"fax": {"attachments": {"handler": "fax"}}}}, "system": {"attachments": {"handler": "fax"}}});
    gateway.save_plan("system", plan).await;
    let (own, path) = (own(&gateway), gateway.path());
    for (query, backend) in [
        (format!("{own}/explain?db={path}"), json!(STORAGE)),
        (format!("{own}/explain?db={path}&owner=u"), json!(STORAGE)),
        (format!("{own}/explain?db={path}&type="), json!(STORAGE)),
        (format!("{own}/explain?db={path}&type=fax"), json!("fax")),
        (format!("/v2/storage/explain?db={path}"), json!(STORAGE)),
        ("/v2/storage/explain?db=alerts".to_owned(), json!("fax")),
        ("/v2/storage/explain?db=system_config".to_owned(), Value::Null),
        ("/v2/storage/explain?db=something".to_owned(), Value::Null),
    ] {
        let (status, answer) = ask(&gateway, "GET", &query, Value::Null).await;
        assert_eq!((status, &answer["data"]["backend"]), (200, &backend), "{query}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_none_are_refused() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d"})).await;
    for (query, field) in
        [("", "db"), ("?db=x&doc=", "doc"), ("?db=x&doc=a&type=b", "doc"), ("?db=x&doc=a&owner=b", "doc")]
    {
        let (status, answer) = ask(&gateway, "GET", &format!("/v2/storage/explain{query}"), Value::Null).await;
        assert_eq!((status, answer["data"][field].is_object()), (400, true), "{query}: {answer}");
    }
    let other = format!("{}/explain?db=system_media&type=media", own(&gateway));
    assert_eq!(ask(&gateway, "GET", &other, Value::Null).await.0, 404, "another's database");
    let missing = format!("{}/explain?db={}&doc=missing", own(&gateway), gateway.path());
    assert_eq!(ask(&gateway, "GET", &missing, Value::Null).await.0, 404);
    gateway.stop().await;
}

/// Returns the response for a fax in the account's month database, with one storage; `refused` if there is an error.
async fn of_storage(gateway: &super::Running, handler: &str, settings: Value) -> Value {
    gateway.plan(handler, settings).await;
    let path = format!("{}/explain?db={}&type=fax&attachment=a.pdf", own(gateway), gateway.path());
    let answer = answered(gateway, "GET", &path, Value::Null, 200).await;
    assert_eq!(answer["data"]["handler"], handler, "{answer}");
    assert!(!answer.to_string().contains("canary"), "{answer}");
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handler_is_explained() {
    let gateway = start().await;
    let azure = json!({"account": "acc", "container": "recordings", "key": "Y2FuYXJ5LWtleQ=="});
    for (handler, settings, url) in [
        ("azure", azure, "https://acc.blob.core.windows.net/recordings/"),
        ("dropbox", json!({"oauth_doc_id": "none"}), "dropbox:/"),
        ("file", json!({"directory": "d"}), "/"),
        ("ftp", json!({"url": "ftp://me:canary@ftp.example/in"}), "ftp://ftp.example/in/"),
        ("google_drive", json!({"oauth_doc_id": "none"}), "Google Drive: /"),
        ("google_storage", json!({"bucket": "recordings", "oauth_doc_id": "none"}), "https://www.googleapis.com/"),
        ("http", json!({"url": "https://me:canary@web.example/in"}), "https://web.example/in/"),
        ("onedrive", json!({"oauth_doc_id": "none"}), "https://graph.microsoft.com/"),
        ("s3", json!({"bucket": "recordings", "key": "k", "secret": "canary"}), "http"),
    ] {
        let data = of_storage(&gateway, handler, settings).await;
        assert!(data["url"].as_str().is_some_and(|place| place.starts_with(url)), "{handler}: {data}");
        assert!(data["object"].as_str().is_some_and(|name| name.contains("a.pdf")), "{handler}: {data}");
        assert_eq!((&data["backend"], &data["refused"]), (&json!(STORAGE), &Value::Null), "{handler}: {data}");
        let part = &data["parts"][format!("attachments.{STORAGE}")];
        assert_eq!(*part, json!([gateway.account]), "{handler}: {data}");
    }
    let data = of_storage(&gateway, "link", json!({})).await;
    assert!(data["refused"].as_str().is_some_and(|why| why.contains("nothing can be stored")), "{data}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_may_not_be_are_refused_however_they_are_written() {
    let gateway = Setup::default().set("admin.tokens", OPERATOR).set("egress.allow", "").start().await;
    let s3 = |host: &str| json!({"host": host, "bucket": "recordings", "key": "k", "secret": "s"});
    let azure = |host: &str| json!({"host": host, "account": "acc", "container": "recordings", "key": "Y2FuYXJ5"});
    let url = |url: &str| json!({ "url": url });
    for (handler, settings) in [
        ("http", url("http://127.0.0.1/x")),
        ("http", url("http://2130706433/x")),
        ("http", url("http://0x7f.1/x")),
        ("http", url("http://[::ffff:10.0.0.1]/x")),
        ("ftp", url("ftp://169.254.169.254/x")),
        ("ftp", url("ftps://10.1.2.3/x")),
        ("s3", s3("192.168.1.1")),
        ("azure", azure("10.0.0.1")),
    ] {
        let shown = settings.to_string();
        let data = of_storage(&gateway, handler, settings).await;
        assert!(data["refused"].as_str().is_some_and(|why| why.contains("does not connect to")), "{shown}: {data}");
    }
    for host in ["8.8.8.8", "localhost"] {
        let data = of_storage(&gateway, "http", url(&format!("http://{host}/x"))).await;
        assert_eq!(data["refused"], Value::Null, "a public address, and a name that is not looked up: {data}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_says_where_it_comes_from() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d"})).await;
    let system = json!({
        "_id": "system", "pvt_type": "storage",
        "plan": {"modb": {"types": {"fax": {"attachments": {"stub": true, "on_delete": "delete"}}}}, "account": {}},
    });
    gateway.save_plan("system", system).await;
    let path = format!("{}/explain?db={}&type=fax", own(&gateway), gateway.path());
    let (_, answer) = ask(&gateway, "GET", &path, Value::Null).await;
    let expected = json!({
        "plan.modb": ["system", gateway.account], "plan.modb.types.fax": ["system"], "plan.account": ["system"],
        format!("attachments.{STORAGE}"): [gateway.account],
    });
    assert_eq!(answer["data"]["parts"], expected, "{answer}");
    assert_eq!((&answer["data"]["stub"], &answer["data"]["on_delete"]), (&json!(true), &json!("delete")), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_document_is_not_read() {
    let gateway = start().await;
    gateway.make_database().await;
    for (database, document, status) in
        [(gateway.path().as_str(), "_all_docs", 404), ("NOT%20A%20NAME", "x", 404), (&gateway.path(), "", 400)]
    {
        let path = format!("/v2/storage/explain?db={database}&doc={document}");
        let (answered, answer) = ask(&gateway, "GET", &path, Value::Null).await;
        assert_eq!(answered, status, "{path}: {answer}");
    }
    gateway.stop().await;
}
