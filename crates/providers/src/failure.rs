//! One taxonomy of failures for all providers: what a caller does next depends on the kind alone.

use std::time::Duration;

/// The longest wait that is taken from a provider's word; beyond it the word is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What kind of failure a provider's answer is; decides whether and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Too many requests: wait for the provider's own time.
    RateLimited,
    /// No answer in time; the outcome is unknown. Reads may be repeated.
    Timeout,
    /// The provider is down, not reachable, or asks to come back.
    ProviderDown,
    /// The credentials expired or were revoked: an operator must renew them.
    AuthExpired,
    /// The credentials may not do this: an operator must grant it.
    PermissionDenied,
    /// What was asked for does not exist, or is not shown to these credentials.
    NotFound,
    /// Our request was wrong.
    BadRequest,
    /// The answer could not be understood.
    BadAnswer,
}

impl FailureKind {
    /// The stable name: in stored errors, metrics and reasons of quarantine.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::ProviderDown => "provider_down",
            Self::AuthExpired => "auth_expired",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::BadAnswer => "bad_answer",
        }
    }

    /// Whether the same read may succeed later without anybody doing anything. A garbled answer counts: it mostly
    /// comes from something between the provider and us, and attempts are bounded.
    pub const fn retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Timeout | Self::ProviderDown | Self::BadAnswer => true,
            Self::AuthExpired | Self::PermissionDenied | Self::NotFound | Self::BadRequest => false,
        }
    }
}

/// A failed call to a provider. The message is ours and carries no personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", .kind.name(), shown_code(.code))]
pub struct ProviderError {
    /// The kind.
    pub kind: FailureKind,
    /// The provider's own code, as text; empty when there was none.
    pub code: String,
    /// What happened and what to do, for an operator.
    pub message: String,
    /// When the provider said to come back, at most [`RETRY_AFTER_MAX`]; set for retryable kinds only.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// Without a provider's code.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, code: String::new(), message: message.into(), retry_after: None }
    }

    /// See [`FailureKind::retryable`].
    pub fn retryable(&self) -> bool {
        self.kind.retryable()
    }
}

fn shown_code(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}
