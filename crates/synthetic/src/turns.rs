//! Whose turn it is, by the rule: what the product does, written a second time and in another way, so that the truth
//! does not come from what it judges.
//!
//! Agents of a pool take turns in *rounds*: stretches in which those who can take a lead, and their weights, stay the
//! same. After `k` turns of a round an agent of weight `w` out of `W` is due `k * w / W` of them. The rule:
//!
//! 1. Nobody may ever be a whole turn ahead of what it is due, nor a whole turn behind, now or at any later turn of the
//!    round. A choice after which that cannot be kept is none.
//! 2. Of the choices that are left, whoever is owed most has the turn, with what was carried over from earlier rounds;
//!    owed alike are those within the same hundredth of a lead.
//! 3. Among those who are owed alike: the least loaded, then the longest idle, then the one who was there first.
//!
//! Whether a choice leaves the rule keepable is decided here by Hall's condition, over every horizon of two rounds of
//! weights: the turns that must have come by then are no more than the turns until then. (The product looks for the
//! first tight deadline instead.)
//!
//! Source: Still, "A class of new methods for Congressional apportionment" (1979).

use std::cmp::Ordering;

/// A whole turn, in the unit that is carried over.
const TURN_MICRO: i64 = 1_000_000;
/// A hundredth of it: what is owed alike.
const ALIKE_MICRO: i64 = 10_000;

/// An agent in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// At least 1.
    pub(crate) weight: i64,
    /// Turns that it had in this round.
    pub(crate) given: i64,
    /// What it was owed when the round began, in millionths of a turn.
    pub(crate) carried_micro: i64,
}

impl Seat {
    /// What it is owed after so many turns of a round of this weight, in millionths of a turn.
    fn owed_micro(self, turns: i64, total: i64) -> i64 {
        self.carried_micro + turns * self.weight * TURN_MICRO / total - self.given * TURN_MICRO
    }
}

/// Who has the turn after `turns` turns of the round; `tie` orders those who are owed alike.
pub(crate) fn next(turns: i64, seats: &[Seat], tie: impl Fn(usize, usize) -> Ordering) -> Option<usize> {
    let total = seats.iter().map(|seat| seat.weight).sum::<i64>();
    let owed = |seat: usize| seats[seat].owed_micro(turns + 1, total).div_euclid(ALIKE_MICRO);
    let may = (0..seats.len()).filter(|seat| may_have(*seat, turns, seats, total));
    may.min_by(|one, other| owed(*other).cmp(&owed(*one)).then_with(|| tie(*one, *other)))
}

fn may_have(chosen: usize, turns: i64, seats: &[Seat], total: i64) -> bool {
    let seat = seats[chosen];
    if seat.given * total >= (turns + 1) * seat.weight {
        return false;
    }
    // Beyond two rounds of weights both sides grow alike.
    (turns + 1..=turns + 2 * total).all(|horizon| {
        let must = |(place, seat): (usize, &Seat)| {
            (horizon * seat.weight / total - seat.given - i64::from(place == chosen)).max(0)
        };
        seats.iter().enumerate().map(must).sum::<i64>() < horizon - turns
    })
}

/// Ends a round: everybody carries over what is owed, less than a whole turn of it, and what that cuts off is shared by
/// weight. Absence earns neither debt nor windfall.
pub(crate) fn settle(seats: &mut [Seat], turns: i64) {
    let total = seats.iter().map(|seat| seat.weight).sum::<i64>();
    let within = |micro: i64| micro.clamp(1 - TURN_MICRO, TURN_MICRO - 1);
    let mut cut = 0;
    for seat in seats.iter_mut() {
        let owed = seat.owed_micro(turns, total);
        *seat = Seat { given: 0, carried_micro: within(owed), ..*seat };
        cut += owed - seat.carried_micro;
    }
    for seat in seats {
        seat.carried_micro = within(seat.carried_micro + cut * seat.weight / total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_ever_a_whole_turn_away_from_what_is_due() {
        for weights in [vec![1], vec![1, 1, 1], vec![4, 2, 1], vec![1, 3, 4, 2, 2, 4], vec![97, 1, 1]] {
            let seat = |weight: &i64| Seat { weight: *weight, given: 0, carried_micro: 0 };
            let mut seats: Vec<Seat> = weights.iter().map(seat).collect();
            let total: i64 = weights.iter().sum();
            for turns in 0..300 {
                let chosen = next(turns, &seats, |one, other| one.cmp(&other)).expect("a choice is left");
                seats[chosen].given += 1;
                for seat in &seats {
                    let away = (seat.given * total - (turns + 1) * seat.weight).abs();
                    assert!(away < total, "{weights:?} after {turns} turns");
                }
            }
        }
    }

    #[test]
    fn what_is_carried_over_is_less_than_a_turn_and_sums_up_to_nothing() {
        let mut seats =
            [(4, 9), (2, 1), (1, 0)].map(|(weight, given)| Seat { weight, given, carried_micro: 0 });
        settle(&mut seats, 10);
        assert!(seats.iter().all(|seat| seat.given == 0 && seat.carried_micro.abs() < TURN_MICRO));
        let sum: i64 = seats.iter().map(|seat| seat.carried_micro).sum();
        assert!(sum.abs() < TURN_MICRO, "{sum}: but for what the clamp cuts off twice");
    }
}
