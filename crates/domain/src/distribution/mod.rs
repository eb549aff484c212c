//! Distribution: which agent gets which lead, and why.
//!
//! Leads wait in pools. [`assign_waiting`] gives as many of a pool's waiting leads as one transaction may hold to
//! its members: who may take a lead at this hour is decided by [`eligibility`], whose turn it is by [`quota`],
//! and [`routing`] puts the two together as a pure function. What the function saw is stored once per batch, what
//! it chose once per lead, so that [`explain`] can replay any decision.
//!
//! **Invariant:** a lead has at most one owner, and nobody carries more than its capacity, under any number of
//! workers: `agent_load` rows are locked in id order before they are read, changed conditionally, and checked by
//! the table itself; the current owner is a unique index.

mod assignment;
pub mod eligibility;
#[cfg(test)]
mod properties;
pub mod quota;
pub mod routing;
mod setup;
mod store;
mod trace;

pub use assignment::{Assigned, assign_waiting};
pub use eligibility::Block;
pub use setup::{
    create_pool, ensure_default_pool, find_default_pool, set_absence, set_hours, set_load_limits, set_member,
};
use sira_engine::JobError;
pub use trace::{Candidate, DecisionTrace, Named, explain};

use crate::event::{Event, IDS_MAX};
use crate::nouns::UserId;
use crate::uow::Uow;

/// What a caller treats differently.
#[derive(Debug, thiserror::Error)]
pub enum DistributionError {
    /// There is no such pool.
    #[error("there is no such pool")]
    UnknownPool,
    /// There is no such user, or it is nobody who takes leads.
    #[error("there is no such agent")]
    UnknownAgent,
    /// The agent has no room for this.
    #[error("the agent is at capacity")]
    AtCapacity,
    /// The agent carries more now than the new limits would allow: give some of it to others first.
    #[error("the agent carries more than these limits allow")]
    BelowPresentLoad,
    /// A pool of this name, or another default pool, exists.
    #[error("such a pool exists")]
    PoolExists,
    /// The pool has as many members as a pool may have.
    #[error("the pool is full")]
    PoolFull,
    /// A weight, limit, block or period out of its range, with which.
    #[error("out of range: {0}")]
    OutOfRange(&'static str),
    /// What was read under lock was changed nevertheless: roll back and try again.
    #[error("leads or loads changed meanwhile")]
    Changed,
    /// The database refused or was not there.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

impl From<DistributionError> for JobError {
    fn from(error: DistributionError) -> Self {
        match error {
            DistributionError::Database(error) => error.into(),
            DistributionError::Changed => Self::retry("changed", error.to_string()),
            DistributionError::UnknownPool => Self::fail("unknown_pool", error.to_string()),
            other => Self::fail("distribution", other.to_string()),
        }
    }
}

/// Adds to what an agent carries, or takes from it: for every path that gives, takes or re-weighs a lead outside
/// [`assign_waiting`]. Adding is refused where there is no room. Taking records [`Event::CapacityFreed`] when leads
/// wait in a pool of this agent.
///
/// # Errors
/// [`DistributionError::AtCapacity`], [`DistributionError::UnknownAgent`]. Taking more than there is breaks the
/// table's check: the caller's books are wrong.
pub async fn change_load(uow: &mut Uow, user: UserId, delta: i32) -> Result<(), DistributionError> {
    if delta == 0 {
        return Ok(());
    }
    if !store::change_load(uow.conn(), user, delta).await? {
        return Err(if delta > 0 { DistributionError::AtCapacity } else { DistributionError::UnknownAgent });
    }
    if delta < 0 {
        record_freed(uow, user).await?;
    }
    Ok(())
}

/// Records that this agent may take leads again, where any wait.
async fn record_freed(uow: &mut Uow, user: UserId) -> Result<(), DistributionError> {
    let pools = store::list_waiting_pools(uow.conn(), user, IDS_MAX as i64).await?;
    if !pools.is_empty() {
        uow.record(Event::CapacityFreed { pools });
    }
    Ok(())
}
