//! The embedded journal: acknowledged entries exist, in order, and entries that cannot be stored are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callstore::journal::{Draft, Embedded, Entry, Journal, JournalError, Options, SEGMENT};
use stowage_base::tasks::Tasks;
use tempfile::TempDir;

fn options(folder: &TempDir) -> Options {
    Options { path: folder.path().join("journal"), reserve: 0, segment: SEGMENT, room: None }
}

fn open(options: &Options) -> (Embedded, Tasks) {
    let tasks = Tasks::default();
    (Embedded::open(options, &tasks).unwrap(), tasks)
}

fn draft(text: String) -> Draft {
    Draft { body: text.into(), is_decision: false }
}

async fn read(journal: &Embedded, after: Option<u64>, count: usize) -> Vec<Entry> {
    let mut entries = journal.follow(after).await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(entries.recv().await.unwrap().unwrap());
    }
    found
}

async fn close(journal: Embedded, tasks: &Tasks) {
    drop(journal);
    tasks.stop();
    assert_eq!(tasks.drain(std::time::Duration::from_secs(10)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_read_in_order_from_any_place_and_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, tasks) = open(&options(&folder));
    assert_eq!(journal.end().await.unwrap(), None);
    let mut follower = journal.follow(None).await.unwrap();
    for batch in 0..5 {
        let drafts = (0..7).map(|number| draft(format!("{}", batch * 7 + number))).collect();
        journal.append(drafts).await.unwrap();
    }
    journal.append(vec![Draft { body: "decision".into(), is_decision: true }]).await.unwrap();
    let mut followed = Vec::new();
    while followed.len() < 36 {
        followed.extend(follower.recv().await.unwrap().unwrap());
    }
    drop(follower);
    close(journal, &tasks).await;
    let (journal, tasks) = open(&options(&folder));
    assert_eq!(journal.end().await.unwrap(), Some(35));
    for after in [None, Some(0), Some(6), Some(7), Some(20), Some(34)] {
        let first = after.map_or(0, |after| after + 1);
        let read = read(&journal, after, usize::try_from(36 - first).unwrap()).await;
        assert_eq!(read.iter().map(|entry| entry.offset).collect::<Vec<_>>(), (first..36).collect::<Vec<_>>());
        for entry in read.iter().take_while(|entry| entry.offset < 35) {
            assert_eq!(entry.body, entry.offset.to_string());
            assert!(!entry.is_decision && entry.taken > 0);
        }
        assert!(read.last().unwrap().is_decision);
    }
    close(journal, &tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_lose_nothing_and_each_one_s_order_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, tasks) = open(&options(&folder));
    let writers = (0..8).map(|writer| {
        let journal = journal.clone();
        async move {
            for number in 0..50 {
                journal.append(vec![draft(format!("{writer} {number}"))]).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let read = read(&journal, None, 400).await;
    for writer in 0..8 {
        let of = |entry: &&Entry| entry.body.starts_with(format!("{writer} ").as_bytes());
        let own: Vec<_> = read.iter().filter(of).map(|entry| entry.body.clone()).collect();
        assert_eq!(own, (0..50).map(|number| format!("{writer} {number}")).collect::<Vec<_>>());
    }
    close(journal, &tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_and_shows_everything() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::default();
    let room = Arc::new(AtomicU64::new(1000));
    let left = Arc::clone(&room);
    let options =
        Options { reserve: 500, room: Some(Arc::new(move || Ok(left.load(Ordering::Acquire)))), ..options(&folder) };
    let journal = Embedded::open(&options, &tasks).unwrap();
    journal.append(vec![draft("before".to_owned())]).await.unwrap();
    room.store(499, Ordering::Release);
    assert!(matches!(journal.append(vec![draft("lost".to_owned())]).await, Err(JournalError::Full)));
    assert_eq!(read(&journal, None, 1).await[0].body, "before");
    room.store(500, Ordering::Release);
    journal.append(vec![draft("after".to_owned())]).await.unwrap();
    assert_eq!(read(&journal, None, 2).await[1].body, "after");
    close(journal, &tasks).await;
}

/// Puts each append into a file of its own.
fn small(folder: &TempDir) -> Options {
    Options { segment: 1, ..options(folder) }
}

fn files(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder.path().join("journal")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_is_gone_and_offsets_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, tasks) = open(&small(&folder));
    for number in 0..10 {
        journal.append(vec![draft(format!("{number}")), draft("x".to_owned())]).await.unwrap();
    }
    let mut behind = journal.follow(None).await.unwrap();
    assert_eq!(behind.recv().await.unwrap().unwrap()[0].offset, 0);
    journal.trim(9).await.unwrap();
    assert_eq!(journal.first().await.unwrap().unwrap().0, 8, "the batch of the offset stays");
    assert_eq!(files(&folder).len(), 6);
    assert_eq!(read(&journal, None, 12).await[0].offset, 8);
    let now = callstore::clock::now();
    assert_eq!(journal.before(now + 60_000_000).await.unwrap(), Some(17), "the newest batch stays");
    assert_eq!(journal.before(0).await.unwrap(), None);
    journal.trim(u64::MAX).await.unwrap();
    assert_eq!(files(&folder).len(), 1);
    assert_eq!(journal.end().await.unwrap(), Some(19));
    drop(behind);
    close(journal, &tasks).await;
    let (journal, tasks) = open(&small(&folder));
    journal.append(vec![draft("next".to_owned())]).await.unwrap();
    assert_eq!(journal.end().await.unwrap(), Some(20));
    assert_eq!(read(&journal, Some(18), 2).await[1].body, "next");
    close(journal, &tasks).await;
}

/// A start only reads the newest file, however long the journal is.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_looks_at_the_newest_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, tasks) = open(&small(&folder));
    for number in 0..3 {
        journal.append(vec![draft(format!("{number}"))]).await.unwrap();
    }
    close(journal, &tasks).await;
    std::fs::write(&files(&folder)[0], "nobody reads this at a start").unwrap();
    let (journal, tasks) = open(&small(&folder));
    assert_eq!(read(&journal, Some(0), 2).await[0].body, "1");
    // Readers get an error.
    let mut entries = journal.follow(None).await.unwrap();
    assert!(matches!(entries.recv().await.unwrap(), Err(JournalError::Damaged(_))));
    drop(entries);
    close(journal, &tasks).await;
}

/// After a crash during the last write, any part of its row may be in the file; acknowledged rows are complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_not_finished_is_dropped_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, tasks) = open(&options(&folder));
    journal.append(vec![draft("x".repeat(3000)), draft("one".to_owned())]).await.unwrap();
    let file = files(&folder).remove(0);
    let first = std::fs::read(&file).unwrap().len();
    journal.append((0..40).map(|number| draft(format!("{number:0>50}"))).collect()).await.unwrap();
    close(journal, &tasks).await;
    let whole = std::fs::read(&file).unwrap();
    let page = 4096.min(whole.len());
    assert!(first < page && page < whole.len(), "the second row lies in two pages");
    let mut torn: Vec<_> = (first..whole.len()).map(|end| whole[..end].to_vec()).collect();
    // Pages are written in any order, and unwritten ones are zeros.
    for blank in [first..page, page..whole.len(), first..whole.len()] {
        let mut bytes = whole.clone();
        bytes[blank].fill(0);
        torn.push(bytes);
    }
    for bytes in torn {
        std::fs::write(&file, &bytes).unwrap();
        let (journal, tasks) = open(&options(&folder));
        assert_eq!(journal.end().await.unwrap(), Some(1), "{} bytes", bytes.len());
        journal.append(vec![draft("after".to_owned())]).await.unwrap();
        let read = read(&journal, None, 3).await;
        assert_eq!((&*read[1].body, &*read[2].body), (&b"one"[..], &b"after"[..]));
        close(journal, &tasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_and_two_cannot_have_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::default();
    let options = options(&folder);
    let journal = Embedded::open(&options, &tasks).unwrap();
    let error = Embedded::open(&options, &tasks).unwrap_err();
    assert!(matches!(error, JournalError::Unavailable(_)), "{error:?}");
    for _ in 0..4 {
        journal.append((0..500).map(|number| draft(format!("{number:0>500}"))).collect()).await.unwrap();
    }
    close(journal, &tasks).await;
    let file = files(&folder).remove(0);
    let whole = std::fs::read(&file).unwrap();
    for damage in ["begin", "text", "middle", "bit"] {
        let mut bytes = whole.clone();
        match damage {
            "begin" => bytes[..64].fill(0),
            "text" => bytes = b"this is no journal at all, and never was one".to_vec(),
            "middle" => drop(bytes.drain(5000..6000)),
            _ => bytes[whole.len() / 2] ^= 1,
        }
        std::fs::write(&file, &bytes).unwrap();
        let tasks = Tasks::default();
        let refused = Embedded::open(&options, &tasks).map(drop);
        assert!(matches!(refused, Err(JournalError::Damaged(_))), "{damage}: {refused:?}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{damage}: nothing is touched");
    }
}
