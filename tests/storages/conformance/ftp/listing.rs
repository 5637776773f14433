//! Folders that servers do not list, or not to their end.

use futures_util::StreamExt as _;

use super::{Gated, Place, gated, target, url};
use crate::conformance::prelude::*;
use stowage_testing::ftp::FtpServer;
use stowage_testing::ftp::gate::{Act, Gate};

/// The names of what is below the storage's folder.
async fn listed(target: &Target) -> Result<Vec<String>, Kind> {
    let listed: Vec<_> = target.backend.list().expect("a list").collect().await;
    let mut names = Vec::new();
    for listed in listed {
        names.push(listed.map_err(|error| error.kind())?.name);
    }
    names.sort();
    Ok(names)
}

/// Of vsftpd and Pure-FTPd, who say so in an answer of success.
const IN_PART: [&str; 2] =
    ["226 Transfer done (but failed to open directory).", "226 Output truncated to 10000 matches"];
/// Pure-FTPd has the same words for a folder that is not there and for one that must not be read.
const UNCLEAR: &str = "550 Can't check for file existence";

#[tokio::test]
async fn a_folder_that_is_listed_in_part_is_an_error() {
    for (answer, command) in IN_PART.into_iter().flat_map(|answer| ["MLSD", "LIST"].map(|command| (answer, command))) {
        let Gated { gate, target } = gated().await;
        target.put(&object("a/x"), Body::full("x")).await.expect("stored");
        if command == "LIST" {
            gate.plan("MLSD", Act::Answer("500 Unknown command."), 99);
        }
        gate.plan(command, Act::Pass, 1);
        gate.plan(command, Act::Say(answer), 99);
        assert_eq!(listed(&target).await, Err(Kind::Refused), "{command} {answer}");
        gate.forget();
        assert_eq!(listed(&target).await, Ok(vec!["/recordings/a/x".to_owned()]), "{command} {answer}");
    }
}

#[tokio::test]
async fn a_folder_that_must_not_be_read_is_an_error() {
    let Gated { gate, target } = gated().await;
    target.put(&object("a/x"), Body::full("x")).await.expect("stored");
    for question in ["MLSD", "SIZE", "MLST"] {
        gate.plan(question, Act::Answer(UNCLEAR), 99);
    }
    assert_eq!(listed(&target).await, Err(Kind::Refused));
}

/// As before the first upload.
#[tokio::test]
async fn a_folder_that_is_not_there_yet_holds_nothing() {
    for answer in [UNCLEAR, IN_PART[0]] {
        let server = FtpServer::start().await;
        // The folder above is not empty: an empty listing would say nothing.
        std::fs::write(server.root().join("other"), b"x").expect("a file");
        let gate = Gate::start(server.address()).await;
        let settings = json!({"url": url("ftp", gate.address().port())});
        let target = target(settings, &Around::default(), Place { server, _gate: None });
        for question in ["MLSD", "SIZE", "MLST"] {
            gate.plan(question, Act::Answer(answer), 99);
        }
        assert_eq!(listed(&target).await, Ok(Vec::new()), "{answer}");
    }
}
