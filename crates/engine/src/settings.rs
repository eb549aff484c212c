//! What an engine can be tuned by.

use std::time::Duration;

/// Times and sizes of one running engine. The defaults are the product's; tests shorten the times.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Shown to operators; never an identity.
    pub host: String,
    /// The program's version, shown to operators.
    pub version: String,
    /// How long the database keeps a session that is not renewed; then its jobs run elsewhere.
    pub lease_ttl: Duration,
    /// How often the session is renewed and others' expired sessions are looked for.
    pub renew_every: Duration,
    /// How long after the last renewal the process stops itself. Well below `lease_ttl`.
    pub fence_after: Duration,
    /// Longest wait before a queue is looked at without having been woken; each wait is jittered by a quarter.
    pub poll_every: Duration,
    /// Jobs claimed ahead per queue, at least its concurrency. More is faster for tiny jobs and less fair.
    pub prefetch: usize,
    /// Connections for claiming and acknowledging; three more are held for renewal, upkeep and LISTEN.
    pub connections: u32,
    /// Longest run of one of the engine's own statements.
    pub statement_timeout: Duration,
    /// How long a job of an unknown kind or version waits for a process that knows it.
    pub unknown_wait: Duration,
}

impl Settings {
    /// The defaults, for this host and version of the program.
    pub fn new(host: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            version: version.into(),
            lease_ttl: Duration::from_secs(10),
            renew_every: Duration::from_secs(3),
            fence_after: Duration::from_secs(7),
            poll_every: Duration::from_secs(1),
            prefetch: 16,
            connections: 6,
            statement_timeout: Duration::from_secs(10),
            unknown_wait: Duration::from_secs(10),
        }
    }
}
