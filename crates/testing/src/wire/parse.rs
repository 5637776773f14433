//! Parses the recordings: `curl` exchanges (01-12) and raw sockets (13).

use std::collections::HashMap;
use std::path::Path;

use super::client::Answer;
use super::decode::{unescape, unprint, words};

/// How an exchange was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Curl,
    Raw,
}

/// One recorded exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub file: String,
    pub title: String,
    pub form: Form,
    /// What is sent, in pieces, with a response awaited in between.
    pub sent: Vec<Vec<u8>>,
    /// The final responses, in order; empty if the server stayed silent. A body is as printed.
    pub expected: Vec<Answer>,
    /// Which of the responses have no body because they respond to HEAD.
    pub heads_only: Vec<bool>,
    /// Whether the server closed the connection.
    pub closed: bool,
    /// Whether the body was printed with its chunk framing.
    pub framed: bool,
}

impl Exchange {
    /// Replaces a text in requests and responses, and adjusts the lengths of their bodies.
    pub fn rename(&mut self, from: &str, to: &str) {
        for segment in &mut self.sent {
            *segment = recounted(segment, &replaced(segment, from, to));
        }
        for answer in &mut self.expected {
            let before = answer.body.len();
            answer.body = replaced(&answer.body, from, to);
            for (name, value) in &mut answer.headers {
                *value = value.replace(from, to);
                if name == "content-length" {
                    let length: usize = value.parse().expect("a length");
                    *value = (length + answer.body.len() - before).to_string();
                }
            }
        }
    }
}

/// Adjusts a request's Content-Length to its new body.
fn recounted(before: &[u8], after: &[u8]) -> Vec<u8> {
    let body =
        |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| bytes.len() - at - 4);
    let length = |bytes: &[u8]| format!("\r\nContent-Length: {}\r\n", body(bytes));
    if body(before) == body(after) { after.to_vec() } else { replaced(after, &length(before), &length(after)) }
}

/// Replaces all occurrences of a text in bytes.
pub fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.replace(from, to).into_bytes();
    }
    let (mut made, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    made.extend_from_slice(rest);
    made
}

/// Returns all recordings, in the order in which they were made.
pub fn recordings() -> Vec<Exchange> {
    let folder = crate::root().join("tests/fixtures/couchdb-wire");
    let files = std::fs::read_dir(&folder).expect("the recordings").filter_map(Result::ok);
    let mut files: Vec<_> = files.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    files.iter().flat_map(|path| file(path)).collect()
}

fn file(path: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(path).expect("a recording");
    let file = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
    let mut seen = HashMap::new();
    let mut exchanges = Vec::new();
    for section in format!("\n{text}").split("\n########## ").skip(1) {
        let (title, rest) = section.split_once('\n').expect("a title");
        let count = seen.entry(title.to_owned()).and_modify(|count| *count += 1).or_insert(1);
        let title = if *count > 1 { format!("{title} ({count})") } else { title.to_owned() };
        exchanges.push(if file.starts_with("13") { raw(&file, title, rest) } else { curl(&file, title, rest) });
    }
    exchanges
}

fn curl(file: &str, title: String, text: &str) -> Exchange {
    let (command, rest) = text.split_once("\n--- request head (curl -v)\n").expect("a request");
    let (head, response) = rest.split_once("\n--- response\n").expect("a response");
    let words = words(command.lines().find(|line| line.starts_with("curl ")).expect("a command"));
    let lines: Vec<&str> = head.lines().map(|line| line.strip_prefix('>').unwrap_or(line)).collect();
    let chunked = lines.contains(&"Transfer-Encoding: chunked");
    let mut sent = lines.join("\r\n").into_bytes();
    sent.extend_from_slice(b"\r\n");
    let length = lines.iter().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let body = body(&words, length);
    if chunked {
        sent.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        sent.extend_from_slice(&body);
        sent.extend_from_slice(b"\r\n0\r\n\r\n");
    } else {
        sent.extend_from_slice(&body);
    }
    Exchange {
        file: file.to_owned(),
        title,
        form: Form::Curl,
        sent: vec![sent],
        expected: answers(response),
        heads_only: vec![words.iter().any(|word| word == "-I")],
        closed: false,
        framed: words.iter().any(|word| word == "--raw"),
    }
}

/// Parses the responses of a printed exchange; 1xx are skipped, and the last one's body is the rest.
fn answers(text: &str) -> Vec<Answer> {
    let Some((head, body)) = text.split_once("\n\n") else {
        return Vec::new();
    };
    let Some(mut answer) = Answer::head(head.lines()) else {
        return Vec::new();
    };
    if answer.status < 200 {
        return answers(body);
    }
    answer.body = unprint(body);
    vec![answer]
}

/// Returns the request body named by the arguments of `curl`.
fn body(words: &[String], length: Option<usize>) -> Vec<u8> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-d" | "--data-binary") {
            let data = words.next().expect("data");
            return data
                .strip_prefix("@FILES/")
                .map_or_else(|| data.clone().into_bytes(), |name| file_body(name, length));
        }
    }
    Vec::new()
}

/// Returns the content of uploaded files, as far as it is known.
fn file_body(name: &str, length: Option<usize>) -> Vec<u8> {
    use std::io::Write as _;
    match name {
        "bin.mp3" => recording(2048),
        "hello.txt" => b"hello attachment\n".to_vec(),
        "hello.gz" => {
            let level = flate2::Compression::default();
            // The recorder's system was Unix, which is recorded in one byte of the file.
            let mut packer = flate2::GzBuilder::new().operating_system(3).write(Vec::new(), level);
            packer.write_all(b"hello attachment\n").expect("in memory");
            packer.finish().expect("in memory")
        }
        // Their bytes are not recorded anywhere, and no response shows them.
        "a2000.mp3" => vec![b'a'; 2000],
        "big.wav" => recording(3 * 1024 * 1024),
        // Only the first of the three bodies of this name is recorded.
        "mp" => match length {
            Some(373) => {
                include_bytes!("../../../../tests/fixtures/couchdb-wire/07-multipart-request-body.bin").to_vec()
            }
            Some(313) => by_order(),
            Some(273) => longer_than_told(),
            other => panic!("no multipart body of {other:?} bytes"),
        },
        other => panic!("unknown file {other}"),
    }
}

/// The recorded multipart body without its number and names, of the length that was sent.
fn by_order() -> Vec<u8> {
    let body = "--abc123\r\nContent-Type: application/json\r\n\r\n{\"_attachments\":{\"foo.mp3\":{\"follows\":true,\
        \"content_type\":\"audio/mpeg\",\"length\":21},\"bar.txt\":{\"follows\":true,\"content_type\":\"text/plain\",\
        \"length\":5}}}\r\n--abc123\r\nContent-Type: audio/mpeg\r\n\r\nThis is 21 chars long\r\n--abc123\r\n\
        Content-Type: text/plain\r\n\r\nshort\r\n--abc123--";
    assert_eq!(body.len(), 313);
    body.into()
}

/// A multipart body of the length that was sent, with an attachment longer than announced.
fn longer_than_told() -> Vec<u8> {
    let body = "--abc123\r\nContent-Type: application/json\r\n\r\n{\"filler\":\"012345678901234567890123456789012\",\
        \"_attachments\":{\"foo.mp3\":{\"follows\":true,\"content_type\":\"audio/mpeg\",\"length\":5}}}\r\n--abc123\r\n\
        Content-Disposition: attachment; filename=\"foo.mp3\"\r\n\r\nThis is 21 chars long\r\n--abc123--";
    assert_eq!(body.len(), 273);
    body.into()
}

/// The bytes 0 to 255, repeated.
pub fn recording(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

fn raw(file: &str, title: String, text: &str) -> Exchange {
    let (_, rest) = text.split_once("--- sent\n").expect("what was sent");
    let (sent, got) = rest.split_once("\n--- got (").expect("what came");
    let (state, got) = got.split_once(")\n").expect("a state");
    let sent = pieces(&sent.replace('\n', ""));
    let heads_only = sent.iter().map(|piece| piece.starts_with(b"HEAD ")).collect();
    Exchange {
        file: file.to_owned(),
        title,
        form: Form::Raw,
        sent,
        heads_only,
        expected: raw_answers(got),
        closed: state == "server closed",
        framed: false,
    }
}

/// Returns what was sent, with partially printed bodies (`...[n bytes]`) completed.
fn pieces(text: &str) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut pieces = Vec::new();
    for (index, part) in text.split(" bytes]").enumerate() {
        let last = index == text.matches(" bytes]").count();
        let Some((shown, count)) = part.rsplit_once(" ...[").filter(|_| !last) else {
            whole.extend(unescape(part));
            continue;
        };
        let count: usize = count.parse().expect("a count");
        let shown = unescape(shown);
        let head = shown.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let expects = shown[..head].windows(7).any(|seven| seven == b"Expect:");
        let length = header_length(&shown[..head]).unwrap_or(count);
        let zeros = shown[head..].starts_with(&[0, 0]);
        whole.extend_from_slice(&shown[..head]);
        if expects {
            pieces.push(std::mem::take(&mut whole));
        }
        whole.extend(if zeros { vec![0; length] } else { recording(length) });
        if text.matches(" bytes]").count() > 1 {
            pieces.push(std::mem::take(&mut whole));
        }
    }
    if !whole.is_empty() {
        pieces.push(whole);
    }
    pieces
}

fn header_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "))?;
    line.parse().ok()
}

/// Parses the final responses of a raw recording. All their bodies are a single line.
fn raw_answers(text: &str) -> Vec<Answer> {
    let mut lines = text.lines().peekable();
    let mut answers = Vec::new();
    while let Some(first) = lines.next() {
        let Some(first) = first.strip_suffix("\\r\\n").filter(|line| line.starts_with("HTTP/")) else {
            continue;
        };
        let mut head = vec![first];
        for line in lines.by_ref() {
            match line.strip_suffix("\\r\\n") {
                Some("") | None => break,
                Some(line) => head.push(line),
            }
        }
        let mut answer = Answer::head(head.into_iter()).expect("a head");
        if lines.peek().is_some_and(|line| line.starts_with(['{', '['])) {
            answer.body = format!("{}\n", lines.next().unwrap_or_default()).into_bytes();
        }
        if answer.status >= 200 {
            answers.push(answer);
        }
    }
    answers
}
