//! Claims about schedules: each slot once, whoever fires it, whatever was missed, whoever changed it.

use chrono::{DateTime, TimeDelta, Utc};
use sira_engine::ops::{
    ScheduleDetails, ScheduleEdit, ScheduleError, edit_schedule, find_schedule, pause_schedule,
    resume_schedule, run_schedule,
};
use sira_engine::{CatchUp, Engine, InvalidCron, Registry, Schedule};

use super::world::{Cx, DONE, QUEUE, Scripted, World};

const NAME: &str = "test.minutely";
const FIRED: &str = "select count(*) from engine.schedule_slots where job_id is not null";
const SLOTS: &str = "select count(*) from engine.schedule_slots";

fn registry(cron: &'static str, catch_up: CatchUp) -> Registry<Cx> {
    let job = Scripted { name: "slot".to_owned(), key: None };
    World::registry().schedule(Schedule::of::<Cx, _>(NAME, cron, "UTC", catch_up, &job))
}

impl World {
    async fn schedule(&self) -> ScheduleDetails {
        find_schedule(&mut self.db.pool.acquire().await.unwrap(), NAME).await.unwrap().unwrap()
    }

    async fn edit(&self, edit: ScheduleEdit) -> Result<(), ScheduleError> {
        let mut conn = self.db.pool.acquire().await.unwrap();
        let (_, applied) = edit_schedule(&mut conn, &self.db.clock, NAME, &edit).await?;
        self.cx.engine.wake(&applied);
        Ok(())
    }
}

fn minute(at: DateTime<Utc>) -> i64 {
    at.timestamp() / 60
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_racing_over_200_slots_fire_each_once() {
    let w = World::new().await;
    let begun = w.db.clock.now();
    let mut running = Vec::new();
    for _ in 0..3 {
        let engine = Engine::new(&w.db.pool, w.db.clock.clone(), World::link());
        let started =
            engine.start(registry("* * * * *", CatchUp::All), &[QUEUE], w.cx.clone(), World::settings());
        running.push((started.await.unwrap(), engine));
    }
    // All see the same clock, in steps that make one slot due, several, and more than one pass takes.
    for (step, minutes) in [1, 1, 2, 5, 1, 20, 30, 139].into_iter().enumerate() {
        w.db.clock.advance(TimeDelta::minutes(minutes));
        if step % 2 == 0 {
            w.until_sql(FIRED.to_owned(), minute(w.db.clock.now()) - minute(begun)).await;
        }
    }
    let expected = minute(w.db.clock.now()) - minute(begun);
    assert!(expected >= 199, "{expected}");
    w.until(FIRED, expected).await;
    w.until(DONE, expected).await;
    let slots = "select count(distinct slot) from engine.schedule_slots where extract(second from slot) = 0";
    assert_eq!(w.count(slots).await, expected, "each minute");
    let span =
        "select (extract(epoch from max(slot) - min(slot)) / 60)::bigint + 1 from engine.schedule_slots";
    assert_eq!(w.count(span).await, expected, "without a gap");
    let jobs = "select count(distinct payload ->> 'slot') from engine.finished";
    assert_eq!(w.count(jobs).await, expected, "each job knows its slot");
    assert_eq!(w.cx.began("slot") as i64, expected, "and no job ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_passed_while_nobody_ran_are_caught_up_as_the_schedule_says() {
    for (catch_up, fired, rows) in [(CatchUp::All, 10, 10), (CatchUp::Latest, 1, 2), (CatchUp::Skip, 0, 1)] {
        let w = World::new().await;
        // Far from the minute's edge, so that the time that this test takes decides nothing.
        let now = w.db.clock.now();
        w.db.clock.advance(TimeDelta::milliseconds(60_000 - now.timestamp_millis() % 60_000));
        drop(w.start_with(registry("*/10 * * * *", catch_up), World::settings()).await);
        let next = w.schedule().await.schedule.next_at.unwrap();
        w.db.clock.advance(next + TimeDelta::minutes(95) - w.db.clock.now());
        let began = tokio::time::Instant::now();
        let _running = w.start_with(registry("*/10 * * * *", catch_up), World::settings()).await;
        w.until(SLOTS, rows).await;
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
        w.until(DONE, fired).await;
        assert_eq!(w.count(FIRED).await, fired, "{catch_up:?}");
        let told = w.schedule().await;
        let last = &told.last[0];
        assert_eq!(last.slot, next + TimeDelta::minutes(90), "{catch_up:?}: the last one is settled");
        assert_eq!(told.schedule.next_at, Some(next + TimeDelta::minutes(100)), "{catch_up:?}");
        let missed = told.last.iter().find(|slot| slot.missed_from.is_some());
        assert_eq!(missed.and_then(|slot| slot.missed_from), (rows != fired).then_some(next), "{catch_up:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_changes_survive_a_restart_and_the_programs_own_arrive_otherwise() {
    let w = World::new().await;
    drop(w.start_with(registry("0 3 * * *", CatchUp::All), World::settings()).await);
    let declared = w.schedule().await;
    assert_eq!((declared.schedule.cron.as_str(), declared.schedule.catch_up.as_str()), ("0 3 * * *", "all"));
    assert_eq!(declared.next.len(), 5);
    assert!(declared.next.iter().all(|slot| slot.format("%H:%M").to_string() == "03:00"), "{declared:?}");

    // A new version declares another time.
    drop(w.start_with(registry("0 4 * * *", CatchUp::Latest), World::settings()).await);
    let renewed = w.schedule().await;
    assert_eq!((renewed.schedule.cron.as_str(), renewed.schedule.catch_up.as_str()), ("0 4 * * *", "latest"));
    assert_eq!(renewed.next[0].format("%H:%M").to_string(), "04:00");

    let zone = ScheduleEdit { time_zone: Some("Europe/Istanbul".to_owned()), ..ScheduleEdit::default() };
    w.edit(zone).await.unwrap();
    drop(w.start_with(registry("0 5 * * *", CatchUp::Skip), World::settings()).await);
    let edited = w.schedule().await;
    assert_eq!((edited.schedule.cron.as_str(), edited.schedule.catch_up.as_str()), ("0 4 * * *", "latest"));
    assert_eq!(edited.next[0].format("%H:%M").to_string(), "01:00", "four o'clock in Istanbul");

    for (cron, wrong) in [("0 9 * * 1", InvalidCron::NumberedWeekday), ("0 0 31 2 *", InvalidCron::Never)] {
        let refused = w.edit(ScheduleEdit { cron: Some(cron.to_owned()), ..ScheduleEdit::default() }).await;
        assert!(matches!(refused, Err(ScheduleError::Invalid(why)) if why == wrong), "{cron}");
    }
    assert_eq!(w.schedule().await.schedule.cron, "0 4 * * *");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_fires_nothing_and_goes_on_without_what_it_missed() {
    let w = World::new().await;
    let _running = w.start_with(registry("*/5 * * * *", CatchUp::All), World::settings()).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    pause_schedule(&mut conn, NAME, "the provider is away").await.unwrap();
    w.advance(3_600);
    let paused = w.schedule().await;
    assert_eq!(paused.schedule.paused_reason.as_deref(), Some("the provider is away"));
    assert_eq!((paused.next.len(), paused.schedule.next_at), (0, None));

    // What an operator runs is beside the slots, also during a pause.
    let (job, applied) = run_schedule(&mut conn, &w.db.clock, NAME).await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(DONE, 1).await;
    let ran = w.schedule().await.last;
    assert_eq!((ran.len(), ran[0].by_request, ran[0].job_id), (1, true, Some(job.0)));
    assert_eq!(ran[0].job_state.as_deref(), Some("done"));

    let (was_paused, applied) = resume_schedule(&mut conn, &w.db.clock, NAME).await.unwrap();
    assert!(was_paused);
    w.cx.engine.wake(&applied);
    assert!(!resume_schedule(&mut conn, &w.db.clock, NAME).await.unwrap().0, "it was not paused");
    let resumed = w.schedule().await;
    assert!(
        resumed.next[0] > w.db.clock.now() && resumed.next[0] <= w.db.clock.now() + TimeDelta::minutes(5)
    );
    w.advance(300);
    w.until(DONE, 2).await;
    assert_eq!(w.count(FIRED).await, 2, "an hour of slots was not caught up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_read_is_paused_and_holds_up_no_other() {
    let w = World::new().await;
    let other = Scripted { name: "other".to_owned(), key: None };
    let registry = registry("* * * * *", CatchUp::All).schedule(Schedule::of::<Cx, _>(
        "test.other",
        "* * * * *",
        "UTC",
        CatchUp::All,
        &other,
    ));
    let _running = w.start_with(registry, World::settings()).await;
    sqlx::query("update engine.schedules set cron = 'of a later version' where name = $1")
        .bind(NAME)
        .execute(&w.db.pool)
        .await
        .unwrap();
    w.advance(60);
    w.until_began("other", 1).await;
    w.until("select count(*) from engine.schedules where paused_at is not null", 1).await;
    assert_eq!(w.cx.began("slot"), 0);
    assert!(w.schedule().await.schedule.paused_reason.unwrap().contains("cannot be read"));
}
