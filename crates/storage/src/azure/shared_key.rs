//! Shared Key authorization: a policy of `azure_core`'s pipeline that signs every attempt.
//!
//! "Authorize with Shared Key" specifies what is signed: the method, eleven headers in order, all `x-ms-` headers, and the
//! resource: the account, its encoded path and its decoded query.

#![expect(clippy::result_large_err, reason = "the error is `azure_core`'s")]

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, MS_DATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};

use super::transport::broken_pipeline;

/// Signs with one account's key.
pub(super) struct SharedKey {
    account: String,
    key: Secret,
}

impl SharedKey {
    /// Returns `None` for a key that is not base64.
    pub(super) fn new(account: String, key: String) -> Option<Self> {
        let key = Secret::new(key);
        hmac_sha256("", &key).ok()?;
        Some(Self { account, key })
    }

    /// Adds date and signature to a request that is otherwise final.
    fn sign(&self, request: &mut Request, now: &OffsetDateTime) -> azure_core::Result<()> {
        request.insert_header(MS_DATE, to_rfc7231(now));
        let signature = hmac_sha256(&text_to_sign(request, &self.account), &self.key)?;
        request.insert_header(AUTHORIZATION, format!("SharedKey {}:{signature}", self.account));
        Ok(())
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

#[expect(elided_lifetimes_in_paths, reason = "`async_trait` makes other bounds of a lifetime that is written out")]
#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let [first, rest @ ..] = next else { return Err(broken_pipeline()) };
        self.sign(request, &OffsetDateTime::now_utc())?;
        first.send(context, request, rest).await
    }
}

fn text_to_sign(request: &Request, account: &str) -> String {
    let mut text = format!("{}\n", request.method().as_str());
    for name in SIGNED {
        let value = match name {
            // An empty body counts as none (since version 2015-02-21).
            "content-length" => request.body().len().filter(|length| *length > 0).map(|length| length.to_string()),
            // `x-ms-date` is used instead.
            "date" => None,
            name => request.headers().get_optional_string(&HeaderName::from_static(name)),
        };
        text.push_str(&value.unwrap_or_default());
        text.push('\n');
    }
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut own: Vec<_> = headers.filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort();
    for (name, value) in own {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}:{}", value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
    let url = request.url();
    let _ = write!(text, "/{account}{}", url.path());
    let mut query = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in url.query_pairs() {
        query.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in query {
        values.sort();
        let _ = write!(text, "\n{name}:{}", values.join(","));
    }
    text
}

/// Headers signed after the method, in order.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

#[cfg(test)]
mod tests {
    use azure_core::http::headers::{AUTHORIZATION, HeaderName};
    use azure_core::http::{Method, Request};
    use azure_core::time::parse_rfc7231;

    use super::{SharedKey, text_to_sign};

    /// The bytes 0 to 63.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
    const DATE: &str = "Fri, 26 Jun 2015 23:39:12 GMT";

    fn request(method: Method, url: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(url.parse().unwrap(), method);
        for (name, value) in headers {
            request.insert_header(HeaderName::from_static(name), *value);
        }
        request
    }

    fn signature(mut request: Request) -> String {
        let signer = SharedKey::new("myaccount".to_owned(), KEY.to_owned()).unwrap();
        signer.sign(&mut request, &parse_rfc7231(DATE).unwrap()).unwrap();
        request.headers().get_optional_string(&AUTHORIZATION).unwrap()
    }

    /// The example of "Authorize with Shared Key" for `Get Container Metadata`.
    #[test]
    fn the_vendors_example_is_signed_as_it_says() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let example = request(Method::Get, url, &[("x-ms-version", "2015-02-21"), ("x-ms-date", DATE)]);
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                        /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
        assert_eq!(text_to_sign(&example, "myaccount"), expected);
    }

    /// The page's example of a query with a repeated name.
    #[test]
    fn values_of_one_name_are_sorted_and_joined() {
        let query = "restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs";
        let url = format!("http://myaccount-secondary.blob.core.windows.net/mycontainer?{query}");
        let text = text_to_sign(&request(Method::Get, &url, &[]), "myaccount");
        let resource =
            "/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container";
        assert!(text.ends_with(resource), "{text}");
    }

    /// Computed with Python's `hmac` from hand-written strings to sign.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let metadata = request(Method::Get, url, &[("x-ms-version", "2015-02-21")]);
        assert_eq!(signature(metadata), "SharedKey myaccount:ZfuQJIowrCGKlm/KTSTcA7Tx12MxVvDi2ryOPQQw7Gw=");

        let headers = [
            ("x-ms-meta-a", " b \t c "),
            ("if-none-match", "*"),
            ("content-md5", "kAFQmDzST7DWlj99KOF/cg=="),
            ("content-type", "text/plain"),
            ("x-ms-blob-type", "BlockBlob"),
            ("user-agent", "not signed"),
        ];
        let mut put = request(Method::Put, "http://127.0.0.1:10000/myaccount/mycontainer/a%2520b/%C3%BC", &headers);
        put.set_body("abc");
        assert_eq!(signature(put), "SharedKey myaccount:0HgGWgvB9z6fVFKyeGgR0LYKg1C07AmlTDgQbyfdyAk=");

        // An empty body has no length, and the block id is signed as it was before percent-encoding.
        let block = "https://myaccount.blob.core.windows.net/c/b?comp=block&blockid=YQ%2B%2F%3D%3D";
        let block = request(Method::Put, block, &[("content-length", "0")]);
        assert_eq!(signature(block), "SharedKey myaccount:IqNhnLwnKavecUtpp1fyFa8h39hVtQZFut2r2Etlz+c=");

        let headers = [("range", "bytes=0-9"), ("if-match", "\"0x8D\"")];
        let range = request(Method::Get, "https://myaccount.blob.core.windows.net/c/b", &headers);
        assert_eq!(signature(range), "SharedKey myaccount:OnFkOhxYkDdoJLcYbkrHMGcpbbW3AtWH/WeEytpHioI=");
    }

    #[test]
    fn keys_are_base64_and_show_nowhere() {
        let signer = SharedKey::new("acme".to_owned(), KEY.to_owned()).unwrap();
        assert!(!format!("{signer:?}").contains("AAEC"), "{signer:?}");
        for wrong in ["not base64", "A"] {
            assert!(SharedKey::new("acme".to_owned(), wrong.to_owned()).is_none(), "{wrong}");
        }
    }
}
