//! Authorisation by the account's key.
//!
//! "Authorize with Shared Key" says what is signed: the method, eleven headers in their order, all `x-ms-` headers, and the
//! resource with the account in front of its encoded path and its query decoded.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use ring::hmac;
use url::form_urlencoded;

use crate::Result;
use crate::engine::api::Call;

/// Signs with one account's key.
pub(super) struct SharedKey {
    account: String,
    key: hmac::Key,
}

impl SharedKey {
    /// `None` for a key that is no base64.
    pub(super) fn new(account: String, key: &str) -> Option<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).ok()?);
        Some(Self { account, key })
    }

    /// The call with date and signature.
    ///
    /// # Errors
    /// `Refused` for what cannot stand in a header.
    pub(super) fn sign(&self, call: &Call) -> Result<Call> {
        self.sign_at(call, SystemTime::now())
    }

    fn sign_at(&self, call: &Call, now: SystemTime) -> Result<Call> {
        let call = call.clone().text("x-ms-date", &httpdate::fmt_http_date(now))?;
        let signature = STANDARD.encode(hmac::sign(&self.key, text_to_sign(&call, &self.account).as_bytes()));
        let mut call = call.text(AUTHORIZATION, &format!("SharedKey {}:{signature}", self.account))?;
        if let Some(value) = call.headers.get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        Ok(call)
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

fn text_to_sign(call: &Call, account: &str) -> String {
    let header = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut text = format!("{}\n", call.method);
    for name in SIGNED {
        match name {
            // An empty body counts as none (since version 2015-02-21).
            "content-length" if call.data.is_empty() => {}
            // Writing to a String cannot fail.
            "content-length" => drop(write!(text, "{}", call.data.len())),
            // `x-ms-date` takes its place.
            "date" => {}
            name => text.push_str(header(name)),
        }
        text.push('\n');
    }
    let mut own: Vec<_> =
        call.headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for name in own {
        let _ = writeln!(text, "{name}:{}", header(name).split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
    let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    let _ = write!(text, "/{account}{path}");
    let mut values = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        values.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in values {
        values.sort();
        let _ = write!(text, "\n{name}:{}", values.join(","));
    }
    text
}

/// What is signed besides the method, in its order.
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
    use http::Method;
    use http::header::AUTHORIZATION;

    use super::{Call, SharedKey, text_to_sign};

    /// The bytes 0 to 63.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
    const DATE: &str = "Fri, 26 Jun 2015 23:39:12 GMT";

    fn call(method: Method, url: &str, headers: &[(&'static str, &'static str)]) -> Call {
        let call = Call::to(method, url).unwrap();
        headers.iter().fold(call, |call, (name, value)| call.text(*name, value).unwrap())
    }

    fn signature(call: &Call) -> String {
        let signer = SharedKey::new("myaccount".to_owned(), KEY).unwrap();
        let signed = signer.sign_at(call, httpdate::parse_http_date(DATE).unwrap()).unwrap();
        signed.headers.get(AUTHORIZATION).unwrap().to_str().unwrap().to_owned()
    }

    /// The example of "Authorize with Shared Key" for `Get Container Metadata`.
    #[test]
    fn the_vendors_example_is_signed_as_it_says() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let example = call(Method::GET, url, &[("x-ms-version", "2015-02-21"), ("x-ms-date", DATE)]);
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                        /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
        assert_eq!(text_to_sign(&example, "myaccount"), expected);
    }

    /// The page's example of a query in which a name comes more than once.
    #[test]
    fn values_of_one_name_are_sorted_and_joined() {
        let query = "restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs";
        let url = format!("http://myaccount-secondary.blob.core.windows.net/mycontainer?{query}");
        let text = text_to_sign(&call(Method::GET, &url, &[]), "myaccount");
        let resource =
            "/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container";
        assert!(text.ends_with(resource), "{text}");
    }

    /// Computed with Python's `hmac` over texts that were written down by hand.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let metadata = call(Method::GET, url, &[("x-ms-version", "2015-02-21")]);
        assert_eq!(signature(&metadata), "SharedKey myaccount:ZfuQJIowrCGKlm/KTSTcA7Tx12MxVvDi2ryOPQQw7Gw=");

        let headers = [
            ("x-ms-meta-a", " b \t c "),
            ("if-none-match", "*"),
            ("content-md5", "kAFQmDzST7DWlj99KOF/cg=="),
            ("content-type", "text/plain"),
            ("x-ms-blob-type", "BlockBlob"),
            ("user-agent", "not signed"),
        ];
        let mut put = call(Method::PUT, "http://127.0.0.1:10000/myaccount/mycontainer/a%2520b/%C3%BC", &headers);
        put.data = "abc".into();
        assert_eq!(signature(&put), "SharedKey myaccount:0HgGWgvB9z6fVFKyeGgR0LYKg1C07AmlTDgQbyfdyAk=");

        // An empty body has no length, and the block's id is signed as it was before it was encoded.
        let block = "https://myaccount.blob.core.windows.net/c/b?comp=block&blockid=YQ%2B%2F%3D%3D";
        let block = call(Method::PUT, block, &[("content-length", "0")]);
        assert_eq!(signature(&block), "SharedKey myaccount:IqNhnLwnKavecUtpp1fyFa8h39hVtQZFut2r2Etlz+c=");

        let headers = [("range", "bytes=0-9"), ("if-match", "\"0x8D\"")];
        let range = call(Method::GET, "https://myaccount.blob.core.windows.net/c/b", &headers);
        assert_eq!(signature(&range), "SharedKey myaccount:OnFkOhxYkDdoJLcYbkrHMGcpbbW3AtWH/WeEytpHioI=");
    }

    #[test]
    fn keys_are_base64_and_show_nowhere() {
        let signer = SharedKey::new("acme".to_owned(), KEY).unwrap();
        assert!(!format!("{signer:?}").contains("AAEC"), "{signer:?}");
        for wrong in ["not base64", "A"] {
            assert!(SharedKey::new("acme".to_owned(), wrong).is_none(), "{wrong}");
        }
    }
}
