//! What one session's tasks share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sira_kernel::Clock;
use sqlx::PgPool;
use tokio::sync::{RwLock, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claimed::{Claimed, Verdict};
use super::dispatch::Dispatch;
use crate::settings::Settings;
use crate::store::{ClaimedBy, PureStep};
use crate::wake::Waker;

/// First wait after the database failed an own statement; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two tries, for as long as it takes.
const RETRY_MAX: Duration = Duration::from_secs(3);

/// One process incarnation.
pub struct Session {
    pub id: i64,
    pub settings: Settings,
    pub clock: Clock,
    pub waker: Arc<Waker>,
    pub dispatch: Arc<dyn Dispatch>,
    /// Connections for the hot statements.
    pub hot: PgPool,
    /// The queues it works on.
    pub queues: Vec<String>,
    /// The session may have been given away: everything stops and nothing is acknowledged.
    pub lost: CancellationToken,
    /// Nothing more is claimed. Follows `lost`.
    pub stopping: CancellationToken,
    /// Attempts under way are given back. Follows `lost`.
    pub interrupt: CancellationToken,
    /// Attempts read it; a job that must run alone writes it.
    pub turns: Arc<RwLock<()>>,
    /// What ended since it was last told.
    pub counts: Counts,
    acknowledgements: mpsc::UnboundedSender<Acknowledgement>,
    claims: AtomicI64,
    doubts: Mutex<Vec<(ClaimedBy, Instant)>>,
}

/// How attempts ended.
#[derive(Default)]
pub struct Counts(Mutex<Counted>);

/// By kind and outcome: how many attempts, and how long they ran together.
pub type Counted = BTreeMap<(String, &'static str), (i64, Duration)>;

impl Counts {
    pub fn add(&self, kind: &str, outcome: &'static str, ran: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind.to_owned(), outcome);
        let (attempts, total) = counts.entry(key).or_default();
        *attempts += 1;
        *total += ran;
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Counted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts it again: it was not told.
    pub fn put_back(&self, taken: Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, (attempts, ran)) in taken {
            let (all, total) = counts.entry(key).or_default();
            *all += attempts;
            *total += ran;
        }
    }
}

/// An attempt's end on its way to the database. Their number is bounded by that of the claimed jobs.
pub struct Acknowledgement {
    pub job: Arc<Claimed>,
    pub verdict: Verdict,
    /// `None` when the attempt never began.
    pub started_at: Option<DateTime<Utc>>,
}

impl Acknowledgement {
    /// The step to write, where the attempt was one without effects of its own.
    pub fn pure_step(&self) -> Option<PureStep<'_>> {
        let Verdict::Decided(decided) = &self.verdict else { return None };
        Some(PureStep { lease: &self.job.lease, decided })
    }
}

/// What a session is made of.
pub struct Parts {
    pub id: i64,
    pub settings: Settings,
    pub clock: Clock,
    pub waker: Arc<Waker>,
    pub dispatch: Arc<dyn Dispatch>,
    pub hot: PgPool,
    pub queues: Vec<String>,
}

impl Session {
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<Acknowledgement>) {
        let Parts { id, settings, clock, waker, dispatch, hot, queues } = parts;
        let (acknowledgements, receiver) = mpsc::unbounded_channel();
        let lost = CancellationToken::new();
        let session = Self {
            id,
            settings,
            clock,
            waker,
            dispatch,
            hot,
            queues,
            stopping: lost.child_token(),
            interrupt: lost.child_token(),
            lost,
            turns: Arc::new(RwLock::new(())),
            counts: Counts::default(),
            acknowledgements,
            claims: AtomicI64::new(0),
            doubts: Mutex::default(),
        };
        (Arc::new(session), receiver)
    }

    /// Hands an attempt's end to the completer.
    pub fn acknowledge(&self, job: Arc<Claimed>, verdict: Verdict, started_at: Option<DateTime<Utc>>) {
        // Without a completer the session is gone, and its jobs with it.
        let _ = self.acknowledgements.send(Acknowledgement { job, verdict, started_at });
    }

    /// Gives back what nobody began.
    pub fn release(&self, jobs: Vec<Arc<Claimed>>) {
        for job in jobs.iter().flat_map(Claimed::members) {
            self.acknowledge(Arc::clone(job), Verdict::Released, None);
        }
    }

    /// The number of the next claim statement.
    pub fn next_claim(&self) -> ClaimedBy {
        ClaimedBy { session: self.id, claim: self.claims.fetch_add(1, Ordering::Relaxed) }
    }

    /// Remembers a claim whose answer was lost: it may have happened, or may still happen.
    pub fn doubt(&self, claim: ClaimedBy) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.push((claim, Instant::now()));
    }

    /// The claims in doubt; forgets those so old that the server has ended them.
    pub fn doubts(&self) -> Vec<ClaimedBy> {
        let settled = self.settings.statement_timeout * 3;
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let all = doubts.iter().map(|(claim, _)| *claim).collect();
        doubts.retain(|(_, since)| since.elapsed() < settled);
        all
    }

    /// Gives the session up: it may be somebody else's turn by now.
    pub fn lose(&self, reason: &str) {
        if !self.lost.is_cancelled() {
            tracing::error!(session = self.id, reason, "the session is lost; this process stops its work");
            metrics::counter!("sira_sessions_lost_total").increment(1);
            self.lost.cancel();
        }
    }
}

/// Waits between tries, growing and jittered.
pub struct Retrying(Duration);

impl Default for Retrying {
    fn default() -> Self {
        Self(RETRY_FIRST)
    }
}

impl Retrying {
    pub async fn wait(&mut self) {
        tokio::time::sleep(jittered(self.0)).await;
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }

    pub fn reset(&mut self) {
        self.0 = RETRY_FIRST;
    }
}

/// The duration, up to a quarter shorter or longer, so that processes do not march in step.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.75..1.25))
}
