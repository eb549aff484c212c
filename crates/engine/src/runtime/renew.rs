//! Renewing the session, and stopping in time when that fails.
//!
//! **Invariant:** a process that has not renewed for `fence_after` stops its work before the database gives its
//! jobs away at `lease_ttl`. Should it be too late for that (a stopped process that wakes), the fence on every
//! row still keeps it from changing anything.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sqlx::PgPool;

use super::session::Session;
use crate::store;

/// Wait before a failed renewal is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Time since the machine was started, suspended time included, which `Instant` does not count.
fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

/// Renews until the session is lost; over a connection of its own, so that busy handlers cannot starve it.
pub async fn renew(session: Arc<Session>, pool: PgPool) {
    let mut renewed = boot_time();
    let mut wait = session.settings.renew_every;
    while !session.lost.is_cancelled() {
        tokio::select! { () = session.lost.cancelled() => return, () = tokio::time::sleep(wait) => {} }
        let asked = boot_time();
        let Some(left) = session.settings.fence_after.checked_sub(asked.saturating_sub(renewed)) else {
            return session.lose("it was not renewed in time");
        };
        fail::fail_point!("engine::before_renew");
        let answer = tokio::time::timeout(left, renew_once(&session, &pool)).await;
        match answer {
            Ok(Ok(true)) => {
                renewed = asked;
                wait = session.settings.renew_every;
            }
            Ok(Ok(false)) => return session.lose("the database gave its jobs away"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the session was not renewed; trying again");
                wait = RETRY;
            }
            Err(_) => return session.lose("the database did not answer in time"),
        }
    }
}

async fn renew_once(session: &Session, pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let now = store::renew_session(&mut conn, session.id, session.settings.lease_ttl).await?;
    if let Some(now) = now {
        session.clock.correct_to(now);
    }
    Ok(now.is_some())
}
