//! Bodies of up to one chunk: a single upload.

use std::sync::Arc;

use serde_json::Value;

use super::account::Shared;
use super::claim::{Claim, Mark};
use super::hash::ContentHash;
use super::path_of;
use crate::engine::api::{Lost, Reply};
use crate::engine::finish::to_the_end;
use crate::{Chunk, Error, Kind, Object, Result, Stored};

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is a file to be removed.
pub(super) async fn store(account: &Shared, object: &Object, chunk: Chunk) -> Result<Stored> {
    let single = Single {
        account: Arc::clone(account),
        name: (!object.taken).then(|| path_of(&object.name)),
        spare: path_of(&object.spare),
        chunk,
    };
    to_the_end(&account.tasks, "dropbox upload", single.store()).await?.keep()
}

struct Single {
    account: Shared,
    /// `None`: it is taken.
    name: Option<String>,
    spare: String,
    chunk: Chunk,
}

impl Single {
    async fn store(self) -> Result<Claim> {
        let data = self.chunk.data.clone();
        let hash = tokio::task::spawn_blocking(move || {
            let mut hash = ContentHash::default();
            hash.update(&data);
            hash.finish()
        });
        let hash = hash.await.map_err(|_| Error::new(Kind::Passing, "the body could not be hashed"))?;
        let mark = Mark::new(hash, self.chunk.data.len() as u64);
        if let Some(name) = &self.name
            && let Some(claim) = self.send(name, &mark).await?
        {
            return Ok(claim);
        }
        self.send(&self.spare, &mark).await?.ok_or_else(not_unique)
    }

    /// `None`: something else is there.
    async fn send(&self, path: &str, mark: &Mark) -> Result<Option<Claim>> {
        let claim = Claim::doubtful(Arc::clone(&self.account), path, mark.clone());
        let mut argument = mark.commit(path);
        if let Some(argument) = argument.as_object_mut() {
            argument.insert("content_hash".to_owned(), Value::String(mark.hash.clone()));
        }
        let answer = self.account.upload("upload", &argument, self.chunk.data.clone()).await;
        judge(claim, answer, "store an object").await
    }
}

/// What came of a request that saves a file; `None`: something else is there.
pub(super) async fn judge(
    mut claim: Claim,
    answer: std::result::Result<Reply, Lost>,
    what: &str,
) -> Result<Option<Claim>> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(lost) if !lost.seen => {
            claim.give_up();
            return Err(lost.error);
        }
        Err(lost) => return if claim.settle().await? { Ok(Some(claim)) } else { Err(lost.error) },
    };
    if reply.is_done() {
        claim.confirm(reply.json()?)?;
        return Ok(Some(claim));
    }
    // An earlier try may have made the very file that this one met, and have closed its session.
    if reply.doubtful && claim.settle().await? {
        return Ok(Some(claim));
    }
    if TAKEN.contains(&reply.code()) {
        claim.give_up();
        return Ok(None);
    }
    if reply.had_no_effect() {
        claim.give_up();
    }
    Err(reply.refusal(what))
}

pub(super) fn not_unique() -> Error {
    Error::new(Kind::Refused, "Dropbox says that a unique name is taken")
}

/// `WriteConflictError`, but for a file where a folder would have to be: there the spare has no place either.
const TAKEN: [&str; 4] = ["path/conflict/file", "path/conflict/folder", "path/conflict/other", "path/conflict"];
