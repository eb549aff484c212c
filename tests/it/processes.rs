//! Claims about many processes on one database: the real binary, eight times.

use std::process::{Child, Command, Stdio};

use secrecy::ExposeSecret;

use crate::house::House;

const PROCESSES: usize = 8;
const LEADS: usize = 400;

/// A process that works on every queue. Dropped, it is killed at once (SIGKILL).
pub struct Worker(Child);

impl Worker {
    pub fn start(house: &House) -> Self {
        Self::start_with(house, &[])
    }

    /// With more settings, as variables.
    fn start_with(house: &House, settings: &[(&str, &str)]) -> Self {
        let config = &house.config;
        let child = Command::new(env!("CARGO_BIN_EXE_sira"))
            .arg("work")
            .env("SIRA__DATA__DIR", &config.data.dir)
            .env("SIRA__DATABASE__URL", house.db.url())
            .env("SIRA__DATABASE__CONNECTIONS_MAX", "4")
            .env("SIRA__META__BASE_URL", &config.meta.base_url)
            .env("SIRA__META__ACCESS_TOKEN", "token")
            .env("SIRA__META__APP_SECRET", "secret")
            .env("SIRA__TELEPHONY__BASE_URL", &config.telephony.base_url)
            .env("SIRA__TELEPHONY__API_KEY", config.telephony.api_key.expose_secret())
            .env("SIRA__TELEPHONY__SIGNING_SECRET", config.telephony.signing_secret.expose_secret())
            .env("SIRA__TELEPHONY__CALLER_ID", &config.telephony.caller_id)
            .env("SIRA__LOG__FILTER", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_never_exceed_a_capacity_nor_give_a_lead_two_owners() {
    let house = House::new().await;
    // Too little for all: some leads must wait.
    let capacities = [60, 50, 40, 30, 20];
    for (number, capacity) in capacities.into_iter().enumerate() {
        house.agent(&format!("agent{number}"), capacity).await;
    }
    let total: i32 = capacities.into_iter().sum();
    let workers: Vec<_> = (0..PROCESSES).map(|_| Worker::start(&house)).collect();
    let leads: Vec<_> = (0..LEADS).map(|_| house.lead()).collect();
    for chunk in leads.chunks(20) {
        house.announce(chunk).await;
    }
    house.until(i64::try_from(LEADS).unwrap(), "select count(*) from leads").await;
    house.until(i64::from(total), "select count(*) from leads where owner_id is not null").await;
    house.quiet().await;
    let over = "select count(*) from agent_load where open_weight > capacity or day_count > day_capacity";
    assert_eq!(house.count(over).await, 0);
    let two = "select count(*) from (select lead_id from lead_assignments where ended_at is null \
               group by lead_id having count(*) > 1) twice";
    assert_eq!(house.count(two).await, 0);
    let mismatch = "select count(*) from agent_load load where load.open_weight <> \
                    (select count(*) from leads where owner_id = load.user_id)";
    assert_eq!(house.count(mismatch).await, 0, "loads are what is owned");
    let neither = "select count(*) from leads where owner_id is null and waiting_since is null";
    assert_eq!(house.count(neither).await, 0, "owned or waiting");
    // More room: the queue drains without anybody asking.
    house.agent("late", 1000).await;
    house.until(i64::try_from(LEADS).unwrap(), "select count(*) from leads where owner_id is not null").await;
    let sessions = house.count("select count(*) from engine.sessions").await;
    assert_eq!(sessions, i64::try_from(PROCESSES).unwrap(), "all eight took part");
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_without_any_providers_credentials() {
    let house = House::new().await;
    let ran = house.sira(&["user", "create", "--username", "zeynep", "--role", "agent"]);
    assert_eq!(ran.code, Some(0));
    let created = ran.out;
    assert!(created.contains("password: "), "{created}");
    assert_eq!(house.count("select count(*) from pool_members").await, 1, "an agent joins the default pool");
    let ran = house.sira(&["user", "create", "--username", "zeynep", "--role", "agent"]);
    assert_eq!(ran.code, Some(1), "taken");

    house.announce(&[house.lead()]).await;
    let ran = house.sira(&["jobs", "ls", "-o", "json"]);
    assert_eq!(ran.code, Some(0));
    let listed = ran.out;
    let jobs: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = jobs[0]["id"].to_string();
    assert_eq!(jobs[0]["kind"], "ingestion.fetch_meta_lead");
    let ran = house.sira(&["jobs", "show", &id]);
    assert_eq!(ran.code, Some(0));
    let shown = ran.out;
    assert!(shown.contains("ingestion.fetch_meta_lead (held)"), "{shown}");
    assert_eq!(house.sira(&["jobs", "show", "999999"]).code, Some(1), "unknown");
    assert_eq!(house.sira(&["work", "--queues", "nonsense"]).code, Some(1), "unknown queue");
    let ran = house.sira(&["config", "show", "--origin"]);
    assert_eq!(ran.code, Some(0));
    let settings = ran.out;
    assert!(!settings.contains("postgres://"), "secrets are not shown: {settings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_followed_by_a_new_one() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let workers = house.parts.work(&sira_jobs::queues::ALL).await.unwrap();
    let first = house.count("select max(id) from engine.sessions").await;
    // As if this process had been away for longer than its lease, and another had cleared up after it.
    sqlx::query("delete from engine.sessions").execute(&house.db.pool).await.unwrap();
    house.until(1, "select count(*) from engine.sessions").await;
    assert!(house.count("select max(id) from engine.sessions").await > first);
    house.announce(&[house.lead()]).await;
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    assert!(workers.drain(std::time::Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_behind_a_pooler_listens_to_nobody_and_works_all_the_same() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let url = house.db.url();
    let worker = Worker::start_with(
        &house,
        &[("SIRA__DATABASE__POOLED", "true"), ("SIRA__DATABASE__DIRECT_URL", &url)],
    );
    house.until(1, "select count(*) from engine.sessions").await;
    house.announce(&[house.lead()]).await;
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'";
    assert_eq!(house.count(listening).await, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_jobs_are_sent_to_the_collector_before_the_process_ends() {
    let collector = wiremock::MockServer::start().await;
    let anything = wiremock::Mock::given(wiremock::matchers::path("/v1/traces"));
    anything.respond_with(wiremock::ResponseTemplate::new(200)).mount(&collector).await;
    let house = House::new().await;
    house.agent("agent", 10).await;
    let address = format!("{}/v1/traces", collector.uri());
    let mut worker =
        Worker::start_with(&house, &[("SIRA__LOG__FILTER", "info"), ("SIRA__LOG__OTLP_URL", &address)]);
    house.announce(&[house.lead()]).await;
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    let pid = rustix::process::Pid::from_child(&worker.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    tokio::task::block_in_place(|| worker.0.wait()).unwrap();
    let sent = collector.received_requests().await.unwrap();
    for kind in ["ingestion.fetch_meta_lead", "distribution.assign_leads"] {
        let told = sent.iter().any(|request| memchr::memmem::find(&request.body, kind.as_bytes()).is_some());
        assert!(told, "{kind}: {} requests", sent.len());
    }
}
