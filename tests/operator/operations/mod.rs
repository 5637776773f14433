//! Operators see what is documented: metrics, access lines, traces, alerts and the dashboard.

use crate::commands::program;

mod access;
mod alerts;
mod dashboard;
mod documents;
mod exposition;
mod queries;
mod scrape;
mod traces;
