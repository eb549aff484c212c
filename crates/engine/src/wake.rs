//! Waking fetchers and timers: directly in this process, by a debounced NOTIFY in the others.
//!
//! A wake is a hint. Whoever misses one finds the work at its next poll.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::effect::Applied;

/// The channel of all wakes. The payload is `<sender>:<queue>`; an empty queue is the timers.
pub const CHANNEL: &str = "sira_engine";
/// Least time between two notifications of one process. It doubles while each finds something to send at once, so that a
/// flood of wakes costs a flood's share.
const DEBOUNCE: Duration = Duration::from_millis(2);
/// Longest such time.
const DEBOUNCE_MAX: Duration = Duration::from_millis(16);
/// How long a notification may take; one that fails is dropped, since polling is the truth.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// The bells of one process, one per queue and one for the timers (the empty name).
#[derive(Debug, Default)]
pub struct Bells {
    bells: Mutex<BTreeMap<String, watch::Sender<u64>>>,
}

impl Bells {
    /// Hears a bell from now on.
    pub fn listen(&self, name: &str) -> watch::Receiver<u64> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.entry(name.to_owned()).or_default().subscribe()
    }

    /// Rings a bell, if anybody in this process hears it.
    pub fn ring(&self, name: &str) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(name) {
            bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Rings all of them: after a time in which wakes may have been missed.
    pub fn ring_all(&self) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.values() {
            bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

/// The bell of the timers.
pub const TIMERS: &str = "";
/// The bell of whoever lets jobs through their gates.
pub const GATES: &str = "gates:";

/// Wakes this process and the others.
pub struct Waker {
    pub bells: Bells,
    /// Tells this process's notifications from the others'.
    pub sender: u64,
    outgoing: Arc<Outgoing>,
    /// None where nobody else is told.
    notifier: Option<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Outgoing {
    names: Mutex<BTreeSet<String>>,
    ready: Notify,
}

impl Waker {
    /// Must be called within a Tokio runtime; `pool` has one connection, for NOTIFY alone. Without it only this process is
    /// woken.
    pub fn start(pool: Option<PgPool>) -> Self {
        let sender = rand::random();
        let outgoing = Arc::new(Outgoing::default());
        #[expect(clippy::disallowed_methods, reason = "aborted when the last engine handle is dropped")]
        let notifier = pool.map(|pool| tokio::spawn(notify(pool, sender, Arc::clone(&outgoing))));
        Self { bells: Bells::default(), sender, outgoing, notifier: notifier.map(AbortOnDropHandle::new) }
    }

    /// Wakes whoever can do what was written.
    pub fn wake(&self, applied: &Applied) {
        let timers = applied.scheduled.then_some(TIMERS);
        let names: BTreeSet<&str> = applied.queues.iter().map(String::as_str).chain(timers).collect();
        for name in &names {
            self.bells.ring(name);
        }
        if !names.is_empty() && self.notifier.is_some() {
            let mut outgoing = self.outgoing.names.lock().unwrap_or_else(PoisonError::into_inner);
            outgoing.extend(names.into_iter().map(str::to_owned));
            self.outgoing.ready.notify_one();
        }
    }
}

/// Sends what has come together since the last time, in one statement.
async fn notify(pool: PgPool, sender: u64, outgoing: Arc<Outgoing>) {
    let mut debounce = DEBOUNCE;
    loop {
        // Polled once: whether something came together while it slept.
        debounce = if outgoing.ready.notified().now_or_never().is_some() {
            (debounce * 2).min(DEBOUNCE_MAX)
        } else {
            outgoing.ready.notified().await;
            DEBOUNCE
        };
        let names = std::mem::take(&mut *outgoing.names.lock().unwrap_or_else(PoisonError::into_inner));
        let payloads: Vec<String> = names.iter().map(|name| format!("{sender}:{name}")).collect();
        let sending = crate::store::notify(&pool, CHANNEL, &payloads);
        match tokio::time::timeout(NOTIFY_TIMEOUT, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a wake was not sent; the others will poll"),
            Err(_) => tracing::debug!("a wake was not sent in time; the others will poll"),
        }
        tokio::time::sleep(debounce).await;
    }
}

/// Reads a notification: the bell to ring, unless it is this process's own.
pub fn bell_of(payload: &str, me: u64) -> Option<&str> {
    let (sender, name) = payload.split_once(':')?;
    (sender.parse() != Ok(me)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_notifications_ring_no_bell() {
        assert_eq!(bell_of("7:intake", 8), Some("intake"));
        assert_eq!(bell_of("7:intake", 7), None);
        assert_eq!(bell_of("7:", 8), Some(TIMERS));
        assert_eq!(bell_of("nonsense", 8), None);
    }
}
