//! The engine's SQL.
//!
//! **Invariant:** whatever ends or puts back a claimed job matches `(id, lease)` of a running row and acts only on
//! the rows that it changed. Leases compare with the database's clock, due times with that clock plus the shift.

mod children;
pub mod counters;
mod enqueue;
mod fence;
mod finish;
pub mod gates;
pub mod limits;
mod partitions;
mod put_back;
mod queues;
pub mod schedules;
mod sessions;
mod steps;
mod workflows;

pub mod ops;

pub use children::join_children;
pub use enqueue::apply;
pub use fence::{begin_external, complete_all, complete_one};
pub use finish::{Ending, finish};
pub use partitions::{delete_history, drop_partitions, ensure_partitions};
pub use put_back::{PutBack, Return, put_back};
pub use queues::{
    ClaimRow, ClaimedBy, Place, Unbegun, claim, claim_limited, claim_probing, find_claim, has_probing,
};
pub use queues::{next_due_us, notify, promote, queue_ages, wake_workflows};
pub use sessions::{CRASHES_MAX, Rescued, bound_transactions, close_session, fix_plans, open_session};
pub use sessions::{ping, renew_session, rescue};
pub use steps::{Pending, PureStep, load_steps, record_step, record_steps};
pub use workflows::{Reviving, cancel, cancel_by_id, fail_workflows, revive};
