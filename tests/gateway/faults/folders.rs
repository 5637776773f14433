//! Faults of a directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::world::assert_refusal;
use stowage_testing::gateway::{Running, Setup};

async fn start() -> (Running, String) {
    let gateway = Setup::default().storing_in("calls").await;
    let rev = gateway.document("doc", json!({})).await;
    (gateway, rev)
}

/// Checks that nothing was stored, the document is unchanged, and the same request succeeds after the fault.
async fn recovers(gateway: Running, rev: &str) {
    assert_eq!(stowage_testing::gateway::json(&gateway.get("doc").await)["_rev"], rev);
    gateway.attach("doc", "call.mp3", rev, b"a recording").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"a recording");
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}

/// Its file system may not be mounted: a recording in its place would be hidden later.
#[tokio::test]
async fn a_root_that_is_gone_is_not_made_again() {
    let (gateway, rev) = start().await;
    fs::remove_dir_all(gateway.files()).expect("removed");
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    assert_refusal(&put, 504, "storage {id} cannot be used now");
    assert!(!gateway.files().exists());
    fs::create_dir(gateway.files()).expect("a folder");
    recovers(gateway, &rev).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_502_and_nothing_is_left() {
    let (gateway, rev) = start().await;
    let folder = gateway.files().join("calls");
    // A file in the place of a folder blocks every user, including root.
    fs::write(&folder, b"").expect("a file");
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    assert_refusal(&put, 502, "storage {id} refused");
    gateway.settled().await;
    assert_eq!(gateway.stored(), ["calls"]);
    fs::remove_file(&folder).expect("removed");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).expect("permissions");
    let writable = fs::write(folder.join("probe"), b"").is_ok();
    if writable {
        println!("skipped: permissions do not bind this user");
        fs::remove_file(folder.join("probe")).expect("removed");
    } else {
        let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
        assert_refusal(&put, 502, "storage {id} refused");
        gateway.settled().await;
        assert_eq!(gateway.stored(), [""; 0]);
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("permissions");
    recovers(gateway, &rev).await;
}

#[tokio::test]
async fn a_link_out_of_the_root_is_refused() {
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::write(outside.path().join("call.mp3"), b"somebody else's").expect("a file");
    let (gateway, rev) = start().await;
    let account = gateway.files().join("calls").join(&gateway.account);
    fs::create_dir_all(&account).expect("a folder");
    symlink(outside.path(), account.join("doc")).expect("a link");
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    assert_refusal(&put, 502, "storage {id} refused");
    let names: Vec<_> =
        fs::read_dir(outside.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["call.mp3"]);
    assert_eq!(fs::read(outside.path().join("call.mp3")).expect("a file"), b"somebody else's");
    fs::remove_file(account.join("doc")).expect("removed");
    recovers(gateway, &rev).await;
}

/// After the attachment was stored, a link replaces the folder: nothing is read or removed through it.
#[tokio::test]
async fn a_link_is_not_followed_for_reading_or_removing() {
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::write(outside.path().join("call.mp3"), b"a recordinG").expect("a file");
    let (gateway, rev) = start().await;
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    let folder = gateway.files().join("calls").join(&gateway.account).join("doc");
    fs::remove_dir_all(&folder).expect("removed");
    symlink(outside.path(), &folder).expect("a link");
    let got = gateway.get("doc/call.mp3").await;
    assert_refusal(&got, 502, "storage {id} refused");
    let rev = stowage_testing::gateway::rev(&put);
    assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={rev}")).await.status, 200);
    gateway.settled().await;
    assert!(outside.path().join("call.mp3").exists());
    fs::remove_file(&folder).expect("removed");
    gateway.stop().await;
}

/// A file that has become shorter or longer never seems complete.
#[tokio::test]
async fn a_file_of_another_length_is_404() {
    let (gateway, rev) = start().await;
    gateway.attach("doc", "call.mp3", &rev, b"a recording").await;
    let file = gateway.files().join(&gateway.stored()[0]);
    for changed in [&b""[..], b"a recordin", b"a recording!", b"A recording"] {
        fs::write(&file, changed).expect("written");
        let got = gateway.get("doc/call.mp3").await;
        assert_refusal(&got, 404, "the attachment is gone from storage {id}");
    }
    fs::write(&file, b"a recording").expect("written");
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"a recording", "a copy of the same bytes is the attachment");
    gateway.stop().await;
}
