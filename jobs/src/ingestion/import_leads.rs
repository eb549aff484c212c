//! Makes leads of a file's rows.
//!
//! A chunk is one transaction: leads, bad rows, progress. A run settles chunks for a while and then leaves the rest to a job
//! of its own, so that a shutdown waits for a chunk and not for a file. Running it twice is safe: a chunk is settled only
//! from the row that it begins at, so of two runs the second finds it passed.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::imports::{self, Chunk, Gate, ImportError, Reader, State};
use sira_domain::leads::{self, Arriving, LeadError, Prepared};
use sira_domain::nouns::ImportId;
use sira_domain::privacy::{DataKey, Subject};
use sira_domain::uow::Uow;
use sira_engine::{Effect, Job, JobError, Lease, NewJob, Outcome, Retry, Spec};
use sira_kernel::Actor;
use tokio_util::task::AbortOnDropHandle;

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

/// A chunk that was read and prepared.
struct Ready {
    chunk: Chunk,
    prepared: Vec<Prepared>,
}

/// Reads the next chunk and prepares it, as if the one before it were written.
async fn read(
    cx: Context,
    key: Arc<DataKey>,
    mut reader: Reader,
    before: Option<Arc<Ready>>,
) -> Result<(Reader, Ready), JobError> {
    let chunk = reader.next_chunk(&cx.db, &key).await.map_err(import_failure)?;
    let before = before.as_ref().map(|ready| Arriving::all(&ready.chunk.leads, &ready.prepared));
    let before = before.unwrap_or_default();
    let prepared = leads::prepare_after(&cx.db, &cx.cipher, &chunk.leads, &before);
    let prepared = prepared.await.map_err(lead_failure)?;
    Ok((reader, Ready { chunk, prepared }))
}

impl ImportLeads {
    /// While one chunk is written, the next one is read and prepared.
    async fn settle(&self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let import = imports::get(&mut *cx.db.read().await?, self.import).await.map_err(import_failure)?;
        if import.state != State::Running {
            return Ok(Outcome::Done);
        }
        let key = Arc::new(cx.cipher.key(Subject::Import(self.import)).await.map_err(failure::privacy)?);
        let mut rows_done = import.rows_done;
        let reader = Reader::open(&key, import).map_err(import_failure)?;
        let (mut reader, first) = read(cx.clone(), Arc::clone(&key), reader, None).await?;
        let mut ready = Arc::new(first);
        for left in (0..CHUNKS_MAX).rev() {
            let is_last = ready.chunk.is_last;
            if is_last || left == 0 {
                let Some((mut uow, _)) = self.write(cx, &key, &ready, rows_done).await? else {
                    return Ok(Outcome::Done);
                };
                if !is_last {
                    let rest = Self { import: self.import, from: rows_done + ready.chunk.rows() };
                    uow.follow_with(Effect::Job(NewJob::of(&rest)));
                }
                return uow.commit_and_complete(lease).await;
            }
            let ahead = read(cx.clone(), Arc::clone(&key), reader, Some(Arc::clone(&ready)));
            #[expect(
                clippy::disallowed_methods,
                reason = "owned by this attempt and ended with it; it writes nothing"
            )]
            let ahead = AbortOnDropHandle::new(tokio::spawn(ahead));
            let Some((uow, raced)) = self.write(cx, &key, &ready, rows_done).await? else {
                return Ok(Outcome::Done);
            };
            uow.commit().await?;
            rows_done += ready.chunk.rows();
            let (onwards, mut next) = ahead.await.map_err(|_| broken())??;
            if raced {
                // It was prepared after a chunk that is not the one that was written.
                next.prepared =
                    leads::prepare_all(&cx.db, &cx.cipher, &next.chunk.leads).await.map_err(lead_failure)?;
            }
            reader = onwards;
            ready = Arc::new(next);
        }
        Ok(Outcome::Done)
    }

    /// A chunk up to its commit, and whether it was prepared anew for it; `None` when it is settled already, or the import
    /// has ended.
    async fn write(
        &self,
        cx: &Context,
        key: &DataKey,
        ready: &Ready,
        rows_done: i64,
    ) -> Result<Option<(Uow, bool)>, JobError> {
        let mut anew: Option<Vec<Prepared>> = None;
        for _ in 0..=leads::RACES_MAX {
            let prepared = anew.as_deref().unwrap_or(&ready.prepared);
            match self.try_write(cx, key, &ready.chunk, prepared, rows_done).await {
                Err(LeadError::Raced) => {}
                Err(error) => return Err(lead_failure(error)),
                Ok(written) => {
                    let raced = anew.is_some();
                    return written.map(|uow| uow.map(|uow| (uow, raced))).map_err(import_failure);
                }
            }
            let prepared = leads::prepare_all(&cx.db, &cx.cipher, &ready.chunk.leads);
            anew = Some(prepared.await.map_err(lead_failure)?);
        }
        Err(JobError::retry("raced", "other enquiries of the same people kept coming in at the same moment"))
    }

    async fn try_write(
        &self,
        cx: &Context,
        key: &DataKey,
        chunk: &Chunk,
        prepared: &[Prepared],
        rows_done: i64,
    ) -> Result<Result<Option<Uow>, ImportError>, LeadError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        match imports::open_chunk(&mut uow, self.import, rows_done).await {
            Ok(Gate::Open) => {}
            Ok(Gate::Passed) => {
                // An import that is to be stopped was stopped here.
                return Ok(uow.commit().await.map(|()| None).map_err(ImportError::from));
            }
            Err(error) => return Ok(Err(error)),
        }
        let arriving = Arriving::all(&chunk.leads, prepared);
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

/// The reading of a chunk panicked.
fn broken() -> JobError {
    JobError::retry("reading", "the next rows could not be read; the process's log says why")
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
