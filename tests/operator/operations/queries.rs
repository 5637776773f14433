//! Parses PromQL to the extent needed to find the queried series.

use std::collections::BTreeSet;

use super::exposition::Exposition;

/// A label, an operator, and a value.
pub type Matcher = (String, String, String);

/// A parsed query.
#[derive(Debug, Default)]
pub struct Query {
    /// The metrics with their label matchers.
    pub selectors: Vec<(String, Vec<Matcher>)>,
    /// The labels in groupings.
    pub groups: BTreeSet<String>,
}

const FUNCTIONS: [&str; 8] = ["changes", "count", "histogram_quantile", "increase", "max", "min", "rate", "sum"];
const GROUPINGS: [&str; 2] = ["by", "without"];

/// Splits a query into words, numbers, strings and symbols.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c == '"' {
            token.extend(chars.by_ref().take_while(|c| *c != '"'));
        } else if c.is_ascii_alphanumeric() || matches!(c, '_' | '$') {
            while let Some(next) = chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')) {
                token.push(next);
            }
        } else if matches!(c, '=' | '!' | '>' | '<') {
            token.extend(chars.next_if(|c| matches!(c, '=' | '~')));
        }
        tokens.push(token);
    }
    tokens.retain(|token| !token.trim().is_empty());
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Parses a query.
pub fn parse(text: &str) -> Result<Query, String> {
    let (mut query, mut open) = (Query::default(), Vec::new());
    let tokens = tokens(text);
    let mut rest = tokens.iter().map(String::as_str).peekable();
    while let Some(token) = rest.next() {
        match token {
            "(" | "[" => open.push(token),
            ")" | "]" => {
                let expected = if token == ")" { "(" } else { "[" };
                if open.pop() != Some(expected) {
                    return Err(format!("{text}: a {token} too many"));
                }
            }
            word if GROUPINGS.contains(&word) => {
                if rest.next() != Some("(") {
                    return Err(format!("{text}: {word} without a list"));
                }
                for label in rest.by_ref().take_while(|token| *token != ")").filter(|token| *token != ",") {
                    query.groups.insert(label.to_owned());
                }
            }
            word if FUNCTIONS.contains(&word) => {}
            word if is_word(word) && rest.peek() == Some(&"(") => {
                return Err(format!("{text}: {word} is no function that is known here"));
            }
            word if is_word(word) && open.last() != Some(&"[") => {
                let matchers = match rest.next_if_eq(&"{") {
                    Some(_) => matchers(&mut rest).ok_or_else(|| format!("{text}: the matchers of {word}"))?,
                    None => Vec::new(),
                };
                query.selectors.push((word.to_owned(), matchers));
            }
            _ => {}
        }
    }
    if open.is_empty() && !query.selectors.is_empty() {
        Ok(query)
    } else {
        Err(format!("{text}: not closed, or empty"))
    }
}

fn matchers<'a>(rest: &mut impl Iterator<Item = &'a str>) -> Option<Vec<Matcher>> {
    let mut matchers = Vec::new();
    loop {
        let (label, operator, value) = (rest.next()?, rest.next()?, rest.next()?.strip_prefix('"')?);
        if !is_word(label) || !["=", "!=", "=~", "!~"].contains(&operator) {
            return None;
        }
        matchers.push((label.to_owned(), operator.to_owned(), value.to_owned()));
        match rest.next()? {
            "}" => return Some(matchers),
            "," => {}
            _ => return None,
        }
    }
}

/// Returns the parts of a query that do not exist. `values` returns a label's possible values, if there are few.
pub fn faults(
    query: &Query,
    exposition: &Exposition,
    values: &dyn Fn(&str) -> Option<BTreeSet<String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut all_labels = BTreeSet::from(["job".to_owned(), "instance".to_owned()]);
    for (metric, matchers) in &query.selectors {
        if metric == "up" {
            continue;
        }
        let family = exposition.values().find(|family| family.samples.iter().any(|sample| sample.name == *metric));
        let Some(family) = family else {
            faults.push(format!("there is no metric {metric}"));
            continue;
        };
        let mut labels: BTreeSet<String> = family.labels().into_iter().map(str::to_owned).collect();
        labels.extend(["job".to_owned(), "instance".to_owned()]);
        if metric.ends_with("_bucket") {
            labels.insert("le".to_owned());
        }
        for (label, operator, text) in matchers {
            if !labels.contains(label) {
                faults.push(format!("{metric} has no label {label}"));
            }
            let Some(known) = values(label) else { continue };
            for pattern in text.split('|') {
                let regex = operator.ends_with('~');
                if !known.iter().any(|value| if regex { matches(pattern, value) } else { pattern == value }) {
                    faults.push(format!("{label} of {metric} is never {pattern}"));
                }
            }
        }
        all_labels.extend(labels);
    }
    faults.extend(query.groups.difference(&all_labels).map(|label| format!("nothing has the label {label}")));
    faults
}

/// Matches a regular expression of letters, `.` and `.*`.
fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix(".*"), pattern.chars().next(), text.chars().next()) {
        (Some(rest), _, _) => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        (None, None, None) => true,
        (None, Some(p), Some(t)) if p == '.' || p == t => matches(&pattern[p.len_utf8()..], &text[t.len_utf8()..]),
        _ => false,
    }
}

#[test]
fn queries_are_taken_apart() {
    let text = "histogram_quantile(0.99, sum by (le, route) (rate(a_bucket{route=~\"b|c_.*\",job=\"d\"}[$__rate_interval]))) > 2 * e";
    let query = parse(text).expect("a query");
    let names: Vec<_> = query.selectors.iter().map(|(name, matchers)| (name.as_str(), matchers.len())).collect();
    assert_eq!(names, [("a_bucket", 2), ("e", 0)]);
    assert_eq!(query.groups, BTreeSet::from(["le".to_owned(), "route".to_owned()]));
    for wrong in ["", "sum(a", "a)", "a{b}", "a{b=\"c\"", "a{b=c}", "summ(a)", "rate(a[5m)", "1 + 2"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    assert!(matches("5..", "503") && matches("a_.*", "a_b") && !matches("5..", "50") && !matches("a", "ab"));
}
