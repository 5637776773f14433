use serde_json::{Value, json};

use super::{expected, fixtures, object, url};
use crate::settings::Settings;
use crate::storage::old::Object;
use crate::storage::today;

fn plan(handler: &str, settings: &[Value]) -> Vec<Settings> {
    let all = settings.iter().enumerate();
    all.map(|(index, members)| Settings::new(format!("plan{index}"), handler, members.as_object().cloned().unwrap()))
        .collect()
}

fn chosen(old: &Object, handler: &str, settings: &[Value]) -> String {
    today(&old.inside, &old.location, plan(handler, settings).into_iter()).id().to_owned()
}

fn fixture(name: &str) -> Object {
    let case = expected()[name].clone();
    let member = case["member"].as_str().unwrap();
    object(&json!({ case["module"].as_str().unwrap(): { member: fixtures()[name] } }))
}

#[test]
fn a_bucket_of_the_plan_wins() {
    let old = fixture("s3-tuple-4");
    assert_eq!(chosen(&old, "s3", &[json!({"bucket": "other"}), json!({"bucket": "recordings"})]), "plan1");
    let eu = json!({"bucket": "recordings", "region": "eu-west-1", "host": "s3.eu-west-1.amazonaws.com"});
    assert_eq!(chosen(&old, "s3", &[eu]), "plan0");
    assert_eq!(chosen(&old, "s3", &[json!({"bucket": "recordings", "host": "minio.example"})]), "kz_att_s3");
    assert_eq!(chosen(&old, "google_storage", &[json!({"bucket": "recordings"})]), "kz_att_s3");
    let old = fixture("s3-map-key");
    let minio = |port: Value| json!({"bucket": "recordings", "host": "Minio.example", "scheme": "http", "port": port});
    assert_eq!(chosen(&old, "s3", &[minio(json!(9000))]), "plan0");
    assert_eq!(chosen(&old, "s3", &[minio(json!(9001)), minio(Value::Null)]), "kz_att_s3");
    let in_host = json!({"bucket": "recordings", "host": "minio.example:9000"});
    assert_eq!(chosen(&old, "s3", &[in_host]), "plan0");
}

#[test]
fn the_same_account_of_the_plan_wins() {
    let cases = [
        ("azure", "azure", json!({"account": "account1", "container": "recordings"}), true),
        ("azure", "azure", json!({"account": "account2", "container": "recordings"}), false),
        ("azure", "azure", json!({"account": "account1", "container": "other"}), false),
        ("gstorage-name", "google_storage", json!({"bucket": "recordings", "oauth_doc_id": "new"}), true),
        ("gstorage-url", "google_storage", json!({"bucket": "other"}), false),
        ("gdrive", "google_drive", json!({"oauth_doc_id": "oauth1"}), true),
        ("gdrive", "google_drive", json!({"oauth_doc_id": "oauth2"}), false),
        ("gdrive", "google_drive", json!({}), false),
        ("dropbox", "dropbox", json!({"oauth_doc_id": "oauth1"}), true),
        ("onedrive", "onedrive", json!({"oauth_doc_id": "oauth1"}), true),
        ("onedrive", "google_drive", json!({"oauth_doc_id": "oauth1"}), false),
    ];
    for (name, handler, settings, wins) in cases {
        let chosen = chosen(&fixture(name), handler, std::slice::from_ref(&settings));
        assert_eq!(chosen == "plan0", wins, "{name} {settings}: {chosen}");
    }
}

#[test]
fn the_same_server_of_the_plan_wins_and_the_nearest_of_them() {
    let old = url("kz_att_http", "http://h:80/a/b/doc.mp3");
    let of = |urls: &[&str]| {
        let all: Vec<_> = urls.iter().map(|url| json!({"url": url})).collect();
        chosen(&old, "http", &all)
    };
    assert_eq!(of(&["http://H/x", "http://me:p@h/a/b", "http://h/a/"]), "plan1");
    assert_eq!(of(&["https://h/a", "http://h:81/a", "http://other/a", "no url"]), "kz_att_http");
    let secret = url("kz_att_http", "http://h/a?key=old&name=doc.mp3");
    let of = |url: &str| chosen(&secret, "http", &[json!({ "url": url })]);
    assert_eq!(of("http://h/a?key=new&name="), "plan0");
    assert_eq!(of("http://h/a"), "kz_att_http");
    let ftp = url("kz_att_ftp", "ftp://me:old@h/in/doc.mp3");
    assert_eq!(chosen(&ftp, "ftp", &[json!({"url": "ftp://me:new@h:21/in"})]), "plan0");
    assert_eq!(chosen(&ftp, "ftp", &[json!({"url": "ftps://me:new@h/in"})]), "kz_att_ftp");
}
