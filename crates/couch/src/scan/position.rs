//! Tracks the position in a response, as far as it leads to documents.

use super::walk::{Skip, Token, Walker};

/// One step on the path to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Member(&'static str),
    /// Any element of a list.
    Element,
}

/// The path to documents, starting at any top-level value, of which there may be several.
pub type Path = &'static [Step];

/// The open containers that lead to documents.
#[derive(Debug)]
pub(super) struct Position {
    paths: &'static [Path],
    stack: Vec<Frame>,
    walker: Walker,
}

#[derive(Debug)]
struct Frame {
    array: bool,
    index: usize,
    /// Bit set of the paths that lead here.
    paths: u8,
    /// Bit set of the paths that continue to the next value.
    next: u8,
}

impl Position {
    pub(super) fn new(paths: &'static [Path]) -> Self {
        Self { paths, stack: Vec::new(), walker: Walker::default() }
    }

    /// Returns the paths that lead to the next value.
    fn leading(&self) -> u8 {
        self.stack.last().map_or(u8::MAX, |frame| frame.next)
    }

    fn select(&self, among: u8, fits: impl Fn(Path) -> bool) -> u8 {
        let bits = self.paths.iter().enumerate().filter(|(_, path)| fits(path)).map(|(bit, _)| 1 << bit);
        bits.fold(0, |all: u8, bit: u8| all | bit) & among
    }

    /// Returns whether an object that starts here is a document.
    pub(super) fn is_document(&self) -> bool {
        self.walker.is_at_value() && self.select(self.leading(), |path| path.len() == self.stack.len()) != 0
    }

    /// Records that a document was read in place of a value.
    pub(super) fn passed(&mut self) {
        self.walker = Walker::behind_value();
    }

    /// Returns the index of the current value in the outermost list.
    pub(super) fn row(&self) -> usize {
        self.stack.iter().find(|frame| frame.array).map_or(0, |frame| frame.index)
    }

    /// Returns how many of the next bytes can be skipped.
    pub(super) fn idle(&self, bytes: &[u8]) -> usize {
        if self.stack.is_empty() { 0 } else { self.walker.idle(bytes) }
    }

    /// Processes one byte outside documents.
    pub(super) fn step(&mut self, byte: u8) {
        let Some(array) = self.stack.last().map(|frame| frame.array) else {
            if matches!(byte, b'{' | b'[') {
                self.open(byte);
            }
            return;
        };
        let token = self.walker.eat(byte, array);
        match token {
            Token::Key => {
                let depth = self.stack.len() - 1;
                let leads = |path: Path| match path.get(depth) {
                    Some(Step::Member(name)) => self.walker.key_is(name),
                    _ => false,
                };
                let next = self.select(self.stack.last().map_or(0, |frame| frame.paths), leads);
                if let Some(frame) = self.stack.last_mut() {
                    frame.next = next;
                }
            }
            Token::Open => self.open(byte),
            Token::Close => {
                self.stack.pop();
                self.walker = Walker::behind_value();
            }
            Token::Comma => {
                if let Some(frame) = self.stack.last_mut() {
                    frame.index += 1;
                }
            }
            Token::KeyBegins | Token::Nothing => {}
        }
    }

    /// Enters a list or object.
    fn open(&mut self, byte: u8) {
        let (array, depth) = (byte == b'[', self.stack.len());
        let leads = |path: Path| path.get(depth).is_some_and(|step| array == matches!(step, Step::Element));
        let paths = self.select(self.leading(), leads);
        if paths == 0 && depth > 0 {
            return self.walker.skip(Skip::container());
        }
        // On the top level, enter even what leads nowhere: otherwise a value inside would be mistaken for a top-level one.
        self.stack.push(Frame { array, index: 0, paths, next: if array { paths } else { 0 } });
        self.walker = if array { Walker::behind_value() } else { Walker::in_object() };
    }
}
