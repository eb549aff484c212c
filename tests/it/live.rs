//! Claims about live updates.

mod hub;
mod listener;
mod operations;
mod scope;
mod sequence;
mod streams;
mod tickets;
