//! What an operator did to the machinery. It leaves a trace in the audit log and nothing else.

use chrono::{DateTime, Utc};
use serde_json::json;
use sira_engine::JobId;

use super::Event;
use crate::audit::Entry;

/// One thing that an operator did.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorAct {
    /// A backup of the database was completed.
    BackupTaken {
        /// What the backup stands for: when its snapshot was taken.
        at: DateTime<Utc>,
        /// The dump's size.
        bytes: u64,
    },
    /// This database was restored from a backup.
    BackupRestored {
        /// When the backup's snapshot was taken.
        at: DateTime<Utc>,
    },
    /// Events of the audit log were written to a file, with their proofs.
    AuditExported {
        /// So many events.
        events: u64,
        /// Of the log as it was with so many leaves.
        size: u64,
        /// Which ones.
        search: serde_json::Value,
    },
    /// An operator made a job due again.
    JobRetried {
        /// The job.
        job: JobId,
    },
    /// An operator ended a job that had not run to its end.
    JobCancelled {
        /// The job.
        job: JobId,
        /// The operator's words, without contacts.
        reason: String,
    },
    /// An operator gave a job that waits another time.
    JobRescheduled {
        /// The job.
        job: JobId,
        /// When it is due now.
        run_at: DateTime<Utc>,
    },
    /// An operator began to act on all jobs that match.
    BulkStarted {
        /// The act's id.
        bulk: i64,
        /// `retry`, `cancel` or `reschedule`.
        act: String,
        /// Which jobs.
        filter: serde_json::Value,
    },
    /// An operator stopped an act on many jobs.
    BulkStopped {
        /// The act's id.
        bulk: i64,
    },
    /// An act on many jobs has come to its end.
    BulkEnded {
        /// The act's id.
        bulk: i64,
        /// So many jobs were acted on.
        done: i64,
        /// So many matched, and could not be.
        refused: i64,
    },
    /// An operator ended a workflow that lived.
    WorkflowCancelled {
        /// The workflow.
        workflow: i64,
        /// The operator's words, without contacts.
        reason: String,
    },
    /// An operator let a workflow go on that had failed or was ended.
    WorkflowRetried {
        /// The workflow.
        workflow: i64,
        /// The step whose outcome it goes on from; its last one when there is none.
        from: Option<i32>,
    },
    /// An operator stopped a queue.
    QueuePaused {
        /// Its name.
        queue: String,
        /// The operator's words, without contacts.
        reason: String,
    },
    /// An operator let a queue go on.
    QueueResumed {
        /// Its name.
        queue: String,
    },
    /// An operator changed the limits of a queue or a gate.
    LimitsEdited {
        /// `queue:` or `gate:`, and its name.
        of: String,
        /// The limits that it has now.
        limits: serde_json::Value,
    },
    /// An operator closed a gate's breaker.
    GateReset {
        /// Its name.
        gate: String,
    },
    /// An operator changed when a schedule fires, or what happens with slots that it missed.
    ScheduleEdited {
        /// Its name.
        schedule: String,
        /// The expression that it has now.
        cron: String,
        /// The zone that it has now.
        time_zone: String,
        /// What happens with missed slots now.
        catch_up: String,
    },
    /// An operator stopped a schedule.
    SchedulePaused {
        /// Its name.
        schedule: String,
        /// The operator's words, without contacts.
        reason: String,
    },
    /// An operator let a schedule go on.
    ScheduleResumed {
        /// Its name.
        schedule: String,
    },
    /// An operator ran a schedule's job beside its slots.
    ScheduleRun {
        /// Its name.
        schedule: String,
        /// The job.
        job: JobId,
    },
}

impl From<OperatorAct> for Event {
    fn from(act: OperatorAct) -> Self {
        Self::Operated(act)
    }
}

impl OperatorAct {
    pub(super) fn entry(&self) -> Entry {
        match self {
            Self::BackupTaken { at, bytes } => {
                Entry::new("backup.taken", "database", &"sira", json!({ "at": at, "bytes": bytes }))
            }
            Self::BackupRestored { at } => {
                Entry::new("backup.restored", "database", &"sira", json!({ "at": at }))
            }
            Self::AuditExported { events, size, search } => Entry::new(
                "audit.exported",
                "audit",
                &"sira",
                json!({ "events": events, "size": size, "search": search }),
            ),
            Self::JobRetried { job } => Entry::new("job.retried", "job", job, json!({})),
            Self::JobCancelled { job, reason } => {
                Entry::new("job.cancelled", "job", job, json!({ "reason": reason }))
            }
            Self::JobRescheduled { job, run_at } => {
                Entry::new("job.rescheduled", "job", job, json!({ "run_at": run_at }))
            }
            Self::BulkStarted { bulk, act, filter } => {
                Entry::new("bulk.started", "bulk", bulk, json!({ "act": act, "filter": filter }))
            }
            Self::BulkStopped { bulk } => Entry::new("bulk.stopped", "bulk", bulk, json!({})),
            Self::BulkEnded { bulk, done, refused } => {
                Entry::new("bulk.ended", "bulk", bulk, json!({ "done": done, "refused": refused }))
            }
            Self::WorkflowCancelled { workflow, reason } => {
                Entry::new("workflow.cancelled", "workflow", workflow, json!({ "reason": reason }))
            }
            Self::WorkflowRetried { workflow, from } => {
                Entry::new("workflow.retried", "workflow", workflow, json!({ "from": from }))
            }
            Self::QueuePaused { queue, reason } => {
                Entry::new("queue.paused", "queue", queue, json!({ "reason": reason }))
            }
            Self::QueueResumed { queue } => Entry::new("queue.resumed", "queue", queue, json!({})),
            Self::LimitsEdited { of, limits } => Entry::new("limits.edited", "limits", of, limits.clone()),
            Self::GateReset { gate } => Entry::new("gate.reset", "gate", gate, json!({})),
            Self::ScheduleEdited { schedule, cron, time_zone, catch_up } => Entry::new(
                "schedule.edited",
                "schedule",
                schedule,
                json!({ "cron": cron, "time_zone": time_zone, "catch_up": catch_up }),
            ),
            Self::SchedulePaused { schedule, reason } => {
                Entry::new("schedule.paused", "schedule", schedule, json!({ "reason": reason }))
            }
            Self::ScheduleResumed { schedule } => {
                Entry::new("schedule.resumed", "schedule", schedule, json!({}))
            }
            Self::ScheduleRun { schedule, job } => {
                Entry::new("schedule.run", "schedule", schedule, json!({ "job": job }))
            }
        }
    }
}
