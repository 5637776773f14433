//! `GET .../storage/explain` says what the command says.

use serde_json::{Value, json};

use super::support::gateway::STORAGE;
use super::{ask, own, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_explained() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d", "password": "canary"})).await;
    gateway.document("doc", json!({"pvt_type": "call_recording"})).await;
    let path = format!("{}/explain?db={}&doc=doc&attachment=a.mp3", own(&gateway), gateway.path());
    let (status, answer) = ask(&gateway, "GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
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
    let (status, answer) = ask(&gateway, "GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["data"]["refused"].as_str().is_some_and(|why| why.contains("key")), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_none_are_refused() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d"})).await;
    for (query, field) in [("", "db"), ("?db=x", "doc"), ("?db=x&doc=a&type=b", "doc")] {
        let (status, answer) = ask(&gateway, "GET", &format!("/v2/storage/explain{query}"), Value::Null).await;
        assert_eq!((status, answer["data"][field].is_object()), (400, true), "{query}: {answer}");
    }
    let other = format!("{}/explain?db=system_media&type=media", own(&gateway));
    assert_eq!(ask(&gateway, "GET", &other, Value::Null).await.0, 404, "another's database");
    let missing = format!("{}/explain?db={}&doc=missing", own(&gateway), gateway.path());
    assert_eq!(ask(&gateway, "GET", &missing, Value::Null).await.0, 404);
    gateway.stop().await;
}
