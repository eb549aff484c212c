//! Destroys the keys of leads that were taken away: what a backup or an old page still holds of them opens no more.
//!
//! Runs after the commit that took them away, because keys commit by themselves. Running it twice changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::nouns::LeadId;
use sira_domain::privacy::Subject;
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};

use crate::{Context, failure, queues};

/// Destroys the keys of these leads, at most [`sira_domain::event::IDS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyKeys {
    /// The leads; they are gone.
    pub leads: Vec<LeadId>,
}

impl Job<Context> for DestroyKeys {
    const SPEC: Spec = Spec {
        name: "privacy.destroy_keys",
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    async fn run(self, cx: &Context, _: &Lease) -> Result<Outcome, JobError> {
        let subjects: Vec<Subject> = self.leads.into_iter().map(Subject::Lead).collect();
        cx.cipher.destroy_keys(&subjects, cx.clock.now()).await.map_err(failure::privacy)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let lead = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let stored = r#"{"leads":["01920000-0000-7000-8000-000000000001"]}"#;
        assert_eq!(serde_json::from_str::<DestroyKeys>(stored).unwrap(), DestroyKeys { leads: vec![lead] });
    }
}
