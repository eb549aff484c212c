//! SQL of calendars.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Block, Calendar, Holiday};
use crate::nouns::CalendarId;

/// A calendar as it is stored.
pub struct Stored {
    pub id: CalendarId,
    pub zone: String,
    pub blocks: Vec<Block>,
    pub holidays: Vec<Holiday>,
}

/// One statement for all of them and all that belongs to them, so that it sees each one before or after a
/// replacement, and never half of both.
pub async fn list(conn: &mut PgConnection, ids: &[CalendarId]) -> Result<Vec<Stored>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"select calendar.id, calendar.time_zone,
             hours.weekdays as "weekdays!", hours.starts as "starts!", hours.ends as "ends!",
             closed.days as "days!", closed.froms as "froms!", closed.tos as "tos!",
             closed.names_tr as "names_tr!", closed.names_en as "names_en!"
         from calendars calendar
         cross join lateral (
             select coalesce(array_agg(weekday order by weekday, starts_minute), '{}') as weekdays,
               coalesce(array_agg(starts_minute order by weekday, starts_minute), '{}') as starts,
               coalesce(array_agg(ends_minute order by weekday, starts_minute), '{}') as ends
             from calendar_hours where calendar_id = calendar.id
         ) as hours
         cross join lateral (
             select coalesce(array_agg(day order by day, closed_from_minute), '{}') as days,
               coalesce(array_agg(closed_from_minute order by day, closed_from_minute), '{}') as froms,
               coalesce(array_agg(closed_to_minute order by day, closed_from_minute), '{}') as tos,
               coalesce(array_agg(name_tr order by day, closed_from_minute), '{}') as names_tr,
               coalesce(array_agg(name_en order by day, closed_from_minute), '{}') as names_en
             from calendar_holidays where calendar_id = calendar.id
         ) as closed
         where calendar.id = any($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let hours = row.weekdays.into_iter().zip(row.starts).zip(row.ends);
        let blocks = hours.map(|((weekday, starts), ends)| Block::from_columns(weekday, starts, ends));
        let closed = row.days.into_iter().zip(row.froms).zip(row.tos);
        let names = row.names_tr.into_iter().zip(row.names_en);
        let holidays = closed.zip(names).map(|(((day, from), to), (name_tr, name_en))| Holiday {
            day,
            closed_from_minute: from as u16,
            closed_to_minute: to as u16,
            name_tr,
            name_en,
        });
        Stored {
            id: CalendarId::from_uuid(row.id),
            zone: row.time_zone,
            blocks: blocks.collect(),
            holidays: holidays.collect(),
        }
    });
    Ok(stored.collect())
}

pub async fn find_default(conn: &mut PgConnection) -> Result<Option<CalendarId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select id from calendars where is_default").fetch_optional(conn).await?;
    Ok(id.map(CalendarId::from_uuid))
}

pub async fn count(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from calendars"#).fetch_one(conn).await
}

/// A calendar that is not the default one, without its hours and holidays.
pub async fn insert(
    conn: &mut PgConnection,
    id: CalendarId,
    name: &str,
    zone: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into calendars (id, name, time_zone, is_default, created_at, updated_at)
         values ($1, $2, $3, false, $4, $4)",
        id.uuid(),
        name,
        zone,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the zone, and locks the row: of two replacements one comes after the other. False when there is none.
pub async fn update(
    conn: &mut PgConnection,
    id: CalendarId,
    zone: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update calendars set time_zone = $2, updated_at = $3 where id = $1",
        id.uuid(),
        zone,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces hours and holidays by those of this calendar.
pub async fn replace_parts(
    conn: &mut PgConnection,
    id: CalendarId,
    calendar: &Calendar,
) -> Result<(), sqlx::Error> {
    replace_hours(conn, id, calendar.blocks()).await?;
    replace_holidays(conn, id, calendar.holidays()).await
}

async fn replace_hours(conn: &mut PgConnection, id: CalendarId, blocks: &[Block]) -> Result<(), sqlx::Error> {
    let (weekdays, starts, ends) = Block::columns(blocks);
    sqlx::query!("delete from calendar_hours where calendar_id = $1", id.uuid()).execute(&mut *conn).await?;
    sqlx::query!(
        "insert into calendar_hours (calendar_id, weekday, starts_minute, ends_minute)
         select $1, weekday, starts_minute, ends_minute
         from unnest($2::smallint[], $3::smallint[], $4::smallint[]) as block (weekday, starts_minute, ends_minute)",
        id.uuid(),
        &weekdays,
        &starts,
        &ends
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn replace_holidays(
    conn: &mut PgConnection,
    id: CalendarId,
    holidays: &[Holiday],
) -> Result<(), sqlx::Error> {
    let days: Vec<_> = holidays.iter().map(|holiday| holiday.day).collect();
    let froms: Vec<i16> = holidays.iter().map(|holiday| holiday.closed_from_minute as i16).collect();
    let tos: Vec<i16> = holidays.iter().map(|holiday| holiday.closed_to_minute as i16).collect();
    let names_tr: Vec<_> = holidays.iter().map(|holiday| holiday.name_tr.clone()).collect();
    let names_en: Vec<_> = holidays.iter().map(|holiday| holiday.name_en.clone()).collect();
    sqlx::query!("delete from calendar_holidays where calendar_id = $1", id.uuid())
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "insert into calendar_holidays
           (calendar_id, day, closed_from_minute, closed_to_minute, name_tr, name_en)
         select $1, day, closed_from_minute, closed_to_minute, name_tr, name_en
         from unnest($2::date[], $3::smallint[], $4::smallint[], $5::text[], $6::text[])
           as holiday (day, closed_from_minute, closed_to_minute, name_tr, name_en)",
        id.uuid(),
        &days,
        &froms,
        &tos,
        &names_tr,
        &names_en
    )
    .execute(conn)
    .await?;
    Ok(())
}
