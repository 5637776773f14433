//! JSON responses: one document, lists of them, feeds.

use std::collections::VecDeque;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use stowage_couch::{self as couch, Path};
use stowage_http::body::{Body, BoxError};
use stowage_http::range::Exact;
use stowage_http::written::{Out, written};

use super::edit::{Editor, Piece};
use super::view::View;
use crate::error::Error;

/// A JSON response of CouchDB's on its way to the client.
pub(super) struct Json {
    view: Arc<View>,
    upstream: Body,
    editor: Editor,
    /// Whether CouchDB's response was read to its end.
    whole: bool,
    /// The first attachment, opened before the head of the response goes out.
    opened: Option<Body>,
}

impl Json {
    pub(super) fn new(view: Arc<View>, upstream: Body, paths: &'static [Path]) -> Self {
        let editor = Editor::new(Arc::clone(&view.terms), paths);
        Self { view, upstream, editor, whole: false, opened: None }
    }

    /// Reads one document to its end, or up to the memory limit; returns the length of the response if it is known.
    pub(super) async fn one(&mut self) -> Result<Option<u64>, Error> {
        self.read(self.view.limit()).await
    }

    /// Reads a response to its end, or up to `most` bytes; returns its length if it is known.
    pub(super) async fn read(&mut self, most: u64) -> Result<Option<u64>, Error> {
        while !self.whole && self.held() <= most {
            self.more().await?;
        }
        Ok(if self.whole { length(&self.editor.pieces) } else { None })
    }

    /// Computes the length of a response without its body.
    pub(super) async fn measured(mut self) -> Result<Option<u64>, Error> {
        let mut all = Some(0);
        loop {
            all = all.zip(length(&self.editor.pieces)).map(|(all, more): (u64, u64)| all + more);
            self.editor.pieces.clear();
            if self.whole {
                return Ok(all);
            }
            self.more().await?;
        }
    }

    /// Reads until the first document is complete, or up to the memory limit.
    pub(super) async fn first(&mut self) -> Result<(), Error> {
        while !self.whole && self.editor.documents == 0 && self.held() <= self.view.limit() {
            self.more().await?;
        }
        Ok(())
    }

    /// Opens the first known attachment up front, so that a missing object determines the status.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        let first = self.editor.pieces.iter().find_map(|piece| match piece {
            Piece::Data(inline) => Some(inline),
            Piece::Bytes(_) => None,
        });
        if let Some(inline) = first {
            self.opened = Some(self.view.open_encoded(inline).await?);
        }
        Ok(())
    }

    /// Returns the body, which must have the given length, if any.
    pub(super) fn body(self, length: Option<u64>) -> Body {
        let body = written(|out| self.write(out));
        match length {
            Some(length) => Body::boxed(Exact::new(body, length)),
            None => body,
        }
    }

    async fn write(mut self, mut out: Out) -> Result<(), BoxError> {
        loop {
            while let Some(piece) = self.editor.pieces.pop_front() {
                match piece {
                    Piece::Bytes(bytes) => out.send(bytes).await,
                    Piece::Data(inline) => {
                        let body = match self.opened.take() {
                            Some(body) => body,
                            None => self.view.open_encoded(&inline).await?,
                        };
                        out.send_all(body).await?;
                    }
                }
            }
            if self.whole {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Error> {
        let Some(frame) = self.upstream.frame().await else {
            self.whole = true;
            return self.editor.ended();
        };
        let frame = frame.map_err(|error| Error::from(couch::Error::Body(error)))?;
        if let Ok(data) = frame.into_data() {
            self.editor.feed(data)?;
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Data(_) => 0,
        };
        self.editor.pieces.iter().map(bytes).sum()
    }
}

fn length(pieces: &VecDeque<Piece>) -> Option<u64> {
    pieces.iter().map(Piece::length).sum()
}
