use serde_json::{Map, Value, json};

use super::{AT, expected, fixtures, object, url};
use crate::pointer::kazoo::{AttachmentAddress, KazooEntry, Link, read};

fn handler(case: &Value, term: &str) -> Value {
    let mut props = case.get("beside").and_then(Value::as_object).cloned().unwrap_or_default();
    props.insert(case["member"].as_str().unwrap().to_owned(), term.trim().into());
    props.insert("metadata".to_owned(), json!({"x": "y"}));
    json!({ case["module"].as_str().unwrap(): props })
}

#[test]
fn every_form_that_erlang_wrote_is_read() {
    let expected = expected();
    let mut read = 0;
    for (name, term) in fixtures().iter().filter(|(name, _)| !name.starts_with("refused-")) {
        let case = &expected[name];
        let case = case.get("same_as").map_or(case, |other| &expected[other.as_str().unwrap()]);
        let object = object(&handler(case, term));
        assert_eq!(Value::Object(object.location.clone()), case["location"], "{name}");
        assert_eq!(Value::Object(object.inside.members().clone()), case["settings"], "{name}");
        assert_eq!(object.inside.handler(), case["handler"], "{name}");
        assert_eq!(object.inside.id(), case["module"], "{name}");
        assert_eq!(object.foreign, case["foreign"] == true, "{name}");
        let shown = format!("{object:?} {}", Value::Object(object.location.clone()));
        assert!(!shown.contains("old-secret") && !shown.contains("b2xkLWtleQ"), "{name}: {shown}");
        read += 1;
    }
    assert_eq!(read, expected.len() - 1, "a fixture and its meaning belong together");
}

#[test]
fn every_term_under_every_name_is_read_or_refused() {
    let members = [
        ("kz_att_s3", "S3"),
        ("kz_att_azure", "azure"),
        ("kz_att_google_storage", "gstorage"),
        ("kz_att_google_drive", "gdrive"),
        ("kz_att_dropbox", "dropbox"),
        ("kz_att_onedrive", "onedrive"),
    ];
    for (name, term) in fixtures() {
        for (module, member) in members {
            let found = read(&json!({ module: { member: term } }), AT);
            assert!(found.is_none() || !name.starts_with("refused-"), "{name} as {module}: {found:?}");
        }
    }
}

#[test]
fn urls_keep_their_account_to_themselves() {
    let found = url("kz_att_http", "http://me:pass@h:8080/doc/call.mp3?key=abc&x=1");
    assert_eq!(Value::Object(found.location), json!({"url": "http://h:8080/doc/call.mp3?key=********&x=1"}));
    assert_eq!(found.inside.text("url").unwrap().unwrap(), "http://me:pass@h:8080/doc/call.mp3?key=abc&x=1");
    let found = url("kz_att_ftp", "ftp://me:p@ss@h:2121/in/doc_call.mp3");
    assert_eq!(Value::Object(found.location), json!({"url": "ftp://h:2121/in/doc_call.mp3"}));
    assert_eq!(found.inside.text("url").unwrap().unwrap(), "ftp://me:p@ss@h:2121/in");
    let base64 = object(&json!({"kz_att_http": {"url": "http://h/doc", "base64_encode_data": true}}));
    assert_eq!(Value::Object(base64.location), json!({"url": "http://h/doc", "base64": true}));
    let props = json!({"url": "http://h/doc", "handler_props": {"verb": "post", "url": "http://other/", "base64_encode_data": "true"}});
    let props = object(&json!({ "kz_att_http": props }));
    assert_eq!(Value::Object(props.location), json!({"url": "http://h/doc", "base64": true}));
    assert_eq!(props.inside.text("url").unwrap().unwrap(), "http://h/doc");
}

#[test]
fn links_are_read_in_both_forms_of_a_database_name() {
    let link = |props: Value| match read(&json!({ "kz_att_link": props }), AT) {
        Some(KazooEntry::Link(link)) => Some(link),
        None => None,
        Some(other) => panic!("{other:?}"),
    };
    let wanted = |name: Option<&str>| {
        Some(Link { database: "account/ab/cd/x".into(), document: "d".into(), attachment: name.map(str::to_owned) })
    };
    for database in ["account/ab/cd/x", "account%2Fab%2Fcd%2Fx", "account%2fab%2fcd%2fx"] {
        assert_eq!(link(json!({"att_dbname": database, "att_docid": "d", "att_name": "a.mp3"})), wanted(Some("a.mp3")));
        assert_eq!(link(json!({"att_dbname": database, "att_docid": "d"})), wanted(None));
    }
    for wrong in [
        json!({}),
        json!({"att_dbname": "db"}),
        json!({"att_docid": "d"}),
        json!({"att_dbname": "_users", "att_docid": "d", "att_name": "a"}),
        json!({"att_dbname": "%5Fusers", "att_docid": "d", "att_name": "a"}),
        json!({"att_dbname": "db", "att_docid": "_local/x", "att_name": "a"}),
        json!({"att_dbname": "db", "att_docid": "d", "att_name": "_x"}),
        json!({"att_dbname": "db", "att_docid": "d", "att_name": 7}),
        json!({"att_dbname": "", "att_docid": "d"}),
        json!({"att_dbname": ["db"], "att_docid": "d"}),
    ] {
        assert_eq!(link(wrong.clone()), None, "{wrong}");
    }
}

#[test]
fn what_kazoo_never_wrote_is_refused() {
    for wrong in [
        json!(null),
        json!("kz_att_http"),
        json!({}),
        json!({"kz_att_http": 7}),
        json!({"kz_att_http": {}}),
        json!({"kz_att_http": {"url": 7}}),
        json!({"kz_att_http": {"url": "no url"}}),
        json!({"kz_att_http": {"url": "http://h/"}, "kz_att_ftp": {"url": "ftp://h/"}}),
        json!({"kz_att_other": {"url": "http://h/"}}),
        json!({"kz_att_s3": {"S3": 7}}),
        json!({"kz_att_s3": {"S3": "not base64!"}}),
        json!({"kz_att_s3": {"s3": "g2o="}}),
    ] {
        assert!(read(&wrong, AT).is_none(), "{wrong}");
    }
}

#[test]
fn a_name_with_another_documents_id_is_foreign() {
    let foreign = |id: &str, name: &str| {
        let handler = json!({"kz_att_http": {"url": format!("http://h/{name}")}});
        match read(&handler, AttachmentAddress { document: id, ..AT }) {
            Some(KazooEntry::Object(object)) => object.foreign,
            other => panic!("{other:?}"),
        }
    };
    assert!(!foreign("doc", "acc/doc/call.mp3"));
    assert!(!foreign("doc", "acc/doc_call.mp3"));
    assert!(!foreign("doc", "?from=x&name=doc_call.mp3"));
    assert!(!foreign("a/b", "acc/a%2Fb/call.mp3"));
    assert!(!foreign("doc", "x?key=doc"));
    assert!(foreign("doc", "acc/doc2/call.mp3"));
    assert!(foreign("doc", "acc/mydoc/call.mp3"));
    assert!(foreign("doc", "acc/other/call.mp3"));
    let told = |name: &str| {
        let dropbox = fixtures().remove("dropbox").unwrap();
        let metadata: Map<String, Value> = [("body".to_owned(), json!({"name": name}))].into_iter().collect();
        object(&json!({"kz_att_dropbox": {"dropbox": dropbox, "metadata": metadata}})).foreign
    };
    assert!(told("copy_call.mp3") && !told("doc_call.mp3"));
}

#[test]
fn a_name_with_another_accounts_database_is_foreign() {
    const ACCOUNT: &str = "account/12/34/567890abcdef1234567890abcdef";
    let foreign = |database: &str, name: &str| {
        let handler = json!({"kz_att_http": {"url": format!("http://h/{name}")}});
        match read(&handler, AttachmentAddress { database, ..AT }) {
            Some(KazooEntry::Object(object)) => object.foreign,
            other => panic!("{other:?}"),
        }
    };
    let month = format!("{ACCOUNT}-202011");
    for (named, databases) in [(ACCOUNT, [&*month, "backup"]), (&*month, [ACCOUNT, "backup"])] {
        for spelled in [named.to_owned(), named.replace('/', "%2F"), named.replace('/', "%252f")] {
            for name in
                [format!("{spelled}/doc_call.mp3"), format!("calls/{spelled}/doc/call.mp3"), format!("{spelled}-doc")]
            {
                assert!(!foreign(named, &name), "{name} in {named}");
                for database in databases {
                    assert!(foreign(database, &name), "{name} in {database}");
                }
                assert!(foreign(&month.replace("202011", "202012"), &name), "{name}");
            }
        }
    }
    assert!(!foreign("backup", "account/doc/call.mp3"));
}
