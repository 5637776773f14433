//! Removes the traces of CouchDB's gzip compression of text from its responses.

use std::io::Read as _;

use super::client::Answer;

/// Returns the response a server would send that stores text as received.
pub(super) fn unpacked(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    let before = answer.body.len();
    drop_members(&mut answer.body);
    while unpack_part(&mut answer.body) {}
    for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "content-length") {
        let length: usize = value.parse().expect("a length");
        if before > 0 {
            *value = (length + answer.body.len() - before).to_string();
        }
    }
    answer
}

/// Removes the encoding from `_attachments`.
fn drop_members(body: &mut Vec<u8>) {
    let member = b",\"encoding\":\"gzip\",\"encoded_length\":";
    while let Some(at) = find(body, member) {
        let digits = body[at + member.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        body.drain(at..at + member.len() + digits);
    }
}

/// Decompresses the first gzipped part of a multipart body.
fn unpack_part(body: &mut Vec<u8>) -> bool {
    let (length, encoding) = (b"Content-Length: ".as_slice(), b"\r\nContent-Encoding: gzip\r\n\r\n".as_slice());
    let Some(end) = find(body, encoding) else {
        return false;
    };
    let digits = body[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = end - digits;
    assert!(body[..start].ends_with(length), "a gzipped part has a length");
    let count: usize = std::str::from_utf8(&body[start..end]).expect("digits").parse().expect("a length");
    let data = end + encoding.len();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[data..data + count]).read_to_end(&mut plain).expect("gzip");
    let part = [plain.len().to_string().as_bytes(), b"\r\n\r\n", &plain].concat();
    body.splice(start..data + count, part);
    true
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
