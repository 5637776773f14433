//! A strict parser of Prometheus' text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// A metric with all of its series.
#[derive(Debug, Clone)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

impl Family {
    /// Returns the names of its labels, without a histogram's `le`.
    pub fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys().map(String::as_str));
        names.filter(|name| *name != "le").collect()
    }
}

pub type Exposition = BTreeMap<String, Family>;

/// Parses the whole text; any deviation from the format is an error.
pub fn parse(text: &str) -> Result<Exposition, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut families = Exposition::new();
    let mut current: Option<(String, Family)> = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
            let (typed, kind) = kind.ok_or_else(|| format!("no type after {line}"))?;
            if typed != name || !is_name(name, true) || !matches!(kind, "counter" | "gauge" | "histogram") {
                return Err(format!("{line} is followed by the type {kind} of {typed}"));
            }
            close(&mut families, current.take())?;
            let family = Family { kind: kind.to_owned(), help: help.to_owned(), samples: Vec::new() };
            current = Some((name.to_owned(), family));
        } else {
            let sample = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
            let Some((name, family)) = &mut current else { return Err(format!("{line} before any type")) };
            if !belongs(&sample.name, name, &family.kind) {
                return Err(format!("{line} below {name}"));
            }
            family.samples.push(sample);
        }
    }
    close(&mut families, current)?;
    Ok(families)
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    match sample.strip_prefix(family) {
        Some("") => kind != "histogram",
        Some("_bucket" | "_sum" | "_count") => kind == "histogram",
        _ => false,
    }
}

fn close(families: &mut Exposition, family: Option<(String, Family)>) -> Result<(), String> {
    let Some((name, family)) = family else { return Ok(()) };
    let mut seen = BTreeSet::new();
    for Sample { name, labels, value } in &family.samples {
        if !seen.insert((name, labels)) {
            return Err(format!("{name}{labels:?} is there twice"));
        }
        if family.kind != "gauge" && !(value.is_finite() && *value >= 0.0) {
            return Err(format!("{name}{labels:?} is {value}"));
        }
    }
    if family.samples.is_empty() || family.help.is_empty() {
        return Err(format!("{name} has no samples or no help"));
    }
    if family.kind == "counter" && !name.ends_with("_total") {
        return Err(format!("{name} is a counter"));
    }
    if family.kind == "histogram" {
        histogram(&name, &family)?;
    }
    match families.insert(name.clone(), family) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice")),
    }
}

fn histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    let mut totals: BTreeMap<Labels, [Option<f64>; 2]> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        match (&sample.name[name.len()..], bound) {
            ("_bucket", Some(bound)) => {
                let bound = number(&bound).ok_or_else(|| format!("{name} has the bound {bound}"))?;
                series.entry(labels).or_default().push((bound, sample.value));
            }
            ("_sum", None) => totals.entry(labels).or_default()[0] = Some(sample.value),
            ("_count", None) => totals.entry(labels).or_default()[1] = Some(sample.value),
            (end, bound) => return Err(format!("{name}{end} with the bound {bound:?}")),
        }
    }
    for (labels, buckets) in &series {
        let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, count)| *count);
        match totals.get(labels) {
            Some([Some(_), count]) if rising && last.is_some() && *count == last => {}
            totals => return Err(format!("{name}{labels:?}: {buckets:?} and {totals:?}")),
        }
    }
    if series.len() == totals.len() { Ok(()) } else { Err(format!("{name} has series without buckets")) }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = number(value.strip_prefix(' ')?)?;
    is_name(name, true).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Parses `a="b",c="d"}`; also returns the rest.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    _ => return None,
                }),
                (_, other) => value.push(other),
            }
        };
        if !is_name(name, false) || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        let after = &after[end..];
        match after.strip_prefix('}') {
            Some(after) => return Some((labels, after)),
            None => rest = after.strip_prefix(',')?,
        }
    }
}

fn is_name(name: &str, may_have_colons: bool) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || may_have_colons && c == ':';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain)
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok(),
        _ => None,
    }
}

#[test]
fn what_is_wrong_is_found() {
    let sound = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\"} 1\na_total{b=\"d\"} 2\n\
                 # HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    assert_eq!(parse(sound).map(|families| families.len()), Ok(2));
    for (from, to) in [
        ("a_total{b=\"d\"} 2\n", "a_total{b=\"d\"} 2"),
        ("{b=\"d\"}", "{b=\"c\\\"\\\\\"}"),
        ("{b=\"d\"} 2", "{b=\"d\"} -2"),
        ("{b=\"d\"} 2", "{b=\"d\" } 2"),
        ("{b=\"d\"} 2", "{b=\"d\"} two"),
        ("{b=\"d\"}", "{0b=\"d\"}"),
        ("TYPE a_total counter", "TYPE a_total summary"),
        ("# TYPE a_total counter\n", ""),
        ("a_total", "a"),
        ("le=\"+Inf\"", "le=\"0.2\""),
        ("le=\"0.1\"} 1", "le=\"0.1\"} 3"),
        ("h_count 2", "h_count 3"),
        ("h_sum 3\n", ""),
        ("# HELP h H.", "# HELP a_total H."),
    ] {
        let wrong = if from.ends_with('\n') && !to.ends_with('\n') && !to.is_empty() {
            "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"d\"} 2".to_owned()
        } else {
            sound.replace(from, to)
        };
        assert!(parse(&wrong).is_err(), "{from:?} {to:?}");
    }
}
