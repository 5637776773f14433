//! Happy Eyeballs (RFC 8305): connection attempts to several addresses are staggered, and the first to succeed wins.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Sorts addresses for connecting: in resolver order, alternating between the address families (section 4).
#[must_use]
pub fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return order;
        }
        order.extend(one.into_iter().chain(other));
    }
}

/// Connects to the first address that responds and drops the other attempts. All attempts start within the first half of `limit`,
/// which the caller enforces. Returns `Err(None)` if there is no address.
///
/// # Errors
/// The last attempt's error, if all attempts fail.
pub async fn race<T, E, F>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let parts = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_add(1).saturating_mul(2);
    let pause = ATTEMPT_DELAY.min(limit / parts);
    let (mut waiting, mut attempts, mut last) = (addresses.into_iter(), FuturesUnordered::new(), None);
    loop {
        match waiting.next() {
            Some(address) => attempts.push(connect(address)),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.next() => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => last = Some(error),
            },
            () = tokio::time::sleep(pause), if waiting.len() > 0 => {}
        }
    }
}

/// Delay before the next attempt starts (section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    #![allow(clippy::result_large_err, reason = "an address is what a test of addresses fails with")]

    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::{by_turns, race};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_from_the_first_on() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let order = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(by_turns(found), order);
        let found = addresses(&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"]);
        assert_eq!(by_turns(found), addresses(&["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]));
        assert_eq!(by_turns(Vec::new()), []);
    }

    /// Races addresses whose last octet encodes their behavior: 0 is refused immediately, 255 never responds, others respond after
    /// that many hundredths of a second. Also returns how many were tried.
    async fn raced(texts: &[&str], limit: Duration) -> (Result<SocketAddr, Option<SocketAddr>>, usize) {
        let tried = Mutex::new(0);
        let connect = |address: SocketAddr| {
            *tried.lock().unwrap() += 1;
            let SocketAddr::V4(v4) = address else { unreachable!() };
            async move {
                match v4.ip().octets()[3] {
                    0 => Err(address),
                    255 => std::future::pending().await,
                    takes => {
                        tokio::time::sleep(Duration::from_millis(10) * u32::from(takes)).await;
                        Ok(address)
                    }
                }
            }
        };
        let outcome = tokio::time::timeout(limit, race(addresses(texts), limit, connect)).await;
        (outcome.expect("the caller's patience ended first"), tried.into_inner().unwrap())
    }

    #[tokio::test]
    async fn each_is_tried_while_others_wait() {
        let limit = Duration::from_secs(5);
        let winner = |text: &str| Ok(text.parse().unwrap());
        // A black hole first, even with a short limit.
        for limit in [limit, Duration::from_secs(1)] {
            assert_eq!(raced(&["10.0.0.255:1", "10.0.0.1:1"], limit).await, (winner("10.0.0.1:1"), 2));
        }
        assert_eq!(raced(&["10.0.0.0:1", "10.0.0.1:1"], limit).await, (winner("10.0.0.1:1"), 2));
        assert_eq!(raced(&["10.0.0.1:1", "10.0.0.2:1"], limit).await, (winner("10.0.0.1:1"), 1));
        // A slow address wins if the later attempts are slower still.
        assert_eq!(raced(&["10.0.0.50:1", "10.0.0.255:1"], limit).await, (winner("10.0.0.50:1"), 2));
        let many: Vec<&str> = std::iter::repeat_n("10.0.0.255:1", 99).chain(["10.0.0.1:1"]).collect();
        assert_eq!(raced(&many, limit).await, (winner("10.0.0.1:1"), 100));
        assert_eq!(raced(&["10.0.0.0:1", "10.0.0.0:2"], limit).await, (Err(Some("10.0.0.0:2".parse().unwrap())), 2));
        assert_eq!(raced(&[], limit).await, (Err(None), 0));
    }
}
