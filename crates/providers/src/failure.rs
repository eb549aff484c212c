//! One taxonomy of failures for all providers (docs: PROVIDERS 1.7).

use std::time::Duration;

/// What kind of failure a provider's answer is; decides whether and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Too many requests: wait for the provider's own time.
    RateLimited,
    /// No answer in time; the outcome is unknown. Reads may be repeated.
    Timeout,
    /// The provider is down or asks to come back.
    ProviderDown,
    /// The credentials expired.
    AuthExpired,
    /// The credentials may not do this.
    PermissionDenied,
    /// What was asked for does not exist.
    NotFound,
    /// Our request was wrong.
    BadRequest,
    /// The answer could not be understood.
    BadAnswer,
}

/// A failed call to a provider. The message is ours and carries no personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} ({code}): {message}")]
pub struct ProviderError {
    /// The kind.
    pub kind: FailureKind,
    /// The provider's own code, as text; empty when there was none.
    pub code: String,
    /// What happened and what to do, for an operator.
    pub message: String,
    /// When the provider said to come back.
    pub retry_after: Option<Duration>,
}
