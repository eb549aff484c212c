//! The durable engine: jobs and workflows in PostgreSQL, run by apalis workers over our own `Backend`.
//!
//! It knows jobs, leases, sessions, schedules and workflows, and no noun of the business. What it promises, and the test
//! that proves each promise, stands in `docs/GUARANTEES.md`.

pub mod effect;
pub mod engine;
pub mod error;
pub mod gate;
pub mod job;
pub mod ops;
pub mod registry;
pub mod schedule;
pub mod settings;
pub mod workflow;

#[cfg(test)]
mod model;
mod runtime;
mod store;
mod wake;

pub use effect::{Applied, Effect, NewJob, NewWorkflow, apply};
pub use engine::{Engine, Link};
pub use error::EngineError;
pub use gate::{Breaker, Gate, Rate};
pub use job::{
    BatchJob, External, Failure, Job, JobError, JobId, Lease, Leased, Outcome, Queue, Retry, Spec,
};
pub use registry::{Kind, Registry};
pub use runtime::{Drained, Running};
pub use schedule::{CatchUp, Cron, InvalidCron, Schedule};
pub use settings::Settings;
pub use workflow::{ChildOutcome, Join, Step, Transition, Wake, Workflow, WorkflowSpec, cancel};
