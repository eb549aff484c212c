//! What every handler works with.

use std::ops::Deref;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use sira_domain::Db;
use sira_domain::identity::Passwords;
use sira_domain::privacy::Cipher;
use sira_jobs::Context;

use super::auth::keys::Secrets;
use super::auth::throttle::Throttle;
use super::auth::tokens::Tokens;
use super::cursor::Cursors;
use super::events::places::Places;
use super::ops::events::Look;
use super::settings::Settings;
use crate::live::Live;

/// The application as HTTP sees it. Built once; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<HttpState>);

/// What is in an [`App`].
pub struct HttpState {
    /// Database, clock, cipher, providers: shared with the workers, but for who waits longer for a connection.
    pub cx: Context,
    /// Database and cipher with connections of their own, for questions about health.
    pub health: (Db, Cipher),
    /// Access tokens.
    pub tokens: Tokens,
    /// Cursors of lists.
    pub cursors: Cursors,
    /// Password hashes, behind their gate.
    pub passwords: Passwords,
    /// Delays of failed sign-ins.
    pub throttle: Throttle,
    /// What happens, as it happens.
    pub live: Live,
    /// Streams that are open.
    pub places: Places,
    /// The operators' board, for streams of it.
    pub look: Look,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// What can be tuned.
    pub settings: Settings,
}

impl App {
    /// Signs and hashes once, so that a machine on which that does not work fails at boot.
    pub fn new(
        mut cx: Context,
        secrets: Secrets,
        live: Live,
        metrics: PrometheusHandle,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let health = (cx.db.apart(), cx.cipher.apart());
        cx.db = cx.db.hurried();
        let tokens = Tokens::new(&secrets, cx.clock.clone())?;
        let cursors = Cursors::new(secrets.cursor);
        Ok(Self(Arc::new(HttpState {
            cx,
            health,
            tokens,
            cursors,
            passwords: Passwords::new(),
            throttle: Throttle::default(),
            live,
            places: Places::default(),
            look: Look::default(),
            metrics,
            settings,
        })))
    }
}

impl Deref for App {
    type Target = HttpState;
    fn deref(&self) -> &HttpState {
        &self.0
    }
}
