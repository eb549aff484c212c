//! Firing the slots of schedules: by every process that runs workers, each slot by one of them.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::error::EngineError;
use crate::schedule::{CatchUp, Cron, Schedule, due};
use crate::store::schedules::{self, DueSchedule, Settled};

/// Why a schedule is paused that this program cannot read.
const UNREADABLE: &str = "its expression, zone or catch-up cannot be read by the running version";

/// Stores what the program declares.
pub async fn declare(
    conn: &mut PgConnection,
    declared: &[Schedule],
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    for schedule in declared {
        let next =
            Cron::parse(schedule.cron, schedule.time_zone).ok().and_then(|cron| cron.slots(now).next());
        schedules::declare(conn, schedule, next).await?;
    }
    Ok(())
}

/// Fires what is due. Returns the queue of each job, and microseconds until the next slot, which may be due as well.
pub async fn fire(conn: &mut PgConnection, shift_us: i64) -> Result<(Vec<String>, Option<i64>), sqlx::Error> {
    let next = schedules::next_slot_us(conn, shift_us).await?;
    if next.is_none_or(|us| us > 0) {
        return Ok((Vec::new(), next));
    }
    let mut tx = conn.begin().await?;
    let locked = schedules::lock_due(&mut tx, shift_us).await?;
    if locked.is_empty() {
        // Another process is at it.
        return Ok((Vec::new(), next));
    }
    let mut settled = Settled::default();
    for schedule in locked {
        if let Some(cron) = readable(&schedule) {
            settle(&schedule, &cron, &mut settled);
        } else {
            tracing::error!(schedule = schedule.name, "the schedule is paused: {UNREADABLE}");
            schedules::set_paused(&mut tx, &schedule.name, Some(UNREADABLE), None).await?;
        }
    }
    let queues = schedules::settle(&mut tx, shift_us, &settled).await?;
    fail::fail_point!("engine::before_slots");
    tx.commit().await?;
    Ok((queues, schedules::next_slot_us(conn, shift_us).await?))
}

fn readable(schedule: &DueSchedule) -> Option<(Cron, CatchUp)> {
    Some((Cron::parse(&schedule.cron, &schedule.time_zone).ok()?, CatchUp::parse(&schedule.catch_up)?))
}

fn settle(schedule: &DueSchedule, (cron, catch_up): &(Cron, CatchUp), settled: &mut Settled) {
    let due = due(cron, *catch_up, schedule.next_at, schedule.now);
    for slot in due.fire {
        let late = (schedule.now - slot).to_std().unwrap_or_default();
        metrics::histogram!("sira_slot_lateness_seconds", "schedule" => schedule.name.clone()).record(late);
        settled.fire.0.push(schedule.id);
        settled.fire.1.push(slot);
    }
    if let Some((first, last)) = due.missed {
        tracing::warn!(schedule = schedule.name, %first, %last, "slots were missed");
        settled.missed.0.push(schedule.id);
        settled.missed.1.push(first);
        settled.missed.2.push(last);
    }
    settled.schedules.push(schedule.id);
    settled.next.push(due.next);
}
