//! The same requests to a database with a plan and to one without: a client must not be able to tell them apart.

use serde_json::Value;

use stowage_testing::gateway::{JSON, Running, Setup, authorization, exchange};
use stowage_testing::raw::RawResponse;

/// Two databases behind one gateway: attachments of the first are outside, those of the second in CouchDB.
pub struct Twins {
    pub gateway: Running,
    /// The databases' names as in a path.
    paths: [String; 2],
    /// The databases' names as in a `Location`.
    names: [String; 2],
    /// The revisions created so far, in order.
    revs: [Vec<String>; 2],
}

impl Twins {
    pub async fn start() -> Self {
        let gateway = Setup::default().storing_in("recordings").await;
        let plain = format!("twin_{}", gateway.account);
        gateway.couch.request("PUT", &format!("/{plain}"), "", b"").await.expect_status(201);
        let paths = [gateway.path(), plain.clone()];
        let names = [gateway.database(), plain];
        Self { gateway, paths, names, revs: [Vec::new(), Vec::new()] }
    }

    /// Sends a request to both, whose responses must match, and returns that of the planned one. `{0}`, `{1}`, ... are replaced by the revisions
    /// created so far; an `Authorization` among the headers replaces the default one.
    pub async fn ask(&mut self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let planned = self.ask_one(0, method, rest, headers, body).await;
        let plain = self.ask_one(1, method, rest, headers, body).await;
        let (here, there) = (self.comparable(0, method, &planned), self.comparable(1, method, &plain));
        assert_eq!(here, there, "{method} {rest} {headers:?}: outside, and in CouchDB");
        planned
    }

    /// Creates a document with an attachment of 2048 bytes, the test's second revision.
    pub async fn recording(&mut self) -> Vec<u8> {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2048).collect();
        assert_eq!(self.ask("PUT", "doc", &[JSON], br#"{"pvt_type":"call_recording"}"#).await.status, 201);
        assert_eq!(self.ask("PUT", "doc/call.mp3?rev={0}", &AUDIO, &bytes).await.status, 201);
        bytes
    }

    /// Stops the gateway.
    pub async fn stop(self) {
        self.gateway.stop().await;
    }

    async fn ask_one(
        &mut self,
        which: usize,
        method: &str,
        rest: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> RawResponse {
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), self.filled(which, value))).collect();
        if !headers.iter().any(|(name, _)| *name == "Authorization") {
            all.push(authorization(&self.gateway.couch.admin));
        }
        let target = format!("/{}/{}", self.paths[which], self.filled(which, rest));
        let answer = exchange(self.gateway.address, method, &target, &all, body).await;
        let saved = serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| matches!(answer.status, 200 | 201));
        if let Some(rev) = saved.as_ref().and_then(|saved| saved["rev"].as_str()) {
            self.revs[which].push(rev.to_owned());
        }
        answer
    }

    fn filled(&self, which: usize, text: &str) -> String {
        let revs = self.revs[which].iter().enumerate();
        revs.fold(text.to_owned(), |text, (index, rev)| text.replace(&format!("{{{index}}}"), rev))
    }

    /// Returns a response without what varies between requests and names.
    fn comparable(
        &self,
        which: usize,
        method: &str,
        answer: &RawResponse,
    ) -> (u16, String, Vec<(String, String)>, String) {
        let boundary = answer.header("content-type").and_then(|value| value.split_once("boundary=\""));
        let boundary = boundary.map(|(_, boundary)| boundary.trim_end_matches('"').to_owned());
        let plain = |text: &str| {
            let generation = |rev: &str| rev.split('-').next().unwrap_or_default().to_owned();
            let text = self.revs[which].iter().fold(text.to_owned(), |text, rev| text.replace(rev, &generation(rev)));
            let text = text.replace(&self.names[which], "DATABASE").replace(&self.paths[which], "DATABASE");
            boundary.as_ref().map_or_else(|| text.clone(), |boundary| text.replace(boundary, "BOUNDARY"))
        };
        let kept = answer.headers.iter().filter(|(name, _)| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)));
        let mut headers: Vec<_> = kept.map(|(name, value)| (name.to_ascii_lowercase(), plain(value))).collect();
        headers.retain(|header| !is_unknown_length(method, header));
        headers.sort();
        (answer.status, answer.reason.clone(), headers, plain(&answer.text()))
    }
}

/// CouchDB responds to HEAD with a length of 0 if that of GET is unknown; the gateway omits it.
fn is_unknown_length(method: &str, (name, value): &(String, String)) -> bool {
    method == "HEAD" && name == "content-length" && value == "0"
}

pub const AUDIO: [(&str, &str); 1] = [("Content-Type", "audio/mpeg")];

/// Irrelevant headers: time, product, request id, and hop-by-hop headers.
const OWN: [&str; 5] = ["date", "server", "x-couch-request-id", "x-couchdb-body-time", "connection"];
