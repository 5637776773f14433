//! Decodes bytes as printed by the recorders.

/// Splits a command line that was printed with `%q`: backslashes, single quotes, and nothing else.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|char| *char != '\''));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// Decodes `cat -v`.
pub(super) fn unprint(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let control = |byte: u8| {
        if byte == b'?' { 127 } else { byte.wrapping_sub(64) }
    };
    while at < bytes.len() {
        let (byte, used) = match &bytes[at..] {
            [b'M', b'-', b'^', byte, ..] => (control(*byte) | 128, 4),
            [b'M', b'-', byte, ..] => (*byte | 128, 3),
            [b'^', byte @ (b'@'..=b'_' | b'?'), ..] => (control(*byte), 2),
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        out.push(byte);
        at += used;
    }
    out
}

/// Decodes Python's `repr` of bytes.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend(char.to_string().as_bytes());
            continue;
        }
        out.push(match chars.next().expect("an escape") {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).expect("two digits")
            }
            other => u8::try_from(other).expect("one byte"),
        });
    }
    out
}

/// Replaces the boundary of a multipart body, which starts with `--` and the boundary.
pub(super) fn plain_boundary(body: &[u8]) -> Vec<u8> {
    let text: String = body.iter().copied().map(char::from).collect();
    let boundary = text.split("\r\n").next().unwrap_or_default().trim_start_matches('-').to_owned();
    let mut text = text.replace(&boundary, "boundary");
    // For nested multipart bodies.
    let inner: Vec<_> = text.split("boundary=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if let Some(inner) = inner.first().map(|inner| (*inner).to_owned()) {
        text = text.replace(&inner, "inner");
    }
    text.chars().filter_map(|char| u8::try_from(char).ok()).collect()
}

/// Reassembles the chunks of a printed chunked body.
pub(super) fn unframe(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}
