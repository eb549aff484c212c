//! The operators' board: how queues, gates, schedules and workers stand, how attempts end, how far acts on many jobs have
//! come. It is read as a whole, and compared with how it was before: who reads it seldom misses what was in between, and
//! never how it stands.

use std::collections::BTreeMap;

use serde::Serialize;
use sira_domain::operations::bulk::{self, Progress};
use sira_engine::EngineError;
use sira_engine::ops::{self, CounterFilter, CounterView, GateView, QueueView, ScheduleView, SessionView};
use sira_kernel::Clock;
use sqlx::PgConnection;

/// Minutes of counters: the one that goes on, and the one before it, of which some processes may not have told all yet.
const MINUTES: u16 = 2;

/// One thing on the board.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Card {
    /// A queue.
    Queue(QueueView),
    /// A gate.
    Gate(GateView),
    /// A schedule.
    Schedule(ScheduleView),
    /// A process that works.
    Worker(SessionView),
    /// How attempts of a kind ended in a minute.
    Counter(CounterView),
    /// An act on many jobs.
    Bulk(Progress),
}

impl Card {
    /// What it is: `queue`, `gate`, `schedule`, `worker`, `counter` or `bulk`.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Gate(_) => "gate",
            Self::Schedule(_) => "schedule",
            Self::Worker(_) => "worker",
            Self::Counter(_) => "counter",
            Self::Bulk(_) => "bulk",
        }
    }

    /// Which one it is of its topic.
    pub fn key(&self) -> String {
        match self {
            Self::Queue(queue) => queue.name.clone(),
            Self::Gate(gate) => gate.name.clone(),
            Self::Schedule(schedule) => schedule.name.clone(),
            Self::Worker(worker) => worker.id.to_string(),
            Self::Counter(CounterView { minute, queue, kind, outcome, .. }) => {
                format!("{} {queue} {kind} {outcome}", minute.timestamp())
            }
            Self::Bulk(act) => act.id.to_string(),
        }
    }

    /// Whether it stands as it did. That a worker goes on living is no change.
    fn stands_as(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Worker(now), Self::Worker(before)) => {
                *now == SessionView { until: now.until, ..before.clone() }
            }
            _ => self == before,
        }
    }

    /// Whether its end is told. Counters and acts only grow old.
    fn can_go(&self) -> bool {
        !matches!(self, Self::Counter(_) | Self::Bulk(_))
    }
}

/// What is different.
#[derive(Debug, PartialEq)]
pub enum Change<'a> {
    /// It is new, or stands otherwise.
    Is(&'a Card),
    /// It is no longer there.
    Gone(&'a Card),
}

/// All of it, at one time.
#[derive(Debug, Default)]
pub struct Board(BTreeMap<(&'static str, String), Card>);

impl Board {
    /// A handful of short statements: none of them counts jobs without a bound.
    pub async fn read(conn: &mut PgConnection, clock: &Clock) -> Result<Self, EngineError> {
        let counters = CounterFilter { minutes: MINUTES, ..CounterFilter::default() };
        let queues = ops::list_queues(conn, clock).await?.into_iter().map(Card::Queue);
        let gates = ops::list_gates(conn, clock).await?.into_iter().map(Card::Gate);
        let schedules = ops::list_schedules(conn).await?.into_iter().map(Card::Schedule);
        let workers = ops::list_sessions(conn).await?.into_iter().map(Card::Worker);
        let counters = ops::list_counters(conn, &counters).await?.into_iter().map(Card::Counter);
        let acts = bulk::list_latest(conn).await?.into_iter().map(Card::Bulk);
        Ok(Self::of(queues.chain(gates).chain(schedules).chain(workers).chain(counters).chain(acts)))
    }

    fn of(cards: impl Iterator<Item = Card>) -> Self {
        Self(cards.map(|card| ((card.topic(), card.key()), card)).collect())
    }

    /// What is different from how it was.
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Change<'a>> {
        let is = self
            .0
            .iter()
            .filter(|(at, card)| !before.0.get(*at).is_some_and(|before| card.stands_as(before)));
        let gone = before.0.iter().filter(|(at, card)| card.can_go() && !self.0.contains_key(*at));
        is.map(|(_, card)| Change::Is(card)).chain(gone.map(|(_, card)| Change::Gone(card)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, ready: i64) -> Card {
        Card::Queue(QueueView {
            name: name.to_owned(),
            paused_at: None,
            paused_reason: None,
            concurrency_max: None,
            ready,
            oldest_s: None,
            workers: 1,
        })
    }

    #[test]
    fn what_is_new_otherwise_or_gone_is_told_and_nothing_else() {
        let before = Board::of([queue("a", 0), queue("b", 1), queue("c", 2)].into_iter());
        let now = Board::of([queue("a", 0), queue("b", 2), queue("d", 0)].into_iter());
        let told: Vec<_> = now.changes_since(&before).collect();
        let (b, c, d) = (queue("b", 2), queue("c", 2), queue("d", 0));
        assert_eq!(told, [Change::Is(&b), Change::Is(&d), Change::Gone(&c)]);
        assert_eq!(now.changes_since(&now).count(), 0);
        assert_eq!(now.changes_since(&Board::default()).count(), 3);
    }

    #[test]
    fn minutes_that_passed_are_not_told_as_gone() {
        let counter = Card::Counter(CounterView {
            minute: chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time"),
            queue: "a".to_owned(),
            kind: "b".to_owned(),
            outcome: "done".to_owned(),
            attempts: 1,
            ran_ms: 1,
        });
        let before = Board::of(std::iter::once(counter));
        assert_eq!(Board::default().changes_since(&before).count(), 0);
    }
}
