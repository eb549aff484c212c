//! Reactions that only remember what was recorded.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use sira_domain::Event;
use sira_engine::Effect;

thread_local! {
    /// What this test's units of work recorded: each test has a thread of its own.
    static RECORDED: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// Causes nothing.
pub fn capture(event: &Event, _now: DateTime<Utc>) -> Vec<Effect> {
    RECORDED.with_borrow_mut(|events| events.push(event.clone()));
    Vec::new()
}

/// What was recorded since the last call.
pub fn recorded() -> Vec<Event> {
    RECORDED.take()
}
