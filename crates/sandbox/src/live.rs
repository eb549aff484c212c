//! Leads that arrive by themselves, at a steady rate, and are delivered until they are acknowledged.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::lead::{LeadWish, SandboxLead};
use crate::webhook::{self, Encoding};
use crate::{Sandbox, Shared};

/// The highest rate of live leads.
pub const LEADS_PER_MINUTE_MAX: u32 = 6_000;
/// Unacknowledged leads kept for redelivery; beyond it no new ones are made.
const PENDING_MAX: usize = 10_000;
/// Leads of one POST when several wait.
const BATCH_MAX: usize = 100;

impl Sandbox {
    /// Makes and delivers `per_minute` leads a minute, at most [`LEADS_PER_MINUTE_MAX`], until
    /// [`Sandbox::stop_live`]. A lead that is not acknowledged is delivered again with the next one, as Meta does.
    /// Replaces a rate that was set before; 0 only stops.
    pub fn start_live(&self, per_minute: u32) {
        let token = self.shared.stopping.child_token();
        let before = self.replace_live(Some(token.clone()));
        if let Some(before) = before {
            before.cancel();
        }
        if per_minute > 0 {
            let period = Duration::from_mins(1) / per_minute.min(LEADS_PER_MINUTE_MAX);
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(async move {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = run(&shared, period) => {}
                }
            });
        }
    }

    /// Makes no more leads.
    pub fn stop_live(&self) {
        if let Some(token) = self.replace_live(None) {
            token.cancel();
        }
    }

    fn replace_live(&self, token: Option<CancellationToken>) -> Option<CancellationToken> {
        std::mem::replace(&mut *self.live.lock().unwrap_or_else(PoisonError::into_inner), token)
    }
}

async fn run(shared: &Shared, period: Duration) {
    let mut pending = VecDeque::<SandboxLead>::new();
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        if pending.len() < PENDING_MAX {
            let now = shared.clock.now();
            pending.push_back(shared.state().leads.make(LeadWish::default(), now));
        }
        let batch: Vec<SandboxLead> = pending.iter().take(BATCH_MAX).cloned().collect();
        let status = webhook::deliver(shared, &batch, Encoding::Escaped).await;
        if status.is_ok_and(|status| (200..300).contains(&status)) {
            pending.drain(..batch.len());
        }
    }
}
