//! Resources used during a load are released afterwards.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::ALONE;
use super::program::{Serving, request};
use stowage_testing::serve::{listen, serve};

const UPLOADS: usize = 100;
const LENGTH: usize = 10 << 20;
/// The maximum additional memory afterwards, in KiB.
const MORE_MEMORY: u64 = 40 << 10;
const MORE_DESCRIPTORS: usize = 30;
/// The time limit for the release.
const WITHIN: Duration = Duration::from_secs(30);
/// The maximum peak, in KiB: `limits.upload_buffer_bytes` and 100 MiB.
const PEAK: u64 = 356 << 10;
const DATABASE: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202611";

/// A web server that accepts objects and discards them.
async fn forgets(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = if request.method() == Method::PUT { StatusCode::CREATED } else { StatusCode::NOT_FOUND };
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    Ok(answer)
}

/// Returns resident memory and its peak in KiB, and the number of open descriptors (proc(5)).
fn held(process: u32) -> (u64, u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("Linux").count();
    (field("VmRSS:"), field("VmHWM:"), open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_load_took_is_given_back() {
    let _alone = ALONE.lock().await;
    let (listener, address) = listen().await;
    let _served = serve(listener, |_| service_fn(forgets));
    let served = move || {
        let serving = Serving::with(&[("EGRESS__ALLOW", "127.0.0.0/8"), ("LOG__LEVEL", "warn")]);
        for target in ["/system_data".to_owned(), format!("/{DATABASE}")] {
            assert!(matches!(request(serving.proxy, "PUT", &target, b"").0, 201 | 412));
        }
        let settings = json!({ "url": format!("http://{address}/objects"), "verb": "put" });
        let plan = json!({
            "pvt_type": "storage",
            "attachments": { "a": { "handler": "http", "settings": settings } },
            "plan": { "modb": { "attachments": { "handler": "a" } } },
        });
        serving.save("/system_data/4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b", &plan);
        assert_eq!(request(serving.proxy, "PUT", &format!("/{DATABASE}/first/a.mp3"), b"sound").0, 201);
        let before = held(serving.process());
        let body = vec![b'x'; LENGTH];
        std::thread::scope(|scope| {
            for index in 0..UPLOADS {
                let (body, proxy) = (&body, serving.proxy);
                scope.spawn(move || {
                    let target = format!("/{DATABASE}/doc{index}/a.mp3");
                    assert_eq!(request(proxy, "PUT", &target, body).0, 201);
                });
            }
        });
        let (over, mut now) = (Instant::now(), held(serving.process()));
        println!("{UPLOADS} uploads of {LENGTH} bytes: (KiB, most KiB, descriptors) {before:?} before, {now:?} after");
        let is_idle = |now: (u64, u64, usize)| now.0 <= before.0 + MORE_MEMORY && now.2 <= before.2 + MORE_DESCRIPTORS;
        while !is_idle(now) && over.elapsed() < WITHIN {
            std::thread::sleep(Duration::from_millis(100));
            now = held(serving.process());
        }
        println!("{now:?} after {:?}", over.elapsed());
        assert!(is_idle(now), "{before:?} before, {now:?} after {:?}", over.elapsed());
        assert!(now.1 <= PEAK, "{} KiB at the worst moment", now.1);
    };
    tokio::task::spawn_blocking(served).await.expect("no panic");
}
