#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::{AT, fixtures};
use crate::pointer::kazoo::read;
use crate::pointer::kazoo::term::Term;

fn list(count: u32, rest: &[u8]) -> Vec<u8> {
    [&[131, 108], count.to_be_bytes().as_slice(), rest].concat()
}

fn compressed(announced: u32, plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    [&[131, 80], announced.to_be_bytes().as_slice(), &encoder.finish().unwrap()].concat()
}

#[test]
fn whatever_is_no_bounded_data_is_refused() {
    let nested = |levels: usize| [&[131][..], &[104, 1].repeat(levels), &[106]].concat();
    assert!(Term::decode(&nested(31)).is_some());
    let many = |terms: u32| list(terms, &[[97, 1].repeat(terms as usize), vec![106]].concat());
    assert!(Term::decode(&many(4000)).is_some());
    let cases: &[(&str, Vec<u8>)] = &[
        ("nothing", vec![]),
        ("only a version", vec![131]),
        ("another version", vec![130, 106]),
        ("something after it", vec![131, 106, 106]),
        ("a distribution header", vec![131, 68, 0]),
        ("an atom of a cache", vec![131, 82, 0]),
        ("an atom of a cache inside", list(1, &[82, 0, 106])),
        ("a compressed term inside", list(1, &[80, 0, 0, 0, 1, 106])),
        ("a local term", vec![131, 121, 0]),
        ("a large number", vec![131, 111, 0, 0, 0, 1, 0, 1]),
        ("a number of 9 bytes", [&[131, 110, 9, 0][..], &[255; 9]].concat()),
        ("a number of no sign", vec![131, 110, 1, 7, 1]),
        ("a huge list of nothing", list(u32::MAX, &[])),
        ("a huge tuple of nothing", vec![131, 105, 255, 255, 255, 255]),
        ("a huge map of nothing", vec![131, 116, 255, 255, 255, 255]),
        ("a huge binary of nothing", vec![131, 109, 255, 255, 255, 255]),
        ("a short binary", vec![131, 109, 0, 0, 0, 2, 1]),
        ("a binary that is no text", vec![131, 109, 0, 0, 0, 1, 255]),
        ("an improper list", list(1, &[97, 1, 97, 2])),
        ("a float that is none", [&[131, 70, 0x7f, 0xf8][..], &[0; 6]].concat()),
        ("a key that is no text", vec![131, 116, 0, 0, 0, 1, 97, 1, 97, 1]),
        ("too deep", nested(32)),
        ("too many", many(5000)),
        ("too long", [&[131, 109, 0, 1, 0, 0][..], &[b'a'; 1 << 16]].concat()),
        ("more than announced", compressed(1, &[104, 0])),
        ("less than announced", compressed(3, &[104, 0])),
        ("more announced than allowed", compressed(u32::MAX, &[106])),
        ("no zlib", vec![131, 80, 0, 0, 0, 1, 106]),
        ("zlib twice", compressed(20, compressed(1, &[106]).get(1..).unwrap())),
    ];
    for (name, bytes) in cases {
        assert_eq!(Term::decode(bytes), None, "{name}");
    }
    assert!(Term::decode(&compressed(1, &[106])).is_some());
    assert_eq!(Term::read("####"), None);
}

/// Generates terms of every valid kind, as `eetf` writes them, with their meaning.
fn terms() -> impl Strategy<Value = (eetf::Term, Term)> {
    let leaf = prop_oneof![
        "[a-zé]{0,12}".prop_map(|text| (eetf::Binary::from(text.as_bytes().to_vec()).into(), Term::Text(text))),
        "[b-e]{1,12}".prop_map(|text| (eetf::Atom::from(text.as_str()).into(), Term::Text(text))),
        // Lists of smaller numbers are strings in Erlang.
        (256..i32::MAX).prop_map(|number| (eetf::FixInteger::from(number).into(), Term::Number(number.into()))),
        any::<bool>().prop_map(|flag| (eetf::Atom::from(flag.to_string().as_str()).into(), Term::Flag(flag))),
        Just((eetf::Atom::from("undefined").into(), Term::Nothing)),
    ];
    leaf.prop_recursive(5, 64, 5, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..5);
        let pairs = prop::collection::vec(("[a-z]{1,6}", inner), 0..2);
        prop_oneof![
            many.clone().prop_map(|many| {
                let (terms, means): (Vec<_>, Vec<_>) = many.into_iter().unzip();
                (eetf::Tuple::from(terms).into(), Term::Tuple(means))
            }),
            many.prop_map(|many| {
                let (terms, means): (Vec<_>, Vec<_>) = many.into_iter().unzip();
                (eetf::List::from(terms).into(), Term::List(means))
            }),
            pairs.prop_map(|pairs| {
                // One pair only, since maps are unordered.
                let pair = pairs.into_iter().next();
                let key = |key: &String| eetf::Term::from(eetf::Binary::from(key.as_bytes().to_vec()));
                let term: std::collections::HashMap<_, _> =
                    pair.iter().map(|(name, (term, _))| (key(name), term.clone())).collect();
                let means = pair.into_iter().map(|(name, (_, means))| (name, means)).collect();
                (eetf::Map::from(term).into(), Term::Map(means))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_term_comes_back((term, means) in terms()) {
        let mut bytes = Vec::new();
        term.encode(&mut bytes).unwrap();
        prop_assert_eq!(Term::decode(&bytes), Some(means.clone()));
        let plain = bytes.get(1..).unwrap();
        prop_assert_eq!(Term::decode(&compressed(u32::try_from(plain.len()).unwrap(), plain)), Some(means));
        for end in 0..bytes.len() {
            prop_assert_eq!(Term::decode(bytes.get(..end).unwrap()), None);
        }
    }

    #[test]
    fn no_bytes_stop_the_program(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Term::decode(&bytes);
        let _ = Term::decode(&[&[131], bytes.as_slice()].concat());
    }

    #[test]
    fn no_change_to_a_fixture_stops_the_program(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let all: Vec<_> = fixtures().into_iter().filter(|(_, text)| text.len() < 2000).collect();
        let (_, text) = &all[which.index(all.len())];
        let mut bytes = STANDARD.decode(text.trim()).unwrap();
        for (place, byte) in changes {
            let index = place.index(bytes.len());
            bytes[index] = byte;
        }
        let term = STANDARD.encode(bytes);
        for (module, member) in [("kz_att_s3", "S3"), ("kz_att_google_storage", "gstorage"), ("kz_att_onedrive", "onedrive")] {
            let _ = read(&serde_json::json!({ module: { member: term } }), AT);
        }
    }
}
