//! Setting up pools and what their members can carry. Whatever is set is on record; what may make room for waiting
//! leads records [`Event::CapacityFreed`] as well.

use chrono::{DateTime, Utc};
use sira_kernel::Id;
use sqlx::PgConnection;

use super::eligibility::{Block, DAY_MINUTES};
use super::{DistributionError, record_freed, store};
use crate::event::Event;
use crate::nouns::{PoolId, UserId};
use crate::uow::Uow;

/// Name of the default pool that is made where there is none.
const DEFAULT_POOL: &str = "Default";
/// Largest weight of a member.
const WEIGHT_MAX: i32 = 10_000;
/// Most members of a pool: what one batch reads, locks and stores.
const MEMBERS_MAX: i64 = 1000;
/// Largest capacity, open or a day.
const CAPACITY_MAX: i32 = 100_000;
/// Most blocks of working hours of one user.
const BLOCKS_MAX: usize = 70;
/// Open load that somebody carries for whom no limits were set yet.
const CAPACITY_DEFAULT: i32 = 50;
/// Leads a day of somebody for whom no limits were set yet.
const DAY_CAPACITY_DEFAULT: i32 = 100;

/// Creates a pool; the default pool takes what no campaign sends elsewhere.
///
/// # Errors
/// [`DistributionError::PoolExists`] for a second pool of the name or a second default.
pub async fn create_pool(uow: &mut Uow, name: &str, is_default: bool) -> Result<PoolId, DistributionError> {
    let (pool, now) = (PoolId::new(), uow.now());
    store::insert_pool(uow.conn(), pool, name, is_default, now).await.map_err(|error| {
        match error.as_database_error().and_then(|database| database.constraint()) {
            Some("pools_name_key" | "pools_default_key") => DistributionError::PoolExists,
            _ => error.into(),
        }
    })?;
    uow.record(Event::PoolCreated { pool });
    Ok(pool)
}

/// The default pool, made without members when there is none: a lead must always have a pool to wait in, or it
/// could not even be stored while nobody has set anything up. Safe to repeat and under concurrency.
///
/// # Errors
/// [`DistributionError::PoolExists`] when no pool is the default one, but another has the name "Default".
pub async fn ensure_default_pool(uow: &mut Uow) -> Result<PoolId, DistributionError> {
    if let Some(pool) = store::find_default_pool(uow.conn()).await? {
        return Ok(pool);
    }
    let (pool, now) = (PoolId::new(), uow.now());
    if store::insert_default_pool_if_absent(uow.conn(), pool, DEFAULT_POOL, now).await? {
        uow.record(Event::PoolCreated { pool });
        return Ok(pool);
    }
    // Somebody was faster: the insert waited for that commit, so this statement sees it.
    store::find_default_pool(uow.conn()).await?.ok_or(DistributionError::PoolExists)
}

/// The pool that takes what no campaign sends elsewhere.
pub async fn find_default_pool(conn: &mut PgConnection) -> Result<Option<PoolId>, sqlx::Error> {
    store::find_default_pool(conn).await
}

/// Makes a user a member of a pool, or changes its weight. Somebody without limits gets 50 open leads and 100 a day.
///
/// # Errors
/// [`DistributionError::UnknownPool`], [`DistributionError::UnknownAgent`], [`DistributionError::PoolFull`],
/// [`DistributionError::OutOfRange`] for a weight that is not from 1 to 10,000.
pub async fn set_member(
    uow: &mut Uow,
    pool: PoolId,
    user: UserId,
    weight: i32,
) -> Result<(), DistributionError> {
    if !(1..=WEIGHT_MAX).contains(&weight) {
        return Err(DistributionError::OutOfRange("weight"));
    }
    // Its lock: a batch that runs meanwhile knows all of the members or none of this change.
    store::lock_pool(uow.conn(), pool).await?.ok_or(DistributionError::UnknownPool)?;
    store::find_zone(uow.conn(), user).await?.ok_or(DistributionError::UnknownAgent)?;
    store::insert_load_if_absent(uow.conn(), user, CAPACITY_DEFAULT, DAY_CAPACITY_DEFAULT).await?;
    store::upsert_member(uow.conn(), pool, user, weight).await?;
    if store::count_members(uow.conn(), pool).await? > MEMBERS_MAX {
        return Err(DistributionError::PoolFull);
    }
    uow.record(Event::PoolMemberSet { pool, user, weight });
    record_freed(uow, user).await
}

/// Sets what a user can carry: load of open leads at a time, and leads a day of its own zone.
///
/// # Errors
/// [`DistributionError::UnknownAgent`], [`DistributionError::OutOfRange`], and
/// [`DistributionError::BelowPresentLoad`] when the user carries more already.
pub async fn set_load_limits(
    uow: &mut Uow,
    user: UserId,
    capacity: i32,
    day_capacity: i32,
) -> Result<(), DistributionError> {
    if !(0..=CAPACITY_MAX).contains(&capacity) || !(0..=CAPACITY_MAX).contains(&day_capacity) {
        return Err(DistributionError::OutOfRange("capacity"));
    }
    let zone = store::find_zone(uow.conn(), user).await?.ok_or(DistributionError::UnknownAgent)?;
    let zone: chrono_tz::Tz = zone.parse().map_err(|_| DistributionError::OutOfRange("time zone"))?;
    let today = uow.now().with_timezone(&zone).date_naive();
    store::insert_load_if_absent(uow.conn(), user, capacity, day_capacity).await?;
    if !store::update_limits(uow.conn(), user, capacity, day_capacity, today).await? {
        return Err(DistributionError::BelowPresentLoad);
    }
    uow.record(Event::LoadLimitsSet { user, capacity, day_capacity });
    record_freed(uow, user).await
}

/// Replaces a user's working hours; no block at all means always.
///
/// # Errors
/// [`DistributionError::UnknownAgent`], [`DistributionError::OutOfRange`] for blocks that are empty, outside a day
/// or overlap.
pub async fn set_hours(uow: &mut Uow, user: UserId, blocks: &[Block]) -> Result<(), DistributionError> {
    let mut sorted = blocks.to_vec();
    sorted.sort_unstable();
    let sound = |block: &Block| {
        (1..=7).contains(&block.weekday)
            && block.starts_minute < block.ends_minute
            && block.ends_minute <= DAY_MINUTES
    };
    let apart =
        |pair: &[Block]| pair[0].weekday != pair[1].weekday || pair[0].ends_minute <= pair[1].starts_minute;
    if sorted.len() > BLOCKS_MAX || !sorted.iter().all(sound) || !sorted.windows(2).all(apart) {
        return Err(DistributionError::OutOfRange("working hours"));
    }
    store::find_zone(uow.conn(), user).await?.ok_or(DistributionError::UnknownAgent)?;
    store::lock_load(uow.conn(), user).await?;
    store::replace_hours(uow.conn(), user, &sorted).await?;
    uow.record(Event::WorkingHoursSet { user, blocks: sorted.len() });
    record_freed(uow, user).await
}

/// Enters an absence, half-open.
///
/// # Errors
/// [`DistributionError::UnknownAgent`], [`DistributionError::OutOfRange`] when it ends before it starts.
pub async fn set_absence(
    uow: &mut Uow,
    user: UserId,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
) -> Result<(), DistributionError> {
    if starts_at >= ends_at {
        return Err(DistributionError::OutOfRange("absence"));
    }
    store::find_zone(uow.conn(), user).await?.ok_or(DistributionError::UnknownAgent)?;
    let id = Id::<Block>::new().uuid();
    store::insert_absence(uow.conn(), id, user, starts_at, ends_at).await?;
    uow.record(Event::AbsenceSet { user, starts_at, ends_at });
    Ok(())
}
