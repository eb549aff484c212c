//! Makes leads of a file's rows.
//!
//! A chunk is one transaction: leads, bad rows, progress. A run settles chunks for a while and then leaves the rest to a job
//! of its own, so that a shutdown waits for a chunk and not for a file. Running it twice is safe: a chunk is settled only
//! from the row that it begins at, so of two runs the second finds it passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::imports::{self, Chunk, Gate, ImportError, Reader, State};
use sira_domain::leads::{self, Arriving, LeadError};
use sira_domain::nouns::ImportId;
use sira_domain::privacy::{DataKey, Subject};
use sira_domain::uow::Uow;
use sira_engine::{Effect, Job, JobError, Lease, NewJob, Outcome, Retry, Spec};
use sira_kernel::Actor;

use super::fetch_meta_lead::lead_failure;
use crate::{Context, failure, queues};

/// How many chunks one run settles.
const CHUNKS_MAX: usize = 20;

/// Imports the rest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLeads {
    /// The import.
    pub import: ImportId,
    /// Settled rows when this job was made: tells a part from the one before it.
    #[serde(default)]
    pub from: i64,
}

impl Job<Context> for ImportLeads {
    const SPEC: Spec = Spec {
        name: "ingestion.import_leads",
        queue: queues::IMPORTS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_mins(10),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.import, self.from))
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("import:{}", self.import)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        match self.settle(cx, lease).await {
            Err(JobError::Fail(failed)) => self.give_up(cx, lease, &failed.code).await,
            Err(JobError::Retry(failed)) if lease.is_last_attempt() => {
                self.give_up(cx, lease, &failed.code).await
            }
            settled => settled,
        }
    }
}

impl ImportLeads {
    async fn settle(&self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let import = imports::get(&mut *cx.db.read().await?, self.import).await.map_err(import_failure)?;
        if import.state != State::Running {
            return Ok(Outcome::Done);
        }
        let key = cx.cipher.key(Subject::Import(self.import)).await.map_err(failure::privacy)?;
        let mut rows_done = import.rows_done;
        let mut reader = Reader::open(&key, import).map_err(import_failure)?;
        for left in (0..CHUNKS_MAX).rev() {
            let chunk = reader.next_chunk(&cx.db, &key).await.map_err(import_failure)?;
            let Some(mut uow) = self.write(cx, &key, &chunk, rows_done).await? else {
                return Ok(Outcome::Done);
            };
            rows_done += chunk.rows();
            if chunk.is_last {
                return uow.commit_and_complete(lease).await;
            }
            if left == 0 {
                let rest = Self { import: self.import, from: rows_done };
                uow.follow_with(Effect::Job(NewJob::of(&rest)));
                return uow.commit_and_complete(lease).await;
            }
            uow.commit().await?;
        }
        Ok(Outcome::Done)
    }

    /// A chunk up to its commit; `None` when it is settled already, or the import has ended.
    async fn write(
        &self,
        cx: &Context,
        key: &DataKey,
        chunk: &Chunk,
        rows_done: i64,
    ) -> Result<Option<Uow>, JobError> {
        for _ in 0..leads::RACES_MAX {
            match self.try_write(cx, key, chunk, rows_done).await {
                Err(LeadError::Raced) => {}
                Err(error) => return Err(lead_failure(error)),
                Ok(written) => return written.map_err(import_failure),
            }
        }
        Err(JobError::retry("raced", "other enquiries of the same people kept coming in at the same moment"))
    }

    async fn try_write(
        &self,
        cx: &Context,
        key: &DataKey,
        chunk: &Chunk,
        rows_done: i64,
    ) -> Result<Result<Option<Uow>, ImportError>, LeadError> {
        let prepared = leads::prepare_all(&cx.db, &cx.cipher, &chunk.leads).await?;
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        match imports::open_chunk(&mut uow, self.import, rows_done).await {
            Ok(Gate::Open) => {}
            Ok(Gate::Passed) => {
                // An import that is to be stopped was stopped here.
                return Ok(uow.commit().await.map(|()| None).map_err(ImportError::from));
            }
            Err(error) => return Ok(Err(error)),
        }
        let arriving = chunk.leads.iter().zip(&prepared);
        let arriving: Vec<_> = arriving.map(|(lead, prepared)| Arriving { lead, prepared }).collect();
        let arrivals = leads::create_or_merge_all(&mut uow, &arriving).await?;
        let settled = imports::settle_chunk(&mut uow, key, self.import, chunk, &arrivals).await;
        Ok(settled.map(|()| Some(uow)))
    }

    /// The import says why it stopped, instead of standing still under a dead job.
    async fn give_up(&self, cx: &Context, lease: &Lease, code: &str) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        match imports::fail(&mut uow, self.import, code).await {
            Ok(()) => uow.commit_and_complete(lease).await,
            Err(ImportError::WrongState { .. }) => Ok(Outcome::Done),
            Err(error) => Err(import_failure(error)),
        }
    }
}

/// What a failure with an import means to the engine.
pub(super) fn import_failure(error: ImportError) -> JobError {
    match error {
        ImportError::Database(error) => error.into(),
        ImportError::Commit(error) => error.into(),
        ImportError::Leads(error) => lead_failure(error),
        ImportError::Privacy(error) => failure::privacy(error),
        other => JobError::fail("import", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let import = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let job = ImportLeads { import, from: 0 };
        let stored = r#"{"import":"01920000-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::from_str::<ImportLeads>(stored).unwrap(), job);
        assert_eq!(job.dedupe_key().as_deref(), Some("01920000-0000-7000-8000-000000000001:0"));
        assert_eq!(job.tags(), ["import:01920000-0000-7000-8000-000000000001"]);
    }
}
