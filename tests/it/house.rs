//! The whole product but its HTTP layer, on a database of its own: real workers, real jobs, the sandbox as Meta.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sira::app::Parts;
use sira::config::{Config, Loaded};
use sira_domain::campaigns::Origin;
use sira_domain::distribution;
use sira_domain::identity::{self, HashedPassword, NewUser, Passwords, Role};
use sira_domain::ingestion::{self, RawEvent};
use sira_domain::leads::{self, Channel, NewLead};
use sira_domain::nouns::{InboundId, LeadId, PoolId, TeamId, UserId};
use sira_domain::{Db, Event};
use sira_engine::{Applied, Effect, Queue, Registry, Running, Settings};
use sira_jobs::{Context, queues};
use sira_kernel::{Actor, Clock, EmailAddress, PersonName, PhoneNumber};
use sira_sandbox::{LeadWish, Sandbox, SandboxLead};
use sira_testkit::TestDb;
use sqlx::PgPool;
use tokio::sync::OnceCell;

/// How long a drain may take.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Longest wait for what the workers do.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stands for the bytes 0 to 23.
const SIGNING_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

pub struct House {
    pub db: TestDb,
    pub parts: Parts,
    pub sandbox: Sandbox,
    pub pool: PoolId,
    pub config: Config,
    _home: tempfile::TempDir,
}

/// A command of the real binary that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Runs it to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl House {
    /// Runs a command of the real binary to its end, on the house's database, without any provider's credentials.
    pub fn sira(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sira"));
        command
            .args(arguments)
            .env("SIRA__DATA__DIR", &self.config.data.dir)
            .env("SIRA__DATABASE__URL", self.db.url())
            .env("SIRA__LOG__FILTER", "warn");
        Ran::of(&mut command)
    }

    /// Without agents and without workers.
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let home = tempfile::tempdir().unwrap();
        let settings = sira_sandbox::Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            access_token: "token".into(),
            app_secret: "secret".into(),
            verify_token: "verify".into(),
            seed: 1,
            telephony_key: "key".into(),
            telephony_signing_secret: SIGNING_SECRET.into(),
            call_pace: Duration::from_millis(2),
        };
        let sandbox = Sandbox::start(settings, Clock::system()).await.unwrap();
        let mut config = Loaded::load(None, &[]).unwrap().config;
        config.data.dir = home.path().to_owned();
        config.database.url = db.url().into();
        config.meta.base_url = sandbox.base_url().to_owned();
        config.meta.access_token = "token".into();
        config.meta.app_secret = "secret".into();
        config.telephony.base_url = sandbox.base_url().to_owned();
        config.telephony.api_key = "key".into();
        config.telephony.signing_secret = SIGNING_SECRET.into();
        "+908500000000".clone_into(&mut config.telephony.caller_id);
        let parts = Parts::assemble(&config, db.pool.clone()).await.unwrap();
        let mut uow = parts.cx.begin(Actor::System).await.unwrap();
        let pool = distribution::create_pool(&mut uow, "all", true).await.unwrap();
        uow.commit().await.unwrap();
        Self { db, parts, sandbox, pool, config, _home: home }
    }

    /// A team.
    pub async fn team(&self, name: &str) -> TeamId {
        let mut uow = self.parts.cx.begin(Actor::System).await.unwrap();
        let team = identity::ensure_team(&mut uow, name).await.unwrap();
        uow.commit().await.unwrap();
        team
    }

    /// Somebody of the team, outside of every pool.
    pub async fn person(&self, username: &str, role: Role, team: Option<TeamId>) -> UserId {
        let mut uow = self.parts.cx.begin(Actor::System).await.unwrap();
        let new = NewUser {
            username: username.to_owned(),
            display_name: username.to_owned(),
            role,
            team,
            password: password().await,
        };
        let user = identity::create_user(&mut uow, new).await.unwrap().id;
        uow.commit().await.unwrap();
        user
    }

    /// An agent of the pool who can carry so many leads, with a line of their own.
    pub async fn agent(&self, username: &str, capacity: i32) -> UserId {
        self.agent_of(username, capacity, None).await
    }

    /// The same, of a team.
    pub async fn agent_of(&self, username: &str, capacity: i32, team: Option<TeamId>) -> UserId {
        let user = self.person(username, Role::Agent, team).await;
        let mut uow = self.parts.cx.begin(Actor::System).await.unwrap();
        identity::set_extension(&mut uow, user, Some("101")).await.unwrap();
        distribution::set_load_limits(&mut uow, user, capacity, capacity).await.unwrap();
        distribution::set_member(&mut uow, self.pool, user, 1).await.unwrap();
        uow.commit().await.unwrap();
        user
    }

    /// Lets other things follow from events. Before the workers start.
    pub fn react_by(&mut self, reactions: fn(&Event, DateTime<Utc>) -> Vec<Effect>) {
        let engine = self.parts.engine.clone();
        let waker = Arc::new(move |applied: &Applied| engine.wake(applied));
        let cx = &mut self.parts.cx;
        cx.db = Db::new(self.db.pool.clone(), cx.clock.clone(), reactions, waker);
    }

    /// Workers of every queue, quick to notice things.
    pub async fn work(&self) -> Running {
        self.work_with(sira_workflows::registry(), &queues::ALL).await
    }

    /// Workers of these queues.
    pub async fn work_on(&self, queues: &[Queue]) -> Running {
        self.work_with(sira_workflows::registry(), queues).await
    }

    /// Workers of these queues, for these kinds of jobs and workflows.
    pub async fn work_with(&self, registry: Registry<Context>, queues: &[Queue]) -> Running {
        let settings = Settings {
            lease_ttl: Duration::from_secs(2),
            renew_every: Duration::from_millis(300),
            fence_after: Duration::from_millis(1400),
            poll_every: Duration::from_millis(100),
            ..Settings::new("test", "0")
        };
        let (engine, cx) = (&self.parts.engine, self.parts.cx.clone());
        engine.start(registry, queues, cx, settings).await.unwrap()
    }

    /// Somebody asks, by this address and, if one is given, the number `+90 555 000 xx xx`.
    pub async fn asks(&self, number: Option<u16>, address: &str) -> LeadId {
        let cx = &self.parts.cx;
        let phone = number.map(|number| PhoneNumber::parse(&format!("+90555000{number:04}"), "TR").unwrap());
        let lead = NewLead {
            channel: Channel::Web,
            acquired_at: cx.clock.now(),
            name: PersonName::parse("Örnek Kişi"),
            phones: phone.into_iter().collect(),
            emails: vec![EmailAddress::parse(&format!("{address}@example.com")).unwrap()],
            answers: Vec::new(),
            origin: Origin::default(),
            country: None,
            language: None,
            consents: Vec::new(),
            consent_source: "test",
            inbound: None,
            import: None,
            is_test: false,
        };
        let prepared = leads::prepare(&cx.db, &cx.cipher, &lead).await.unwrap();
        let mut uow = cx.begin(Actor::System).await.unwrap();
        let id = leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap().lead();
        uow.commit().await.unwrap();
        id
    }

    /// A lead that Meta knows.
    pub fn lead(&self) -> SandboxLead {
        self.sandbox.new_lead(LeadWish::default())
    }

    /// What the webhook's handler does once the signature is right.
    pub async fn announce(&self, leads: &[SandboxLead]) -> Vec<InboundId> {
        let event = |lead: &SandboxLead| RawEvent { external_id: lead.id.clone(), body: b"{}".to_vec() };
        let cx = &self.parts.cx;
        let events = leads.iter().map(event).collect();
        let prepared = ingestion::prepare(&cx.db, &cx.cipher, "meta", events).await.unwrap();
        let mut uow = cx.begin(Actor::Provider("meta".to_owned())).await.unwrap();
        let accepted = ingestion::accept(&mut uow, prepared).await.unwrap();
        uow.commit().await.unwrap();
        accepted.new
    }

    /// Enqueues what nothing caused.
    pub async fn apply(&self, effects: &[Effect]) {
        #[expect(clippy::disallowed_methods, reason = "a test enqueues without an event")]
        let mut tx = self.db.pool.begin().await.unwrap();
        let applied = sira_engine::apply(&mut tx, &self.parts.cx.clock, effects).await.unwrap();
        tx.commit().await.unwrap();
        self.parts.engine.wake(&applied);
    }

    /// Moves the time and lets the timers see it.
    pub fn advance(&self, by: TimeDelta) {
        self.parts.cx.clock.advance(by);
        self.parts.engine.wake(&Applied { queues: Vec::new(), scheduled: true });
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        count(&self.db.pool, sql).await
    }

    /// Waits until a count is what it must become.
    pub async fn until(&self, expected: i64, sql: &'static str) {
        until(&self.db.pool, expected, sql).await;
    }

    /// No job is left that has not come to its end.
    pub async fn quiet(&self) {
        self.until(0, "select count(*) from engine.jobs where state in ('held', 'ready', 'running')").await;
        assert_eq!(self.count("select count(*) from engine.jobs where state = 'dead'").await, 0);
    }
}

/// Hashed once: the hash is slow on purpose.
async fn password() -> HashedPassword {
    static HASH: OnceCell<HashedPassword> = OnceCell::const_new();
    let make = || async { Passwords::new().hash("nobody", &identity::generate_password()).await.unwrap() };
    HASH.get_or_init(make).await.clone()
}

pub async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    let sum = sqlx::AssertSqlSafe(format!("select ({sql})::bigint"));
    sqlx::query_scalar(sum).fetch_one(pool).await.unwrap()
}

pub async fn until(pool: &PgPool, expected: i64, sql: &'static str) {
    let begun = std::time::Instant::now();
    loop {
        let found = count(pool, sql).await;
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{sql}: {found} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
