//! A multipart parser that follows RFC 2046 section 5.1 to the letter: anything CouchDB does not write is rejected.

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Part {
    /// Returns a header's value; repeated headers are rejected when the part is parsed.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A header's value in lower case, and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    pub essence: String,
    pub parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parses `type/subtype; name="value"; ...`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = text.split(';');
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut parameters = Vec::new();
        for piece in pieces {
            let (name, value) =
                piece.split_once('=').ok_or_else(|| format!("a parameter without a value in {text:?}"))?;
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            if quoted.is_none() && value.contains('"') {
                return Err(format!("half a quotation in {text:?}"));
            }
            parameters.push((name.trim().to_ascii_lowercase(), quoted.unwrap_or(value).to_owned()));
        }
        Ok(Self { essence, parameters })
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the parts of a body with this `Content-Type`. Nothing may precede the first boundary or follow the last.
pub fn parts(content_type: &str, essence: &str, body: &[u8]) -> Result<Vec<Part>, String> {
    let kind = MediaType::parse(content_type)?;
    if kind.essence != essence {
        return Err(format!("{content_type:?} is not {essence}"));
    }
    let boundary = kind.parameter("boundary").ok_or_else(|| format!("{content_type:?} has no boundary"))?;
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(format!("a boundary of {} characters", boundary.len()));
    }
    let first = format!("--{boundary}");
    let mut left = body.strip_prefix(first.as_bytes()).ok_or("the body does not begin with its boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    let mut found = Vec::new();
    loop {
        if left == b"--" || left == b"--\r\n" {
            return Ok(found);
        }
        if let Some(more) = left.strip_prefix(b"--") {
            return Err(format!("{} bytes after the last boundary", more.len()));
        }
        let start = left.strip_prefix(b"\r\n").ok_or("a boundary has to end its line")?;
        let end = position(start, delimiter.as_bytes()).ok_or("a part without an end")?;
        found.push(part(&start[..end])?);
        left = &start[end + delimiter.len()..];
    }
}

fn part(bytes: &[u8]) -> Result<Part, String> {
    let end = position(bytes, b"\r\n\r\n").ok_or("a part whose headers do not end")?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "headers that are not UTF-8")?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("{line:?} is no header"))?;
        let name = name.to_ascii_lowercase();
        if headers.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name} twice in one part"));
        }
        headers.push((name, value.to_owned()));
    }
    let part = Part { headers, body: bytes[end + 4..].to_vec() };
    if let Some(length) = part.header("content-length")
        && length.parse() != Ok(part.body.len())
    {
        return Err(format!("a part of {} bytes says that it has {length}", part.body.len()));
    }
    Ok(part)
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
