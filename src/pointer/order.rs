//! The order of a document's attachments.

use stowage_couch::Document;

use super::MEMBER;

/// Moves the entries of these names before the others, in this order. CouchDB keeps attachments in the order in which the document was sent with
/// them; one added by itself comes first.
///
/// # Errors
/// Never fails for members that were parsed.
pub fn arrange<'a>(document: &mut Document, names: impl IntoIterator<Item = &'a str>) -> Result<(), serde_json::Error> {
    let Some(mut entries) = document.object(MEMBER) else { return Ok(()) };
    entries.begin_with(names);
    document.set_object(MEMBER, &entries)
}
