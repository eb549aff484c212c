//! The durable engine: jobs and workflows in PostgreSQL, run by apalis workers over our own `Backend`.
//!
//! It knows jobs, leases, sessions and workflows, and no noun of the business. What it promises, and the test
//! that proves each promise, stands in `docs/GUARANTEES.md`.

pub mod effect;
pub mod error;
pub mod job;
pub mod workflow;

mod store;

pub use effect::{Applied, Effect, NewJob, NewWorkflow, apply};
pub use error::EngineError;
pub use job::{Failure, Job, JobError, JobId, Lease, Outcome, Queue, Retry, Spec};
pub use workflow::{Step, Transition, Wake, Workflow, WorkflowSpec};
