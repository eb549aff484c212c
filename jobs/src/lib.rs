//! One file, one durable job.

pub mod calls;
pub mod context;
pub mod distribution;
mod failure;
pub mod ingestion;
pub mod operations;
pub mod privacy;
pub mod queues;
pub mod sla;

pub use context::{Context, Providers, Settings};
