//! The results as one Markdown table.

use std::path::Path;

use crate::Outcome;

/// The markers around the table in a file.
const BEGIN: &str = "<!-- load: begin -->";
const END: &str = "<!-- load: end -->";

/// A row of the table; fields that do not apply are empty.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) measure: String,
    /// The figure without the gateway.
    pub(crate) base: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    pub(crate) pingora: String,
    pub(crate) stowage: String,
    /// The ratio or difference that the target applies to.
    pub(crate) compared: String,
    pub(crate) target: String,
    /// Whether the target is met, if there is one.
    pub(crate) met: Option<bool>,
}

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row and prints it at once, because a whole run takes minutes.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}", row.markdown());
        self.rows.push(row);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = "| measure | base | nginx | haproxy | pingora | stowage | compared | target | met |\n\
                        |---|--:|--:|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
        for row in &self.rows {
            text.push_str(&row.markdown());
            text.push('\n');
        }
        text
    }
}

/// A target for the median.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// Judges these values against a bound; without any, there is no verdict. `of` names their unit, or what they are a ratio of.
    pub(crate) fn judge(mut self, values: &[f64], of: &str, bound: Bound) -> Self {
        let middle = median(values);
        (self.target, self.met) = match bound {
            Bound::AtLeast(least) => (format!("at least {least}"), middle.map(|middle| middle >= least)),
            Bound::AtMost(most) => (format!("at most {most}"), middle.map(|middle| middle <= most)),
        };
        if middle.is_some() {
            self.compared = format!("{} {of}", spread(values, 2));
        }
        self
    }

    /// Adds in brackets what a ratio means on a particular machine.
    pub(crate) fn explain(mut self, meaning: &str) -> Self {
        self.target = format!("{} ({meaning})", self.target);
        self
    }

    fn markdown(&self) -> String {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let peers = [&self.nginx, &self.haproxy, &self.pingora];
        let cells = [&self.measure, &self.base].into_iter().chain(peers);
        let cells = cells.chain([&self.stowage, &self.compared, &self.target]);
        let cells: Vec<&str> = cells.map(String::as_str).chain([met]).collect();
        format!("| {} |", cells.join(" | "))
    }
}

/// Writes the text between the markers of a file.
pub(crate) fn write(file: &Path, text: &str) -> Outcome<()> {
    let missing = || format!("{}: the markers {BEGIN} and {END} are missing", file.display());
    let old = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (before, rest) = old.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    std::fs::write(file, format!("{before}{BEGIN}\n{text}{END}{after}"))?;
    Ok(())
}

/// Returns the median; for an even number of values, the upper of the two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Formats the median of the rounds and, if there are several, the lowest and the highest.
pub(crate) fn spread(values: &[f64], decimals: usize) -> String {
    let Some(middle) = median(values) else {
        return String::new();
    };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() < 2 {
        return format!("{middle:.decimals$}");
    }
    format!("{middle:.decimals$} ({low:.decimals$}..{high:.decimals$})")
}
