//! The code of docs/tutorials/add-a-job.md. The page quotes what stands between the markers, word for word: `xtask tidy`
//! compares the two, so that a reader copies what was compiled and run.

// quoted: imports
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::Event;
use sira_domain::leads::{self, LeadError, Scope, StatusChange};
use sira_domain::nouns::LeadId;
use sira_engine::{Effect, Job, JobError, Lease, NewJob, Outcome, Registry, Retry, Spec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;
// quoted: end
use sira_sandbox::LeadWish;
use uuid::Uuid;

use crate::house::{DRAIN, House};

// quoted: payload
/// Takes back a "not interested": whoever asks again is interested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviveLead {
    /// The lead that asked again.
    pub lead: LeadId,
}
// quoted: end

// quoted: decision
/// The status that a lead goes to when it asks again; `None`: it stays where it is.
fn revived(status: &str) -> Option<&'static str> {
    match status {
        "not_interested" => Some("interested"),
        _ => None,
    }
}
// quoted: end

// quoted: job
impl Job<Context> for ReviveLead {
    const SPEC: Spec = Spec {
        name: "leads.revive_lead",
        queue: queues::DISTRIBUTION,
        retry: Retry::backoff(8, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(format!("lead:{}", self.lead))
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("lead:{}", self.lead)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        let read = leads::search::find(uow.conn(), Scope::All, self.lead).await?;
        if let Some(lead) = read
            && let Some(to) = revived(&lead.status)
        {
            let change = StatusChange {
                lead: self.lead,
                expected_version: Some(lead.version),
                to,
                reason: Some("asked_again"),
                role: None,
            };
            leads::change_status(&mut uow, &change).await.map_err(refused)?;
        }
        uow.commit_and_complete(lease).await
    }
}

/// What a refusal means to the engine.
fn refused(error: LeadError) -> JobError {
    match error {
        LeadError::VersionConflict { .. } | LeadError::NotFound | LeadError::Raced => {
            JobError::retry("changed_meanwhile", "the lead changed after it had been read")
        }
        LeadError::Database(error) => error.into(),
        other => JobError::fail("lead", other.to_string()),
    }
}
// quoted: end

// quoted: wiring
fn registry() -> Registry<Context> {
    sira_workflows::registry().job::<ReviveLead>()
}

fn reactions(event: &Event, now: DateTime<Utc>) -> Vec<Effect> {
    let mut effects = sira_workflows::reactions(Duration::from_mins(1))(event, now);
    if let Event::LeadEnquired { lead } = event {
        effects.push(Effect::Job(NewJob::of(&ReviveLead { lead: *lead })));
    }
    effects
}
// quoted: end

async fn only_lead(house: &House) -> LeadId {
    let id: Uuid = sqlx::query_scalar("select id from leads").fetch_one(&house.db.pool).await.unwrap();
    id.into()
}

async fn put_down_as_not_interested(house: &House, lead: LeadId) {
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let change =
        StatusChange { lead, expected_version: None, to: "not_interested", reason: None, role: None };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
}

// quoted: test
const REVIVED: &str = "select count(*) from lead_status_history where reason = 'asked_again'";
const RUNS: &str = "select count(*) from engine.finished where kind = 'leads.revive_lead'";

#[tokio::test]
async fn who_said_no_and_asks_again_is_interested_and_a_second_run_changes_nothing() {
    let mut house = House::new().await;
    house.react_by(reactions);
    house.agent("agent", 10).await;
    let running = house.work_with(registry(), &queues::ALL).await;
    let person = house.lead();
    house.announce(std::slice::from_ref(&person)).await;
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    let lead = only_lead(&house).await;
    put_down_as_not_interested(&house, lead).await;

    // The same phone, another form: Meta announces it, and the job follows by itself.
    let phone = Some(person.phone.clone());
    house.announce(&[house.sandbox.new_lead(LeadWish { phone, ..LeadWish::default() })]).await;
    house.until(1, REVIVED).await;
    house.until(1, RUNS).await;

    // As after a crash: the same job once more.
    house.apply(&[Effect::Job(NewJob::of(&ReviveLead { lead }))]).await;
    house.until(2, RUNS).await;
    house.quiet().await;
    assert_eq!(house.count(REVIVED).await, 1);
    assert_eq!(house.count("select count(*) from leads where status = 'interested'").await, 1);
    running.drain(DRAIN).await;
}
// quoted: end

// quoted: contract
#[test]
fn the_stored_shape_of_the_tutorials_job_is_kept() {
    let job = ReviveLead { lead: "0199a5d0-0000-7000-8000-000000000001".parse().unwrap() };
    let stored = r#"{"lead":"0199a5d0-0000-7000-8000-000000000001"}"#;
    assert_eq!(serde_json::to_string(&job).unwrap(), stored);
    assert_eq!(serde_json::from_str::<ReviveLead>(stored).unwrap(), job);
}

#[test]
fn only_a_no_is_taken_back() {
    assert_eq!(revived("not_interested"), Some("interested"));
    for status in ["new", "no_answer", "interested", "wrong_number", "blocked", "qualified", "proposal"] {
        assert_eq!(revived(status), None, "{status}");
    }
}
// quoted: end
