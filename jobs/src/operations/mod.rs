//! Jobs about the machinery itself.

mod trim_history;

pub use trim_history::TrimHistory;
