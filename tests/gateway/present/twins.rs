//! The same document twice: with attachments in a storage behind the gateway, and with all of them in CouchDB.

use serde_json::Value;

use stowage_testing::gateway::{JSON, Running, Setup, authorization, exchange, rev};
use stowage_testing::raw::RawResponse;

/// A gateway that presents stubs, and a database that no plan includes.
pub struct Twins {
    pub gateway: Running,
    pub native: String,
}

/// A response without what varies.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    complete: bool,
}

impl Twins {
    pub async fn start() -> Self {
        Self::over(Setup::default()).await
    }

    pub async fn over(setup: Setup) -> Self {
        let gateway = setup.set("couchdb.present_stubs", "true").storing_in("recordings").await;
        let native = format!("native_{}", gateway.account);
        assert_eq!(gateway.couch.request("PUT", &format!("/{native}"), "", b"").await.status, 201);
        Self { gateway, native }
    }

    /// Sends a request directly to CouchDB.
    pub async fn couch(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let address = self.gateway.couch.address();
        let mut all = vec![authorization(&self.gateway.couch.admin)];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        exchange(address, method, target, &all, body).await
    }

    /// Saves a document and its attachments on both sides; returns both revisions.
    pub async fn make(&self, id: &str, document: &Value, attachments: &[(&str, &[u8])]) -> (String, String) {
        let text = document.to_string();
        let path = self.gateway.path();
        let outside = self.gateway.request("PUT", &format!("/{path}/{id}"), &[JSON], text.as_bytes()).await;
        let native = self.couch("PUT", &format!("/{}/{id}", self.native), &[JSON], text.as_bytes()).await;
        let (mut outside, mut native) = (rev(&outside), rev(&native));
        for (name, bytes) in attachments {
            outside = rev(&self.gateway.put(id, name, &outside, bytes).await);
            let target = format!("/{}/{id}/{name}?rev={native}", self.native);
            native = rev(&self.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], bytes).await);
        }
        (outside, native)
    }

    /// Returns the document behind the gateway as stored in CouchDB.
    pub async fn stored(&self, id: &str) -> Value {
        let answer = self.couch("GET", &format!("/{}/{id}", self.gateway.path()), &[], b"").await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Sends the same request to both, below their databases; returns the gateway's response after comparing them.
    pub async fn same(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        self.same_with(method, (rest, rest), headers, (body, body)).await
    }

    /// Sends requests that differ in their revisions.
    pub async fn same_with(
        &self,
        method: &str,
        (outside, native): (&str, &str),
        headers: &[(&str, &str)],
        bodies: (&[u8], &[u8]),
    ) -> RawResponse {
        let shown = self.gateway.ask(method, outside, headers, bodies.0).await;
        let expected = self.couch(method, &format!("/{}/{native}", self.native), headers, bodies.1).await;
        assert!(!shown.text().contains("pvt_attachments"), "{method} {outside}: {}", shown.text());
        let (mut here, mut there) = (seen(&shown), seen(&expected));
        if method == "HEAD" {
            // CouchDB sends a length of 0 for HEAD if GET has none; the gateway omits it.
            for seen in [&mut here, &mut there] {
                seen.headers.retain(|(name, value)| (name.as_str(), value.as_str()) != ("content-length", "0"));
            }
        }
        assert_eq!(here, there, "{method} {outside} {headers:?}");
        shown
    }

    pub async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// Masks hashes of revisions, boundaries and ids of requests, which differ, but not in length.
pub fn seen(answer: &RawResponse) -> Seen {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), plain(value.as_bytes())))
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "x-couch-request-id" | "x-couchdb-body-time"))
        .collect();
    headers.sort();
    Seen { status: answer.status, headers, body: plain(&answer.body), complete: answer.complete }
}

/// Masks every run of 32 hex digits.
pub fn plain(bytes: &[u8]) -> String {
    let (mut masked, mut run) = (Vec::new(), Vec::new());
    for byte in bytes.iter().copied().map(Some).chain([None]) {
        match byte {
            Some(digit) if digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit) => run.push(digit),
            other => {
                if run.len() == 32 {
                    masked.push(b'#');
                    run.clear();
                }
                masked.append(&mut run);
                masked.extend(other);
            }
        }
    }
    masked.iter().map(|byte| byte.escape_ascii().to_string()).collect()
}
