//! Feeds arbitrary bytes as CouchDB's response, in chunks of arbitrary size. A response that is passed on must stay unchanged, and the chunk
//! size must not change the output.
//!
//! The first byte sets the chunk size.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stowage_couch::{Event, Fault, Path, Scanner, Step};

const PATHS: [&[Path]; 3] = [
    &[&[]],
    &[&[Step::Member("rows"), Step::Element, Step::Member("doc")], &[Step::Member("doc")]],
    &[&[Step::Member("results"), Step::Element, Step::Member("docs"), Step::Element, Step::Member("ok")]],
];

/// Returns the bytes to pass on and the events' own bytes, each concatenated.
fn read(paths: &'static [Path], bytes: &[u8], piece: usize, pass_on: bool) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let mut scanner = Scanner::new(paths, 1 << 16);
    let (mut passed, mut told) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        scanner.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = scanner.event()? {
            match event {
                Event::Pass(bytes) | Event::Document(bytes) => passed.extend_from_slice(&bytes),
                Event::Begin(head, opening) => {
                    passed.extend_from_slice(&[head, opening].concat());
                    if pass_on {
                        scanner.pass_on();
                    }
                }
                Event::Entry(bytes) | Event::Value(bytes) | Event::End(bytes) => told.extend_from_slice(&bytes),
            }
        }
    }
    scanner.ended()?;
    Ok((passed, told))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*first).max(1);
    for paths in PATHS {
        for pass_on in [true, false] {
            let whole = read(paths, bytes, bytes.len().max(1), pass_on);
            assert_eq!(read(paths, bytes, piece, pass_on), whole);
            if let Ok((passed, told)) = whole
                && pass_on
            {
                assert!(told.is_empty());
                assert_eq!(passed, bytes);
            }
        }
    }
});
