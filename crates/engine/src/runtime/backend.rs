//! Our storage as apalis sees it: a bounded channel that fetchers fill.
//!
//! **Invariant:** nothing here waits for the database, and no error is ever yielded: apalis would end the worker
//! and drop the work in flight.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::mpsc;

use super::claimed::Claimed;
use super::layers::Around;

/// The claimed jobs that no handler has taken yet.
#[derive(Clone)]
pub struct Buffer(Arc<Mutex<mpsc::Receiver<Arc<Claimed>>>>);

impl Buffer {
    pub fn new(receiver: mpsc::Receiver<Arc<Claimed>>) -> Self {
        Self(Arc::new(Mutex::new(receiver)))
    }

    /// Closes it, and returns what is left in it.
    pub fn close(&self) -> Vec<Arc<Claimed>> {
        let mut receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.close();
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Arc<Claimed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(cx)
    }
}

/// One queue's backend.
pub struct QueueBackend {
    buffer: Buffer,
    acknowledge: Around,
}

impl QueueBackend {
    pub fn new(buffer: Buffer, acknowledge: Around) -> Self {
        Self { buffer, acknowledge }
    }
}

impl Backend for QueueBackend {
    type Task = Task<Arc<Claimed>>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        match self.buffer.poll(cx) {
            Poll::Ready(Some(job)) => {
                let id = TaskId::from_int(job.lease.job.0.cast_unsigned());
                let attempt = usize::from(job.lease.attempt.saturating_sub(1));
                Poll::Ready(Some(Ok(TaskBuilder::new(job).task_id(id).attempt(attempt).build())))
            }
            // A closed buffer means that the worker is about to be stopped, which wakes it.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        // The fetcher has already given back what was left in the buffer.
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for QueueBackend {
    type Args = Arc<Claimed>;
    type Id = u64;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Around;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Around {
        self.acknowledge.clone()
    }
}
