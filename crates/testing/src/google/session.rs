//! Resumable uploads ("Perform resumable uploads" of Cloud Storage, "Perform a resumable upload" of the Drive API).

use serde_json::{Map, Value};

use super::super::trouble::{Answer, Trouble, document, text, with};
use super::wire::{Asked, Data, failure};
use super::{State, make, refuses};

/// An upload session.
#[derive(Debug)]
pub struct Session {
    /// The upload's path, which determines the service and the bucket.
    path: Vec<String>,
    metadata: Map<String, Value>,
    fields: Option<String>,
    must_be_free: bool,
    announced: Option<usize>,
    data: Data,
    /// The response with the object, once it was created.
    finished: Option<Value>,
}

impl Session {
    pub const fn is_open(&self) -> bool {
        self.finished.is_none()
    }
}

pub fn begin(state: &mut State, asked: &Asked) -> Answer {
    let is_json = asked.header("content-type") == "application/json; charset=UTF-8";
    let Some(metadata) = serde_json::from_slice::<Map<String, Value>>(&asked.data).ok().filter(|_| is_json) else {
        return failure(400, "parseError");
    };
    let announced = match asked.header("x-upload-content-length") {
        "" => None,
        length => match length.parse() {
            Ok(length) => Some(length),
            Err(_) => return failure(400, "badRequest"),
        },
    };
    if let Err(refused) = refuses(state, asked, &metadata) {
        return refused;
    }
    let id = format!("canary-session-{}", state.next());
    let location = format!("{}/{}?uploadType=resumable&upload_id={id}", asked.origin, asked.path.join("/"));
    let session = Session {
        path: asked.path.clone(),
        metadata,
        fields: asked.query("fields").map(str::to_owned),
        must_be_free: asked.query("ifGenerationMatch") == Some("0"),
        announced,
        data: Data::default(),
        finished: None,
    };
    state.sessions.insert(id, session);
    with(text(200, ""), "location", &location)
}

pub fn act(state: &mut State, route: &str, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
    let id = asked.query("upload_id").unwrap_or_default().to_owned();
    if let Some(Trouble::Forgets(status)) = trouble {
        state.sessions.remove(&id);
        return text(*status, "");
    }
    // Taken out while it is processed.
    let Some(mut session) = state.sessions.remove(&id) else { return text(404, "") };
    if session.path != asked.path || !asked.only(&["uploadType", "upload_id"]) {
        state.sessions.insert(id, session);
        return failure(400, "badRequest");
    }
    if route == "cancel" {
        return text(499, "");
    }
    let reply = match route {
        "status" => session.status(state, asked),
        _ => session.chunk(state, asked, trouble),
    };
    state.sessions.insert(id, session);
    reply
}

impl Session {
    fn status(&mut self, state: &mut State, asked: &Asked) -> Answer {
        let total = asked.header("content-range").strip_prefix("bytes */").unwrap_or_default();
        if !asked.chunk.is_empty() || (total != "*" && total.parse::<usize>().is_err()) {
            return failure(400, "badRequest");
        }
        if let Some(resource) = &self.finished {
            return document(200, resource);
        }
        match total.parse::<usize>() {
            Ok(total) if self.data.len() == total => self.finish(state, None),
            _ => self.incomplete(),
        }
    }

    fn chunk(&mut self, state: &mut State, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
        let Some((first, last, total)) = range(asked.header("content-range")) else {
            return failure(400, "badRequest");
        };
        let is_last = total == Some(last + 1);
        let fits = total.is_none_or(|total| last < total && self.announced.is_none_or(|length| length == total));
        let sound = last + 1 - first == asked.chunk.len()
            && fits
            && first == self.data.len()
            && (is_last || asked.chunk.len().is_multiple_of(UNIT))
            && self.finished.is_none();
        if !sound {
            return failure(400, "badRequest");
        }
        let taken = match trouble {
            Some(Trouble::Takes(most)) => (asked.chunk.len().min(*most) / UNIT) * UNIT,
            _ => asked.chunk.len(),
        };
        asked.chunk.copy_to(taken, &mut self.data);
        if is_last && taken == asked.chunk.len() { self.finish(state, trouble) } else { self.incomplete() }
    }

    /// 308 with the range stored so far; without `Range` if nothing is stored.
    fn incomplete(&self) -> Answer {
        match self.data.len() {
            0 => text(308, ""),
            length => with(text(308, ""), "range", &format!("bytes=0-{}", length - 1)),
        }
    }

    fn finish(&mut self, state: &mut State, trouble: Option<&Trouble>) -> Answer {
        let data = std::mem::take(&mut self.data);
        let resource = match make(state, &self.path, &self.metadata, data, self.must_be_free, trouble) {
            Ok(resource) => resource,
            Err(refused) => return refused,
        };
        let fields = self.fields.as_deref().unwrap_or_default();
        let kept = fields.split(',').filter_map(|field| Some((field.to_owned(), resource.get(field)?.clone())));
        let resource = Value::Object(kept.collect());
        self.finished = Some(resource.clone());
        document(200, &resource)
    }
}

/// `bytes first-last/total`, where the total may be `*`.
fn range(text: &str) -> Option<(usize, usize, Option<usize>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last).then_some((first, last, total))
}

/// All chunks but the last are multiples of this.
const UNIT: usize = 256 << 10;
