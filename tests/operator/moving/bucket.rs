//! Every kind of fault in one bucket: each is found, and nothing else; what nothing names is removed, and nothing else.

use std::collections::BTreeSet;

use serde_json::json;
use stowage_testing::gateway::Running;
use stowage_testing::s3::{Failure, Operation, S3Server};
use stowage_testing::upstream::until;

use super::verify::{found, planted};
use super::world::{lines, run, s3_settings, start};

/// The documents that have an attachment in a bucket.
const STORED: [&str; 7] = ["bit", "cut", "free", "gone", "one", "two", "whole"];

/// Returns the bytes of a document's attachment; those of `one` and `two` are equally long.
fn bytes_of(id: &str) -> Vec<u8> {
    format!("the recording of {id}").into_bytes()
}

/// Stores the attachments in a bucket, under names without anything random.
async fn stored_in(s3: &S3Server, gateway: &Running) {
    s3.make_bucket("recordings");
    let mut settings = s3_settings(s3);
    settings["field_list"] = json!([{ "arg": "account_id" }, { "arg": "id" }, { "arg": "attachment" }]);
    gateway.plan("s3", settings).await;
    for id in STORED {
        gateway.attached(id, json!({ "pvt_type": "fax" }), "call.mp3", &bytes_of(id)).await;
    }
}

/// Leaves an upload of document `begun` open, as a gateway that was killed does.
async fn begin_only(s3: &S3Server, gateway: &Running) {
    let refused = Failure { status: 403, code: "AccessDenied" };
    s3.fail(Operation::Part, 1, refused);
    // As often as the driver tries to clear up after itself.
    s3.fail(Operation::Abort, 3, refused);
    let rev = gateway.document("begun", json!({ "pvt_type": "fax" })).await;
    let put = gateway.put("begun", "call.mp3", &rev, &vec![7; (5 << 20) + 1]).await;
    assert!(put.status >= 400, "{put:?}");
    until("the driver has given up", async || s3.count(Operation::Abort) == 3).await;
    gateway.settled().await;
    assert!(!s3.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_bucket_every_kind_of_fault_is_found_and_nothing_else() {
    let (gateway, s3) = (start().await, S3Server::start().await);
    stored_in(&s3, &gateway).await;
    let account = gateway.account.clone();
    let key = |id: &str| format!("{account}/{id}/call.mp3");
    let objects = || s3.objects("recordings").into_keys().collect::<BTreeSet<String>>();
    let mut expected: BTreeSet<String> = STORED.iter().map(|id| key(id)).collect();
    assert_eq!(objects(), expected);
    let look = ["verify", "--account", &account, "--format", "json", "--read", "--orphans", "--older-than", "0s"];
    let (code, said) = run(&gateway, &look).await;
    assert_eq!((code, found(&said)), (0, planted(&[])), "{said}");
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], STORED.len(), "{said}");

    let meddle = |id: &str, bytes: &[u8]| s3.meddle("recordings", &key(id), Some(bytes));
    s3.meddle("recordings", &key("gone"), None);
    meddle("cut", &bytes_of("cut")[1..]);
    let mut bytes = bytes_of("bit");
    bytes[5] ^= 1;
    meddle("bit", &bytes);
    meddle("one", &bytes_of("two"));
    meddle("two", &bytes_of("one"));
    let mut sound = gateway.inside("free").await;
    let (mut faulty, mut pointer) = (sound.clone(), sound["pvt_attachments"]["call.mp3"].clone());
    pointer["stowage"]["location"]["key"] = json!(key("nothing"));
    faulty["pvt_attachments"]["nothing.mp3"] = pointer;
    sound["_rev"] = json!(gateway.save("free", &faulty).await);
    meddle("left", b"left");
    // Another program's.
    s3.meddle("recordings", "backup.tar", Some(b"backup"));
    begin_only(&s3, &gateway).await;

    let (left, begun) = (key("left"), key("begun"));
    let of_documents = [
        ("gone", "call.mp3", "missing"),
        ("cut", "call.mp3", "different"),
        ("bit", "call.mp3", "different"),
        ("one", "call.mp3", "different"),
        ("two", "call.mp3", "different"),
        ("free", "nothing.mp3", "missing"),
    ];
    let of_storage = [(&*left, "", "orphan"), (&*begun, "", "orphan")];
    let (code, said) = run(&gateway, &look).await;
    assert_eq!((code, found(&said)), (1, planted(&[&of_documents[..], &of_storage].concat())), "{said}");
    let upload = lines(&said, "fault").find(|fault| fault["document"] == *begun).unwrap();
    assert!(upload["reason"].as_str().unwrap().contains("never completed"), "{upload}");

    let (code, said) = run(&gateway, &[&look[..], &["--remove-orphans"]].concat()).await;
    assert_eq!((code, found(&said)), (1, planted(&of_documents)), "{said}");
    expected.insert("backup.tar".to_owned());
    expected.remove(&key("gone"));
    assert_eq!(objects(), expected);
    assert!(s3.pending().is_empty(), "{:?}", s3.pending());

    // As a backup brings them back.
    STORED.iter().for_each(|id| meddle(id, &bytes_of(id)));
    gateway.save("free", &sound).await;
    let (code, said) = run(&gateway, &look).await;
    assert_eq!((code, found(&said)), (0, planted(&[])), "{said}");
    for id in STORED {
        let got = gateway.get(&format!("{id}/call.mp3")).await;
        assert!(got.status == 200 && got.body == bytes_of(id), "{id}: {got:?}");
    }
    gateway.stop().await;
}
