//! The bench's own servers: this program again, each in a process of its own that ends with the bench.

use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};

use crate::support::azurite::Container;
use crate::support::dropbox::Dropbox;
use crate::support::ftp::FtpServer;
use crate::support::google::GoogleServer;
use crate::support::graph::Graph;
use crate::support::tokens::Tokens;
use crate::workload::TOKEN;
use crate::{Outcome, couch, objects, s3};

/// The server that a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A CouchDB that responds immediately.
    Couch,
    /// A server that discards and generates recordings.
    Objects,
    /// S3 over a directory.
    S3,
    /// azurite.
    Azure,
    /// A fake of Cloud Storage and Drive.
    Google,
    /// A fake of Dropbox.
    Dropbox,
    /// A fake of Microsoft Graph's files.
    Graph,
    /// libunftp.
    Ftp,
}

/// Serves until standard input closes, which happens however the bench ends.
pub(crate) fn run(role: Role, root: Option<PathBuf>) -> Outcome<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            Role::Couch => couch::serve(listen(role).await?).await,
            Role::Objects => objects::serve(listen(role).await?).await,
            Role::S3 => s3::serve(listen(role).await?, root.ok_or("--root is missing")?).await,
            _ => of_the_tests(role).await,
        }
    })
}

/// Runs the tests' servers, which end with the process.
async fn of_the_tests(role: Role) -> Outcome<()> {
    let tokens = Tokens::default();
    tokens.accept(TOKEN);
    match role {
        Role::Azure => {
            let container = Container::start();
            stay(role, &[container.address()], container).await
        }
        Role::Google => {
            let server = GoogleServer::start(tokens, s3::BUCKET).await;
            stay(role, &[server.address()], server).await
        }
        Role::Dropbox => {
            let server = Dropbox::start(tokens).await;
            stay(role, &[server.content(), server.rpc()], server).await
        }
        Role::Graph => {
            let server = Graph::start(tokens).await;
            stay(role, &[server.address()], server).await
        }
        _ => {
            let server = FtpServer::start().await;
            stay(role, &[server.address()], server).await
        }
    }
}

async fn listen(role: Role) -> Outcome<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(role, listener.local_addr()?);
    Ok(listener)
}

fn say(role: Role, address: SocketAddr) {
    println!("listening {role:?} http://{address}");
}

async fn stay<T>(role: Role, addresses: &[SocketAddr], server: T) -> Outcome<()> {
    addresses.iter().for_each(|address| say(role, *address));
    std::future::pending::<()>().await;
    drop(server);
    Ok(())
}

/// Accepts connections forever; each is a task, and reports its failure.
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

/// Returns whether the error only means that a killed peer closed its connection.
fn is_disconnect(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    error.downcast_ref::<std::io::Error>().is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset))
}
