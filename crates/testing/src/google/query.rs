//! Drive's query language, limited to a single conjunction ("Search query terms and operators").

/// Terms that must all hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub name: Option<String>,
    pub parent: Option<String>,
    pub media_type: Option<String>,
    pub other_type: Option<String>,
    pub trashed: Option<bool>,
}

impl Query {
    /// Returns `None` for anything but a conjunction of the terms below.
    pub fn parse(text: &str) -> Option<Self> {
        let mut query = Self::default();
        let mut rest = text;
        loop {
            rest = query.term(rest)?;
            if rest.is_empty() {
                return Some(query);
            }
            rest = rest.strip_prefix(" and ")?;
        }
    }

    fn term<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix("name = ") {
            return quoted(rest, &mut self.name);
        }
        if let Some(rest) = text.strip_prefix("mimeType = ") {
            return quoted(rest, &mut self.media_type);
        }
        if let Some(rest) = text.strip_prefix("mimeType != ") {
            return quoted(rest, &mut self.other_type);
        }
        if let Some(rest) = text.strip_prefix("trashed = ") {
            let (value, rest) = rest
                .strip_prefix("false")
                .map(|rest| (false, rest))
                .or_else(|| Some((true, rest.strip_prefix("true")?)))?;
            self.trashed = Some(value);
            return Some(rest);
        }
        quoted(text, &mut self.parent)?.strip_prefix(" in parents")
    }
}

/// Parses text in single quotes, in which quotes and backslashes are escaped by a backslash.
fn quoted<'a>(text: &'a str, value: &mut Option<String>) -> Option<&'a str> {
    let mut read = String::new();
    let mut characters = text.strip_prefix('\'')?.chars();
    loop {
        match characters.next()? {
            '\\' => read.push(characters.next().filter(|next| matches!(next, '\'' | '\\'))?),
            '\'' => break,
            character => read.push(character),
        }
    }
    value.is_none().then(|| *value = Some(read))?;
    Some(characters.as_str())
}
