//! Which method a request stands for.

use std::borrow::Cow;

use http::{HeaderMap, Method, Request};

/// The method that a request stands for: that of a POST is the one that `X-HTTP-Method-Override` names
/// (`chttpd:handle_request_int`, which reads the header up to a semicolon, wants capitals, and takes two such headers for none).
/// Anything else that is named there is CouchDB's to refuse.
#[must_use]
pub fn overridden<'a>(method: &'a Method, headers: &HeaderMap) -> Cow<'a, Method> {
    let mut named = headers.get_all(OVERRIDE).iter().filter(|_| *method == Method::POST);
    let (Some(named), None) = (named.next(), named.next()) else { return Cow::Borrowed(method) };
    let named = named.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    Cow::Owned(match named {
        // The client of a POST waits for a body.
        b"GET" | b"HEAD" => Method::GET,
        b"PUT" => Method::PUT,
        b"DELETE" => Method::DELETE,
        b"TRACE" => Method::TRACE,
        b"CONNECT" => Method::CONNECT,
        b"COPY" => copy(),
        _ => return Cow::Borrowed(method),
    })
}

/// Gives a request the method that it stands for, so that all that comes behind sees only that.
pub fn take_override<B>(request: &mut Request<B>) {
    let Cow::Owned(stands_for) = overridden(request.method(), request.headers()) else { return };
    // CouchDB knows neither of these two, and its answer to the POST says so.
    if !matches!(stands_for, Method::TRACE | Method::CONNECT) {
        request.headers_mut().remove(OVERRIDE);
        *request.method_mut() = stands_for;
    }
}

fn copy() -> Method {
    Method::from_bytes(b"COPY").unwrap_or(Method::POST)
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
