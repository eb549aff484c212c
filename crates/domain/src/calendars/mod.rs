//! Calendars: when a business is open, and how much business time lies between two moments.
//!
//! A [`Calendar`] is a pure value: weekly hours and holidays on the wall clock of a zone. Deadlines are counted in
//! it by [`Calendar::add_open`], with pauses by a [`Stopwatch`]. It is stored as data and changed as a whole.
//!
//! **Invariant:** what is stored was sound when it was stored, and there is at most one default calendar, by a
//! unique index.

mod calendar;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod properties;
mod stopwatch;
mod store;
mod wall;

use std::collections::HashMap;

pub use calendar::{BLOCKS_MAX, Calendar, HOLIDAY_NAME_CHARS_MAX, HOLIDAYS_MAX, HORIZON_DAYS, Holiday};
use chrono::NaiveDate;
use sira_engine::JobError;
use sqlx::PgConnection;
pub use stopwatch::Stopwatch;

pub use crate::distribution::Block;
use crate::event::Event;
use crate::nouns::CalendarId;
use crate::uow::Uow;

/// Most calendars. Creations at the same moment may exceed it by as many as they are.
const CALENDARS_MAX: i64 = 1000;
/// Longest name of a calendar, in characters.
const NAME_CHARS_MAX: usize = 120;

/// What a caller treats differently.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// The bundled database of time zones knows none of this name.
    #[error("there is no time zone {0:?}")]
    UnknownZone(String),
    /// The week has too many blocks.
    #[error("a calendar has at most {BLOCKS_MAX} blocks a week")]
    TooManyBlocks,
    /// A block has no minute, is not within a day, or its weekday is none.
    #[error("a block of weekday {weekday} is empty or not within a day of the week")]
    BlockOutOfRange {
        /// As it was given.
        weekday: u8,
    },
    /// Two blocks have a minute in common.
    #[error("blocks of weekday {weekday} overlap")]
    BlocksOverlap {
        /// ISO: 1 is Monday.
        weekday: u8,
    },
    /// There are too many holidays.
    #[error("a calendar has at most {HOLIDAYS_MAX} holidays")]
    TooManyHolidays,
    /// A holiday closes no minute or more than its date, lacks a name, has a long one, or is in no year from 1 to 9999.
    #[error("the holiday of {day} closes nothing, or more than its date, or has no sound name or year")]
    HolidayOutOfRange {
        /// Its date.
        day: NaiveDate,
    },
    /// Two holidays of a date begin at the same minute.
    #[error("two holidays of {day} begin at the same minute")]
    HolidayTwice {
        /// Their date.
        day: NaiveDate,
    },
    /// The name is empty or too long.
    #[error("a calendar's name has 1 to {NAME_CHARS_MAX} characters")]
    InvalidName,
    /// A calendar of this name exists.
    #[error("a calendar of this name exists")]
    CalendarExists,
    /// There are as many calendars as there may be.
    #[error("there are at most {CALENDARS_MAX} calendars")]
    TooManyCalendars,
    /// There is no such calendar.
    #[error("there is no such calendar")]
    UnknownCalendar,
    /// The database refused or was not there.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

impl From<CalendarError> for JobError {
    fn from(error: CalendarError) -> Self {
        match error {
            CalendarError::Database(error) => error.into(),
            CalendarError::UnknownCalendar => Self::fail("unknown_calendar", error.to_string()),
            other => Self::fail("calendar", other.to_string()),
        }
    }
}

/// The calendar with this id.
///
/// # Errors
/// Those of [`Calendar::new`], when what is stored is sound no more: [`CalendarError::UnknownZone`] for a zone that
/// this version does not know.
pub async fn find_calendar(
    conn: &mut PgConnection,
    calendar: CalendarId,
) -> Result<Option<Calendar>, CalendarError> {
    Ok(list_calendars(conn, &[calendar]).await?.remove(&calendar))
}

/// The calendars with these ids, as far as there are any: one statement, however many they are.
///
/// # Errors
/// As [`find_calendar`], for any of them.
pub async fn list_calendars(
    conn: &mut PgConnection,
    calendars: &[CalendarId],
) -> Result<HashMap<CalendarId, Calendar>, CalendarError> {
    let stored = store::list(conn, calendars).await?;
    let sound =
        stored.into_iter().map(|one| Ok((one.id, Calendar::new(&one.zone, one.blocks, one.holidays)?)));
    sound.collect()
}

/// The calendar of whatever names none.
pub async fn find_default(conn: &mut PgConnection) -> Result<Option<CalendarId>, CalendarError> {
    Ok(store::find_default(conn).await?)
}

/// Creates a calendar that is not the default one. The zone is kept as the database of zones writes it.
///
/// # Errors
/// Those of [`Calendar::new`], [`CalendarError::InvalidName`], [`CalendarError::CalendarExists`] by the unique key,
/// [`CalendarError::TooManyCalendars`] for more than 1,000.
pub async fn create_calendar(
    uow: &mut Uow,
    name: &str,
    zone: &str,
    blocks: Vec<Block>,
    holidays: Vec<Holiday>,
) -> Result<CalendarId, CalendarError> {
    let sound = Calendar::new(zone, blocks, holidays)?;
    let name = name.trim();
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
        return Err(CalendarError::InvalidName);
    }
    if store::count(uow.conn()).await? >= CALENDARS_MAX {
        return Err(CalendarError::TooManyCalendars);
    }
    let (calendar, now) = (CalendarId::new(), uow.now());
    store::insert(uow.conn(), calendar, name, sound.zone(), now).await.map_err(|error| {
        match error.as_database_error().and_then(|database| database.constraint()) {
            Some("calendars_name_key") => CalendarError::CalendarExists,
            _ => error.into(),
        }
    })?;
    store::replace_parts(uow.conn(), calendar, &sound).await?;
    uow.record(Event::CalendarCreated { calendar });
    Ok(calendar)
}

/// Replaces zone, hours and holidays of a calendar, all at once; its name, and whether it is the default one, stay.
/// Safe to repeat and under concurrency: the last one stands as a whole.
///
/// # Errors
/// Those of [`Calendar::new`], [`CalendarError::UnknownCalendar`].
pub async fn replace_calendar(
    uow: &mut Uow,
    calendar: CalendarId,
    zone: &str,
    blocks: Vec<Block>,
    holidays: Vec<Holiday>,
) -> Result<(), CalendarError> {
    let sound = Calendar::new(zone, blocks, holidays)?;
    let now = uow.now();
    if !store::update(uow.conn(), calendar, sound.zone(), now).await? {
        return Err(CalendarError::UnknownCalendar);
    }
    store::replace_parts(uow.conn(), calendar, &sound).await?;
    uow.record(Event::CalendarChanged { calendar });
    Ok(())
}
