//! Sira: takes leads in, gives each one to the right person at once, and keeps every promise made about it.
//!
//! The composition root: configuration, command line, wiring. Nothing imports it but its own tests.

pub mod app;
pub mod backup;
pub mod board;
pub mod cli;
pub mod config;
pub mod database;
pub mod demo;
pub mod http;
pub mod live;
pub mod logging;
mod sandbox;
pub mod sealer;
mod secrets;
pub mod seed;
