//! Claims about the HTTP layer.

pub mod app;
mod audit;
mod auth;
mod creating;
mod document;
mod finding;
mod imports;
mod jobs;
mod leads;
mod mending;
mod operations;
mod problems;
mod promises;
mod queues;
mod reviews;
mod schedules;
mod serving;
mod timeline;
mod webhook;
