//! Bodies of up to one chunk: a single upload.

use std::sync::Arc;

use serde_json::Value;

use super::account::{File, Shared};
use super::claim::{Claim, Made, Mark};
use super::hash::ContentHash;
use super::path_of;
use crate::engine::api::{Lost, Reply};
use crate::engine::claim::{Answer, Attempt, Create, Name, create, names};
use crate::engine::digest::computed;
use crate::engine::finish::to_completion;
use crate::{Chunk, Error, Kind, Object, Result, Stored};

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is a
/// file to remove.
pub(super) async fn store(account: &Shared, object: &Object, chunk: Chunk) -> Result<Stored> {
    let data = chunk.data.clone();
    let hash = computed(move || {
        let mut hash = ContentHash::default();
        hash.update(&data);
        hash.finish()
    });
    let mark = Mark::new(hash.await?, chunk.data.len() as u64);
    let single = Single { account: Arc::clone(account), mark, chunk };
    to_completion(&account.tasks, "dropbox upload", create(names(object), single)).await?.keep()
}

struct Single {
    account: Shared,
    mark: Mark,
    chunk: Chunk,
}

impl Create for Single {
    type Made = Claim;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim>> {
        let made = Made { account: Arc::clone(&self.account), path: path_of(&name.text), mark: self.mark.clone() };
        let mut argument = self.mark.commit(&made.path);
        if let Some(argument) = argument.as_object_mut() {
            argument.insert("content_hash".to_owned(), Value::String(self.mark.hash.clone()));
        }
        let claim = Claim::doubtful(made);
        let answer = self.account.upload("upload", &argument, self.chunk.data.clone()).await;
        claim.judge(read_answer(answer, &self.mark, "store an object")).await
    }
}

/// Interprets the response to a request that saves a file.
pub(super) fn read_answer(answer: std::result::Result<Reply, Lost>, mark: &Mark, what: &str) -> Answer<File> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(lost) => return lost.into(),
    };
    if reply.is_done() {
        return match reply.json() {
            Ok(file) if mark.fits(&file) => Answer::Created(file),
            Ok(file) => {
                Answer::Corrupted(file, Error::new(Kind::Refused, "Dropbox stored other bytes than it was sent"))
            }
            Err(error) => Answer::Refused(error, true),
        };
    }
    let error = reply.refusal(what);
    if TAKEN.contains(&reply.code()) {
        Answer::Taken(error, reply.doubtful)
    } else if reply.doubtful {
        // An earlier attempt may have created the very file this one conflicts with, and closed its session.
        Answer::Unknown(error)
    } else {
        Answer::Refused(error, !reply.had_no_effect())
    }
}

/// `WriteConflictError`, except for a file in place of a folder: the spare name would fail as well.
const TAKEN: [&str; 4] = ["path/conflict/file", "path/conflict/folder", "path/conflict/other", "path/conflict"];
