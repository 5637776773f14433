//! Peculiarities of other vendors' S3 servers, and of other kinds of buckets.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;

use super::{Failure, Operation, refusal};

/// A peculiarity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Habit {
    /// A bucket with a default retention: requests that store bytes must include a digest ("Object Lock considerations").
    Locked,
    /// Ceph's response to `CompleteMultipartUpload` has an empty ETag.
    BlankTags,
    /// `CompleteMultipartUpload` succeeds; its response is the white space before the document, but no document.
    Speechless,
    /// The same response as `Speechless`, but without any effect.
    Forgetful,
    /// The server's clock is ahead: a GET signed for another time is rejected, as Amazon does at a difference of 15 minutes.
    Ahead(Duration),
    /// Requests signed for another region are rejected, naming this one.
    Region(&'static str),
    /// The bucket's objects are listed like this.
    Lists(&'static str),
    /// The first page of unfinished uploads is this one.
    Uploads(&'static str),
    /// Every request is redirected to this server, with this status.
    Moved(u16, String),
}

/// The habits of one server.
#[derive(Debug, Default)]
pub(super) struct Habits(Mutex<Vec<Habit>>);

impl Habits {
    pub(super) fn add(&self, habit: Habit) {
        self.0.lock().expect("habits").push(habit);
    }

    /// Returns the response in place of the server's.
    pub(super) fn answer(&self, operation: Operation, request: &Request<Incoming>) -> Option<Response<Body>> {
        self.0.lock().expect("habits").iter().find_map(|habit| habit.answer(operation, request))
    }

    /// Applies the habits to the server's response.
    pub(super) async fn change(&self, operation: Operation, response: Response<Body>) -> Response<Body> {
        let habits = self.0.lock().expect("habits").clone();
        if operation != Operation::Complete || !response.status().is_success() || habits.is_empty() {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let text = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if habits.contains(&Habit::BlankTags) {
            let (start, end) = (text.find("<ETag>").expect("a tag"), text.find("</ETag>").expect("its end"));
            text.replace_range(start + "<ETag>".len()..end, "");
        }
        if habits.contains(&Habit::Speechless) {
            text = " \n ".to_owned();
        }
        head.headers.remove("content-length");
        Response::from_parts(head, Body::from(Bytes::from(text)))
    }
}

impl Habit {
    fn answer(&self, operation: Operation, request: &Request<Incoming>) -> Option<Response<Body>> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match self {
            Self::Locked => {
                let stores = matches!(operation, Operation::Put | Operation::Part);
                let checksum = request.headers().keys().any(|name| name.as_str().starts_with("x-amz-checksum-"));
                let refused = stores && header("content-md5").is_empty() && !checksum;
                refused.then(|| refusal(Failure { status: 400, code: "InvalidRequest" }))
            }
            Self::Forgetful if operation == Operation::Complete => {
                Some(Response::new(Body::from(Bytes::from_static(b" \n "))))
            }
            Self::Ahead(by) if operation == Operation::Get => {
                let there = SystemTime::now() + *by;
                let date = |time| humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
                let (earliest, latest) = (date(there - Duration::from_secs(30)), date(there + Duration::from_secs(30)));
                if (earliest.as_str()..=latest.as_str()).contains(&header("x-amz-date")) {
                    return Some(Response::new(Body::from(Bytes::from_static(b"in time"))));
                }
                let mut answer = refusal(Failure { status: 403, code: "RequestTimeTooSkewed" });
                answer.headers_mut().insert("date", httpdate::fmt_http_date(there).parse().expect("a header value"));
                Some(answer)
            }
            Self::Region(region) if !header("authorization").contains(&format!("/{region}/s3/aws4_request")) => {
                let text = format!("<Error><Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region></Error>");
                let mut answer = Response::new(Body::from(Bytes::from(text)));
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                if operation == Operation::Head {
                    // A response to HEAD does not include the document.
                    answer.headers_mut().insert("x-amz-bucket-region", region.parse().expect("a header value"));
                }
                Some(answer)
            }
            Self::Lists(list) if request.uri().query().is_some_and(|query| query.contains("list-type=2")) => {
                Some(Response::new(Body::from(Bytes::from_static(list.as_bytes()))))
            }
            Self::Uploads(page) if asks_for_uploads(request) => {
                Some(Response::new(Body::from(Bytes::from_static(page.as_bytes()))))
            }
            Self::Moved(status, origin) => {
                let mut answer = refusal(Failure { status: *status, code: "TemporaryRedirect" });
                let location = format!("{origin}{}", request.uri());
                answer.headers_mut().insert("location", location.parse().expect("a header value"));
                Some(answer)
            }
            _ => None,
        }
    }
}

fn asks_for_uploads(request: &Request<Incoming>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET && query.contains("uploads=") && !query.contains("key-marker=")
}
