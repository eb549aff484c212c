//! A growing delay for failed sign-ins, per account and address. Never a lock: nobody can shut an account for
//! its owner, who comes from another address.
//!
//! Kept in memory: a restart forgives, and hashing behind its gate still bounds guesses to some dozens a second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, TimeDelta, Utc};

/// Attempts before delays begin.
const FREE_ATTEMPTS: u32 = 5;
/// Longest delay.
const DELAY_MAX_SECONDS: i64 = 60;
/// After this long without an attempt, all is forgotten.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(15);
/// Most pairs remembered; the one that was quiet longest makes room.
const PAIRS_MAX: usize = 10_000;

type Pair = [u8; 32];

/// Counts attempts. An attempt is counted when it begins, so that guesses sent at once count too.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<Pair, Attempts>>);

#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    last: DateTime<Utc>,
    next: DateTime<Utc>,
}

impl Throttle {
    /// Counts an attempt; refused ones are not counted.
    ///
    /// # Errors
    /// How long to wait, when it comes too early.
    pub fn attempt(&self, username: &str, address: IpAddr, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = pair(username, address);
        let known = pairs.get(&pair).filter(|seen| now - seen.last < FORGOTTEN_AFTER).copied();
        if let Some(seen) = known.filter(|seen| now < seen.next) {
            return Err((seen.next - now).to_std().unwrap_or_default() + Duration::from_millis(999));
        }
        if known.is_none() {
            make_room(&mut pairs, now);
        }
        let count = known.map_or(1, |seen| seen.count.saturating_add(1));
        pairs.insert(pair, Attempts { count, last: now, next: now + delay(count) });
        Ok(())
    }

    /// The attempt of this time came to no answer, through no fault of whoever made it: it is not counted.
    pub fn take_back(&self, username: &str, address: IpAddr, at: DateTime<Utc>) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = pair(username, address);
        let Some(seen) = pairs.get_mut(&pair) else { return };
        seen.count = seen.count.saturating_sub(1);
        // The delay of a later attempt stays; that of an earlier one was over.
        if seen.last == at {
            seen.next = at;
        }
        if seen.count == 0 {
            pairs.remove(&pair);
        }
    }

    /// The attempt was right: all is forgotten.
    pub fn succeeded(&self, username: &str, address: IpAddr) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.remove(&pair(username, address));
    }
}

fn delay(count: u32) -> TimeDelta {
    let beyond = count.saturating_sub(FREE_ATTEMPTS - 1);
    if beyond == 0 {
        return TimeDelta::zero();
    }
    TimeDelta::seconds((1_i64 << beyond.min(20)).min(DELAY_MAX_SECONDS))
}

fn make_room(pairs: &mut HashMap<Pair, Attempts>, now: DateTime<Utc>) {
    if pairs.len() < PAIRS_MAX {
        return;
    }
    pairs.retain(|_, seen| now - seen.last < FORGOTTEN_AFTER);
    while pairs.len() >= PAIRS_MAX {
        let Some(quietest) = pairs.iter().min_by_key(|(_, seen)| seen.last).map(|(pair, _)| *pair) else {
            return;
        };
        pairs.remove(&quietest);
    }
}

/// A digest, because people type passwords into the field of the name. An IPv6 host owns its whole /64.
fn pair(username: &str, address: IpAddr) -> Pair {
    let network = match address {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            IpAddr::V4,
        ),
    };
    let text = format!("{network}\n{}", username.trim().to_lowercase());
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use sira_kernel::Clock;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn delays_double_and_stay_bounded() {
        let seconds: Vec<i64> = (1..=12).map(|count| delay(count).num_seconds()).collect();
        assert_eq!(seconds, [0, 0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(delay(u32::MAX).num_seconds(), DELAY_MAX_SECONDS);
    }

    #[test]
    fn only_the_pair_that_failed_waits_and_time_or_success_frees_it() {
        let (throttle, now) = (Throttle::default(), Clock::system().now());
        for _ in 0..FREE_ATTEMPTS {
            assert_eq!(throttle.attempt("Agent", HERE, now), Ok(()));
        }
        let wait = throttle.attempt(" agent ", HERE, now).unwrap_err();
        assert!(wait >= Duration::from_secs(2), "{wait:?}");
        assert_eq!(throttle.attempt("agent", THERE, now), Ok(()), "its owner comes from elsewhere");
        assert_eq!(throttle.attempt("other", HERE, now), Ok(()));
        assert_eq!(throttle.attempt("agent", HERE, now + TimeDelta::seconds(2)), Ok(()));
        assert!(throttle.attempt("agent", HERE, now + TimeDelta::seconds(3)).is_err(), "the delay doubled");
        throttle.succeeded("agent", HERE);
        assert_eq!(throttle.attempt("agent", HERE, now + TimeDelta::seconds(3)), Ok(()));
    }

    #[test]
    fn an_attempt_without_an_answer_is_not_counted() {
        let (throttle, now) = (Throttle::default(), Clock::system().now());
        for _ in 0..3 * FREE_ATTEMPTS {
            assert_eq!(throttle.attempt("agent", HERE, now), Ok(()));
            throttle.take_back("agent", HERE, now);
        }
        assert!(throttle.0.lock().unwrap().is_empty());
        for _ in 0..FREE_ATTEMPTS {
            assert_eq!(throttle.attempt("agent", HERE, now), Ok(()));
        }
        let later = now + TimeDelta::seconds(2);
        assert_eq!(throttle.attempt("agent", HERE, later), Ok(()));
        throttle.take_back("agent", HERE, later);
        assert_eq!(throttle.attempt("agent", HERE, later), Ok(()), "the delay before it was over");
        assert!(
            throttle.attempt("agent", HERE, later + TimeDelta::seconds(3)).is_err(),
            "failures still count"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Clock::system().now());
        for n in 0..PAIRS_MAX + 50 {
            let at = now + TimeDelta::microseconds(n as i64);
            assert_eq!(throttle.attempt(&format!("user{n}"), HERE, at), Ok(()));
        }
        assert_eq!(throttle.0.lock().unwrap().len(), PAIRS_MAX);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let two: IpAddr = "2001:db8::2".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(pair("a", one), pair("a", two));
        assert_eq!(pair("a", mapped), pair("a", HERE));
        assert_ne!(pair("a", HERE), pair("a", THERE));
    }
}
