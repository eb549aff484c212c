//! The integration tests: one binary, one module per domain, each test on a database of its own.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod audit;
mod bulk;
mod calendars;
mod calls;
mod canary;
mod cli;
mod cooling_offs;
mod distribution;
mod documents;
mod engine;
mod fakes;
mod history;
mod house;
mod http;
mod identity;
mod imports;
mod ingestion;
mod jobs;
mod leads;
mod live;
mod postgres;
mod privacy;
mod processes;
mod providers;
mod recorded;
mod seed;
mod sla;
mod tutorial;
mod workflows;
