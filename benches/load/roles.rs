//! The bench's own servers: this program again, each in a process of its own that ends with the bench.

use std::future::Future;
use std::io::Read;
use std::path::PathBuf;

use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};

use crate::{Outcome, couch, objects, s3};

/// Which server a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Answers like a CouchDB, at once.
    Couch,
    /// Swallows and serves recordings.
    Objects,
    /// S3 over a directory.
    S3,
}

/// Serves until the bench that started this process closes its standard input, which it does however it ends.
pub(crate) fn run(role: Role, root: Option<PathBuf>) -> Outcome<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening {role:?} http://{}", listener.local_addr()?);
        match role {
            Role::Couch => couch::serve(listener).await,
            Role::Objects => objects::serve(listener).await,
            Role::S3 => s3::serve(listener, root.ok_or("--root is missing")?).await,
        }
    })
}

/// Accepts for ever; each connection is a task, and one that fails says why.
pub(crate) async fn accept<F>(listener: TcpListener, mut serve: impl FnMut(TcpStream) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = serve(stream);
        tokio::spawn(async move {
            if let Err(error) = connection.await
                && !is_disconnect(error.as_ref())
            {
                eprintln!("load: a connection of a server of the bench: {error}");
            }
        });
    }
}

/// A peer that is ended by the bench closes its connections in the middle: nothing to tell.
fn is_disconnect(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    error.downcast_ref::<std::io::Error>().is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset))
}
