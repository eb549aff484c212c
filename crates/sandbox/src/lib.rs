//! The providers' other side: a real HTTP server that plays Meta and a telephony provider, sends signed webhooks, and
//! fails on demand.
//!
//! It is what a demo, the tests and the fault runs talk to instead of the real platform: the Graph API client and the
//! webhook endpoint cannot tell it from Meta by what they exercise of it. It makes leads of people who do not exist:
//! numbers of the unassigned block +90 555 000 xx xx, addresses at example.com. Nobody's phone rings either.
//!
//! Of what it saw it keeps a ledger with ids, times and statuses; tests compare it with the database to prove that
//! nothing acknowledged was lost, and that nobody was called twice. For trying things by hand there are
//! `POST /sandbox/leads`, `POST /sandbox/failures`, `GET /sandbox/requests`, and `GET`, `POST` and `DELETE
//! /sandbox/calls`; [`Remote`] is a client of the first. It listens where its settings say, and that is never to be a
//! public address: those ask for no password.
//!
//! **Invariant:** every task belongs to the [`Sandbox`] and ends with it.

mod catalogue;
mod control;
mod failure;
mod graph;
mod lead;
mod ledger;
mod live;
mod remote;
mod telephony;
mod webhook;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
pub use catalogue::FORM_IDS;
pub use failure::Failure;
pub use lead::{LeadWish, SandboxLead, SandboxSource};
pub use ledger::{Entry, LedgerKind};
pub use live::LEADS_PER_MINUTE_MAX;
pub use remote::{Delivered, Remote, RemoteError};
use secrecy::SecretString;
use sira_kernel::Clock;
pub use telephony::{CallAnswer, CallCourse, CallDelivery, CallScript, PlacedInLedger, sign_webhook};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
pub use webhook::{DeliverError, Encoding, LEADS_PER_POST_MAX, sign};

use crate::failure::Failures;
use crate::lead::Leads;
use crate::ledger::Ledger;
use crate::telephony::{Signer, Telephony};

/// How long a stop waits for requests and deliveries under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a webhook's receiver may take: Meta waits about as long.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before each step of a call, for a demo: slow enough to watch.
pub const CALL_PACE: Duration = Duration::from_millis(300);

/// What the sandbox is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The token that the Graph API asks for.
    pub access_token: SecretString,
    /// Signs webhooks and checks `appsecret_proof`.
    pub app_secret: SecretString,
    /// Sent in the webhook handshake.
    pub verify_token: SecretString,
    /// Decides all leads: the same seed gives the same people and the same ids in the same order. A demo that runs
    /// again on its old data takes another seed, or its leads are redeliveries.
    pub seed: u64,
    /// The key that the telephony provider asks for.
    pub telephony_key: SecretString,
    /// Signs webhooks about calls: `whsec_` and base64 of 24 to 64 bytes.
    pub telephony_signing_secret: SecretString,
    /// The pause before each step of a call, of real time: [`CALL_PACE`], or less in tests; zero for none.
    pub call_pace: Duration,
}

/// A running sandbox. Dropping it stops it without waiting.
pub struct Sandbox {
    shared: Arc<Shared>,
    base_url: String,
    live: Mutex<Option<CancellationToken>>,
}

/// What the server's handlers and the senders share.
struct Shared {
    settings: Settings,
    clock: Clock,
    client: reqwest::Client,
    signer: Signer,
    /// Whatever is spawned here ends when `stopping` says so.
    tasks: TaskTracker,
    stopping: CancellationToken,
    state: Mutex<State>,
}

struct State {
    leads: Leads,
    failures: Failures,
    ledger: Ledger,
    target: Option<String>,
    telephony: Telephony,
}

impl Shared {
    /// Never held across an await; what it guards is valid after every statement, so a panic elsewhere spoils
    /// nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address is taken, the telephony's secret is in another form, or no HTTP client can be built.
    pub async fn start(settings: Settings, clock: Clock) -> io::Result<Self> {
        let signer = Signer::new(&settings.telephony_signing_secret).ok_or_else(|| {
            let message = "the telephony's signing secret must be whsec_ and base64 of 24 to 64 bytes";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        let listener = TcpListener::bind(settings.listen).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let client = reqwest::Client::builder()
            .timeout(DELIVERY_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(io::Error::other)?;
        let state = State {
            leads: Leads::new(settings.seed),
            failures: Failures::default(),
            ledger: Ledger::default(),
            target: None,
            telephony: Telephony::default(),
        };
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { settings, clock, client, signer, tasks, stopping, state });
        let server = axum::serve(listener, router(Arc::clone(&shared)))
            .with_graceful_shutdown(shared.stopping.clone().cancelled_owned());
        shared.tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the sandbox stopped serving");
            }
        });
        Ok(Self { shared, base_url, live: Mutex::new(None) })
    }

    /// `http://127.0.0.1:<port>`: the base URL of the Graph API that it plays.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sets the URL that webhooks go to.
    pub fn aim(&self, webhook_url: impl Into<String>) {
        self.shared.state().target = Some(webhook_url.into());
    }

    /// Makes one lead, which the Graph API then knows; tells nobody. What the wish leaves open, the seed decides.
    pub fn new_lead(&self, wish: LeadWish) -> SandboxLead {
        self.shared.state().leads.make(wish, self.shared.clock.now())
    }

    /// Announces these leads to the target in one POST, and gives its status. Delivering the same leads again sends
    /// the same bytes: a redelivery.
    pub async fn deliver(&self, leads: &[SandboxLead]) -> Result<u16, DeliverError> {
        self.deliver_as(leads, Encoding::Escaped).await
    }

    /// [`Sandbox::deliver`] in this encoding.
    pub async fn deliver_as(&self, leads: &[SandboxLead], encoding: Encoding) -> Result<u16, DeliverError> {
        webhook::deliver(&self.shared, leads, encoding).await
    }

    /// Asks the target as Meta does when a webhook is set up; whether it gave back the challenge.
    pub async fn handshake(&self) -> Result<bool, DeliverError> {
        webhook::handshake(&self.shared).await
    }

    /// The next `times` fetches of any lead fail like this.
    pub fn fail_next(&self, failure: Failure, times: u32) {
        self.shared.state().failures.fail_next(None, failure, times);
    }

    /// The next `times` fetches of this lead fail like this; goes before [`Sandbox::fail_next`].
    pub fn fail_lead(&self, leadgen_id: &str, failure: Failure, times: u32) {
        self.shared.state().failures.fail_next(Some(leadgen_id), failure, times);
    }

    /// Lets everything succeed again, and calls come to what their numbers say.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.failures = Failures::default();
        state.telephony.clear_scripts();
    }

    /// What it saw and sent, oldest first; bounded, the oldest fall out.
    pub fn ledger(&self) -> Vec<Entry> {
        self.shared.state().ledger.entries()
    }

    /// The ids of all leads whose webhook was acknowledged, in order: these must not be lost.
    pub fn acknowledged(&self) -> Vec<String> {
        self.shared.state().ledger.acknowledged()
    }

    /// Stops live leads, lets requests under way end, and ends all tasks.
    pub async fn stop(self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("the sandbox left requests unanswered at its stop");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/{version}/{leadgen_id}", get(graph::get_lead))
        .route("/sandbox/leads", post(control::create_lead))
        .route("/sandbox/failures", post(control::create_failure).delete(control::delete_failures))
        .route("/sandbox/requests", get(control::list_requests))
        .merge(telephony::routes())
        .with_state(shared)
}
