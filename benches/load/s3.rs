//! The S3 server: s3s-fs over a directory, including its signature check.

use std::path::PathBuf;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::{Outcome, roles};

/// The bucket, a directory below the root.
pub(crate) const BUCKET: &str = "recordings";
/// The access key.
pub(crate) const KEY: &str = "AKIDBENCH";
/// The secret key.
pub(crate) const SECRET: &str = "a-secret-of-the-bench";

pub(crate) async fn serve(listener: TcpListener, root: PathBuf) -> Outcome<()> {
    std::fs::create_dir_all(root.join(BUCKET))?;
    let files = FileSystem::new(root).map_err(|error| format!("{error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    roles::accept(listener, |stream| {
        let service = service.clone();
        async move { Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?) }
    })
    .await
}
