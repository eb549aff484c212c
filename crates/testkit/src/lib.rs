//! What tests stand on: a database of their own on a real PostgreSQL, and a clock that they move.

pub mod db;

pub use db::TestDb;
