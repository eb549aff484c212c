//! A sandbox that runs in another process, by what it offers for trying things by hand.

use std::time::Duration;

use serde::Deserialize;

use crate::lead::LeadWish;

/// How long a lead may take: the sandbox waits for its webhook's answer as long as Meta does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody else's sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    client: reqwest::Client,
    leads_url: String,
}

/// A lead that was made and announced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivered {
    /// Its id.
    pub leadgen_id: String,
    /// What the webhook's receiver answered.
    pub webhook_status: u16,
}

/// Why a lead was not announced. Never carries what it was made of.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody listens there, or not for long enough.
    #[error("no sandbox answers at its address")]
    NoAnswer,
    /// It is there, but the webhook was not answered.
    #[error("the sandbox could not deliver: it answered {0}")]
    Refused(u16),
    /// It answered something that is none of its answers.
    #[error("what answers there is no sandbox")]
    Unreadable,
    /// No HTTP client can be built.
    #[error("no HTTP client can be built")]
    Client,
}

impl Remote {
    /// The sandbox at this base URL; nobody is asked yet.
    ///
    /// # Errors
    /// [`RemoteError::Client`].
    pub fn new(base_url: &str) -> Result<Self, RemoteError> {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| RemoteError::Client)?;
        Ok(Self { client, leads_url: format!("{}/sandbox/leads", base_url.trim_end_matches('/')) })
    }

    /// Makes a lead there and lets it be announced to whatever that sandbox is aimed at.
    ///
    /// # Errors
    /// All but [`RemoteError::Client`].
    pub async fn create_lead(&self, wish: &LeadWish) -> Result<Delivered, RemoteError> {
        let request = self.client.post(&self.leads_url).json(wish);
        let response = request.send().await.map_err(|_| RemoteError::NoAnswer)?;
        if !response.status().is_success() {
            return Err(RemoteError::Refused(response.status().as_u16()));
        }
        response.json().await.map_err(|_| RemoteError::Unreadable)
    }
}
