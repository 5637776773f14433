//! Bodies larger than one chunk: blocks, with the next chunk being filled while the previous one is sent, then the block list.
//!
//! Blocks that no list commits are invisible to readers. Azure discards them a week after the last one, or when a blob of that name
//! is stored. The only call that removes them earlier creates such a blob, so it is not made: the blob would be visible
//! for a moment, and would discard the blocks of a concurrent upload of the same name.

use std::sync::Arc;

use azure_core::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::Serialize;
use stowage_base::tasks::Tasks;
use stowage_http::target::encode;
use uuid::Uuid;

use super::ask::Account;
use super::claim::{Claim, Made, OWNER};
use super::put::answer;
use crate::engine::claim::{Attempt, is_free, taken_meanwhile};
use crate::engine::digest::computed;
use crate::engine::finish::to_completion;
use crate::engine::media::media_type;
use crate::engine::session::{Open, Session};
use crate::{CHUNK_BYTES, Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body larger than one chunk, of which the first chunk was already taken.
pub(super) async fn store(account: &Arc<Account>, object: &Object, mut upload: Upload, first: Chunk) -> Result<Stored> {
    if upload.length().is_some_and(|length| length.div_ceil(CHUNK_BYTES as u64) > MOST_BLOCKS as u64) {
        return Err(too_many_blocks());
    }
    let free = !object.taken && is_free(account.head(&object.name).await)?;
    let blocks = Blocks {
        account: Arc::clone(account),
        blob: if free { object.name.clone() } else { object.spare.clone() },
        owner: Uuid::new_v4().simple().to_string(),
    };
    let mut session = Open::new(blocks, Vec::new());
    let report = upload.report();
    session.send_all(&mut upload, first).await?;
    let digests = report.digests().ok_or_else(|| Error::new(Kind::Passing, "the body could not be hashed"))?;
    let (blocks, ids) = session.close()?;
    let commit = commit(blocks, ids, media_type(&object.content_type), STANDARD.encode(digests.md5));
    to_completion(&account.tasks, "azure block list", commit).await?.keep()
}

/// Blocks to be committed as a blob.
#[derive(Debug)]
struct Blocks {
    account: Arc<Account>,
    blob: String,
    owner: String,
}

/// The body of `Put Block List`. Only uncommitted blocks are considered.
#[derive(Serialize)]
#[serde(rename = "BlockList")]
struct List<'a> {
    #[serde(rename = "Uncommitted")]
    ids: &'a [String],
}

async fn commit(blocks: Arc<Blocks>, ids: Vec<String>, content_type: String, md5: String) -> Result<Claim> {
    let list = azure_core::xml::to_xml(&List { ids: &ids })
        .map_err(|_| Error::new(Kind::Refused, "a list of blocks cannot be made"))?;
    let list_md5 = STANDARD.encode(Md5::digest(&list));
    let call = blocks.account.call("make an object of its blocks", Method::Put, None, &blocks.blob)?;
    let call = call
        .query("comp=blocklist")
        .header("content-type", "application/xml")
        .header("content-md5", &list_md5)
        .header("x-ms-blob-content-type", content_type)
        .header("x-ms-blob-content-md5", md5)
        .header("if-none-match", "*")
        .header(OWNER, &blocks.owner)
        .data(list);
    let (account, blob, owner) = (Arc::clone(&blocks.account), blocks.blob.clone(), blocks.owner.clone());
    let claim = Claim::doubtful(Made { account, blob, owner });
    let reply = blocks.account.ask(&call).await;
    // Storing a blob of that name discards all other uncommitted blocks.
    let overtaken =
        reply.as_ref().is_ok_and(|reply| reply.status == StatusCode::BadRequest && reply.code() == "InvalidBlockList");
    match claim.judge(answer(reply, &list_md5)).await {
        Ok(Attempt::Made(claim)) => Ok(claim),
        Ok(Attempt::Taken(_)) => Err(taken_meanwhile()),
        Err(_) if overtaken => Err(taken_meanwhile()),
        Err(error) => Err(error),
    }
}

impl Session for Blocks {
    /// The ids of the blocks.
    type Progress = Vec<String>;

    fn tasks(&self) -> &Tasks {
        &self.account.tasks
    }

    async fn send(&self, ids: &mut Vec<String>, chunk: &Chunk) -> Result<()> {
        if ids.len() >= MOST_BLOCKS {
            return Err(too_many_blocks());
        }
        let id = block_id(&self.owner, ids.len());
        let call = self.account.call("store a block", Method::Put, None, &self.blob)?;
        let call = call.query(&format!("comp=block&blockid={}", encode(&id)));
        ids.push(id);
        let data = chunk.data.clone();
        let md5 = computed(move || STANDARD.encode(Md5::digest(&data))).await?;
        let reply = self.account.ask(&call.header("content-md5", &md5).data(chunk.data.clone())).await?.done()?;
        reply.check(&md5)
    }
}

/// All ids of a blob must have the same length, and ids of two uploads of one name must differ.
fn block_id(owner: &str, index: usize) -> String {
    STANDARD.encode(format!("{owner}{index:05}"))
}

fn too_many_blocks() -> Error {
    Error::new(Kind::Refused, "Azure takes no more than 50,000 blocks, which are 244 GiB here")
}

/// "Scalability and performance targets for Blob storage".
const MOST_BLOCKS: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::{List, MOST_BLOCKS, block_id};

    #[test]
    fn ids_are_of_one_length_and_differ() {
        let (one, other) = ("0123456789abcdef0123456789abcdef", "1123456789abcdef0123456789abcdef");
        let ids = [block_id(one, 0), block_id(one, 1), block_id(one, MOST_BLOCKS - 1), block_id(other, 0)];
        assert!(ids.iter().all(|id| id.len() == ids[0].len() && id.len() <= 64), "{ids:?}");
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "{ids:?}");
    }

    #[test]
    fn a_list_names_its_blocks_in_their_order() {
        let xml = azure_core::xml::to_xml(&List { ids: &["Yg==".to_owned(), "YQ==".to_owned()] }).unwrap();
        let text = String::from_utf8(xml.to_vec()).unwrap();
        let list = "<BlockList><Uncommitted>Yg==</Uncommitted><Uncommitted>YQ==</Uncommitted></BlockList>";
        assert!(text.ends_with(list), "{text}");
    }
}
