//! What only the `http` driver does, seen with a real web server.

use serde_json::json;
use stowage_http::body::{Body, collect};

use super::around::Around;
use super::bodies::bytes;
use super::targets::{BUDGET, LIMIT, Target, object};
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::nginx::Nginx;

#[tokio::test]
async fn a_broken_download_from_nginx_goes_on_where_it_broke() {
    let server = Nginx::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let settings = json!({"url": format!("http://{}/recordings", proxy.address())});
    let fresh = |world| Target::open("http", settings.clone(), &Around::default(), BUDGET, world);
    let target = fresh(Box::new(server));
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let reader = fresh(Box::new(Nginx::start().await));
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(reader.read(&stored.location, data.len()).await == data);
    assert_eq!(proxy.counts().struck, 2);
    // A third break is one too many: an error, never a short body.
    let reader = fresh(Box::new(Nginx::start().await));
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}
