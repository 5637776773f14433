//! The measured figures of all rounds, by subject.

use std::collections::BTreeMap;

use crate::report::{Row, spread};
use crate::subjects::{BASE, HAPROXY, NGINX, PINGORA, STOWAGE};

/// One measure: a figure per round for each subject.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rounds: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    pub(crate) fn add(&mut self, subject: &'static str, figure: f64) {
        self.rounds.entry(subject).or_default().push(figure);
    }

    /// Returns a subject's figures; empty if it is missing or has none.
    pub(crate) fn of(&self, subject: &str) -> &[f64] {
        self.rounds.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Returns the ratios within each round: interference affects both figures alike.
    pub(crate) fn ratios(&self, subject: &str, other: &str) -> Vec<f64> {
        self.of(subject).iter().zip(self.of(other)).map(|(figure, other)| figure / other).collect()
    }

    /// Returns what each subject adds to the base, round by round.
    pub(crate) fn beyond_base(&self) -> Self {
        let base = self.of(BASE);
        let beyond = |figures: &Vec<f64>| figures.iter().zip(base).map(|(figure, base)| figure - base).collect();
        Self { rounds: self.rounds.iter().map(|(&subject, figures)| (subject, beyond(figures))).collect() }
    }

    /// Returns the table's row, without a comparison.
    pub(crate) fn row(&self, measure: String, decimals: usize) -> Row {
        let cell = |subject| spread(self.of(subject), decimals);
        Row {
            measure,
            base: cell(BASE),
            nginx: cell(NGINX),
            haproxy: cell(HAPROXY),
            pingora: cell(PINGORA),
            stowage: cell(STOWAGE),
            ..Row::default()
        }
    }
}
