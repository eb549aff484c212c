//! The application on a database of its own, called in-process, with an office of four people.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, Request, StatusCode, header};
use metrics_exporter_prometheus::PrometheusBuilder;
use secrecy::SecretString;
use serde_json::{Value, json};
use sira::http::auth::keys::Secrets;
use sira::http::{App, MetaWebhook, Settings};
use sira::live::{self, Live};
use sira_domain::distribution;
use sira_domain::identity::{self, NewUser, Passwords, Role, User};
use sira_domain::leads::{self, Channel, NewLead};
use sira_domain::nouns::{LeadId, TeamId};
use sira_domain::privacy::{Cipher, LocalKeyFile};
use sira_domain::{Db, Uow};
use sira_jobs::{Context, Providers};
use sira_kernel::{Actor, PersonName, PhoneNumber};
use sira_providers::ProviderError;
use sira_providers::meta::{MetaLead, MetaLeads};
use sira_testkit::TestDb;
use sqlx::PgPool;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fakes::{call_rules, unasked_telephony};

/// The password of everybody in the office.
pub const PASSWORD: &str = "correct horse battery";
/// What Meta signs with.
pub const META_SECRET: &str = "app-secret-of-the-tests";
/// What Meta repeats in the handshake.
pub const META_VERIFY: &str = "verify-token-of-the-tests";
/// The largest answer that a test reads.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Nobody is called from HTTP.
struct NoMeta;

impl MetaLeads for NoMeta {
    fn fetch_lead<'a>(
        &'a self,
        _: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<MetaLead, ProviderError>> + Send + 'a>> {
        Box::pin(async { panic!("the HTTP layer calls no provider") })
    }
}

/// The application under test.
pub struct TestApp {
    pub db: TestDb,
    pub app: App,
    pub router: Router,
    pub team: TeamId,
    /// Ends the hub of live updates.
    pub stop: CancellationToken,
    home: tempfile::TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's code; asserts that it is a problem document with the answer's status.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl TestApp {
    /// With default settings.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With changed settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_live(change, &live::Settings::default()).await
    }

    /// With changed settings, of the hub of live updates too.
    pub async fn with_live(change: impl FnOnce(&mut Settings), live: &live::Settings) -> Self {
        let db = TestDb::new().await;
        let home = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            meta: MetaWebhook {
                app_secrets: vec![SecretString::from(META_SECRET)],
                verify_token: SecretString::from(META_VERIFY),
            },
            ..Settings::default()
        };
        change(&mut settings);
        let stop = CancellationToken::new();
        let cx = context(&db, db.pool.clone());
        let app = assemble(cx, home.path(), settings, live, &stop).await;
        let router = sira::http::router(app.clone()).unwrap();
        let mut uow = app.cx.begin(Actor::System).await.unwrap();
        distribution::create_pool(&mut uow, "default", true).await.unwrap();
        let team = identity::ensure_team(&mut uow, "Ankara").await.unwrap();
        uow.commit().await.unwrap();
        Self { db, app, router, team, stop, home }
    }

    /// The application of another process: this database and this key file, and nothing else in common.
    pub async fn twin(&self) -> App {
        let cx = context(&self.db, self.db.pool.clone());
        let settings = self.app.settings.clone();
        assemble(cx, self.home.path(), settings, &live::Settings::default(), &self.stop).await
    }

    /// A user of the team with [`PASSWORD`].
    pub async fn user(&self, username: &str, role: Role) -> User {
        self.user_of(username, role, Some(self.team)).await
    }

    /// A user of this team with [`PASSWORD`].
    pub async fn user_of(&self, username: &str, role: Role, team: Option<TeamId>) -> User {
        let mut uow = self.uow().await;
        let new = NewUser {
            username: username.to_owned(),
            display_name: username.to_owned(),
            role,
            team,
            password: hashed().await,
        };
        let user = identity::create_user(&mut uow, new).await.unwrap();
        uow.commit().await.unwrap();
        user
    }

    /// A fresh token of this user, without the way over a password.
    pub fn token(&self, user: &User) -> String {
        self.app.tokens.issue(user.id).unwrap()
    }

    /// A new user of this role, and a token.
    pub async fn signed_in(&self, role: Role) -> (User, String) {
        let user = self.user(role.as_str(), role).await;
        let token = self.token(&user);
        (user, token)
    }

    /// A unit of work of the system.
    pub async fn uow(&self) -> Uow {
        self.app.cx.begin(Actor::System).await.unwrap()
    }

    /// A person with the number `+90 555 000 xx xx` who asks.
    pub fn person(&self, number: u16) -> NewLead {
        NewLead {
            channel: Channel::Web,
            acquired_at: self.db.clock.now(),
            name: PersonName::parse("Örnek Kişi"),
            phones: vec![PhoneNumber::parse(&format!("+90555000{number:04}"), "TR").unwrap()],
            emails: Vec::new(),
            answers: Vec::new(),
            origin: sira_domain::campaigns::Origin::default(),
            country: Some("TR".to_owned()),
            language: Some("tr".to_owned()),
            consents: Vec::new(),
            consent_source: "test",
            inbound: None,
            import: None,
            is_test: false,
        }
    }

    /// The same as a lead, owned by this user.
    pub async fn lead(&self, number: u16, owner: Option<&User>) -> LeadId {
        let lead = self.person(number);
        let prepared = leads::prepare(&self.app.cx.db, &self.app.cx.cipher, &lead).await.unwrap();
        let mut uow = self.uow().await;
        let id = leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap().lead();
        uow.commit().await.unwrap();
        if let Some(owner) = owner {
            self.give(id, owner).await;
        }
        id
    }

    /// Makes this user the owner, as an assignment leaves it.
    pub async fn give(&self, lead: LeadId, owner: &User) {
        sqlx::query(
            "update leads set owner_id = $2, team_id = $3, waiting_since = null, version = version + 1 where id = $1",
        )
        .bind(lead.uuid())
        .bind(owner.id.uuid())
        .bind(owner.team.map(sira_kernel::Id::uuid))
        .execute(&self.db.pool)
        .await
        .unwrap();
        sqlx::query("update agent_load set open_weight = open_weight + 1 where user_id = $1")
            .bind(owner.id.uuid())
            .execute(&self.db.pool)
            .await
            .unwrap();
    }

    /// Calls the router with this request; the body is there to be read.
    pub async fn call(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Calls the router with this request, and reads the answer to its end.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.call(request).await.into_parts();
        let bytes = axum::body::to_bytes(body, ANSWER_MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// `GET` with a token; an empty token sends none.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(request(Method::GET, path, token, &[], Body::empty())).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, token: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(json_request(Method::POST, path, token, headers, body)).await
    }

    /// `PATCH` of a JSON merge patch.
    pub async fn patch(&self, path: &str, token: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(json_request(Method::PATCH, path, token, headers, body)).await
    }

    /// Signs in over HTTP from an address.
    pub async fn login(&self, username: &str, password: &str, from: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        let mut request = json_request(Method::POST, "/api/v1/auth/login", "", &[], &body);
        let peer: SocketAddr = format!("{from}:40000").parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        self.send(request).await
    }

    /// A count from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db.pool).await.unwrap()
    }

    /// Where the application keeps its secrets.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The time of the application.
    pub fn now(&self) -> DateTime<Utc> {
        self.db.clock.now()
    }
}

fn context(db: &TestDb, pool: PgPool) -> Context {
    Context {
        db: Db::new(pool.clone(), db.clock.clone(), |_, _| Vec::new(), Arc::new(|_| {})),
        clock: db.clock.clone(),
        cipher: Cipher::new(pool, Arc::new(LocalKeyFile::generate())),
        providers: Providers { meta: Arc::new(NoMeta), telephony: unasked_telephony() },
        settings: sira_jobs::Settings {
            history_days: 30,
            phone_region: "TR".to_owned(),
            assign_batch_max: 100,
            waiting_alarm_after: std::time::Duration::from_mins(10),
            calls: call_rules(),
        },
    }
}

async fn assemble(
    cx: Context,
    home: &Path,
    settings: Settings,
    live: &live::Settings,
    stop: &CancellationToken,
) -> App {
    let secrets = Secrets::load_or_create(&home.join("secrets/token_key")).unwrap();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let live = Live::start(cx.db.clone(), live, stop.clone());
    // A database is not dropped while somebody is still about to connect to it.
    live.subscribe().await.expect("the hub reaches the database");
    App::new(cx, secrets, live, metrics, settings).unwrap()
}

/// A request with JSON.
pub fn json_request(
    method: Method,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Request<Body> {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json"));
    request(method, path, token, &headers, Body::from(body.to_string()))
}

/// A request.
pub fn request(
    method: Method,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

/// Hashed once: the hash is slow on purpose.
async fn hashed() -> identity::HashedPassword {
    static HASH: OnceCell<identity::HashedPassword> = OnceCell::const_new();
    let make = || async { Passwords::new().hash("nobody", &SecretString::from(PASSWORD)).await.unwrap() };
    HASH.get_or_init(make).await.clone()
}
