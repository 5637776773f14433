//! Detects whether a text mentions pointers, without parsing it.

use super::{Fault, POINTERS};

/// Returns whether a text may contain `pvt_attachments`, escaped or not.
#[must_use]
pub fn mentions_pointers(text: &[u8]) -> bool {
    let mut rest = text;
    // Both are rare in documents.
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'v' | b'\\')) {
        let behind = rest.get(at + 1..).unwrap_or_default();
        let found = match rest.get(at) {
            Some(b'v') => {
                behind.starts_with(b"t_attachments") && rest.get(..at).is_some_and(|before| before.ends_with(b"p"))
            }
            _ => behind.first() == Some(&b'u'),
        };
        if found {
            return true;
        }
        rest = behind;
    }
    false
}

/// Watches text that is not JSON: anything that mentions pointers is blocked.
#[derive(Debug, Default)]
pub struct Words {
    /// The end of the preceding text.
    tail: Vec<u8>,
}

impl Words {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    /// [`Fault::Pointers`]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let most = POINTERS.len() - 1;
        let is_found = |text: &[u8]| text.windows(POINTERS.len()).any(|window| window == POINTERS.as_bytes());
        self.tail.extend_from_slice(bytes.get(..most.min(bytes.len())).unwrap_or_default());
        if is_found(&self.tail) || is_found(bytes) {
            return Err(Fault::Pointers);
        }
        if let Some(end) = bytes.len().checked_sub(most) {
            self.tail.clear();
            self.tail.extend_from_slice(bytes.get(end..).unwrap_or_default());
        } else if let Some(more) = self.tail.len().checked_sub(most) {
            self.tail.drain(..more);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Words, mentions_pointers};

    #[test]
    fn names_are_found_wherever_they_stand() {
        for text in [
            "pvt_attachments",
            "x\"pvt_attachments\":",
            "vpvpvt_attachments",
            r"\u0070vt_attachments",
            r"\\pvt_attachments",
        ] {
            assert!(mentions_pointers(text.as_bytes()), "{text}");
        }
        for text in ["", "pvt_attachment", "pvt_", r"\n\\ v", "vt_attachments", "_attachments"] {
            assert!(!mentions_pointers(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_name_in_pieces_is_found() {
        let text = "<p>some pvt_attachments here</p>";
        for size in 1..40 {
            let mut words = Words::default();
            assert!(text.as_bytes().chunks(size).any(|piece| words.feed(piece).is_err()), "in pieces of {size}");
            let mut words = Words::default();
            let other = text.replace("pvt_", "pvt-");
            assert!(other.as_bytes().chunks(size).all(|piece| words.feed(piece).is_ok()), "in pieces of {size}");
        }
    }
}
