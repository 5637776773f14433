//! Forms of a request body: raw or base64, alone or as part of a multipart body.

use bytes::Bytes;
use http::header::HeaderValue;
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use stowage_http::base64::encoded;
use stowage_http::body::Body;
use stowage_http::range::Exact;
use stowage_http::written::written;
use uuid::Uuid;

use crate::Object;

/// The form chosen in the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) multipart: Option<Subtype>,
    pub(super) base64: bool,
}

/// The multipart subtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subtype {
    Mixed,
    FormData,
}

/// The form of one object.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) content_type: HeaderValue,
    base64: bool,
    envelope: Option<(Bytes, Bytes)>,
}

impl Form {
    pub(super) fn of(self, object: &Object) -> Wire {
        let plain = HeaderValue::try_from(&object.content_type)
            .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
        let Some(subtype) = self.multipart else {
            return Wire { content_type: plain, base64: self.base64, envelope: None };
        };
        let boundary = boundary();
        let name = match subtype {
            Subtype::Mixed => "mixed",
            Subtype::FormData => "form-data",
        };
        let content_type = HeaderValue::try_from(format!("multipart/{name}; boundary={boundary}"));
        let head = self.head(subtype, &boundary, object, &plain);
        let tail = format!("\r\n--{boundary}--\r\n");
        Wire {
            content_type: content_type.unwrap_or(plain),
            base64: self.base64,
            envelope: Some((head.into(), tail.into())),
        }
    }

    /// Returns everything before the attachment's bytes (RFC 2046 section 5.1.1).
    fn head(self, subtype: Subtype, boundary: &str, object: &Object, content_type: &HeaderValue) -> Vec<u8> {
        let id = object.document.get("id").and_then(Value::as_str).unwrap_or("document");
        let mut head = format!("--{boundary}\r\n{}Content-Type: application/json\r\n\r\n", disposition(subtype, id));
        head.push_str(&Value::Object(object.document.clone()).to_string());
        let attachment = attachment(&object.name);
        head.push_str(&format!("\r\n--{boundary}\r\n{}", disposition(subtype, &attachment)));
        if self.base64 {
            head.push_str("Content-Transfer-Encoding: base64\r\n");
        }
        let mut head = head.into_bytes();
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        head
    }
}

impl Wire {
    /// Wraps a body for sending; its length stays exact if it was.
    pub(super) fn wrap(&self, body: Body) -> Body {
        let body = if self.base64 && !body.is_end_stream() { encoded(body) } else { body };
        let Some((head, tail)) = self.envelope.clone() else { return body };
        let length = body.size_hint().exact().map(|length| length + (head.len() + tail.len()) as u64);
        let whole = written(move |mut out| async move {
            out.send(head).await;
            out.send_all(body).await?;
            out.send(tail).await;
            Ok(())
        });
        Exact::announced(whole, length)
    }
}

/// Long and random enough never to occur in a body, so that bodies need not be searched.
fn boundary() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// KAZOO 4 and 5 name the two parts after the document and the attachment, without a file name.
fn disposition(subtype: Subtype, name: &str) -> String {
    match subtype {
        Subtype::Mixed => String::new(),
        // Escapes as in WHATWG HTML, "multipart/form-data encoding algorithm".
        Subtype::FormData => {
            let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
            format!("Content-Disposition: form-data; name=\"{name}\"\r\n")
        }
    }
}

/// Returns the attachment's own name: the last segment of a composed one.
fn attachment(name: &str) -> String {
    let last = name.rsplit(['/', '=']).next().filter(|last| !last.is_empty()).unwrap_or("attachment");
    percent_decode_str(last).decode_utf8_lossy().into_owned()
}
