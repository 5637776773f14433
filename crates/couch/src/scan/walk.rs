//! Walking over JSON byte by byte, one level at a time.

use super::unquoted;

/// What a byte is on the level that is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    KeyBegins,
    /// The quote behind a key.
    Key,
    /// `{` or `[` of a value: to be entered or skipped.
    Open,
    /// `}` or `]` of this level.
    Close,
    Comma,
    /// Nothing that matters.
    Nothing,
}

/// Walks over the members of an object, or the elements of a list.
#[derive(Debug, Default)]
pub(super) struct Walker {
    skip: Option<Skip>,
    /// In an object, before a key.
    awaits_key: bool,
    in_key: bool,
    escape: bool,
    /// The key with its quotes, as far as it can be one that matters.
    key: Vec<u8>,
}

/// A value that is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skip {
    depth: usize,
    string: bool,
    escape: bool,
}

impl Skip {
    /// Behind the `{` or `[` of a value.
    pub(super) const fn container() -> Self {
        Self { depth: 1, string: false, escape: false }
    }

    /// Behind the quote of a string.
    pub(super) const fn string() -> Self {
        Self { depth: 0, string: true, escape: false }
    }

    /// How many of the next bytes say nothing.
    fn idle(self, bytes: &[u8]) -> usize {
        let matters = |byte: &u8| match byte {
            b'"' => true,
            b'\\' => self.string,
            b'{' | b'}' | b'[' | b']' => !self.string,
            _ => false,
        };
        if self.escape { 0 } else { bytes.iter().position(matters).unwrap_or(bytes.len()) }
    }

    /// Whether the value ends with this byte.
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
    /// Behind the `{` of an object.
    pub(super) fn in_object() -> Self {
        Self { awaits_key: true, ..Self::default() }
    }

    /// Behind a value, or at the beginning of a list.
    pub(super) fn behind_value() -> Self {
        Self::default()
    }

    /// Passes over the value that has begun.
    pub(super) const fn skip(&mut self, skip: Skip) {
        self.skip = Some(skip);
    }

    pub(super) const fn is_in_key(&self) -> bool {
        self.in_key
    }

    /// Whether a value may begin here, or has just ended.
    pub(super) const fn is_at_value(&self) -> bool {
        self.skip.is_none() && !self.awaits_key && !self.in_key
    }

    /// Whether the last key is this one.
    pub(super) fn key_is(&self, name: &str) -> bool {
        self.key.len() < MOST_KEY && unquoted(&self.key) == name
    }

    /// How many of the next bytes need not be looked at one by one.
    pub(super) fn idle(&self, bytes: &[u8]) -> usize {
        self.skip.map_or(0, |skip| skip.idle(bytes))
    }

    /// The next byte.
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

/// Longer than any key that matters, however it is escaped.
const MOST_KEY: usize = 128;
