//! Whatever waits or has more than one step, and the one page of causality: what each event causes.

pub mod admin_queue;
pub mod assignment_watch;
pub mod call_session;
pub mod follow_up_reminder;
pub mod reactions;
pub mod schedules;
pub mod sla_timer;
pub mod upcoming;

use sira_engine::Registry;
use sira_jobs::Context;
use sira_jobs::calls::{PlaceCall, ReconcileCall};
use sira_jobs::distribution::{AssignLeads, ExpireCoolingOff};
use sira_jobs::ingestion::{FetchMetaLead, ImportLeads, UndoImport};
use sira_jobs::operations::{ActOnJobs, TrimHistory};
use sira_jobs::privacy::DestroyKeys;
use sira_jobs::sla::{RescheduleCalendar, RescheduleTimers};

pub use admin_queue::AdminQueue;
pub use assignment_watch::AssignmentWatch;
pub use call_session::CallSession;
pub use follow_up_reminder::FollowUpReminder;
pub use reactions::reactions;
pub use sla_timer::SlaTimer;

/// Every job, workflow and schedule that this binary can run.
pub fn registry() -> Registry<Context> {
    schedules::all().into_iter().fold(kinds(), Registry::schedule)
}

fn kinds() -> Registry<Context> {
    Registry::new()
        .job::<FetchMetaLead>()
        .job::<ImportLeads>()
        .job::<UndoImport>()
        .job::<AssignLeads>()
        .job::<ExpireCoolingOff>()
        .job::<PlaceCall>()
        .job::<ReconcileCall>()
        .job::<DestroyKeys>()
        .job::<ActOnJobs>()
        .job::<TrimHistory>()
        .job::<RescheduleTimers>()
        .job::<RescheduleCalendar>()
        .workflow::<AssignmentWatch>()
        .workflow::<AdminQueue>()
        .workflow::<SlaTimer>()
        .workflow::<FollowUpReminder>()
        .workflow::<CallSession>()
}
