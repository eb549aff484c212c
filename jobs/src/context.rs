//! What every job, workflow and HTTP handler works with. Built once, in `src/app.rs`.

use std::sync::Arc;

use sira_domain::calls;
use sira_domain::privacy::Cipher;
use sira_domain::{Db, Uow};
use sira_kernel::{Actor, Clock};
use sira_providers::meta::MetaLeads;
use sira_providers::telephony::Telephony;

/// Cheap to clone; shared by HTTP and workers.
#[derive(Clone)]
pub struct Context {
    /// Reads and units of work.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Seals and opens personal data.
    pub cipher: Cipher,
    /// The outside world.
    pub providers: Providers,
    /// What the jobs can be tuned by.
    pub settings: Settings,
}

/// Outbound ports.
#[derive(Clone)]
pub struct Providers {
    /// Meta Lead Ads.
    pub meta: Arc<dyn MetaLeads>,
    /// Masked calls.
    pub telephony: Arc<dyn Telephony>,
}

/// Settings of jobs and workflows; composed into the configuration by `src/config.rs`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// ISO 3166 region that national phone numbers are read in.
    pub phone_region: String,
    /// Most waiting leads that one transaction assigns.
    pub assign_batch_max: u16,
    /// How long a lead may wait for an agent before it is reported.
    pub waiting_alarm_after: std::time::Duration,
    /// Days for which finished jobs, attempts and workflows are kept.
    pub history_days: u16,
    /// How calls are made.
    pub calls: calls::Rules,
}

impl Context {
    /// Begins a unit of work.
    pub async fn begin(&self, actor: Actor) -> Result<Uow, sira_domain::uow::BeginError> {
        self.db.begin(actor).await
    }
}
