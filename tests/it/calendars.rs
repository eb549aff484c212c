//! Claims about stored calendars.

use std::sync::Arc;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeZone, Utc};
use sira_domain::calendars::{self, Block, Calendar, CalendarError, Holiday};
use sira_domain::nouns::CalendarId;
use sira_domain::{Db, Event, Uow};
use sira_kernel::Actor;
use sira_testkit::TestDb;
use tokio::task::JoinSet;

use crate::recorded::{capture, recorded};

struct World {
    test: TestDb,
    db: Db,
}

impl World {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let db = Db::new(test.pool.clone(), test.clock.clone(), capture, Arc::new(|_| {}));
        Self { test, db }
    }

    async fn begin(&self) -> Uow {
        self.db.begin(Actor::System).await.unwrap()
    }

    async fn create(&self, name: &str, like: &Calendar) -> Result<CalendarId, CalendarError> {
        let mut uow = self.begin().await;
        let (blocks, holidays) = (like.blocks().to_vec(), like.holidays().to_vec());
        let id = calendars::create_calendar(&mut uow, name, like.zone(), blocks, holidays).await?;
        uow.commit().await.unwrap();
        Ok(id)
    }

    async fn replace(&self, id: CalendarId, like: &Calendar) -> Result<(), CalendarError> {
        replace(&self.db, id, like).await
    }

    async fn find(&self, id: CalendarId) -> Result<Option<Calendar>, CalendarError> {
        find(&self.db, id).await
    }

    async fn default(&self) -> CalendarId {
        let mut conn = self.db.read().await.unwrap();
        calendars::find_default(&mut conn).await.unwrap().unwrap()
    }

    /// Why the database refuses this.
    async fn refusal(&self, sql: &'static str, id: CalendarId) -> String {
        let error = sqlx::query(sql).bind(id.uuid()).execute(&self.test.pool).await.unwrap_err();
        error.as_database_error().unwrap().constraint().unwrap().to_owned()
    }
}

async fn replace(db: &Db, id: CalendarId, like: &Calendar) -> Result<(), CalendarError> {
    let mut uow = db.begin(Actor::System).await.unwrap();
    let (blocks, holidays) = (like.blocks().to_vec(), like.holidays().to_vec());
    calendars::replace_calendar(&mut uow, id, like.zone(), blocks, holidays).await?;
    uow.commit().await.unwrap();
    Ok(())
}

async fn find(db: &Db, id: CalendarId) -> Result<Option<Calendar>, CalendarError> {
    calendars::find_calendar(&mut db.read().await.unwrap(), id).await
}

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn holiday(day: NaiveDate, from: u16, name_tr: &str, name_en: &str) -> Holiday {
    let (name_tr, name_en) = (name_tr.to_owned(), name_en.to_owned());
    Holiday { day, closed_from_minute: from, closed_to_minute: 1440, name_tr, name_en }
}

/// So many blocks on so many holidays: no two of these calendars are alike in any part.
fn numbered(number: u16) -> Calendar {
    let block = |of: u16| Block { weekday: 1 + (of % 7) as u8, starts_minute: of, ends_minute: of + 1 };
    let closed = |of: u16| holiday(date(2030, 1, u32::from(of) + 1), number, "Tatil", "Holiday");
    let zone = if number.is_multiple_of(2) { "Europe/Berlin" } else { "Asia/Kolkata" };
    Calendar::new(zone, (0..number).map(block).collect(), (0..number).map(closed).collect()).unwrap()
}

/// On the wall clock of Istanbul, which has been three hours ahead of UTC since 2016.
fn at(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    let istanbul = FixedOffset::east_opt(3 * 3600).unwrap();
    istanbul.with_ymd_and_hms(year, month, day, hour, minute, 0).unwrap().to_utc()
}

#[tokio::test]
async fn there_is_a_default_calendar_with_turkish_hours_and_the_holidays_of_2026() {
    let world = World::new().await;
    let calendar = world.find(world.default().await).await.unwrap().unwrap();
    assert_eq!(calendar.zone(), "Europe/Istanbul");
    let hours = |weekday| Block { weekday, starts_minute: 540, ends_minute: 1080 };
    assert_eq!(calendar.blocks(), (1..=5).map(hours).collect::<Vec<_>>());
    let stored: Vec<Holiday> =
        calendar.holidays().iter().filter(|holiday| holiday.day.year() == 2026).cloned().collect();
    let expected = [
        (1, 1, 0, "Yılbaşı", "New Year's Day"),
        (3, 19, 780, "Ramazan Bayramı arifesi", "Eve of Eid al-Fitr"),
        (3, 20, 0, "Ramazan Bayramı, 1. gün", "Eid al-Fitr, day 1"),
        (3, 21, 0, "Ramazan Bayramı, 2. gün", "Eid al-Fitr, day 2"),
        (3, 22, 0, "Ramazan Bayramı, 3. gün", "Eid al-Fitr, day 3"),
        (4, 23, 0, "Ulusal Egemenlik ve Çocuk Bayramı", "National Sovereignty and Children's Day"),
        (5, 1, 0, "Emek ve Dayanışma Günü", "Labour and Solidarity Day"),
        (
            5,
            19,
            0,
            "Atatürk'ü Anma, Gençlik ve Spor Bayramı",
            "Commemoration of Atatürk, Youth and Sports Day",
        ),
        (5, 26, 780, "Kurban Bayramı arifesi", "Eve of Eid al-Adha"),
        (5, 27, 0, "Kurban Bayramı, 1. gün", "Eid al-Adha, day 1"),
        (5, 28, 0, "Kurban Bayramı, 2. gün", "Eid al-Adha, day 2"),
        (5, 29, 0, "Kurban Bayramı, 3. gün", "Eid al-Adha, day 3"),
        (5, 30, 0, "Kurban Bayramı, 4. gün", "Eid al-Adha, day 4"),
        (7, 15, 0, "Demokrasi ve Millî Birlik Günü", "Democracy and National Unity Day"),
        (8, 30, 0, "Zafer Bayramı", "Victory Day"),
        (10, 28, 780, "Cumhuriyet Bayramı arifesi", "Eve of Republic Day"),
        (10, 29, 0, "Cumhuriyet Bayramı", "Republic Day"),
    ];
    let expected = expected.map(|(month, day, from, tr, en)| holiday(date(2026, month, day), from, tr, en));
    assert_eq!(stored, expected);
    let due = calendar.add_open(at(2026, 5, 26, 12, 45), 30 * 60);
    assert_eq!(due, Some(at(2026, 6, 1, 9, 15)), "over the eve, the bayram and the weekend");
}

#[tokio::test]
async fn each_year_from_2025_to_2031_has_its_bayrams_and_a_whole_day_wins_over_a_half_one() {
    let world = World::new().await;
    let calendar = world.find(world.default().await).await.unwrap().unwrap();
    let first_days = |name: &str| -> Vec<NaiveDate> {
        let named = calendar.holidays().iter().filter(|holiday| holiday.name_tr == format!("{name}, 1. gün"));
        named.map(|holiday| holiday.day).collect()
    };
    let ramazan = [(3, 30), (3, 20), (3, 9), (2, 26), (2, 14), (2, 4), (1, 24)];
    let kurban = [(6, 6), (5, 27), (5, 16), (5, 5), (4, 24), (4, 13), (4, 2)];
    let dated = |days: [(u32, u32); 7]| -> Vec<NaiveDate> {
        (2025..).zip(days).map(|(year, (month, day))| date(year, month, day)).collect()
    };
    assert_eq!(first_days("Ramazan Bayramı"), dated(ramazan));
    assert_eq!(first_days("Kurban Bayramı"), dated(kurban));
    for year in 2025..=2031 {
        let of_year: Vec<&Holiday> =
            calendar.holidays().iter().filter(|holiday| holiday.day.year() == year).collect();
        // Fourteen whole days and three half ones, less one where two fall on one date.
        let (days, halves) = match year {
            2027 => (16, 3),
            2029 => (16, 2),
            _ => (17, 3),
        };
        assert_eq!(of_year.len(), days, "{year}");
        let half = of_year.iter().filter(|holiday| holiday.closed_from_minute == 780);
        assert_eq!(half.count(), halves, "{year}");
    }
    assert_eq!(calendar.open_between(at(2029, 4, 23, 0, 0), at(2029, 4, 24, 0, 0)), 0);
    let both = calendar.holidays().iter().find(|holiday| holiday.day == date(2027, 5, 19)).unwrap();
    assert_eq!(both.name_tr, "Atatürk'ü Anma, Gençlik ve Spor Bayramı; Kurban Bayramı, 4. gün");
}

#[tokio::test]
async fn a_calendar_is_read_back_as_it_was_created_and_as_it_was_replaced() {
    let world = World::new().await;
    let (first, second) = (numbered(3), numbered(20));
    let id = world.create(" Berlin ", &first).await.unwrap();
    let other = world.create("Empty", &numbered(0)).await.unwrap();
    assert_eq!(world.find(id).await.unwrap(), Some(first));
    world.replace(id, &second).await.unwrap();
    assert_eq!(world.find(id).await.unwrap(), Some(second.clone()));

    let mut conn = world.db.read().await.unwrap();
    let ids = [id, other, CalendarId::new()];
    let listed = calendars::list_calendars(&mut conn, &ids).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[&id], second);
    assert_eq!(listed[&other], numbered(0));
    let name: String = sqlx::query_scalar("select name from calendars where id = $1")
        .bind(id.uuid())
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(name, "Berlin");

    let expected = [
        Event::CalendarCreated { calendar: id },
        Event::CalendarCreated { calendar: other },
        Event::CalendarChanged { calendar: id },
    ];
    assert_eq!(recorded(), expected);
    let audited: Vec<(String, String)> =
        sqlx::query_as("select action, subject from audit_event where subject_kind = 'calendar' order by id")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    let on_record = [("calendar.created", id), ("calendar.created", other), ("calendar.changed", id)];
    assert_eq!(audited, on_record.map(|(action, id)| (action.to_owned(), id.to_string())));
}

#[tokio::test]
async fn replacements_at_the_same_moment_and_what_reads_meanwhile_know_whole_calendars_only() {
    let world = World::new().await;
    let id = world.create("Busy", &numbered(1)).await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 2..=12_u16 {
        let db = world.db.clone();
        tasks.spawn(async move {
            replace(&db, id, &numbered(number)).await.unwrap();
            let seen = find(&db, id).await.unwrap().unwrap();
            assert_eq!(seen, numbered(seen.blocks().len() as u16));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let last = world.find(id).await.unwrap().unwrap();
    assert!(last.blocks().len() > 1);
    assert_eq!(last, numbered(last.blocks().len() as u16));
}

#[tokio::test]
async fn a_second_default_is_impossible() {
    let world = World::new().await;
    let id = world.create("Second", &numbered(1)).await.unwrap();
    let refused = world.refusal("update calendars set is_default = true where id = $1", id).await;
    assert_eq!(refused, "calendars_default_key");
    assert_ne!(world.default().await, id);
}

#[tokio::test]
async fn the_tables_refuse_what_is_no_block_and_no_holiday() {
    let world = World::new().await;
    let id = world.create("Checked", &numbered(0)).await.unwrap();
    for (sql, constraint) in [
        ("insert into calendar_hours values ($1, 0, 1, 2)", "calendar_hours_weekday_check"),
        ("insert into calendar_hours values ($1, 1, 2, 2)", "calendar_hours_block_check"),
        ("insert into calendar_hours values ($1, 1, 2, 1441)", "calendar_hours_block_check"),
        (
            "insert into calendar_holidays values ($1, '2026-01-01', 5, 5, 'a', 'b')",
            "calendar_holidays_part_check",
        ),
        (
            "insert into calendar_holidays values ($1, '2026-01-01', 0, 1440, '', 'b')",
            "calendar_holidays_name_check",
        ),
    ] {
        assert_eq!(world.refusal(sql, id).await, constraint, "{sql}");
    }
}

#[tokio::test]
async fn a_stored_zone_that_is_unknown_is_an_error_that_says_so() {
    let world = World::new().await;
    let id = world.create("Lost", &numbered(1)).await.unwrap();
    sqlx::query("update calendars set time_zone = 'Mars/Olympus' where id = $1")
        .bind(id.uuid())
        .execute(&world.test.pool)
        .await
        .unwrap();
    let error = world.find(id).await.unwrap_err();
    assert!(matches!(&error, CalendarError::UnknownZone(zone) if zone == "Mars/Olympus"), "{error:?}");
    assert_eq!(error.to_string(), "there is no time zone \"Mars/Olympus\"");
}

#[tokio::test]
async fn a_calendar_that_cannot_be_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let (some, unknown) = (numbered(1), CalendarId::new());
    world.create("Taken", &some).await.unwrap();
    let taken = world.create("Taken", &some).await;
    assert!(matches!(taken, Err(CalendarError::CalendarExists)), "{taken:?}");
    for name in [" ", &"x".repeat(121)] {
        let unnamed = world.create(name, &some).await;
        assert!(matches!(unnamed, Err(CalendarError::InvalidName)), "{unnamed:?}");
    }
    let missing = world.replace(unknown, &some).await;
    assert!(matches!(missing, Err(CalendarError::UnknownCalendar)), "{missing:?}");
    assert_eq!(world.find(unknown).await.unwrap(), None);

    let stored = "select count(*) from calendars";
    let count: i64 = sqlx::query_scalar(stored).fetch_one(&world.test.pool).await.unwrap();
    assert_eq!(count, 2, "the default one and the one that was taken");
    sqlx::query(
        "insert into calendars (id, name, time_zone, created_at, updated_at)
         select gen_random_uuid(), 'filler ' || number, 'UTC', now(), now() from generate_series(3, 1000) as number",
    )
    .execute(&world.test.pool)
    .await
    .unwrap();
    let full = world.create("One more", &some).await;
    assert!(matches!(full, Err(CalendarError::TooManyCalendars)), "{full:?}");
}
