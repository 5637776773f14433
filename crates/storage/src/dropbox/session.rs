//! Bodies larger than one chunk: an upload session, with the next chunk being filled while the previous one is sent.
//!
//! An unfinished session is invisible and expires after a week; Dropbox has no way to end it earlier.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use stowage_base::tasks::Tasks;

use super::account::Shared;
use super::claim::{Claim, Made, Mark};
use super::hash::ContentHash;
use super::path_of;
use super::put::read_answer;
use crate::engine::api::Reply;
use crate::engine::claim::{Attempt, Create, Name, create, names};
use crate::engine::digest::computed;
use crate::engine::finish::to_completion;
use crate::engine::session::{Open, Session, broke_off};
use crate::{Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body larger than one chunk, of which the first chunk was already taken.
pub(super) async fn store(account: &Shared, object: &Object, mut upload: Upload, first: Chunk) -> Result<Stored> {
    if upload.length().is_some_and(|length| length > LARGEST) {
        return Err(Error::new(Kind::Refused, "Dropbox takes no file of more than 2 TiB"));
    }
    // A commit that conflicts with another file can be retried under another name; checking first leaves that to races only.
    let mut names = names(object);
    if !object.taken && !account.is_free(&path_of(&object.name)).await? {
        names.remove(0);
    }
    let mut session = Open::new(Chunks { account: Arc::clone(account) }, Progress::default());
    session.send_all(&mut upload, first).await?;
    let (_, Progress { id, offset, hash }) = session.close()?;
    let commit = Commit { account: Arc::clone(account), id, mark: Mark::new(hash.finish(), offset) };
    to_completion(&account.tasks, "dropbox commit", create(names, commit)).await?.keep()
}

/// An upload session.
struct Chunks {
    account: Shared,
}

/// Progress of a session.
#[derive(Default)]
struct Progress {
    /// Empty before the first chunk.
    id: String,
    offset: u64,
    hash: ContentHash,
}

impl Session for Chunks {
    type Progress = Progress;

    fn tasks(&self) -> &Tasks {
        &self.account.tasks
    }

    /// Sends a chunk while hashing it.
    async fn send(&self, progress: &mut Progress, chunk: &Chunk) -> Result<()> {
        let (mut hash, data) = (std::mem::take(&mut progress.hash), chunk.data.clone());
        let hashing = computed(move || {
            hash.update(&data);
            hash
        });
        let sending = async {
            if progress.id.is_empty() {
                begin(&self.account, chunk).await
            } else {
                append(&self.account, progress, chunk).await
            }
        };
        let (hash, id) = tokio::try_join!(hashing, sending)?;
        *progress = Progress { id, offset: progress.offset + chunk.data.len() as u64, hash };
        Ok(())
    }
}

/// Starts a session with the first chunk; returns its id.
async fn begin(account: &Shared, chunk: &Chunk) -> Result<String> {
    #[derive(Deserialize)]
    struct Begun {
        session_id: String,
    }
    let reply = account
        .upload("upload_session/start", &json!({ "close": false }), chunk.data.clone())
        .await?
        .done("begin an upload session")?;
    let Begun { session_id } = reply.json()?;
    if session_id.is_empty() {
        return Err(Error::new(Kind::Refused, "Dropbox began an upload session without an id"));
    }
    Ok(session_id)
}

/// Appends a chunk, or whatever is missing of it.
async fn append(account: &Shared, progress: &Progress, chunk: &Chunk) -> Result<String> {
    let (mut rest, mut offset) = (chunk.data.clone(), progress.offset);
    let end = offset + rest.len() as u64;
    for _ in 0..MOST_PIECES {
        let argument = json!({ "cursor": { "session_id": progress.id, "offset": offset }, "close": false });
        let reply = account.upload("upload_session/append_v2", &argument, rest.clone()).await?;
        if reply.is_done() {
            return Ok(progress.id.clone());
        }
        // An earlier attempt took effect: the session reports how far it got. Its content is verified by the hash at the end.
        match correct_offset(&reply) {
            Some(correct) if correct == end => return Ok(progress.id.clone()),
            Some(correct) if offset < correct && correct < end => {
                rest = rest.split_off(usize::try_from(correct - offset).unwrap_or(usize::MAX));
                offset = correct;
            }
            _ => return Err(gone(&reply).unwrap_or_else(|| reply.refusal("append to an upload session"))),
        }
    }
    Err(broke_off())
}

/// Commits a session.
struct Commit {
    account: Shared,
    /// The session id.
    id: String,
    mark: Mark,
}

impl Create for Commit {
    type Made = Claim;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim>> {
        let made = Made { account: Arc::clone(&self.account), path: path_of(&name.text), mark: self.mark.clone() };
        let cursor = json!({ "session_id": self.id, "offset": self.mark.size });
        let argument = json!({ "cursor": cursor, "commit": self.mark.commit(&made.path) });
        let claim = Claim::doubtful(made);
        let answer = self.account.upload("upload_session/finish", &argument, bytes::Bytes::new()).await;
        let lookup = answer.as_ref().ok().and_then(gone);
        let judged = claim.judge(read_answer(answer, &self.mark, "finish an upload session")).await;
        judged.map_err(|error| lookup.unwrap_or(error))
    }
}

/// Parses `incorrect_offset`, which includes the correct one (`UploadSessionOffsetError`).
fn correct_offset(reply: &Reply) -> Option<u64> {
    let code = reply.code().trim_start_matches("lookup_failed/");
    code.strip_prefix("incorrect_offset/")?.parse().ok()
}

/// Returns the error for a session that expired, was closed, or has a different length than was sent: a new upload may succeed.
fn gone(reply: &Reply) -> Option<Error> {
    let code = reply.code().trim_start_matches("lookup_failed/");
    let text = match code {
        "not_found" => "Dropbox does not know the upload session any more",
        "closed" => "Dropbox takes nothing more for the upload session",
        _ if correct_offset(reply).is_some() => "Dropbox has another number of bytes than were sent",
        _ => return None,
    };
    Some(Error::new(Kind::Passing, text).with_status(reply.status))
}

/// `upload_session/start` in `files.stone`: "The maximum size of a file one can upload".
const LARGEST: u64 = 2_199_019_061_248;
/// Maximum number of pieces in which a chunk may be accepted.
const MOST_PIECES: u8 = 4;
