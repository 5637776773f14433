//! The routes of requests.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use http::{HeaderMap, Method, Request, Uri};
use proptest::prelude::*;
use stowage_http::method::take_override;

use super::{DatabaseOperation, DocumentOperation, List, Operation, Route, Target, route};

const MODB: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef-202011";

fn routed(method: Method, target: &str) -> Route {
    route(&method, &target.parse::<Uri>().unwrap(), &HeaderMap::new())
}

fn attachment(target: &str) -> Target {
    match routed(Method::GET, target) {
        Route::Attachment(target, Operation::Get { body: true }) => *target,
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn attachments_of_planned_databases_are_ours() {
    let found = attachment(&format!("/{MODB}/doc/a+b.mp3?rev=1-a"));
    assert_eq!(found.attachment, "a b.mp3");
    assert_eq!(found.database.name, "account/12/34/567890abcdef1234567890abcdef-202011");
    assert_eq!(found.query.as_deref(), Some("rev=1-a"));
    assert_eq!(attachment(&format!("/{MODB}/doc/dir/file.mp3")).attachment, "dir/file.mp3");
    assert_eq!(attachment(&format!("//{MODB}//a%2Fb//dir%2Ffile.mp3/")).attachment, "dir/file.mp3");
    assert_eq!(attachment(&format!("/{MODB}/a%2Fb/x")).document, "a/b");
}

#[test]
fn other_databases_are_couchdbs() {
    for target in ["/", "/_session", "/_all_dbs", "/db/doc/att", "/system_config/doc/att", "/_users/doc/att"] {
        assert!(matches!(routed(Method::GET, target), Route::Forward), "{target}");
    }
}

#[test]
fn what_is_beside_documents_goes_to_the_database() {
    for (method, path, expected) in [
        (Method::PUT, "", DatabaseOperation::Create),
        (Method::DELETE, "/", DatabaseOperation::Delete),
        (Method::GET, "", DatabaseOperation::Other),
        (Method::POST, "/", DatabaseOperation::Post),
        (Method::POST, "/_bulk_docs", DatabaseOperation::BulkDocs),
        (Method::GET, "/_bulk_docs", DatabaseOperation::Other),
        (Method::POST, "/_bulk_get", DatabaseOperation::BulkGet),
        (Method::GET, "/_all_docs", DatabaseOperation::List(List::Rows)),
        (Method::GET, "/%5Fall_docs", DatabaseOperation::List(List::Rows)),
        (Method::GET, "/_%61ll_docs//", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_local_docs", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_changes", DatabaseOperation::List(List::Changes)),
        (Method::GET, "/_changes/x/y", DatabaseOperation::Other),
        (Method::POST, "/_find", DatabaseOperation::List(List::Found)),
        (Method::POST, "/_explain", DatabaseOperation::Other),
        (Method::GET, "/_design/v/_view/x", DatabaseOperation::List(List::Rows)),
        (Method::GET, "/_design/v/_view/_changes", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_design/v/_view/_find", DatabaseOperation::List(List::Rows)),
        (Method::GET, "/%5fdesign/v/%5Fsearch/x", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_design/v/_nouveau/x", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_all_docs/queries", DatabaseOperation::List(List::Queries)),
        (Method::POST, "/_design/v/_view/x/queries", DatabaseOperation::List(List::Queries)),
        (Method::GET, "/_partition/p/_all_docs", DatabaseOperation::List(List::Rows)),
        (Method::POST, "/_partition/p/_find", DatabaseOperation::List(List::Found)),
        (Method::GET, "/_partition/p/_design/v/_view/x", DatabaseOperation::List(List::Rows)),
        (Method::GET, "/_partition/p", DatabaseOperation::Other),
        (Method::PUT, "/_design/v", DatabaseOperation::Other),
        (Method::GET, "/_design/v", DatabaseOperation::Other),
        (Method::GET, "/_design/v/_show/f/doc", DatabaseOperation::Other),
        (Method::GET, "/_design/v/_rewrite/x", DatabaseOperation::Other),
        (Method::GET, "/_local/x/y", DatabaseOperation::Other),
        (Method::GET, "/doc/_x.mp3", DatabaseOperation::Bytes),
        (Method::GET, "/%5Fdesign/x/y", DatabaseOperation::Bytes),
        (Method::GET, "/_design%2Fx/y", DatabaseOperation::Other),
        (Method::GET, "/_all_docs/%FF", DatabaseOperation::Other),
        (Method::GET, "/doc/%FF", DatabaseOperation::Bytes),
        (Method::POST, "/doc/x", DatabaseOperation::Bytes),
    ] {
        match routed(method.clone(), &format!("/{MODB}{path}")) {
            Route::Database(_, operation) => assert_eq!(operation, expected, "{method} {path}"),
            other => panic!("{method} {path}: {other:?}"),
        }
    }
    assert!(matches!(routed(Method::GET, &format!("/{MODB}/doc/%ZZ")), Route::Malformed));
}

#[test]
fn documents_are_known_by_their_id() {
    for (method, expected) in [
        ("GET", DocumentOperation::Get),
        ("HEAD", DocumentOperation::Get),
        ("PUT", DocumentOperation::Put),
        ("DELETE", DocumentOperation::Delete),
        ("COPY", DocumentOperation::Copy),
        ("POST", DocumentOperation::Other),
    ] {
        match routed(Method::from_bytes(method.as_bytes()).unwrap(), &format!("/{MODB}//a%2Fb/?rev=1-a")) {
            Route::Document(target, operation) => {
                assert_eq!((target.document.as_str(), operation), ("a/b", expected));
                assert_eq!(target.query.as_deref(), Some("rev=1-a"));
            }
            other => panic!("{method}: {other:?}"),
        }
    }
}

#[test]
fn a_post_may_stand_for_another_method() {
    let uri: Uri = format!("/{MODB}/doc/x").parse().unwrap();
    let document: Uri = format!("/{MODB}/doc").parse().unwrap();
    let routed = |uri: &Uri, named: &str| {
        let headers = HeaderMap::from_iter([("x-http-method-override".parse().unwrap(), named.parse().unwrap())]);
        let found = route(&Method::POST, uri, &headers);
        // After the override was applied, the request still has the same route.
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (Method::POST, uri.clone(), headers);
        take_override(&mut request);
        let again = route(request.method(), request.uri(), request.headers());
        assert_eq!(format!("{found:?}"), format!("{again:?}"), "{named}");
        found
    };
    assert!(matches!(routed(&uri, "PUT"), Route::Attachment(_, Operation::Put)));
    assert!(matches!(routed(&uri, "HEAD"), Route::Attachment(_, Operation::Get { body: true })));
    assert!(matches!(routed(&uri, "DELETE;x"), Route::Attachment(_, Operation::Delete)));
    assert!(matches!(routed(&document, "COPY"), Route::Document(_, DocumentOperation::Copy)));
    assert!(matches!(routed(&document, "copy"), Route::Document(_, DocumentOperation::Other)));
    assert!(matches!(routed(&document, "TRACE"), Route::Document(_, DocumentOperation::Other)));
}

#[test]
fn what_is_plain_is_told_without_a_route() {
    for (method, target, expected) in [
        (Method::GET, "/", true),
        (Method::GET, "//db//doc/?rev=1-a", true),
        (Method::HEAD, "/db/_all_docs", true),
        (Method::GET, "/db/doc/att", false),
        (Method::GET, "/db/_design/v/_view/x", false),
        (Method::PUT, "/db/doc", true),
        (Method::PUT, "/db/doc/att", false),
        (Method::POST, "/db", false),
    ] {
        assert_eq!(super::is_plain(&method, &target.parse::<Uri>().unwrap()), expected, "{method} {target}");
    }
}

proptest! {
    #[test]
    fn no_target_panics(path in "(/[a-z0-9%_+.]{0,12}){0,6}", query in "[a-z=&%]{0,10}") {
        if let Ok(uri) = format!("/{MODB}{path}?{query}").parse::<Uri>() {
            let _ = format!("{:?}", route(&Method::PUT, &uri, &HeaderMap::new()));
        }
    }
}
