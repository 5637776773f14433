//! Splits a request's body into events: one JSON object, a list, or one object per line.
//!
//! The body is streamed: at most one event is buffered. The form follows from the body's beginning, unless its media type determines it.

use bytes::{Buf, Bytes, BytesMut};

/// An event of a body, or the placeholder for one that was too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The line, or the position in the list, from 1.
    pub number: u64,
    /// The event's JSON; `None` if it exceeds the limit.
    pub text: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Undecided: only white space so far, or an incomplete first line.
    Unknown,
    /// One event per line.
    Lines,
    /// A JSON list.
    List,
    /// One object across several lines.
    Object,
    /// Past the end of a list.
    Over,
}

/// A streaming splitter of bodies.
#[derive(Debug)]
pub struct Splitter {
    form: Form,
    buffer: BytesMut,
    number: u64,
    most: usize,
    /// Whether the rest of an oversized event is being skipped.
    skips: bool,
    scan: Scan,
}

/// The state of the scan for the end of a list's element.
#[derive(Debug, Default)]
struct Scan {
    at: usize,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Splitter {
    /// Creates a splitter for events of at most `most` bytes; `lines` forces one event per line.
    #[must_use]
    pub fn new(most: usize, lines: bool) -> Self {
        let form = if lines { Form::Lines } else { Form::Unknown };
        Self { form, buffer: BytesMut::new(), number: 0, most, skips: false, scan: Scan::default() }
    }

    /// Adds a part of the body, and appends the completed events to `pieces`.
    pub fn add(&mut self, bytes: Bytes, pieces: &mut Vec<Piece>) {
        if self.form == Form::Lines {
            return self.lines(bytes, pieces);
        }
        self.buffer.extend_from_slice(&bytes);
        while self.step(pieces) {}
    }

    /// Splits lines; a line that arrives in one part is not copied.
    fn lines(&mut self, mut bytes: Bytes, pieces: &mut Vec<Piece>) {
        while let Some(end) = memchr::memchr(b'\n', &bytes) {
            let mut line = bytes.split_to(end + 1);
            if !self.buffer.is_empty() {
                self.buffer.extend_from_slice(&line);
                line = self.buffer.split().freeze();
            }
            self.whole(&line, pieces);
        }
        self.buffer.extend_from_slice(&bytes);
        self.bound();
    }

    /// Ends the body.
    pub fn finish(mut self, pieces: &mut Vec<Piece>) {
        match self.form {
            Form::Over => {}
            Form::Object if serde_json::from_slice::<serde::de::IgnoredAny>(&self.buffer).is_err() => {
                // Not one object across several lines: the first line is invalid, the others may be valid.
                self.form = Form::Lines;
                self.buffer.extend_from_slice(b"\n");
                while self.step(pieces) {}
            }
            _ => {
                let rest = self.buffer.trim_ascii();
                if self.skips || !rest.is_empty() {
                    self.number += 1;
                    let text = (!self.skips).then(|| Bytes::copy_from_slice(rest));
                    pieces.push(Piece { number: self.number, text });
                }
            }
        }
    }

    /// Makes one step; returns whether the buffer may hold more events.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.form {
            Form::Unknown => self.begin(),
            Form::Lines => self.line(pieces),
            Form::List => self.element(pieces),
            Form::Object if self.buffer.len() > self.most => {
                self.form = Form::Lines;
                true
            }
            Form::Object => false,
            Form::Over => {
                self.buffer.clear();
                false
            }
        }
    }

    fn begin(&mut self) -> bool {
        let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let lines = self.buffer.iter().take(blank).filter(|byte| **byte == b'\n').count();
        match self.buffer.get(blank) {
            None => false,
            Some(b'[') => {
                self.buffer.advance(blank + 1);
                self.form = Form::List;
                true
            }
            Some(_) => {
                let Some(end) = self.buffer.iter().skip(blank).position(|byte| *byte == b'\n') else {
                    // An unterminated line is only known to be too long once it exceeds the limit.
                    if self.buffer.len() > self.most {
                        self.form = Form::Lines;
                    }
                    return self.form == Form::Lines;
                };
                let first = self.buffer.get(blank..blank + end).unwrap_or_default();
                let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok();
                self.form = if is_whole || !first.starts_with(b"{") { Form::Lines } else { Form::Object };
                if self.form == Form::Lines {
                    self.number += lines as u64;
                    self.buffer.advance(blank);
                }
                true
            }
        }
    }

    fn line(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            self.bound();
            return false;
        };
        let line = self.buffer.split_to(end + 1).freeze();
        self.whole(&line, pieces);
        true
    }

    /// Drops the beginning of an oversized line.
    fn bound(&mut self) {
        if self.buffer.len() > self.most {
            self.skips = true;
            self.buffer.clear();
        }
    }

    fn whole(&mut self, line: &Bytes, pieces: &mut Vec<Piece>) {
        self.number += 1;
        let trimmed = line.trim_ascii();
        if std::mem::take(&mut self.skips) || line.len() > self.most {
            pieces.push(Piece { number: self.number, text: None });
        } else if !trimmed.is_empty() {
            pieces.push(Piece { number: self.number, text: Some(line.slice_ref(trimmed)) });
        }
    }

    fn element(&mut self, pieces: &mut Vec<Piece>) -> bool {
        while let Some(byte) = self.buffer.get(self.scan.at).copied() {
            let is_end = self.scan.depth == 0 && !self.scan.in_text && matches!(byte, b',' | b']');
            if is_end {
                let text = self.buffer.split_to(self.scan.at).freeze();
                self.buffer.advance(1);
                self.scan = Scan::default();
                let trimmed = text.trim_ascii();
                // An element that arrived in one part may exceed the limit, too.
                let skipped = std::mem::take(&mut self.skips) || text.len() > self.most;
                if skipped || !trimmed.is_empty() {
                    self.number += 1;
                    let text = (!skipped).then(|| text.slice_ref(trimmed));
                    pieces.push(Piece { number: self.number, text });
                }
                if byte == b']' {
                    self.form = Form::Over;
                }
                return true;
            }
            self.scan.take(byte);
        }
        if self.buffer.len() > self.most {
            self.skips = true;
            self.buffer.clear();
            self.scan.at = 0;
        }
        false
    }
}

impl Scan {
    fn take(&mut self, byte: u8) {
        self.at += 1;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Piece, Splitter};

    fn split(body: &str, step: usize, lines: bool) -> Vec<(u64, Option<String>)> {
        let mut splitter = Splitter::new(40, lines);
        let mut pieces = Vec::new();
        for part in body.as_bytes().chunks(step) {
            splitter.add(Bytes::copy_from_slice(part), &mut pieces);
        }
        splitter.finish(&mut pieces);
        let text = |piece: Piece| (piece.number, piece.text.map(|text| String::from_utf8(text.to_vec()).unwrap()));
        pieces.into_iter().map(text).collect()
    }

    #[test]
    fn every_form_is_taken_apart_however_it_is_cut() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(60));
        let some = |number, text: &str| (number, Some(text.to_owned()));
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(split(r#"{"a":1}"#, step, false), [some(1, r#"{"a":1}"#)]);
            assert_eq!(split("{\n \"a\": 1\n}\n", step, false), [some(1, "{\n \"a\": 1\n}")]);
            assert_eq!(split("{\"a\":1}\n\n{\"b\":2}", step, false), [some(1, r#"{"a":1}"#), some(3, r#"{"b":2}"#)]);
            let list = r#" [ {"a":"],[\""}, [1,2] ,{"b":{}} ]"#;
            assert_eq!(
                split(list, step, false),
                [some(1, r#"{"a":"],[\""}"#), some(2, "[1,2]"), some(3, r#"{"b":{}}"#)]
            );
            assert_eq!(split("[]", step, false), []);
            assert_eq!(split("", step, false), []);
            // An invalid line does not affect valid ones.
            assert_eq!(
                split("{\"a\":\n{\"b\":2}\nx\n{\"c\":3}\n", step, true),
                [some(1, "{\"a\":"), some(2, r#"{"b":2}"#), some(3, "x"), some(4, r#"{"c":3}"#)]
            );
            assert_eq!(split("{\"a\":\n{\"b\":2}\n", step, false), [some(1, "{\"a\":"), some(2, r#"{"b":2}"#)]);
            assert_eq!(split(&format!("{long}\n{{}}\n"), step, true), [(1, None), some(2, "{}")]);
            assert_eq!(split(&format!("[{long},{{}}]"), step, false), [(1, None), some(2, "{}")]);
        }
    }
}
