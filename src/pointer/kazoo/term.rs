//! A parser for the subset of Erlang's external term format in KAZOO's pointers.
//!
//! `eetf` decodes terms but trusts its input: it recurses, reserves whatever a length announces, and panics on two tags. So [`check`] first validates
//! the bytes without recursion, and only accepts data: atoms (as strings, without creating any), numbers, binaries, lists, tuples and maps, of
//! bounded size and depth.
//!
//! Source: "External Term Format" in the ERTS user's guide.

use std::fmt;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value};

/// A term that contains only data.
#[derive(Clone, PartialEq)]
pub(super) enum Term {
    /// `undefined` and `null`.
    Nothing,
    Flag(bool),
    Number(serde_json::Number),
    /// An atom, a binary, or a string of characters.
    Text(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// Prints no values, which may be keys.
impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Flag(_) => "Flag",
            Self::Number(_) => "Number",
            Self::Text(_) => "Text",
            Self::List(_) => "List",
            Self::Tuple(_) => "Tuple",
            Self::Map(_) => "Map",
        })
    }
}

impl Term {
    /// Parses a base64 term. Returns `None` for anything but bounded data.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MOST_BYTES.div_ceil(3) * 4 {
            return None;
        }
        Self::decode(&STANDARD.decode(text).ok()?)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let plain = match rest.strip_prefix(&[COMPRESSED]) {
            Some(compressed) => inflated(compressed)?,
            None => rest.to_vec(),
        };
        check(&plain)?;
        let whole = [&[VERSION], plain.as_slice()].concat();
        Self::from_eetf(eetf::Term::decode(whole.as_slice()).ok()?)
    }

    fn from_eetf(term: eetf::Term) -> Option<Self> {
        use eetf::Term as E;
        Some(match term {
            E::Atom(atom) => match atom.name.as_str() {
                "undefined" | "null" => Self::Nothing,
                "true" => Self::Flag(true),
                "false" => Self::Flag(false),
                _ => Self::Text(atom.name),
            },
            E::FixInteger(number) => Self::Number(number.value.into()),
            E::BigInteger(number) => Self::Number(i64::try_from(number.value).ok()?.into()),
            E::Float(number) => Self::Number(serde_json::Number::from_f64(number.value)?),
            E::Binary(binary) => Self::Text(String::from_utf8(binary.bytes).ok()?),
            E::ByteList(list) => Self::Text(characters(list.bytes)),
            E::List(list) => Self::List(list.elements.into_iter().map(Self::from_eetf).collect::<Option<_>>()?),
            E::Tuple(tuple) => Self::Tuple(tuple.elements.into_iter().map(Self::from_eetf).collect::<Option<_>>()?),
            E::Map(map) => Self::Map(map.map.into_iter().map(Self::pair).collect::<Option<_>>()?),
            _ => return None,
        })
    }

    fn pair((key, value): (eetf::Term, eetf::Term)) -> Option<(String, Self)> {
        Some((Self::from_eetf(key)?.into_text()?, Self::from_eetf(value)?))
    }

    /// Converts the term to a string, also from a list of characters.
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(list) => list.into_iter().map(Self::character).collect(),
            _ => None,
        }
    }

    fn character(self) -> Option<char> {
        let Self::Number(number) = self else { return None };
        char::from_u32(u32::try_from(number.as_u64()?).ok()?)
    }

    /// Converts a map to settings, without undefined values.
    pub(super) fn into_settings(self) -> Option<Map<String, Value>> {
        let Self::Map(pairs) = self else { return None };
        let defined = pairs.into_iter().filter(|(_, value)| !matches!(value, Self::Nothing));
        defined.map(|(key, value)| Some((key, value.into_json()?))).collect()
    }

    pub(super) fn into_json(self) -> Option<Value> {
        Some(match self {
            Self::Nothing => Value::Null,
            Self::Flag(flag) => Value::Bool(flag),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text),
            Self::List(list) | Self::Tuple(list) => list.into_iter().map(Self::into_json).collect::<Option<_>>()?,
            map @ Self::Map(_) => Value::Object(map.into_settings()?),
        })
    }
}

/// Decodes a string. Erlang converts a binary to a list byte by byte: the bytes are UTF-8, or else Latin-1.
fn characters(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Decompresses `term_to_binary(_, [compressed])`: the announced size, and a zlib stream of exactly that size.
fn inflated(compressed: &[u8]) -> Option<Vec<u8>> {
    let (size, stream) = compressed.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok().filter(|size| *size <= MOST_BYTES)?;
    let mut plain = Vec::with_capacity(size);
    ZlibDecoder::new(stream).take(size as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() == size).then_some(plain)
}

/// Checks that the bytes are exactly one term, of data only and within the bounds.
fn check(bytes: &[u8]) -> Option<()> {
    if bytes.len() > MOST_BYTES {
        return None;
    }
    let mut reader = Reader(bytes);
    // The number of terms left on each level; a list has one more for its tail.
    let mut open: Vec<u64> = vec![1];
    let mut left = MOST_TERMS;
    while let Some(level) = open.last_mut() {
        if *level == 0 {
            open.pop();
            continue;
        }
        *level -= 1;
        left = left.checked_sub(1)?;
        let inside = reader.head()?;
        // Each term takes at least a byte: never reserve for more than is there.
        if inside > reader.0.len() as u64 || (inside > 0 && open.len() >= MOST_LEVELS) {
            return None;
        }
        if inside > 0 {
            open.push(inside);
        }
    }
    reader.0.is_empty().then_some(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Skips a term except for its children, and returns their number. `None` for a term that is not data.
    fn head(&mut self) -> Option<u64> {
        let [tag] = self.take()?;
        match tag {
            SMALL_INTEGER => self.skip(1),
            INTEGER => self.skip(4),
            FLOAT => self.skip(31),
            NEW_FLOAT => self.skip(8),
            SMALL_BIG => {
                let [size] = self.take()?;
                self.skip(1 + u32::from(size))
            }
            SMALL_ATOM | SMALL_ATOM_UTF8 => {
                let [size] = self.take()?;
                self.skip(size.into())
            }
            ATOM | ATOM_UTF8 | STRING => {
                let size = u16::from_be_bytes(self.take()?);
                self.skip(size.into())
            }
            BINARY => {
                let size = u32::from_be_bytes(self.take()?);
                self.skip(size)
            }
            NIL => Some(0),
            SMALL_TUPLE => self.take().map(|[size]| size.into()),
            LARGE_TUPLE => self.take().map(|size| u32::from_be_bytes(size).into()),
            LIST => self.take().map(|size| u64::from(u32::from_be_bytes(size)) + 1),
            MAP => self.take().map(|size| 2 * u64::from(u32::from_be_bytes(size))),
            _ => None,
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// Skips the bytes of a term without children.
    fn skip(&mut self, bytes: u32) -> Option<u64> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(0)
    }
}

/// The size limit of a term, compressed or not. KAZOO's take a few hundred bytes.
const MOST_BYTES: usize = 64 << 10;
/// The limit on terms in a term, including itself.
const MOST_TERMS: u32 = 4096;
/// The limit on nested terms.
const MOST_LEVELS: usize = 32;

const VERSION: u8 = 131;
const NEW_FLOAT: u8 = 70;
const COMPRESSED: u8 = 80;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT: u8 = 99;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;
