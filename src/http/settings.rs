//! What the HTTP layer can be tuned by; composed into the configuration by `src/config.rs`.

use std::time::Duration;

use secrecy::SecretString;

/// Settings of the HTTP layer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is mounted: `/api/v1`, or empty for the root. Starts with `/` and does not end with one.
    pub base_path: String,
    /// Longest handling of one request; then 408.
    pub request_timeout: Duration,
    /// Longest wait for the headers of a request, the first byte of a connection included.
    pub header_timeout: Duration,
    /// Most connections open at a time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Longest wait for requests in flight at shutdown.
    pub drain_timeout: Duration,
    /// Longest silence of a live stream; at each heartbeat its user is read again.
    pub heartbeat: Duration,
    /// Most live streams open at a time.
    pub streams_max: usize,
    /// Most live streams of one user open at a time.
    pub streams_per_user_max: usize,
    /// Whether a peer on this machine may read `/metrics`, `/docs` and `/version` without a token. Behind a proxy on
    /// the same machine every stranger is such a peer. Default: false.
    pub trust_loopback: bool,
    /// How Meta proves that a webhook is its own.
    pub meta: MetaWebhook,
    /// Secrets of the telephony provider, any of which signs its webhooks: two while one is being replaced.
    pub telephony_secrets: Vec<SecretString>,
}

/// How Meta proves that a webhook is its own.
#[derive(Debug, Clone)]
pub struct MetaWebhook {
    /// App secrets, any of which signs: two while one is being replaced.
    pub app_secrets: Vec<SecretString>,
    /// What Meta repeats in the handshake.
    pub verify_token: SecretString,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_path: "/api/v1".to_owned(),
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            connections_max: 1024,
            drain_timeout: Duration::from_secs(20),
            heartbeat: Duration::from_secs(15),
            streams_max: 512,
            streams_per_user_max: 8,
            trust_loopback: false,
            meta: MetaWebhook { app_secrets: Vec::new(), verify_token: SecretString::from(String::new()) },
            telephony_secrets: Vec::new(),
        }
    }
}
