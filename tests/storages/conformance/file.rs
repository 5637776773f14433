//! The `file` driver's own tests: folders, links, remains of crashes.

use crate::conformance::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use stowage_storage::sweep_files;

use super::targets::{World, try_open};
use stowage_testing::tree;

struct Nothing;

impl World for Nothing {
    fn objects(&self) -> Vec<String> {
        Vec::new()
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

fn open(root: &Path) -> Target {
    Target::open("file", json!({"directory": "d"}), &Around::root(root), BUDGET, Box::new(Nothing))
}

#[tokio::test]
async fn turned_off_without_a_root() {
    let error =
        try_open("file", json!({"directory": "d"}), &Around::default(), &Tasks::default(), &Budget::new(BUDGET));
    assert_eq!(error.expect_err("an error").kind(), Kind::Settings);
}

/// The file system of the root is mounted after the start.
#[tokio::test]
async fn a_missing_root_is_not_created() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("mounted");
    let target = open(&root);
    let place = target.backend.place("a");
    assert_eq!(kind(target.put(&object("a"), Body::full("x")).await), Some(Kind::Passing));
    assert_eq!(kind(target.get(&place, None, 1).await), Some(Kind::Passing));
    assert_eq!(kind(target.backend.delete(&place).await), Some(Kind::Passing));
    assert!(!root.exists());
    fs::create_dir(&root).expect("a folder");
    let stored = target.put(&object("a"), Body::full("x")).await.expect("stored");
    assert_eq!(target.read(&stored.location, 1).await, b"x");
}

#[tokio::test]
async fn links_do_not_lead_out_of_the_root() {
    let (root, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let target = open(root.path());
    let stored = target.put(&object("a/b"), Body::full("inside")).await.expect("stored");
    fs::write(outside.path().join("b"), "secret").expect("written");
    fs::remove_dir_all(root.path().join("d/a")).expect("removed");
    symlink(outside.path(), root.path().join("d/a")).expect("a link");
    assert_eq!(kind(target.get(&stored.location, None, 6).await), Some(Kind::Refused));
    assert_eq!(kind(target.put(&object("a/c"), Body::full("x")).await), Some(Kind::Refused));
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
    assert_eq!(tree(outside.path()), ["b"]);
    assert_eq!(fs::read(outside.path().join("b")).expect("untouched"), b"secret");
}

#[tokio::test]
async fn empty_folders_go_with_their_last_file() {
    let root = tempfile::tempdir().expect("a folder");
    let target = open(root.path());
    let one = target.put(&object("a/b/c/one"), Body::full("1")).await.expect("stored");
    let two = target.put(&object("a/two"), Body::full("2")).await.expect("stored");
    target.backend.delete(&one.location).await.expect("removed");
    assert_eq!(tree(&root.path().join("d")), ["a/two"]);
    target.backend.delete(&two.location).await.expect("removed");
    assert!(root.path().join("d").is_dir());
    assert_eq!(tree(&root.path().join("d")), [""; 0]);
}

/// Puts create folders that deletes remove: neither fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_deletes_of_one_folder_do_not_disturb_each_other() {
    let root = tempfile::tempdir().expect("a folder");
    let target = open(root.path());
    let target = &target;
    let rounds = (0..4).map(|worker| async move {
        for round in 0..50 {
            let object = object(&format!("a/b/{worker}-{round}"));
            let stored = target.put(&object, Body::full("x")).await.expect("stored");
            target.backend.delete(&stored.location).await.expect("removed");
        }
    });
    futures_util::future::join_all(rounds).await;
    target.idle().await;
    assert_eq!(tree(&root.path().join("d")), [""; 0]);
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let target = open(root.path());
    target.put(&object("a"), Body::full("x")).await.expect("stored");
    assert_eq!(kind(target.put(&object("a/b"), Body::full("x")).await), Some(Kind::Refused));
    let long = "x".repeat(256);
    let error = target.put(&object(&long), Body::full("x")).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("255 bytes"), "{error}");
    target.idle().await;
    assert_eq!(tree(&root.path().join(".stowage-tmp")), [""; 0]);
}

/// The folder can be written, but not opened, so that it cannot be flushed.
#[tokio::test]
async fn a_file_whose_folder_cannot_be_flushed_does_not_stay() {
    let root = tempfile::tempdir().expect("a folder");
    let (target, folder) = (open(root.path()), root.path().join("d"));
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).expect("permissions");
    if fs::read_dir(&folder).is_ok() {
        println!("skipped: permissions do not bind this user");
        return;
    }
    assert_eq!(kind(target.put(&object("a"), Body::full("x")).await), Some(Kind::Refused));
    target.idle().await;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("permissions");
    assert_eq!((tree(&folder), tree(&root.path().join(".stowage-tmp"))), (vec![], vec![]));
}

/// A missing file counts as gone, an inaccessible one does not.
#[tokio::test]
async fn only_a_file_that_is_not_there_is_gone() {
    let root = tempfile::tempdir().expect("a folder");
    let target = open(root.path());
    let stored = target.put(&object("a/b"), Body::full("x")).await.expect("stored");
    let folder = root.path().join("d/a");
    let gone = |change: &dyn Fn()| {
        change();
        let (target, location) = (&target, stored.location.clone());
        async move { (kind(target.get(&location, None, 1).await), kind(target.backend.delete(&location).await)) }
    };
    let missing = (Some(Kind::Missing), None);
    let remade = || {
        let _ = fs::remove_dir_all(&folder).or_else(|_| fs::remove_file(&folder));
    };
    assert_eq!(gone(&|| fs::remove_file(folder.join("b")).expect("removed")).await, missing);
    assert_eq!(gone(&remade).await, missing, "no folder");
    assert_eq!(gone(&|| fs::write(&folder, "a file").expect("written")).await, missing, "a folder that is a file");
    let looped = gone(&|| {
        remade();
        symlink("a", &folder).expect("a link");
    });
    assert_eq!(looped.await, (Some(Kind::Passing), Some(Kind::Passing)), "a loop of links");
    let unmounted = gone(&|| {
        remade();
        fs::remove_dir_all(root.path()).expect("removed");
    });
    assert_eq!(unmounted.await, (Some(Kind::Passing), Some(Kind::Passing)), "no root");
}

#[tokio::test]
async fn a_sweep_removes_what_nobody_writes() {
    let root = tempfile::tempdir().expect("a folder");
    assert_eq!(sweep_files(root.path()).expect("swept"), 0);
    let drafts = root.path().join(".stowage-tmp");
    fs::create_dir(&drafts).expect("a folder");
    fs::write(drafts.join("old"), "x").expect("written");
    fs::write(drafts.join("used"), "x").expect("written");
    let used = fs::File::open(drafts.join("used")).expect("opened");
    used.lock().expect("locked");
    assert_eq!(sweep_files(root.path()).expect("swept"), 1);
    assert_eq!(tree(&drafts), ["used"]);
}
