//! The claims of distribution's pure core, over random pools, weights, sets and calendars.

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::collection::vec;
use proptest::prelude::*;
use sira_kernel::Id;
use uuid::Uuid;

use super::eligibility::{Availability, Block, Hours};
use super::quota::{self, Seat, TURN_MICRO};
use super::routing::{Exclusion, LeadFacts, Member, Reason, Snapshot, route};

/// More than any test gives.
const ROOM: i64 = 1_000_000;

/// What a member may be ahead or behind after a long run of random comings and goings, in leads.
const LONG_RUN_MAX: f64 = 5.0;

/// Turns of a long run.
const TURNS_LONG: usize = 20_000;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

fn member(number: usize, weight: i64) -> Member {
    Member {
        user: Id::from_uuid(Uuid::from_u128(number as u128 + 1)),
        weight,
        round_weight: None,
        given: 0,
        lag_micro: 0,
        open_weight: 0,
        capacity: ROOM,
        day_count: 0,
        day_capacity: ROOM,
        last_assigned_at: None,
        excluded: None,
    }
}

fn pool(weights: &[i64]) -> Snapshot {
    let members = weights.iter().enumerate().map(|(number, &weight)| member(number, weight)).collect();
    Snapshot { turns: 0, round_weight: 0, members }
}

/// Switches members on and off by the bits of a mask; at least one stays.
fn switch(snapshot: &mut Snapshot, mask: u32) {
    let count = snapshot.members.len();
    for (index, member) in snapshot.members.iter_mut().enumerate() {
        let on = mask & (1 << index) != 0 || index == mask as usize % count;
        member.excluded = (!on).then_some(Exclusion::OutsideHours);
    }
}

/// Whether everybody in the present round is strictly within one lead of its fair share, in whole numbers.
fn is_within_one(snapshot: &Snapshot) -> bool {
    let (turns, total) = (snapshot.turns, snapshot.round_weight);
    snapshot.members.iter().all(|member| {
        let weight = member.round_weight.unwrap_or(0);
        (member.given * total - turns * weight).abs() < total.max(1)
    })
}

/// Leads of these loads that anybody may get.
fn facts(loads: &[i64]) -> Vec<LeadFacts> {
    loads.iter().copied().map(LeadFacts::from).collect()
}

fn one(snapshot: &mut Snapshot) -> usize {
    route(snapshot, &facts(&[1]), noon())[0].chosen.expect("somebody is always on")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_strictly_within_one_lead_at_every_prefix(
        weights in vec(1_i64..=1000, 1..=12),
        carried in vec(1 - TURN_MICRO..TURN_MICRO, 12),
        turns in 1_usize..3000,
    ) {
        let mut snapshot = pool(&weights);
        for (member, lag) in snapshot.members.iter_mut().zip(carried) {
            member.lag_micro = lag;
        }
        for turn in 1..=turns {
            one(&mut snapshot);
            prop_assert_eq!(snapshot.turns, turn as i64, "the round goes on");
            prop_assert!(is_within_one(&snapshot), "turn {}: {:?}", turn, snapshot);
        }
    }

    #[test]
    fn shares_are_strictly_within_one_lead_for_extreme_weights(
        weights in vec(prop_oneof![Just(1_i64), Just(10_000), Just(9_999), 1_i64..=10_000], 2..=6),
        carried in vec(1 - TURN_MICRO..TURN_MICRO, 6),
    ) {
        let mut snapshot = pool(&weights);
        for (member, lag) in snapshot.members.iter_mut().zip(carried) {
            member.lag_micro = lag;
        }
        for _ in 0..400 {
            one(&mut snapshot);
            prop_assert!(is_within_one(&snapshot), "{:?}", snapshot);
        }
    }

    #[test]
    fn lags_stay_within_one_lead_when_sets_and_weights_change(
        weights in vec(1_i64..=100, 2..=8),
        changes in vec((any::<u32>(), 1_usize..40, 0_usize..8, 1_i64..=100), 1..40),
    ) {
        let mut snapshot = pool(&weights);
        for (mask, turns, reweighed, weight) in changes {
            switch(&mut snapshot, mask);
            let index = reweighed % snapshot.members.len();
            snapshot.members[index].weight = weight;
            let mut entered = None;
            for _ in 0..turns {
                let chosen = one(&mut snapshot);
                prop_assert_eq!(snapshot.members[chosen].excluded, None);
                prop_assert!(is_within_one(&snapshot), "{:?}", snapshot);
                prop_assert!(snapshot.members.iter().all(|member| member.lag_micro.abs() < TURN_MICRO));
                // Turns go by and who is away neither gains nor loses by them.
                let entered = entered.get_or_insert_with(|| snapshot.members.clone());
                for (then, now) in entered.iter().zip(&snapshot.members) {
                    prop_assert!(now.excluded.is_none() || then == now);
                }
            }
        }
    }

    #[test]
    fn long_run_shares_are_kept_while_others_come_and_go(
        weights in vec(1_i64..=20, 2..=8),
        seed in 1_u64..,
        stay in 1_usize..12,
    ) {
        let mut snapshot = pool(&weights);
        let mut entitled = vec![0.0_f64; weights.len()];
        let mut given = vec![0.0_f64; weights.len()];
        let mut random = seed;
        for turn in 0..TURNS_LONG {
            if turn % stay == 0 {
                // xorshift64: long runs without long inputs to shrink.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                switch(&mut snapshot, (random >> 16) as u32);
            }
            let on = |member: &&Member| member.excluded.is_none();
            let total: i64 = snapshot.members.iter().filter(on).map(|member| member.weight).sum();
            for (index, member) in snapshot.members.iter().enumerate().filter(|(_, member)| on(member)) {
                entitled[index] += member.weight as f64 / total as f64;
            }
            given[one(&mut snapshot)] += 1.0;
        }
        // However long it goes on: nothing builds up.
        for (given, entitled) in given.iter().zip(&entitled) {
eprintln!("WORST {:.2} of {:.0} {:?} stay={stay}", (given-entitled).abs(), entitled, weights);
            prop_assert!((given - entitled).abs() < LONG_RUN_MAX, "{} of {}", given, entitled);
        }
    }

    #[test]
    fn nobody_excluded_or_full_is_ever_chosen(
        members in vec((1_i64..=50, 0_i64..6, 0_i64..6, 0_i64..4, 0_i64..5, any::<bool>()), 1..=8),
        loads in vec(0_i64..=3, 1..60),
    ) {
        let mut snapshot = pool(&members.iter().map(|member| member.0).collect::<Vec<_>>());
        for (member, &(_, open, room, taken, day_room, on)) in snapshot.members.iter_mut().zip(&members) {
            member.open_weight = open;
            member.capacity = open + room;
            member.day_count = taken;
            member.day_capacity = taken + day_room;
            member.excluded = (!on).then_some(Exclusion::Absent);
        }
        for &load in &loads {
            let before = snapshot.clone();
            let choice = route(&mut snapshot, &facts(&[load]), noon())[0];
            let able = before.members.iter().filter(|member| member.exclusion(&load.into()).is_none()).count();
            let reason = match able {
                0 => Reason::NobodyEligible,
                1 => Reason::OnlyCandidate,
                _ => Reason::Share,
            };
            prop_assert_eq!(choice.reason, reason);
            prop_assert_eq!(choice.chosen.is_some(), able > 0, "a lead waits only when nobody can take it");
            if let Some(index) = choice.chosen {
                prop_assert_eq!(before.members[index].exclusion(&load.into()), None);
            } else {
                prop_assert_eq!(&before, &snapshot, "a lead that waits costs nobody a turn");
            }
            for member in &snapshot.members {
                prop_assert!(member.open_weight <= member.capacity && member.day_count <= member.day_capacity);
            }
        }
    }

    #[test]
    fn a_stored_batch_replays_to_the_same_choices(
        weights in vec(1_i64..=50, 1..=8),
        loads in vec(0_i64..=2, 1..40),
        capacity in 0_i64..20,
        cut in 0_usize..40,
    ) {
        let mut before = pool(&weights);
        for member in &mut before.members {
            member.capacity = capacity;
        }
        let stored = serde_json::to_string(&before).unwrap();
        let mut whole = before.clone();
        let choices = route(&mut whole, &facts(&loads), noon());

        let mut replayed: Snapshot = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&replayed, &before);
        let cut = cut.min(loads.len());
        let mut again = route(&mut replayed, &facts(&loads[..cut]), noon());
        again.extend(route(&mut replayed, &facts(&loads[cut..]), noon()));
        prop_assert_eq!(again, choices);
        prop_assert_eq!(replayed, whole);
    }

    #[test]
    fn working_hours_agree_with_the_wall_clock_minute_by_minute(
        zone in prop_oneof![
            Just(chrono_tz::Europe::Istanbul),
            Just(chrono_tz::Europe::Berlin),
            Just(chrono_tz::America::New_York),
            Just(chrono_tz::Australia::Lord_Howe),
            Just(chrono_tz::Asia::Beirut),
            Just(chrono_tz::Africa::Cairo),
            Just(chrono_tz::America::Santiago),
            Just(chrono_tz::America::Nuuk),
        ],
        blocks in vec((1_u8..=7, 0_u16..1440, 1_u16..600), 1..5),
        // Around the days on which these zones change their clocks, and around any other.
        start in prop_oneof![
            Just((2026, 3, 7)), Just((2026, 3, 27)), Just((2026, 4, 3)), Just((2026, 4, 23)),
            Just((2026, 9, 4)), Just((2026, 10, 2)), Just((2026, 10, 24)), Just((2026, 10, 29)),
            Just((2026, 10, 31)), Just((2026, 6, 10)),
        ],
    ) {
        let blocks = blocks
            .into_iter()
            .map(|(weekday, starts_minute, length)| Block {
                weekday, starts_minute, ends_minute: (starts_minute + length).min(1440),
            })
            .collect();
        let hours = Hours { zone, blocks };
        let from = Utc.with_ymd_and_hms(start.0, start.1, start.2, 0, 0, 0).unwrap();
        let minutes = 9 * 1440;
        // Backwards, so that the next open minute is known at each.
        let mut next = None;
        for minute in (0..minutes).rev() {
            let at = from + TimeDelta::minutes(minute);
            let open = oracle_is_open(&hours, at);
            prop_assert_eq!(hours.is_open(at), open, "{} in {}", at, zone);
            if open {
                next = Some(at);
            }
            // Only some, and only where the oracle knows the answer: it sees nine days.
            if minute % 47 == 0 && next.is_some() {
                prop_assert_eq!(hours.next_open(at), next, "from {} in {}", at, zone);
            }
        }
    }

    #[test]
    fn the_next_opening_is_the_first_minute_that_is_open(
        blocks in vec((1_u8..=7, 0_u16..1440, 30_u16..600), 0..4),
        absences in vec((-600_i64..5000, 1_i64..4000), 0..4),
        day_is_full in any::<bool>(),
        zone in prop_oneof![Just(chrono_tz::Europe::Berlin), Just(chrono_tz::Asia::Beirut)],
    ) {
        let now = Utc.with_ymd_and_hms(2026, 3, 27, 7, 13, 0).unwrap();
        let blocks = blocks
            .into_iter()
            .map(|(weekday, starts_minute, length)| Block {
                weekday, starts_minute, ends_minute: (starts_minute + length).min(1440),
            })
            .collect();
        let absences = absences
            .into_iter()
            .map(|(from, length)| (now + TimeDelta::minutes(from), now + TimeDelta::minutes(from + length)))
            .collect();
        let availability = Availability { active: true, hours: Some(Hours { zone, blocks }), absences };
        let today = availability.local_date(now);
        let expected = (0..14 * 1440).map(|minute| now + TimeDelta::minutes(minute)).find(|&at| {
            availability.exclusion(at).is_none() && !(day_is_full && availability.local_date(at) == today)
        });
        prop_assert_eq!(availability.next_opening(now, day_is_full), expected);
    }
}

/// Reads the wall clock and nothing else.
fn oracle_is_open(hours: &Hours, at: DateTime<Utc>) -> bool {
    let local = at.with_timezone(&hours.zone);
    let minute = local.hour() * 60 + local.minute();
    hours.blocks.iter().any(|block| {
        u32::from(block.weekday) == local.weekday().number_from_monday()
            && u32::from(block.starts_minute) <= minute
            && minute < u32::from(block.ends_minute)
    })
}

#[test]
fn weights_are_percentages_of_the_leads() {
    let mut snapshot = pool(&[50, 30, 20]);
    route(&mut snapshot, &facts(&[1; 100]), noon());
    let given: Vec<i64> = snapshot.members.iter().map(|member| member.open_weight).collect();
    assert_eq!(given, [50, 30, 20]);
}

#[test]
fn ties_go_to_the_least_loaded_then_the_longest_idle_then_the_lowest_id() {
    let mut snapshot = pool(&[1, 1, 1]);
    for (member, (open, capacity)) in snapshot.members.iter_mut().zip([(2, 10), (3, 30), (1, 10)]) {
        (member.open_weight, member.capacity) = (open, capacity);
    }
    snapshot.members[1].last_assigned_at = Some(noon() - TimeDelta::hours(1));
    snapshot.members[2].last_assigned_at = Some(noon() - TimeDelta::hours(2));
    // 1 and 2 are loaded alike and 2 is idle for longer.
    assert_eq!(one(&mut snapshot.clone()), 2);
    snapshot.members[2].last_assigned_at = snapshot.members[1].last_assigned_at;
    assert_eq!(one(&mut snapshot), 1);
}

#[test]
fn who_comes_back_gets_no_more_than_its_share() {
    let mut snapshot = pool(&[1, 1, 1]);
    snapshot.members[2].excluded = Some(Exclusion::Absent);
    route(&mut snapshot, &facts(&[1; 100]), noon());
    snapshot.members[2].excluded = None;
    route(&mut snapshot, &facts(&[1; 30]), noon());
    let returned = snapshot.members[2].open_weight;
    assert_eq!(returned, 10, "a hundred leads went by, and it has its third of the thirty since");
}

#[test]
fn the_lookahead_ends_and_fairness_holds_beyond_it() {
    // The light one is owed nearly a lead, and its deadline lies far beyond what is looked at.
    let mut seats = vec![Seat { weight: 10_000, given: 0, carried_micro: 0 }; 40];
    seats.push(Seat { weight: 1, given: 0, carried_micro: TURN_MICRO - 1 });
    let total: i64 = seats.iter().map(|seat| seat.weight).sum();
    for turns in 0..200 {
        let chosen = quota::choose(turns, &seats, |a, b| a.cmp(&b)).unwrap();
        seats[chosen].given += 1;
        for seat in &seats {
            assert!((seat.given * total - (turns + 1) * seat.weight).abs() < total);
        }
    }
}

#[test]
fn a_shift_in_the_hour_that_the_clock_leaves_out_opens_a_week_later() {
    let zone: Tz = chrono_tz::Europe::Berlin;
    let blocks = vec![Block { weekday: 7, starts_minute: 130, ends_minute: 170 }];
    let hours = Hours { zone, blocks };
    // Sunday 29 March 2026: 02:00 becomes 03:00.
    let from = Utc.with_ymd_and_hms(2026, 3, 28, 12, 0, 0).unwrap();
    let opens = hours.next_open(from).unwrap();
    assert_eq!(opens, Utc.with_ymd_and_hms(2026, 4, 5, 0, 10, 0).unwrap());
}

#[test]
fn each_exclusion_has_its_own_reason() {
    let zone: Tz = chrono_tz::Europe::Istanbul;
    let hours = |blocks: Vec<Block>| Some(Hours { zone, blocks });
    let at = noon();
    let always = |active, hours, absences| Availability { active, hours, absences }.exclusion(at);
    let away = vec![(at, at + TimeDelta::hours(1))];
    let back = vec![(at - TimeDelta::hours(1), at)];
    // 22 November 2026 is a Sunday; noon in UTC is 15:00 in Istanbul.
    let shift = |starts_minute, ends_minute| vec![Block { weekday: 7, starts_minute, ends_minute }];
    assert_eq!(always(true, hours(vec![]), vec![]), None);
    assert_eq!(always(false, hours(vec![]), vec![]), Some(Exclusion::Inactive));
    assert_eq!(always(true, None, vec![]), Some(Exclusion::UnknownZone));
    assert_eq!(always(true, hours(vec![]), away), Some(Exclusion::Absent));
    assert_eq!(always(true, hours(vec![]), back), None, "an absence does not include its end");
    assert_eq!(always(true, hours(shift(900, 960)), vec![]), None, "a shift includes its start");
    assert_eq!(
        always(true, hours(shift(840, 900)), vec![]),
        Some(Exclusion::OutsideHours),
        "and not its end"
    );
}
