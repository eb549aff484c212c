//! Ends a cooling-off at its time. A lead that waits only for this is assigned then.
//!
//! Enqueued when the cooling-off opens, due at its end. Running it twice is safe: an ended one is left alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::cooling_offs;
use sira_domain::nouns::CoolingOffId;
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;

use crate::context::Context;
use crate::queues;

/// Ends one cooling-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireCoolingOff {
    /// Which one.
    pub cooling_off: CoolingOffId,
}

impl Job<Context> for ExpireCoolingOff {
    const SPEC: Spec = Spec {
        name: "distribution.expire_cooling_off",
        queue: queues::DISTRIBUTION,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn tags(&self) -> Vec<String> {
        vec![format!("cooling_off:{}", self.cooling_off)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        cooling_offs::expire(&mut uow, self.cooling_off).await?;
        uow.commit_and_complete(lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let job = ExpireCoolingOff { cooling_off: "0199a5d0-0000-7000-8000-000000000001".parse().unwrap() };
        let stored = r#"{"cooling_off":"0199a5d0-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<ExpireCoolingOff>(stored).unwrap(), job);
        assert_eq!(ExpireCoolingOff::SPEC.name, "distribution.expire_cooling_off");
    }
}
