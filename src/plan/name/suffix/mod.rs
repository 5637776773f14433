//! An alternative name for an object whose composed name is taken.

use super::Name;

#[cfg(test)]
mod tests;

impl Name {
    /// Returns the name with a short unique suffix before its extension, to be used if the name itself is taken.
    ///
    /// `call.mp3` and `1f6c2a9e` give `call.1f6c2a9e.mp3`. The suffix goes into the segment where the last value from the document ends, whether in a
    /// path (`call.mp3?from=x`) or in a query (`save?path=call.mp3`): anywhere else, a server might not tell the two names apart.
    pub fn with_suffix(&self, suffix: &str) -> String {
        let is_end = |character| matches!(character, '/' | '?' | '=' | '&' | '#');
        let end = self.value_end().unwrap_or_else(|| match self.text.find('?') {
            Some(path_end) if path_end > 0 => path_end,
            _ => self.text.len(),
        });
        let (before, after) = self.text.split_at_checked(end).unwrap_or((&self.text, ""));
        let rest_at = after.find(is_end).unwrap_or(after.len());
        let (inside, rest) = after.split_at_checked(rest_at).unwrap_or((after, ""));
        let start = before.rfind(is_end).map_or(0, |at| at + 1);
        let (folder, start) = before.split_at_checked(start).unwrap_or(("", before));
        let segment = [start, inside].concat();
        match segment.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && is_extension(extension) => {
                format!("{folder}{stem}.{suffix}.{extension}{rest}")
            }
            _ if segment.is_empty() => format!("{folder}{suffix}{rest}"),
            _ => format!("{folder}{segment}.{suffix}{rest}"),
        }
    }
}

pub(super) fn is_extension(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
