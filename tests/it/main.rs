//! The integration tests: one binary, one module per domain, each test on a database of its own.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod canary;
mod distribution;
mod engine;
mod house;
mod http;
mod identity;
mod ingestion;
mod jobs;
mod leads;
mod postgres;
mod privacy;
mod processes;
mod providers;
mod workflows;
