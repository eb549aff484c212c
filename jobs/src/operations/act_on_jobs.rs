//! Does to many jobs what an operator asked for, a batch a transaction.
//!
//! Running it twice, or again after a kill, goes on where the last batch that was committed ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::operations::{OperationError, bulk};
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;

use crate::{Context, queues};

/// Acts on what a stored act matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActOnJobs {
    /// The stored act.
    pub bulk: i64,
}

impl Job<Context> for ActOnJobs {
    const SPEC: Spec = Spec {
        name: "operations.act_on_jobs",
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(5)),
        timeout: Duration::from_mins(30),
    };

    fn tags(&self) -> Vec<String> {
        vec![format!("bulk:{}", self.bulk)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        loop {
            let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
            let last = bulk::advance(&mut uow, self.bulk).await.map_err(failed)?;
            if last {
                return uow.commit_and_complete(lease).await;
            }
            uow.commit().await?;
        }
    }
}

fn failed(error: OperationError) -> JobError {
    match error {
        OperationError::Engine(error) => error.into(),
        other => JobError::fail("bulk", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        assert_eq!(serde_json::from_str::<ActOnJobs>(r#"{"bulk":7}"#).unwrap(), ActOnJobs { bulk: 7 });
    }
}
