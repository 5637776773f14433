//! What the rounds measured, by the subject that was measured.

use std::collections::BTreeMap;

use crate::report::{Row, spread};
use crate::subjects::{BASE, HAPROXY, NGINX, PINGORA, STOWAGE};

/// One measure: a figure of each round for each subject.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rounds: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    pub(crate) fn add(&mut self, subject: &'static str, figure: f64) {
        self.rounds.entry(subject).or_default().push(figure);
    }

    /// Empty where the subject is missing or has no such figure.
    pub(crate) fn of(&self, subject: &str) -> &[f64] {
        self.rounds.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Ratios made within each round: what moved the machine moved both.
    pub(crate) fn ratios(&self, subject: &str, other: &str) -> Vec<f64> {
        self.of(subject).iter().zip(self.of(other)).map(|(figure, other)| figure / other).collect()
    }

    /// What each subject adds to the base, round by round.
    pub(crate) fn beyond_base(&self) -> Self {
        let base = self.of(BASE);
        let beyond = |figures: &Vec<f64>| figures.iter().zip(base).map(|(figure, base)| figure - base).collect();
        Self { rounds: self.rounds.iter().map(|(&subject, figures)| (subject, beyond(figures))).collect() }
    }

    /// The line of the table, without what it is compared with.
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
