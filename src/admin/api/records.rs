//! `GET .../storage/errors`: failure records, newest first.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use stowage_couch::DocumentPath;
use stowage_http::target::encode;

use super::Api;
use super::envelope::{Failure, Success, refused};
use super::request::Query;
use crate::database::{AccountId, month_database};
use crate::record::{id_prefix, shown};

impl Api {
    pub(super) async fn records(&self, account: &AccountId, query: &Query) -> Result<Success, Failure> {
        let (size, start) = page(query)?;
        let mut records = Vec::new();
        let mut next = None;
        for month in months(SystemTime::now()) {
            let prefix = id_prefix(month);
            let from = match &start {
                // Keys sort by month first: months newer than the key are on earlier pages.
                Some(key) if prefix.get(..MONTH) > key.get(..MONTH) => continue,
                Some(key) if key.starts_with(&prefix) => key.clone(),
                _ => format!("{prefix}\u{ffff}"),
            };
            let wanted = size + 1 - records.len();
            records.extend(self.records_of(account, month, &prefix, &from, wanted).await?);
            if records.len() > size {
                next = records.get(size).and_then(|record| record.get("id")).cloned();
                records.truncate(size);
                break;
            }
        }
        let shown = records.len();
        let success = Success::new(Value::Array(records), None).with("page_size", shown);
        let success = match start {
            Some(start) => success.with("start_key", start),
            None => success,
        };
        Ok(match next {
            Some(next) => success.with("next_start_key", next),
            None => success,
        })
    }

    /// Returns a month's records from a key backwards.
    async fn records_of(
        &self,
        account: &AccountId,
        month: SystemTime,
        prefix: &str,
        from: &str,
        wanted: usize,
    ) -> Result<Vec<Value>, Failure> {
        let database = month_database(account, month);
        let caller = self.0.gateway.homes.of_name(&database).await?.couch.own_account();
        let path = DocumentPath { database: encode(&database), document: "_all_docs".to_owned() };
        let key = |id: &str| encode(&Value::from(id).to_string());
        let (from, to) = (key(from), key(prefix));
        let query = format!("include_docs=true&descending=true&limit={wanted}&startkey={from}&endkey={to}");
        let answer = caller.read(&path, &query).await?;
        let page = answer.found().map_err(|answer| refused(answer.status(), "list the failure records"))?;
        let Some(Value::Array(rows)) = page.and_then(|page| page.value("rows")) else { return Ok(Vec::new()) };
        Ok(rows.iter().filter_map(|row| shown(row.get("doc")?)).collect())
    }
}

fn page(query: &Query) -> Result<(usize, Option<String>), Failure> {
    let size = match query.get("page_size").map(str::parse::<usize>) {
        None => USUAL_PAGE,
        Some(Ok(size @ 1..=LARGEST_PAGE)) => size,
        Some(_) => {
            let message = format!("Must be a number from 1 to {LARGEST_PAGE}");
            return Err(Failure::wrong("page_size", "invalid", message));
        }
    };
    Ok((size, query.get("start_key").filter(|key| !key.is_empty()).map(str::to_owned)))
}

/// Returns this month and the preceding ones, newest first.
fn months(now: SystemTime) -> impl Iterator<Item = SystemTime> {
    let steps = (0..MONTHS_BACK * 31).filter_map(move |day| now.checked_sub(Duration::from_secs(day * 86_400)));
    let mut last = String::new();
    steps.filter(move |time| {
        let prefix = id_prefix(*time);
        let new = prefix != last;
        last = prefix;
        new
    })
}

/// The number of months listed; older records stay in CouchDB.
const MONTHS_BACK: u64 = 13;
const USUAL_PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;
/// The length of `YYYYMM`.
const MONTH: usize = 6;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::months;
    use crate::database::month;

    #[test]
    fn months_go_back_one_by_one() {
        // 31 March 2026.
        let found: Vec<String> = months(UNIX_EPOCH + Duration::from_secs(1_774_915_200)).map(month).collect();
        assert_eq!(found.get(..5).unwrap(), ["202603", "202602", "202601", "202512", "202511"]);
        assert!((13..=14).contains(&found.len()));
    }
}
