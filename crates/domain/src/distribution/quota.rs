//! The quota method of apportionment, as a choice of one turn at a time.
//!
//! A *round* is a stretch of turns in which the takers and their weights stay the same. After `k` turns of a round
//! a taker of weight `w` out of `W` is due `k * w / W` turns. Its next turn, number `n`, may not come before that
//! share exceeds `n - 1` (else the taker would be a whole turn ahead) and must not come after the turn at which the
//! share reaches `n` (else it would be a whole turn behind): a unit of work with a release and a deadline, both
//! exact integers. Such a set of units can always be served (the fluid schedule that gives everybody its share at
//! every moment is a fractional matching), and serving the earliest deadline first serves it. A later deadline may
//! be served first as long as no prefix of deadlines is tight: Still's family of quota methods. Within that freedom
//! the taker that is owed most has the turn, counting what it carried over from earlier rounds. So shares are kept
//! in the long run too, while people come and go; serving the earliest deadline alone lost one to two percent of
//! the light members' or the heavy ones' leads there.
//!
//! Sources: Balinski and Young, "The quota method of apportionment" (1975); Still, "A class of new methods for
//! Congressional apportionment" (1979); Tijdeman, "The chairman assignment problem" (1980).
//!
//! **Invariant:** at every prefix of a round every taker is strictly within one turn of its share. All arithmetic
//! is on integers, so nothing drifts however long a round lasts.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// One turn, in the unit that lags are carried in.
pub const TURN_MICRO: i64 = 1_000_000;

/// Lags that differ by less count as equal, so that a rounded millionth does not decide what the tie should.
const LAG_GRAIN_MICRO: i64 = 10_000;

/// Most deadlines looked at for one choice. Beyond it the earliest deadline is served, which is always right and
/// only forgoes the freedom to serve somebody else first.
const LOOKAHEAD_MAX: usize = 5_000;

/// A taker in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Its weight; at least 1.
    pub weight: i64,
    /// Turns that it had in this round.
    pub given: i64,
    /// What it was owed (above zero) or ahead (below zero) when the round began, in millionths of a turn.
    pub carried_micro: i64,
}

impl Seat {
    /// The first turn of the round, counted from 1, by which its next turn must have come.
    fn deadline(self, total: i64) -> i128 {
        deadline(self.weight, total, self.given + 1)
    }

    /// Whether a turn now leaves it less than one turn ahead of its share.
    fn is_released(self, turns: i64, total: i64) -> bool {
        i128::from(self.given) * i128::from(total) < i128::from(turns + 1) * i128::from(self.weight)
    }
}

/// What a taker is owed (above zero) or ahead (below zero) after `turns` turns of a round of weight `total`, in
/// millionths of a turn, with what it carried.
pub fn lag_micro(seat: Seat, turns: i64, total: i64) -> i64 {
    let share =
        i128::from(turns) * i128::from(seat.weight) * i128::from(TURN_MICRO) / i128::from(total.max(1));
    let lag = i128::from(seat.carried_micro) + share - i128::from(seat.given) * i128::from(TURN_MICRO);
    lag.clamp(i128::from(i64::MIN / 2), i128::from(i64::MAX / 2)) as i64
}

/// A lag that may be carried into another round: strictly within one turn.
fn clamp_lag(lag_micro: i64) -> i64 {
    lag_micro.clamp(1 - TURN_MICRO, TURN_MICRO - 1)
}

/// Ends a round for its takers: each carries its lag on, clamped to within one turn, and what the clamp cut off is
/// shared among them by weight (which leaves the order in which they are due as it was). So the lags of a pool go
/// on summing up to nothing, and nobody is owed for ever what nobody can be given.
pub fn settle(seats: &mut [Seat], turns: i64, total: i64) {
    let mut cut = 0_i128;
    for seat in seats.iter_mut() {
        let lag = lag_micro(*seat, turns, total);
        seat.given = 0;
        seat.carried_micro = clamp_lag(lag);
        cut += i128::from(lag - seat.carried_micro);
    }
    for seat in seats {
        let part = cut * i128::from(seat.weight) / i128::from(total.max(1));
        seat.carried_micro = clamp_lag(seat.carried_micro.saturating_add(part as i64));
    }
}

/// Who has the turn after `turns` turns of this round: of those who may be served without anybody falling a turn
/// behind or running a turn ahead, now or later in the round, the one that is owed most; `tie` orders those who are
/// owed alike.
///
/// The seats' `given` sum up to `turns`. `None` only when there are no seats.
pub fn choose(turns: i64, seats: &[Seat], tie: impl Fn(usize, usize) -> Ordering) -> Option<usize> {
    let total: i64 = seats.iter().map(|seat| seat.weight).sum();
    let released: Vec<usize> =
        (0..seats.len()).filter(|&index| seats[index].is_released(turns, total)).collect();
    let owed = |index: usize| lag_micro(seats[index], turns + 1, total).div_euclid(LAG_GRAIN_MICRO);
    let most_owed = |among: &mut dyn Iterator<Item = usize>| {
        among.min_by(|&a, &b| owed(b).cmp(&owed(a)).then_with(|| tie(a, b)))
    };
    let preferred = most_owed(&mut released.iter().copied())?;
    match tight_before(turns, seats, total, seats[preferred].deadline(total)) {
        Lookahead::Free => Some(preferred),
        Lookahead::Tight(last) => {
            most_owed(&mut released.iter().copied().filter(|&index| seats[index].deadline(total) <= last))
        }
        Lookahead::TooFar => {
            let earliest = released.iter().map(|&index| seats[index].deadline(total)).min()?;
            most_owed(&mut released.iter().copied().filter(|&index| seats[index].deadline(total) == earliest))
        }
    }
}

/// Whether a deadline may be served before the earlier ones.
enum Lookahead {
    /// Every earlier deadline can still be met afterwards.
    Free,
    /// Every turn up to this one is needed by the deadlines up to it.
    Tight(i128),
    /// More deadlines than are looked at.
    TooFar,
}

/// Counts the deadlines before `end` in order; they are tight where they fill every turn up to themselves.
fn tight_before(turns: i64, seats: &[Seat], total: i64, end: i128) -> Lookahead {
    let mut queue: BinaryHeap<Reverse<(i128, usize, i64)>> = seats
        .iter()
        .enumerate()
        .map(|(index, seat)| Reverse((seat.deadline(total), index, seat.given + 1)))
        .filter(|Reverse((at, ..))| *at < end)
        .collect();
    let mut needed = 0_i128;
    for _ in 0..LOOKAHEAD_MAX {
        let Some(Reverse((at, index, number))) = queue.pop() else { return Lookahead::Free };
        needed += 1;
        if needed >= at - i128::from(turns) {
            return Lookahead::Tight(at);
        }
        let next = deadline(seats[index].weight, total, number + 1);
        if next < end {
            queue.push(Reverse((next, index, number + 1)));
        }
    }
    Lookahead::TooFar
}

/// The first turn at which the share of a weight reaches `number`.
fn deadline(weight: i64, total: i64, number: i64) -> i128 {
    ceil_div(i128::from(number) * i128::from(total), i128::from(weight))
}

fn ceil_div(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) + i128::from(dividend.rem_euclid(divisor) != 0)
}
