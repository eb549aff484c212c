//! Jobs about the machinery itself.

mod act_on_jobs;
mod trim_history;

pub use act_on_jobs::ActOnJobs;
pub use trim_history::TrimHistory;
