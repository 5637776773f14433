//! The object server: counts and discards what is PUT, and serves a recording of that length at the speed of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

use crate::wire::{Connection, Framing};
use crate::{Outcome, pattern, roles};

/// The length in bytes of every object, by target.
type Lengths = Arc<Mutex<HashMap<String, u64>>>;

pub(crate) async fn serve(listener: TcpListener) -> Outcome<()> {
    let lengths = Lengths::default();
    roles::accept(listener, |stream| {
        let lengths = Arc::clone(&lengths);
        async move {
            let mut connection = Connection::new(stream)?;
            while answer(&mut connection, &lengths).await? {}
            Ok(())
        }
    })
    .await
}

/// Handles one request; returns false if the connection ends.
async fn answer(connection: &mut Connection, lengths: &Lengths) -> Outcome<bool> {
    let Some(head) = connection.head().await? else {
        return Ok(false);
    };
    let mut words = connection.text(&head).split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    // The gateway adds the document's metadata as a query to its fetches.
    let path = target.split('?').next().unwrap_or_default().to_owned();
    connection.consume(&head);
    if head.expects {
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let received = connection.body(head.framing.unwrap_or(Framing::Length(0)), |_| {}).await?;
    let (status, length) = apply(&method, path, received, lengths);
    let announced = match (status, length) {
        ("204 No Content", _) => String::new(),
        (_, length) => format!("Content-Length: {}\r\n", length.unwrap_or(0)),
    };
    let head = format!("HTTP/1.1 {status}\r\nServer: bench\r\nContent-Type: audio/mpeg\r\n{announced}\r\n");
    connection.write(head.as_bytes()).await?;
    if method == "GET" {
        for slice in pattern::slices(length.unwrap_or(0)) {
            connection.write(slice).await?;
        }
    }
    Ok(true)
}

/// Stores, removes or looks up a length; returns the status, and the length to be sent.
fn apply(method: &str, path: String, received: u64, lengths: &Lengths) -> (&'static str, Option<u64>) {
    let mut lengths = lengths.lock().unwrap_or_else(PoisonError::into_inner);
    match method {
        "PUT" | "POST" => {
            lengths.insert(path, received);
            ("201 Created", None)
        }
        "DELETE" if lengths.remove(&path).is_some() => ("204 No Content", None),
        "DELETE" => ("404 Not Found", None),
        _ => lengths.get(&path).map_or(("404 Not Found", None), |&length| ("200 OK", Some(length))),
    }
}
