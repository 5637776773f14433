//! The effective method of a request.

use std::borrow::Cow;

use http::{HeaderMap, Method, Request};

/// Returns the effective method of a request: for a POST, `X-HTTP-Method-Override` replaces it (`chttpd:handle_request_int`,
/// which reads the header up to a semicolon, is case sensitive, and ignores the header if it is repeated). Any other value is left
/// for CouchDB to reject.
#[must_use]
pub fn overridden<'a>(method: &'a Method, headers: &HeaderMap) -> Cow<'a, Method> {
    let mut named = headers.get_all(OVERRIDE).iter().filter(|_| *method == Method::POST);
    let (Some(named), None) = (named.next(), named.next()) else { return Cow::Borrowed(method) };
    let named = named.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    Cow::Owned(match named {
        // The client of a POST expects a body.
        b"GET" | b"HEAD" => Method::GET,
        b"PUT" | b"DELETE" | b"TRACE" | b"CONNECT" | b"COPY" => Method::from_bytes(named).unwrap_or(Method::POST),
        _ => return Cow::Borrowed(method),
    })
}

/// Applies the override to a request, so that later stages only see the effective method.
pub fn take_override<B>(request: &mut Request<B>) {
    let Cow::Owned(stands_for) = overridden(request.method(), request.headers()) else { return };
    // CouchDB supports neither of these two, and its response to the POST says so.
    if !matches!(stands_for, Method::TRACE | Method::CONNECT) {
        request.headers_mut().remove(OVERRIDE);
        *request.method_mut() = stands_for;
    }
}

const OVERRIDE: &str = "x-http-method-override";

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::{OVERRIDE, take_override};

    #[test]
    fn a_post_stands_for_what_couchdb_knows() {
        for (method, named, expected) in [
            ("POST", &["COPY"][..], "COPY"),
            ("POST", &["GET"], "GET"),
            ("POST", &["HEAD"], "GET"),
            ("POST", &["PUT; x"], "PUT"),
            ("POST", &["DELETE"], "DELETE"),
            ("POST", &["POST"], "POST"),
            ("POST", &["copy"], "POST"),
            ("POST", &["PATCH"], "POST"),
            ("POST", &["COPY ;x"], "POST"),
            ("POST", &["COPY", "COPY"], "POST"),
            ("POST", &["TRACE"], "POST"),
            ("POST", &["CONNECT"], "POST"),
            ("PUT", &["COPY"], "PUT"),
            ("GET", &["DELETE"], "GET"),
        ] {
            let mut request = Request::new(());
            *request.method_mut() = method.parse::<Method>().unwrap();
            for value in named {
                request.headers_mut().append(OVERRIDE, value.parse().unwrap());
            }
            take_override(&mut request);
            assert_eq!(request.method().as_str(), expected, "{method} {named:?}");
            assert_eq!(request.headers().contains_key(OVERRIDE), method == expected, "{method} {named:?}");
        }
    }
}
