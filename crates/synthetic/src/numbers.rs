//! The number space: phone numbers that a numbering plan knows and that nobody has.
//!
//! Turkish mobile prefixes with `000` behind them, which are not handed out, and ranges that regulators keep for
//! films and books: Ofcom's numbers for drama, 555-0100 to 555-0199 of North America, the Bundesnetzagentur's numbers
//! for media productions (Mitteilung 148/2021). Ofcom's mobile range 07700 900000 to 900999 is kept apart: the plan
//! that Sira reads does not know it, so such a number is typed but never usable.
//!
//! **Invariant:** one slot is one number, and no number comes from anywhere else.

use crate::catalogue::Country;
use crate::seeds::{self, Stream};

/// A run of numbers: each prefix, then `middle`, then so many free digits.
struct Block {
    country: Country,
    prefixes: &'static [&'static str],
    middle: &'static str,
    free_digits: u32,
    /// How the national number is written in groups.
    groups: &'static [usize],
}

impl Block {
    const fn size(&self) -> u64 {
        self.prefixes.len() as u64 * 10_u64.pow(self.free_digits)
    }
}

const BLOCKS: [Block; 6] = [
    Block {
        country: Country::Turkiye,
        prefixes: &[
            "501", "505", "506", "507", "510", "516", "530", "531", "532", "533", "534", "535", "536", "537",
            "538", "539", "540", "541", "542", "543", "544", "545", "546", "547", "548", "549", "551", "552",
            "553", "554", "555", "559",
        ],
        middle: "000",
        free_digits: 4,
        groups: &[3, 3, 2, 2],
    },
    Block {
        country: Country::UnitedKingdom,
        prefixes: &["2079460", "2920180"],
        middle: "",
        free_digits: 3,
        groups: &[2, 4, 4],
    },
    Block {
        country: Country::UnitedKingdom,
        prefixes: &[
            "1134960", "1144960", "1164960", "1174960", "1184960", "1214960", "1314960", "1414960",
            "1514960", "1614960", "1914980",
        ],
        middle: "",
        free_digits: 3,
        groups: &[3, 3, 4],
    },
    Block {
        country: Country::UnitedStates,
        prefixes: &[
            "201", "202", "203", "205", "206", "207", "208", "209", "210", "212", "213", "214", "215", "216",
            "217", "218", "219", "224", "225", "228", "229", "231", "234", "239", "240", "248", "251", "252",
            "253", "254", "256", "260", "262", "267", "269", "270", "276", "281", "301", "302", "303", "304",
            "305", "307", "308", "309", "310", "312", "313", "314", "315", "316", "317", "318", "319", "320",
            "321", "323", "325", "330", "334", "336", "337", "339", "347", "351", "352", "360", "361", "386",
            "401", "402", "404", "405", "406", "407", "408", "409", "410", "412", "413", "414", "415", "417",
            "419", "423", "425", "430", "432", "434", "435", "440", "443", "469", "478", "479", "480", "484",
            "501", "502", "503", "504", "505", "507", "508", "509", "510", "512", "513", "515", "516", "517",
            "518", "520", "530", "540", "541", "551", "559", "561", "562", "563", "567", "570", "571", "573",
            "574", "580", "585", "586",
        ],
        middle: "55501",
        free_digits: 2,
        groups: &[3, 3, 4],
    },
    Block {
        country: Country::Germany,
        prefixes: &["3023125", "4066969", "6990009", "8999998"],
        middle: "",
        free_digits: 3,
        groups: &[2, 5, 3],
    },
    Block {
        country: Country::Germany,
        prefixes: &["2214710"],
        middle: "",
        free_digits: 3,
        groups: &[3, 4, 3],
    },
];

/// So many numbers there are.
pub const NUMBERS: u64 = count(&BLOCKS);

const fn count(blocks: &[Block]) -> u64 {
    let (mut sum, mut n) = (0, 0);
    while n < blocks.len() {
        sum += blocks[n].size();
        n += 1;
    }
    sum
}

/// A phone number.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) country: Country,
    /// The digits after the calling code.
    pub(crate) national: String,
    groups: &'static [usize],
}

impl Number {
    pub(crate) fn e164(&self) -> String {
        format!("+{}{}", self.country.calling_code(), self.national)
    }

    /// The national number in its groups.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut rest = self.national.as_str();
        self.groups
            .iter()
            .map(|length| {
                let (group, after) = rest.split_at(*length);
                rest = after;
                group
            })
            .collect()
    }

    /// The number in a slot of the space. Slots go round.
    fn of(slot: u64) -> Self {
        let mut rest = slot % NUMBERS;
        for block in &BLOCKS {
            if rest < block.size() {
                let each = 10_u64.pow(block.free_digits);
                let prefix = block.prefixes[(rest / each) as usize];
                let (free, width) = (rest % each, block.free_digits as usize);
                let national = format!("{prefix}{}{free:0width$}", block.middle);
                return Self { country: block.country, national, groups: block.groups };
            }
            rest -= block.size();
        }
        unreachable!("a slot is below the sum of all blocks")
    }
}

/// Bits of one half of what [`Scatter`] permutes; both halves hold every slot.
const HALF_BITS: u32 = 10;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const PERMUTED: u64 = 1 << (2 * HALF_BITS);
const _: () = assert!(NUMBERS <= PERMUTED);
/// Four make a random permutation of it (Luby and Rackoff, 1988).
const ROUNDS: u64 = 4;

/// Deals the numbers out: another one for each ordinal below [`NUMBERS`], in an order that the seed decides and that
/// looks like chance from the first number on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scatter {
    seed: u64,
}

impl Scatter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Permutes again while the place is no slot. The way goes round and began at a slot, so it comes to one after at
    /// most all the places that are none.
    pub(crate) fn number(self, ordinal: u64) -> Number {
        let mut place = ordinal % NUMBERS;
        for _ in NUMBERS..=PERMUTED {
            place = self.permuted(place);
            if place < NUMBERS {
                break;
            }
        }
        Number::of(place)
    }

    /// A Feistel network: one place for each place.
    fn permuted(self, place: u64) -> u64 {
        let (mut left, mut right) = (place >> HALF_BITS, place & HALF_MASK);
        for round in 0..ROUNDS {
            let key = seeds::hash(self.seed, Stream::Scatter, round << HALF_BITS | right);
            (left, right) = (right, left ^ (key & HALF_MASK));
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sira_kernel::PhoneNumber;

    use super::*;

    #[test]
    fn every_ordinal_has_a_number_of_its_own() {
        for seed in [0, 7] {
            let scatter = Scatter::new(seed);
            let all: HashSet<String> = (0..NUMBERS).map(|ordinal| scatter.number(ordinal).e164()).collect();
            assert_eq!(all.len() as u64, NUMBERS);
        }
    }

    #[test]
    fn the_plan_knows_every_prefix() {
        let mut slot = 0;
        for block in &BLOCKS {
            for _ in block.prefixes {
                let last = slot + 10_u64.pow(block.free_digits) - 1;
                for number in [Number::of(slot), Number::of(last)] {
                    let parsed = PhoneNumber::parse(&number.e164(), "TR");
                    assert_eq!(parsed.map(|phone| phone.e164().to_owned()), Ok(number.e164()));
                    assert_eq!(number.groups().concat(), number.national);
                }
                slot = last + 1;
            }
        }
        assert_eq!(slot, NUMBERS);
    }
}
