//! One seed, many independent streams of chance.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// What a stream of chance decides. The numbers are part of what a seed means: they are never reused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// The order of the kinds of rows, and who comes back.
    Draws = 1,
    /// One row, by its number.
    Row = 2,
    /// One person, by its index.
    Person = 3,
    /// Which of a group of persons has two numbers.
    SecondNumber = 4,
    /// Which of a group of persons has no e-mail.
    NoEmail = 5,
    /// Whose number is which.
    Scatter = 6,
    /// Campaign bursts.
    Bursts = 7,
    /// Arrival times.
    Arrivals = 8,
    /// Weights, shifts, absences and capacities of agents.
    Staff = 9,
    /// Whether a row came without a campaign.
    Organic = 10,
    /// The status of a row.
    Status = 11,
}

/// A number that depends on all three, evenly spread.
pub(crate) fn hash(seed: u64, stream: Stream, index: u64) -> u64 {
    mix(mix(seed ^ mix(stream as u64)) ^ index)
}

/// A generator that nobody else has.
pub(crate) fn rng(seed: u64, stream: Stream, index: u64) -> StdRng {
    StdRng::seed_from_u64(hash(seed, stream, index))
}

/// The step of SplitMix64 (Steele, Lea, Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn streams_and_indexes_do_not_meet() {
        let streams = [Stream::Draws, Stream::Row, Stream::Person, Stream::Staff];
        let all: HashSet<u64> = (0..4)
            .flat_map(|seed| streams.map(|stream| (seed, stream)))
            .flat_map(|(seed, stream)| (0..100).map(move |index| hash(seed, stream, index)))
            .collect();
        assert_eq!(all.len(), 4 * 4 * 100);
    }
}
