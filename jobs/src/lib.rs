//! One file, one durable job.

pub mod context;
pub mod distribution;
pub mod ingestion;
pub mod queues;

pub use context::{Context, Providers, Settings};
