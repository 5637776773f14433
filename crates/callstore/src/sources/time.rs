//! Time formats of event sources.

use crate::fold::Micros;

/// Seconds from the year 0, Erlang's epoch, to 1970.
pub const GREGORIAN: i64 = 62_167_219_200;

/// Converts KAZOO's Gregorian seconds.
#[must_use]
pub const fn from_kazoo(seconds: i64) -> Micros {
    seconds.saturating_sub(GREGORIAN).saturating_mul(1_000_000)
}

/// Converts to KAZOO's Gregorian seconds.
#[must_use]
pub const fn to_gregorian(at: Micros) -> i64 {
    at.div_euclid(1_000_000).saturating_add(GREGORIAN)
}

/// Converts a Unix time whose unit is recognized by its magnitude: seconds, milliseconds or microseconds, from 2001 to 2200.
pub(super) const fn of_any_unit(number: i64) -> Option<Micros> {
    match number {
        1_000_000_000..=7_300_000_000 => Some(number * 1_000_000),
        1_000_000_000_000..=7_300_000_000_000 => Some(number * 1000),
        1_000_000_000_000_000..=7_300_000_000_000_000 => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{from_kazoo, of_any_unit, to_gregorian};

    #[test]
    fn units_are_told_apart() {
        let at = 1_764_521_234_000_000;
        assert_eq!(of_any_unit(1_764_521_234), Some(at));
        assert_eq!(of_any_unit(1_764_521_234_000), Some(at));
        assert_eq!(of_any_unit(at), Some(at));
        assert_eq!(of_any_unit(17), None);
        assert_eq!(from_kazoo(to_gregorian(at)), at);
    }
}
