//! The operations of a client, in terms that remain meaningful if earlier operations are removed.

use proptest::prelude::*;
use proptest::sample::select;

use super::features::Feature;
use stowage_testing::switch::Weather;

/// The ids of documents.
pub const DOCUMENTS: [&str; 3] = ["a", "b", "ä/1 +"];

/// The names of attachments. The third contains a slash, which is not encoded in a path.
pub const NAMES: [&str; 3] = ["call.mp3", "n ü+.bin", "dir/y.wav"];

/// The bytes of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub length: usize,
    pub seed: u8,
}

impl Payload {
    pub fn bytes(self) -> Vec<u8> {
        (0..self.length)
            .map(|at| (at as u8).wrapping_mul(31).wrapping_add(self.seed).wrapping_add((at >> 8) as u8))
            .collect()
    }
}

/// The revision in a write.
#[derive(Clone, Copy, Debug)]
pub enum Rev {
    None,
    /// The winner, deleted or not.
    Current,
    /// The winner, given in `If-Match` or in the document's body.
    Elsewhere,
    /// The winner, in a spelling that no server uses.
    Spelt,
    /// A leaf, counted from the winner.
    Leaf(usize),
    /// A past revision of the document, counted back.
    Old(usize),
    /// A revision that no document has.
    Unknown,
    /// An invalid revision.
    Malformed,
}

/// The revision in a read.
#[derive(Clone, Copy, Debug)]
pub enum At {
    Winner,
    Leaf(usize),
    Unknown,
}

/// An attachment in a document to be written.
#[derive(Clone, Copy, Debug)]
pub enum Carried {
    Data(Payload),
    /// A stub as shown in the document.
    Stub,
    /// Only `"stub": true`.
    Bare,
}

/// The form of a document with attachments.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Json,
    Post,
    Multipart,
    Bulk,
}

/// A document to be written.
#[derive(Clone, Debug)]
pub struct Edit {
    pub document: &'static str,
    pub rev: Rev,
    pub deleted: bool,
    pub attachments: Vec<(&'static str, Carried)>,
}

/// A replicated revision.
#[derive(Clone, Debug)]
pub struct Branch {
    pub document: &'static str,
    /// The parent revision; `None` for a first one.
    pub parent: Option<Rev>,
    /// Whether the hash wins over those made by servers.
    pub high: bool,
    pub deleted: bool,
    pub form: Form,
    pub attachments: Vec<(&'static str, Carried)>,
}

/// A request.
#[derive(Clone)]
pub enum Operation {
    Put {
        document: &'static str,
        name: &'static str,
        rev: Rev,
        media_type: &'static str,
        payload: Payload,
        gzip: bool,
    },
    Delete {
        document: &'static str,
        name: &'static str,
        rev: Rev,
    },
    Read {
        document: &'static str,
        name: &'static str,
        at: At,
        head: bool,
        headers: Vec<(&'static str, &'static str)>,
    },
    Write(Form, Edit),
    Bulk(Vec<Edit>),
    Branch(Branch),
    Remove {
        document: &'static str,
        rev: Rev,
    },
    Copy {
        from: &'static str,
        at: At,
        to: &'static str,
        rev: Rev,
    },
    Document {
        document: &'static str,
        query: &'static str,
        accept: &'static str,
        head: bool,
    },
    Database {
        query: &'static str,
    },
    /// The storage goes down or comes back, this many milliseconds after the start of the next operation, or before it.
    Turn {
        to: Weather,
        after: Option<u64>,
    },
}

/// Generates any supported operation.
pub fn any() -> BoxedStrategy<Operation> {
    let packed = proptest::bool::weighted(if Feature::Packed.on() { 0.15 } else { 0.0 });
    let put = (document(), name(), rev(), media_type(), payload(), packed).prop_map(
        |(document, name, rev, media_type, payload, gzip)| Operation::Put {
            document,
            name,
            rev,
            media_type,
            payload,
            gzip,
        },
    );
    let delete =
        (document(), name(), rev()).prop_map(|(document, name, rev)| Operation::Delete { document, name, rev });
    let read = (document(), name(), at(), proptest::bool::weighted(0.3), conditions())
        .prop_map(|(document, name, at, head, headers)| Operation::Read { document, name, at, head, headers });
    let forms = select(vec![Form::Json, Form::Json, Form::Post, Form::Multipart]);
    let write = (forms, edit()).prop_map(|(form, edit)| Operation::Write(form, edit));
    let bulk = proptest::collection::vec(edit(), 1..4).prop_map(Operation::Bulk);
    let remove = (document(), rev()).prop_map(|(document, rev)| Operation::Remove { document, rev });
    let copy =
        (document(), at(), document(), rev()).prop_map(|(from, at, to, rev)| Operation::Copy { from, at, to, rev });
    let whole = (document(), select(super::queries::queries()), proptest::bool::weighted(0.2))
        .prop_map(|(document, (query, accept), head)| Operation::Document { document, query, accept, head });
    let database = select(vec![
        "_all_docs?include_docs=true",
        "_all_docs?include_docs=true&conflicts=true",
        "_changes?style=all_docs&include_docs=true",
        "_changes?descending=true",
    ]);
    prop_oneof![
        9 => put,
        4 => delete,
        10 => read,
        5 => write,
        3 => bulk,
        4 => branch().prop_map(Operation::Branch),
        2 => remove,
        if Feature::Copies.on() { 3 } else { 0 } => copy,
        3 => whole,
        1 => database.prop_map(|query| Operation::Database { query }),
    ]
    .boxed()
}

fn document() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(DOCUMENTS[0]), 2 => Just(DOCUMENTS[1]), 1 => Just(DOCUMENTS[2])]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(NAMES[0]), 2 => Just(NAMES[1]), 1 => Just(NAMES[2])]
}

fn media_type() -> impl Strategy<Value = &'static str> {
    select(vec!["audio/mpeg", "application/octet-stream", "image/png; charset=binary", ""])
}

fn payload() -> impl Strategy<Value = Payload> {
    (select(vec![5, 0, 1, 2048, 70_000]), 0..4_u8).prop_map(|(length, seed)| Payload { length, seed })
}

fn rev() -> impl Strategy<Value = Rev> {
    prop_oneof![
        10 => Just(Rev::Current),
        2 => Just(Rev::Elsewhere),
        1 => Just(Rev::Spelt),
        3 => Just(Rev::None),
        3 => (1..3_usize).prop_map(Rev::Leaf),
        2 => (0..4_usize).prop_map(Rev::Old),
        1 => Just(Rev::Unknown),
        1 => Just(Rev::Malformed),
    ]
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![6 => Just(At::Winner), 3 => (0..3_usize).prop_map(At::Leaf), 1 => Just(At::Unknown)]
}

fn conditions() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let range = select(vec![
        "bytes=0-0",
        "bytes=0-",
        "bytes=1-3",
        "bytes=-2",
        "bytes=-0",
        "bytes=2-",
        "bytes=4-70000",
        "bytes=70000-",
        "bytes=9-1",
        "bytes=0-1,3-4",
        "bytes=0-1,99999-",
        "bytes=a-b",
        "lines=0-1",
        "bytes=0-69999",
    ]);
    prop_oneof![
        4 => Just(Vec::new()),
        4 => range.clone().prop_map(|range| vec![("Range", range)]),
        1 => range.prop_map(|range| vec![("Range", range), ("Accept-Encoding", "gzip")]),
        1 => Just(vec![("Accept-Encoding", "deflate, gzip;q=0.5")]),
        1 => Just(vec![("If-None-Match", RIGHT_TAG)]),
        1 => Just(vec![("If-None-Match", "\"XUFAKrxLKna5cZ2REBfFkg==\"")]),
        1 => Just(vec![("If-None-Match", RIGHT_TAG), ("Range", "bytes=0-0")]),
    ]
}

/// A placeholder for the attachment's current ETag.
pub const RIGHT_TAG: &str = "RIGHT";

fn attachments() -> impl Strategy<Value = Vec<(&'static str, Carried)>> {
    let stubs = u32::from(Feature::Stubs.on());
    let carried = prop_oneof![
        2 => payload().prop_map(Carried::Data),
        4 * stubs => Just(Carried::Stub),
        stubs => Just(Carried::Bare),
    ];
    proptest::collection::btree_map(name(), carried, 0..3).prop_map(|map| map.into_iter().collect())
}

/// Returns a tombstone's attachments.
fn kept(deleted: bool, attachments: Vec<(&'static str, Carried)>) -> Vec<(&'static str, Carried)> {
    if deleted && !Feature::Tombstones.on() { Vec::new() } else { attachments }
}

fn edit() -> impl Strategy<Value = Edit> {
    (document(), rev(), proptest::bool::weighted(0.15), attachments()).prop_map(|(document, rev, deleted, all)| Edit {
        document,
        rev,
        deleted,
        attachments: kept(deleted, all),
    })
}

fn branch() -> impl Strategy<Value = Branch> {
    let parent = prop_oneof![
        2 => Just(None),
        3 => (0..2_usize).prop_map(|leaf| Some(Rev::Leaf(leaf))),
        3 => (0..4_usize).prop_map(|back| Some(Rev::Old(back))),
    ];
    // POST of a document does not support `new_edits`.
    let forms = select(vec![Form::Json, Form::Bulk, Form::Multipart]);
    (document(), parent, any_bool(), proptest::bool::weighted(0.15), forms, attachments()).prop_map(
        |(document, parent, high, deleted, form, all)| Branch {
            document,
            parent,
            high,
            deleted,
            form,
            attachments: kept(deleted, all),
        },
    )
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

impl Operation {
    /// Returns the documents that the operation may change.
    pub fn touches(&self) -> Vec<&'static str> {
        match self {
            Self::Put { document, .. } | Self::Delete { document, .. } | Self::Remove { document, .. } => {
                vec![document]
            }
            Self::Write(_, edit) => vec![edit.document],
            Self::Branch(branch) => vec![branch.document],
            Self::Copy { to, .. } => vec![to],
            Self::Bulk(edits) => {
                let mut documents: Vec<_> = edits.iter().map(|edit| edit.document).collect();
                documents.sort_unstable();
                documents.dedup();
                documents
            }
            Self::Read { .. } | Self::Document { .. } | Self::Database { .. } | Self::Turn { .. } => Vec::new(),
        }
    }

    /// Returns whether the operation needs bytes that only the storage has.
    pub fn reads_bytes(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Document { .. } | Self::Database { .. } | Self::Copy { .. })
    }
}
