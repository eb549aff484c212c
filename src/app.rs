//! The only wiring: configuration and a database become the parts that serve and work.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use sira_domain::privacy::Cipher;
use sira_domain::{Db, calls, distribution};
use sira_engine::{Drained, Engine, EngineError, Link, Queue, Running};
use sira_jobs::{Context, Providers, Settings};
use sira_kernel::{Actor, Clock};
use sira_providers::meta::{GraphApi, GraphSettings, MetaLead, MetaLeads};
use sira_providers::telephony::{self, SandboxTelephony, Telephony, TelephonySettings};
use sira_providers::{FailureKind, ProviderError};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::live::{self, Live};
use crate::{database, http, sealer};

/// What serving and working share. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// What handlers and jobs work with.
    pub cx: Context,
    /// Wakes and runs jobs.
    pub engine: Engine,
    config: Arc<Config>,
}

impl Parts {
    /// Wires everything over this pool. Makes the key file at the first start; refuses to go on when it is not the
    /// one that this database was sealed with.
    pub async fn assemble(config: &Config, pool: PgPool) -> anyhow::Result<Self> {
        let clock = Clock::system();
        clock.correct_to(database::now(&pool).await?);
        let key_file = config.data.key_file();
        let cipher = Cipher::with_key_file(pool.clone(), &key_file).await?;
        let link = if config.database.pooled { Link::Pooled } else { Link::Direct };
        let engine = Engine::new(&pool, clock.clone(), link);
        let waker = {
            let engine = engine.clone();
            Arc::new(move |applied: &_| engine.wake(applied))
        };
        let reactions = sira_workflows::reactions(waiting_alarm_after(config));
        let db = Db::new(pool, clock.clone(), reactions, waker);
        let providers = Providers { meta: meta(config)?, telephony: telephony(config)? };
        let settings = Settings {
            phone_region: config.intake.phone_region.clone(),
            assign_batch_max: config.distribution.assign_batch_max,
            waiting_alarm_after: waiting_alarm_after(config),
            history_days: config.engine.history_days,
            calls: call_rules(config, providers.telephony.name()),
        };
        let cx = Context { db, clock, cipher, providers, settings };
        Ok(Self { cx, engine, config: Arc::new(config.clone()) })
    }

    /// Starts workers for these queues; they start anew whenever their session was lost. Beside them the audit log is sealed.
    ///
    /// # Errors
    /// When the database is not there at the start; afterwards it is waited for, for ever.
    pub async fn work(&self, queues: &[Queue]) -> anyhow::Result<Workers> {
        let first = self.open_session(queues).await.context("starting the workers")?;
        let stop = CancellationToken::new();
        let keeping = keep_working(self.clone(), queues.to_vec(), first, stop.clone());
        #[expect(clippy::disallowed_methods, reason = "owned: aborted with its handle, awaited by the drain")]
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeping));
        let sealer = sealer::start(&self.config, &self.cx.db)?;
        Ok(Workers { stop, keeper, _sealer: sealer })
    }

    async fn open_session(&self, queues: &[Queue]) -> Result<Running, EngineError> {
        let settings = engine_settings(&self.config);
        self.engine.start(sira_workflows::registry(), queues, self.cx.clone(), settings).await
    }

    /// The state of the HTTP layer, with the hub of live updates, which runs until `stop`.
    pub fn http(&self, metrics: PrometheusHandle, stop: &CancellationToken) -> anyhow::Result<http::App> {
        let secrets = http::Secrets::load_or_create(&self.config.data.dir.join("secrets").join("token_key"))?;
        let live = Live::start(self.cx.db.clone(), &live::Settings::default(), stop.clone());
        http::App::new(self.cx.clone(), secrets, live, metrics, http_settings(&self.config))
    }
}

/// Workers of one process, over as many sessions as it takes. Dropped, they stop as if the process had been killed.
pub struct Workers {
    stop: CancellationToken,
    keeper: AbortOnDropHandle<Option<Running>>,
    _sealer: AbortOnDropHandle<()>,
}

impl Workers {
    /// Claims nothing more and lets running jobs finish for up to `timeout`; says whether all of them did.
    pub async fn drain(self, timeout: Duration) -> bool {
        self.stop.cancel();
        match self.keeper.await {
            Ok(Some(running)) => running.drain(timeout).await == Drained::Finished,
            // Between two sessions nothing runs.
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

/// Pause before a new session is tried again.
const SESSION_PAUSE: Duration = Duration::from_secs(1);

/// Holds a session until `stop`; opens a new one when it was lost, however often and however long that takes. A
/// process that was away for longer than its lease has stopped its jobs by itself, and others may run them.
async fn keep_working(
    parts: Parts,
    queues: Vec<Queue>,
    first: Running,
    stop: CancellationToken,
) -> Option<Running> {
    let mut running = first;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Some(running),
            () = running.lost() => tracing::warn!("the session was lost: its jobs run elsewhere; opening a new one"),
        }
        drop(running);
        running = loop {
            match parts.open_session(&queues).await {
                Ok(opened) => break opened,
                Err(error) => tracing::warn!(%error, "no new session yet"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(SESSION_PAUSE) => {}
            }
        };
    }
}

/// Units of work of a command that serves nobody: it wakes no worker, a poll finds what follows.
pub fn unattended(config: &Config, pool: PgPool) -> Db {
    let reactions = sira_workflows::reactions(waiting_alarm_after(config));
    Db::new(pool, Clock::system(), reactions, Arc::new(|_| {}))
}

fn waiting_alarm_after(config: &Config) -> Duration {
    Duration::from_secs(config.distribution.waiting_alarm_after_s)
}

/// Applies the migrations that are missing, and sees to it that a lead has a pool to wait in. Says how many
/// migrations that were.
pub async fn prepare_database(config: &Config, pool: &PgPool) -> anyhow::Result<usize> {
    // Migrations lock for a session's life, which a pooler does not give.
    let direct = database::direct(config).await?;
    let applied = database::migrate(direct.as_ref().unwrap_or(pool)).await;
    if let Some(direct) = direct {
        direct.close().await;
    }
    let applied = applied.context("the migrations do not apply")?;
    let mut uow = unattended(config, pool.clone()).begin(Actor::System).await?;
    distribution::ensure_default_pool(&mut uow).await?;
    uow.commit().await?;
    Ok(applied)
}

/// The recorder of this process' metrics, installed by the first call.
pub fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().install_recorder().context("installing the metrics recorder")?;
    Ok(recorder.insert(handle).clone())
}

/// How often samples of histograms are folded, so that they do not pile up where nobody reads `/metrics`.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Folds the samples of histograms for as long as it runs.
pub async fn keep_metrics(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP_EVERY).await;
        recorder.run_upkeep();
    }
}

/// The Graph API; or, without a token, a client that says so, and leaves announced leads in quarantine.
fn meta(config: &Config) -> anyhow::Result<Arc<dyn MetaLeads>> {
    if config.meta.access_token.expose_secret().is_empty() {
        tracing::warn!("meta.access_token is not set: leads that Meta announces cannot be fetched");
        return Ok(Arc::new(NotConfigured));
    }
    Ok(Arc::new(GraphApi::new(&graph_settings(config))?))
}

/// Meta without credentials.
struct NotConfigured;

impl MetaLeads for NotConfigured {
    fn fetch_lead<'a>(
        &'a self,
        _leadgen_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<MetaLead, ProviderError>> + Send + 'a>> {
        let refused = ProviderError::new(FailureKind::AuthExpired, "meta.access_token is not set");
        Box::pin(std::future::ready(Err(refused)))
    }
}

/// The telephony provider; or, without one, a client that says so.
fn telephony(config: &Config) -> anyhow::Result<Arc<dyn Telephony>> {
    let settings = &config.telephony;
    if settings.base_url.is_empty() {
        tracing::warn!("telephony.base_url is not set: no calls can be placed");
        return Ok(Arc::new(NoTelephony));
    }
    Ok(Arc::new(SandboxTelephony::new(&TelephonySettings {
        base_url: settings.base_url.clone(),
        api_key: settings.api_key.clone(),
        caller_id: settings.caller_id.clone(),
        timeout: Duration::from_millis(settings.timeout_ms),
    })?))
}

/// Telephony without a provider.
struct NoTelephony;

impl NoTelephony {
    fn refuse<T: Send + 'static>(operation: &'static str) -> telephony::Answer<T> {
        let message = "telephony.base_url is not set";
        telephony::Answer {
            result: Err(ProviderError::never_sent(FailureKind::AuthExpired, message)),
            exchange: telephony::Exchange {
                operation,
                http_status: None,
                latency: Duration::ZERO,
                request: Vec::new(),
                response: Vec::new(),
                request_redacted: serde_json::Value::Null,
                response_redacted: serde_json::Value::Null,
            },
        }
    }
}

impl Telephony for NoTelephony {
    fn name(&self) -> &'static str {
        "none"
    }

    fn place_call<'a>(
        &'a self,
        _request: &'a telephony::CallRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = telephony::Answer<telephony::PlacedCall>> + Send + 'a>> {
        Box::pin(std::future::ready(Self::refuse("place_call")))
    }

    fn find_call<'a>(
        &'a self,
        _reference: &'a str,
    ) -> Pin<Box<dyn Future<Output = telephony::Answer<Option<telephony::CallSnapshot>>> + Send + 'a>> {
        Box::pin(std::future::ready(Self::refuse("find_call")))
    }
}

fn call_rules(config: &Config, provider: &'static str) -> calls::Rules {
    let settings = &config.telephony;
    calls::Rules {
        provider,
        ring_timeout: TimeDelta::seconds(i64::from(settings.ring_timeout_s)),
        limits: calls::Limits {
            user_per_minute: i64::from(settings.calls_per_user_per_minute),
            lead_per_hour: i64::from(settings.calls_per_lead_per_hour),
        },
    }
}

fn graph_settings(config: &Config) -> GraphSettings {
    GraphSettings {
        base_url: config.meta.base_url.clone(),
        api_version: config.meta.api_version.clone(),
        access_token: config.meta.access_token.clone(),
        app_secret: config.meta.app_secret.clone(),
        timeout: Duration::from_millis(config.meta.timeout_ms),
    }
}

fn engine_settings(config: &Config) -> sira_engine::Settings {
    let engine = &config.engine;
    sira_engine::Settings {
        lease_ttl: Duration::from_millis(engine.lease_ttl_ms),
        renew_every: Duration::from_millis(engine.renew_ms),
        fence_after: Duration::from_millis(engine.stop_after_ms),
        poll_every: Duration::from_millis(engine.poll_ms),
        prefetch: usize::from(engine.claim_batch_max),
        ..sira_engine::Settings::new(host(), env!("CARGO_PKG_VERSION"))
    }
}

/// Shown to operators; never an identity.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

fn http_settings(config: &Config) -> http::Settings {
    http::Settings {
        base_path: config.http.base_path.clone(),
        request_timeout: Duration::from_millis(config.http.request_timeout_ms),
        trust_loopback: config.http.trust_loopback || config.sandbox.enabled,
        meta: http::MetaWebhook {
            app_secrets: vec![config.meta.app_secret.clone()],
            verify_token: config.meta.verify_token.clone(),
        },
        telephony_secrets: vec![config.telephony.signing_secret.clone()],
        ..http::Settings::default()
    }
}
