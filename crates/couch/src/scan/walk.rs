//! Walks JSON byte by byte, one level at a time.

use super::unquoted;

/// The role of a byte on the current level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    KeyBegins,
    /// Closing quote of a key.
    Key,
    /// `{` or `[` of a value, to be entered or skipped.
    Open,
    /// `}` or `]` of this level.
    Close,
    Comma,
    /// Nothing relevant.
    Nothing,
}

/// Walks the members of an object or the elements of a list.
#[derive(Debug, Default)]
pub(super) struct Walker {
    skip: Option<Skip>,
    /// In an object, before a key.
    awaits_key: bool,
    in_key: bool,
    escape: bool,
    /// The key with its quotes, as long as it may be relevant.
    key: Vec<u8>,
}

/// State of a value that is being skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skip {
    depth: usize,
    string: bool,
    escape: bool,
}

impl Skip {
    /// After the `{` or `[` of a value.
    pub(super) const fn container() -> Self {
        Self { depth: 1, string: false, escape: false }
    }

    /// After the opening quote of a string.
    pub(super) const fn string() -> Self {
        Self { depth: 0, string: true, escape: false }
    }

    /// Returns how many of the next bytes are irrelevant.
    fn idle(self, bytes: &[u8]) -> usize {
        let matters = |byte: &u8| match byte {
            b'"' => true,
            b'\\' => self.string,
            b'{' | b'}' | b'[' | b']' => !self.string,
            _ => false,
        };
        if self.escape { 0 } else { bytes.iter().position(matters).unwrap_or(bytes.len()) }
    }

    /// Processes a byte; returns whether it ends the value.
    pub(super) const fn eat(&mut self, byte: u8) -> bool {
        if self.string {
            match byte {
                _ if self.escape => self.escape = false,
                b'\\' => self.escape = true,
                b'"' => {
                    self.string = false;
                    return self.depth == 0;
                }
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

impl Walker {
    /// After the `{` of an object.
    pub(super) fn in_object() -> Self {
        Self { awaits_key: true, ..Self::default() }
    }

    /// After a value, or at the start of a list.
    pub(super) fn behind_value() -> Self {
        Self::default()
    }

    /// Skips the value that has just started.
    pub(super) const fn skip(&mut self, skip: Skip) {
        self.skip = Some(skip);
    }

    pub(super) const fn is_in_key(&self) -> bool {
        self.in_key
    }

    /// Returns whether a value may start here or has just ended.
    pub(super) const fn is_at_value(&self) -> bool {
        self.skip.is_none() && !self.awaits_key && !self.in_key
    }

    /// Returns whether the last key equals `name`.
    pub(super) fn key_is(&self, name: &str) -> bool {
        self.key.len() < MOST_KEY && unquoted(&self.key) == name
    }

    /// Returns how many of the next bytes can be skipped.
    pub(super) fn idle(&self, bytes: &[u8]) -> usize {
        self.skip.map_or(0, |skip| skip.idle(bytes))
    }

    /// Processes the next byte.
    pub(super) fn eat(&mut self, byte: u8, array: bool) -> Token {
        if let Some(skip) = &mut self.skip {
            if skip.eat(byte) {
                self.skip = None;
            }
            return Token::Nothing;
        }
        if self.in_key {
            return self.eat_key(byte);
        }
        match byte {
            b'"' if self.awaits_key => {
                self.in_key = true;
                self.key.clear();
                self.key.push(byte);
                Token::KeyBegins
            }
            b'"' => {
                self.skip = Some(Skip::string());
                Token::Nothing
            }
            b'{' | b'[' => Token::Open,
            b'}' | b']' => Token::Close,
            b',' => {
                self.awaits_key = !array;
                Token::Comma
            }
            _ => Token::Nothing,
        }
    }

    fn eat_key(&mut self, byte: u8) -> Token {
        if self.key.len() < MOST_KEY {
            self.key.push(byte);
        }
        match byte {
            _ if self.escape => self.escape = false,
            b'\\' => self.escape = true,
            b'"' => {
                (self.in_key, self.awaits_key) = (false, false);
                return Token::Key;
            }
            _ => {}
        }
        Token::Nothing
    }
}

/// Longer than any relevant key, even if fully escaped.
const MOST_KEY: usize = 128;
