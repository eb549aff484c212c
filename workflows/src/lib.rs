//! Whatever waits or has more than one step, and the one page of causality: what each event causes.

pub mod assignment_watch;
pub mod reactions;

use sira_engine::Registry;
use sira_jobs::Context;
use sira_jobs::distribution::AssignLeads;
use sira_jobs::ingestion::FetchMetaLead;

pub use assignment_watch::AssignmentWatch;
pub use reactions::reactions;

/// Every job and workflow that this binary can run.
pub fn registry() -> Registry<Context> {
    Registry::new().job::<FetchMetaLead>().job::<AssignLeads>().workflow::<AssignmentWatch>()
}
