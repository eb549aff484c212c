//! The integration tests: one binary, one module per domain, each test on a database of its own.

mod distribution;
mod engine;
mod http;
mod identity;
mod ingestion;
mod leads;
mod privacy;
mod providers;
mod workflows;
