use serde_json::{Value, json};
use stowage_base::settings::Settings;
use stowage_storage::{Reference, resolve};

use super::{expected, fixtures, object, url};
use crate::pointer::kazoo::Object;

fn plan(handler: &str, settings: &[Value]) -> Vec<Settings> {
    let all = settings.iter().enumerate();
    all.map(|(index, members)| Settings::new(format!("plan{index}"), handler, members.as_object().cloned().unwrap()))
        .collect()
}

/// Returns the id of the storage chosen for an entry of KAZOO's; if the plan has none, the entry's own.
fn chosen(old: &Object, handler: &str, settings: &[Value]) -> String {
    let inside = Some(&old.inside);
    let reference = Reference { handler: old.inside.handler(), id: old.inside.id(), inside, location: &old.location };
    let today = resolve(reference, plan(handler, settings).into_iter());
    today.as_ref().unwrap_or(&old.inside).id().to_owned()
}

/// Returns the id of the storage chosen for a pointer of the gateway's own to `plan1`; `-` if the plan has none.
fn chosen_for_own(handler: &str, location: &Value, settings: &[Value]) -> String {
    let location = location.as_object().unwrap();
    let reference = Reference { handler, id: "plan1", inside: None, location };
    resolve(reference, plan(handler, settings).into_iter())
        .map_or_else(|| "-".to_owned(), |settings| settings.id().to_owned())
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
    let moved = json!({"bucket": "recordings", "host": "minio.example"});
    assert_eq!(chosen(&old, "s3", &[json!({"bucket": "other"}), moved.clone()]), "plan1");
    assert_eq!(chosen(&old, "s3", &[moved, json!({"bucket": "recordings"})]), "plan1", "the same server first");
    assert_eq!(chosen(&old, "google_storage", &[json!({"bucket": "recordings"})]), "kz_att_s3");
    let old = fixture("s3-map-key");
    let minio = |port: Value| json!({"bucket": "recordings", "host": "Minio.example", "scheme": "http", "port": port});
    assert_eq!(chosen(&old, "s3", &[minio(json!(9000))]), "plan0");
    assert_eq!(chosen(&old, "s3", &[minio(json!(9001)), minio(Value::Null)]), "plan0");
    assert_eq!(chosen(&old, "s3", &[minio(json!(9001)), minio(json!("9000"))]), "plan1");
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
fn a_container_on_the_same_server_wins() {
    let of = |host: &str| json!({"account": "account1", "container": "recordings", "host": host});
    let mut old = fixture("azure");
    assert_eq!(chosen(&old, "azure", &[of("azurite"), of("")]), "plan1");
    assert_eq!(chosen(&old, "azure", &[of("azurite")]), "plan0");
    old.inside = Settings::new("kz_att_azure", "azure", of("azurite").as_object().cloned().unwrap());
    assert_eq!(chosen(&old, "azure", &[of(""), of("Azurite")]), "plan1");
}

#[test]
fn a_pointer_of_the_gateways_own_finds_its_storage_by_place_and_id() {
    let s3 = |bucket: &str| json!({"bucket": bucket, "host": "h"});
    let at = json!({"bucket": "b", "key": "k"});
    let cases = [
        ("s3", at.clone(), vec![s3("b"), s3("b")], "plan1"),
        ("s3", at.clone(), vec![s3("b"), s3("other")], "plan0"),
        ("s3", at.clone(), vec![s3("other"), s3("other")], "plan1"),
        ("s3", at.clone(), vec![s3("other")], "-"),
        ("s3", at, vec![s3("b")], "plan0"),
        ("google_storage", json!({"bucket": "b", "name": "n"}), vec![s3("b")], "plan0"),
        ("azure", json!({"container": "c", "blob": "n"}), vec![json!({"account": "a", "container": "c"})], "plan0"),
        ("azure", json!({"container": "c", "blob": "n"}), vec![json!({"account": "a", "container": "d"})], "-"),
        ("dropbox", json!({"id": "id:1"}), vec![json!({"oauth_doc_id": "o"})], "-"),
        ("dropbox", json!({"id": "id:1"}), vec![json!({}), json!({"oauth_doc_id": "o"})], "plan1"),
        ("file", json!({"path": "a"}), vec![json!({"directory": "d"})], "-"),
        ("file", json!({"path": "a"}), vec![json!({"directory": "d"}), json!({"directory": "d"})], "plan1"),
    ];
    for (handler, location, settings, expected) in cases {
        assert_eq!(chosen_for_own(handler, &location, &settings), expected, "{handler} {location} {settings:?}");
    }
    let url = |url: &str| json!({ "url": url });
    let at = url("http://h/a/b/doc.mp3");
    let of = |urls: &[&str]| chosen_for_own("http", &at, &urls.iter().map(|one| url(one)).collect::<Vec<_>>());
    assert_eq!(of(&["http://h/a/b", "http://h/x"]), "plan1", "the id says whose credentials it wants");
    assert_eq!(of(&["http://h/x", "http://new/a/b"]), "plan0");
    assert_eq!(of(&["http://new/a/b", "http://new/a/b"]), "plan1");
    assert_eq!(of(&["http://new/a/b"]), "-");
    let at = json!({"server": "ftp://h:2121", "path": "/in/doc.mp3"});
    assert_eq!(chosen_for_own("ftp", &at, &[url("ftp://me:p@h:2121/in")]), "plan0");
    assert_eq!(chosen_for_own("ftp", &at, &[url("ftp://me:p@h/in")]), "-");
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
