//! Broken connections, changed bytes, busy servers: rules for drivers behind a TCP proxy, each with its own server.

use crate::conformance::prelude::*;
use std::future::ready;
use std::net::SocketAddr;

use super::vendors::{CloudStorage, Drive, Dropbox, OneDrive, Scene, Vendor};
use super::{azure, s3, tamper};
use stowage_testing::azurite::Container;
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::nginx::Nginx;

/// A server, and how to open its driver.
struct Behind {
    server: SocketAddr,
    /// Opens a driver for the server at another address.
    open: Box<dyn Fn(SocketAddr) -> Target>,
    /// Overwrites the object `x` directly; if `None`, it is removed and stored again instead.
    replace: Option<Box<dyn Fn(Vec<u8>)>>,
    /// Whether a break during an upload never makes it fail.
    is_sure: bool,
    /// The error message for bytes that changed in transit.
    mismatch: &'static str,
    /// Converts a location to one of KAZOO's, which may not identify a version.
    kazoo: fn(&mut Location),
}

async fn s3() -> Behind {
    let (server, _) = s3::start(|_| {}).await;
    let address = server.address();
    let open = move |proxy: SocketAddr| s3::open(&server, |settings| settings["port"] = json!(proxy.port()));
    Behind { server: address, open: Box::new(open), replace: None, is_sure: false, mismatch: "", kazoo: |_| {} }
}

fn azure() -> Behind {
    let container = Container::start();
    let (server, other) = (container.address(), container.clone());
    let replace = move |data: Vec<u8>| {
        let put = other.ask("PUT", "x", "", &[("x-ms-blob-type", "BlockBlob")], &data);
        assert_eq!(put.status, 201, "{put:?}");
    };
    let open = move |proxy: SocketAddr| azure::open(&container, proxy.port(), |_| {});
    Behind {
        server,
        open: Box::new(open),
        replace: Some(Box::new(replace)),
        is_sure: false,
        mismatch: "Md5Mismatch",
        kazoo: |_| {},
    }
}

/// A real web server.
async fn nginx() -> Behind {
    let world = Arc::new(Nginx::start().await);
    let server = world.address();
    let open = move |proxy| {
        let settings = json!({"url": format!("http://{proxy}/recordings")});
        Target::open("http", settings, &Around::default(), BUDGET, Box::new(Arc::clone(&world)))
    };
    Behind { server, open: Box::new(open), replace: None, is_sure: false, mismatch: "", kazoo: |_| {} }
}

async fn vendor<V: Vendor>() -> Behind {
    let scene = Scene::<V>::start().await;
    let (server, other) = (scene.vendor.edge(), Arc::clone(&scene));
    let replace = move |data: Vec<u8>| other.vendor.revise("x", &data);
    let open = move |proxy| scene.open(proxy);
    Behind {
        server,
        open: Box::new(open),
        replace: Some(Box::new(replace)),
        is_sure: true,
        mismatch: "",
        kazoo: V::kazoo,
    }
}

impl Behind {
    async fn proxy(&self) -> (FaultProxy, Target) {
        let proxy = FaultProxy::start(self.server).await;
        let target = (self.open)(proxy.address());
        (proxy, target)
    }
}

macro_rules! drivers {
    ($($driver:ident: $start:expr => $($rule:ident),*;)*) => {$(
        mod $driver {
            use super::*;
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule(async || $start.await).await;
                }
            )*
        }
    )*};
}

drivers! {
    of_s3: s3() => connections_that_break_anywhere_lose_and_leave_nothing, a_broken_download_goes_on_where_it_broke,
        another_version_is_never_mixed_in, a_changed_body_is_refused;
    of_azure: ready(azure()) => connections_that_break_anywhere_lose_and_leave_nothing, a_broken_download_goes_on_where_it_broke,
        another_version_is_never_mixed_in, a_changed_body_is_refused;
    of_dropbox: vendor::<Dropbox>() => connections_that_break_anywhere_lose_and_leave_nothing,
        a_broken_download_goes_on_where_it_broke, another_version_is_never_mixed_in;
    of_onedrive: vendor::<OneDrive>() => connections_that_break_anywhere_lose_and_leave_nothing,
        a_broken_download_goes_on_where_it_broke, another_version_is_never_mixed_in;
    of_google_storage: vendor::<CloudStorage>() => connections_that_break_anywhere_lose_and_leave_nothing,
        a_broken_download_goes_on_where_it_broke, another_version_is_never_mixed_in;
    of_google_drive: vendor::<Drive>() => connections_that_break_anywhere_lose_and_leave_nothing,
        a_broken_download_goes_on_where_it_broke, another_version_is_never_mixed_in;
    of_nginx: nginx() => a_broken_download_goes_on_where_it_broke;
}

async fn connections_that_break_anywhere_lose_and_leave_nothing(start: impl AsyncFn() -> Behind) {
    let length = CHUNK_BYTES + 70_000;
    together(
        [0, 100, 700, 3000, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_000, (5 << 20) + 72_500],
        async |after| {
            for what in [What::Cut, What::Reset] {
                let behind = start().await;
                let (proxy, target) = behind.proxy().await;
                proxy.plan(Fault::to_server(after, what));
                let shown = format!("{what:?} after {after}");
                match target.put(&object("x"), Body::full(bytes(length))).await {
                    Ok(stored) => {
                        assert!(target.read(&stored.location, length).await == bytes(length), "{shown}");
                        target.assert_clean(&shown).await;
                        assert_eq!(target.world.objects(), ["x"], "{shown}");
                    }
                    Err(error) => {
                        assert!(!behind.is_sure && error.kind() == Kind::Passing, "{shown}: {error}");
                        target.assert_empty(&shown).await;
                    }
                }
            }
        },
    )
    .await;
}

async fn a_broken_download_goes_on_where_it_broke(start: impl AsyncFn() -> Behind) {
    let behind = start().await;
    let (proxy, target) = behind.proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let reader = (behind.open)(proxy.address());
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(reader.read(&stored.location, data.len()).await == data);
    assert_eq!(proxy.counts().struck, 2);
    let reader = (behind.open)(proxy.address());
    proxy.plan(Fault::to_client(300_000, What::Cut));
    let range = ByteRange { first: 1000, last: 2_000_000 };
    let download = reader.get(&stored.location, Some(range), 3 << 20).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.expect("its bytes") == data[1000..=2_000_000]);
    assert_eq!(proxy.counts().struck, 3);
    // A third break is one too many: the result is an error, never a truncated body.
    let reader = (behind.open)(proxy.address());
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

async fn another_version_is_never_mixed_in(start: impl AsyncFn() -> Behind) {
    let behind = start().await;
    let (proxy, target) = behind.proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    let mut location = stored.location.clone();
    (behind.kazoo)(&mut location);
    let reader = (behind.open)(proxy.address());
    // Few enough bytes for the socket buffers: the break has happened before anything is read.
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = reader.get(&location, None, 3 << 20).await.expect("an object");
    assert_eq!(download.etag, stored.etag);
    proxy.wait_until(|counts| counts.struck == 1).await;
    match behind.replace {
        Some(replace) => replace(vec![9; 3 << 20]),
        None => {
            target.backend.delete(&stored.location).await.expect("removed");
            target.put(&object("x"), Body::full(vec![9; 3 << 20])).await.expect("stored");
        }
    }
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

async fn a_changed_body_is_refused(start: impl AsyncFn() -> Behind) {
    let behind = start().await;
    let proxy = tamper::start(behind.server, b"canary in the coal mine", b"CANARY IN THE COAL MINE").await;
    let target = (behind.open)(proxy);
    let mut large = bytes(2 * CHUNK_BYTES);
    large[CHUNK_BYTES + 10..CHUNK_BYTES + 33].copy_from_slice(b"canary in the coal mine");
    for body in [b"a canary in the coal mine".to_vec(), large] {
        let error = target.put(&object("x"), Body::full(body)).await.expect_err("changed");
        assert!(error.to_string().contains(behind.mismatch), "{error}");
        target.assert_empty("changed on its way").await;
    }
    target.put(&object("y"), Body::full("nothing to change")).await.expect("stored");
}
