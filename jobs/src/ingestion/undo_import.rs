//! Takes the leads of an import back, as far as nobody has worked on them.
//!
//! A bounded number of leads in one transaction, oldest first; the rest is a job of its own. Running it twice is safe: what
//! was taken is not found again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::imports::{self, ImportError, Progress};
use sira_domain::nouns::ImportId;
use sira_engine::{Effect, Job, JobError, Lease, NewJob, Outcome, Retry, Spec};
use sira_kernel::Actor;

use super::import_leads::import_failure;
use crate::{Context, queues};

/// Leads of one transaction.
const BATCH: u16 = 500;

/// Takes leads of an import back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoImport {
    /// The import.
    pub import: ImportId,
    /// Which part of the work it is, counted from 0.
    #[serde(default)]
    pub part: u32,
}

impl Job<Context> for UndoImport {
    const SPEC: Spec = Spec {
        name: "ingestion.undo_import",
        queue: queues::IMPORTS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_mins(2),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.import, self.part))
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("import:{}", self.import)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        match imports::undo(&mut uow, self.import, BATCH).await {
            Ok(Progress::Undone) => {}
            Ok(Progress::Going) => {
                let next = Self { import: self.import, part: self.part + 1 };
                uow.follow_with(Effect::Job(NewJob::of(&next)));
            }
            Err(ImportError::WrongState { .. }) => return Ok(Outcome::Done),
            Err(error) => return Err(import_failure(error)),
        }
        uow.commit_and_complete(lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let import = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let stored = r#"{"import":"01920000-0000-7000-8000-000000000001"}"#;
        let job = serde_json::from_str::<UndoImport>(stored).unwrap();
        assert_eq!(job, UndoImport { import, part: 0 });
        assert_eq!(job.dedupe_key().as_deref(), Some("01920000-0000-7000-8000-000000000001:0"));
    }
}
