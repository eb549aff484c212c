//! The one page of what fires by the clock. Stored when workers start; operators change when (`/ops/schedules`).

use sira_engine::{CatchUp, Schedule};
use sira_jobs::Context;
use sira_jobs::operations::TrimHistory;

/// All schedules, as the program declares them.
pub fn all() -> Vec<Schedule> {
    vec![
        // At night in Turkey, when leads are few. One missed night is made good by the next run, however late.
        Schedule::of::<Context, _>(
            "operations.trim_history",
            "30 3 * * *",
            "Europe/Istanbul",
            CatchUp::Latest,
            &TrimHistory {},
        ),
    ]
}
