//! Gives the waiting leads of one pool to its agents. Runs when a lead begins to wait, when an agent has room
//! again, and when time may have made somebody eligible (a shift's start, an absence's end, a new day).
//!
//! Running it twice is safe: an assigned lead no longer waits, and with nothing waiting nothing is written. A burst
//! of leads is one job: the key folds every cause that comes before it is claimed, and a full batch asks for the
//! next one in its own transaction.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::distribution;
use sira_domain::nouns::PoolId;
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;

use crate::context::Context;
use crate::queues;

/// Assigns the waiting leads of this pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignLeads {
    /// The pool.
    pub pool: PoolId,
}

impl Job<Context> for AssignLeads {
    const SPEC: Spec = Spec {
        name: "distribution.assign_leads",
        queue: queues::DISTRIBUTION,
        retry: Retry::backoff(8, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(format!("pool:{}", self.pool))
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        distribution::assign_waiting(&mut uow, self.pool, cx.settings.assign_batch_max).await?;
        uow.commit_and_complete(lease).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sira_kernel::Id;

    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let pool: PoolId = "0199a5d0-0000-7000-8000-000000000001".parse().unwrap();
        let job = AssignLeads { pool };
        let stored = json!({ "pool": "0199a5d0-0000-7000-8000-000000000001" });
        assert_eq!(serde_json::to_value(&job).unwrap(), stored);
        assert_eq!(serde_json::from_value::<AssignLeads>(stored).unwrap(), job);
        assert_eq!(AssignLeads::SPEC.name, "distribution.assign_leads");
    }

    #[test]
    fn causes_for_one_pool_share_a_key_and_pools_do_not() {
        let (one, other) = (Id::new(), Id::new());
        let key = |pool| AssignLeads { pool }.dedupe_key();
        assert_eq!(key(one), Some(format!("pool:{one}")));
        assert_ne!(key(one), key(other));
    }
}
