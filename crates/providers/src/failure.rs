//! One taxonomy of failures for all providers: what a caller does next depends on the kind alone.
//!
//! **Invariant:** a kind says what happened; whether a failed request may still have had its effect is told apart, by
//! [`ProviderError::maybe_done`].

use std::time::Duration;

/// The longest wait that is taken from a provider's word; beyond it the word is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What kind of failure a provider's answer is; decides whether and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Too many requests: wait for the provider's own time.
    RateLimited,
    /// The provider holds this sender back for its quality or its volume: another day, or an operator, mends it.
    QualityLimited,
    /// No answer in time; the outcome is unknown. Reads may be repeated.
    Timeout,
    /// The provider is down, not reachable, or asks to come back.
    ProviderDown,
    /// The credentials expired or were revoked: an operator must renew them.
    AuthExpired,
    /// The credentials may not do this: an operator must grant it.
    PermissionDenied,
    /// The message template is missing, not approved, paused, or was filled in wrongly.
    InvalidTemplate,
    /// The window in which free text may be sent is closed.
    WindowClosed,
    /// The number or address is good, but nobody is reached at it now.
    UnreachableContact,
    /// There is no such number or address.
    InvalidNumber,
    /// No consent to this contact is on record where the law asks for one.
    ConsentMissing,
    /// The person does not want to be contacted so.
    OptedOut,
    /// What was to be sent is refused for its content.
    ContentRejected,
    /// The provider already has this request.
    Duplicate,
    /// The account has no credit left.
    InsufficientFunds,
    /// What was asked for does not exist, or is not shown to these credentials.
    NotFound,
    /// Our request was wrong.
    BadRequest,
    /// The answer could not be understood.
    BadAnswer,
}

/// What a failure asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Try again after a wait: the provider's own time if it told one, else a growing one. A write that is
    /// [`ProviderError::maybe_done`] is reconciled first.
    RetryLater,
    /// Find out what became of the request before anything else; only reads and idempotent writes are repeated.
    ReconcileFirst,
    /// Alert an operator; nothing through this connection succeeds until somebody has acted.
    AlertOperator,
    /// Write a suppression: this contact is not used again for this purpose.
    Suppress,
    /// Mark the contact as unusable.
    FlagContact,
    /// Reach the person another way.
    TryAnotherChannel,
    /// Send an approved template instead of free text.
    SendTemplate,
    /// Take the request as done.
    TreatAsDone,
    /// Give this request up; it fails in the same way until it, or the set-up, is changed.
    GiveUp,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::RateLimited,
        Self::QualityLimited,
        Self::Timeout,
        Self::ProviderDown,
        Self::AuthExpired,
        Self::PermissionDenied,
        Self::InvalidTemplate,
        Self::WindowClosed,
        Self::UnreachableContact,
        Self::InvalidNumber,
        Self::ConsentMissing,
        Self::OptedOut,
        Self::ContentRejected,
        Self::Duplicate,
        Self::InsufficientFunds,
        Self::NotFound,
        Self::BadRequest,
        Self::BadAnswer,
    ];

    /// The stable name: in stored errors, metrics and reasons of quarantine.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::QualityLimited => "quality_limited",
            Self::Timeout => "timeout",
            Self::ProviderDown => "provider_down",
            Self::AuthExpired => "auth_expired",
            Self::PermissionDenied => "permission_denied",
            Self::InvalidTemplate => "invalid_template",
            Self::WindowClosed => "window_closed",
            Self::UnreachableContact => "unreachable_contact",
            Self::InvalidNumber => "invalid_number",
            Self::ConsentMissing => "consent_missing",
            Self::OptedOut => "opted_out",
            Self::ContentRejected => "content_rejected",
            Self::Duplicate => "duplicate",
            Self::InsufficientFunds => "insufficient_funds",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::BadAnswer => "bad_answer",
        }
    }

    /// Whether the same read may succeed later without anybody doing anything. A garbled answer counts: it mostly
    /// comes from something between the provider and us, and attempts are bounded.
    pub const fn retryable(self) -> bool {
        matches!(self.advice(), Advice::RetryLater | Advice::ReconcileFirst)
    }

    /// What to do about it.
    pub const fn advice(self) -> Advice {
        match self {
            Self::RateLimited | Self::ProviderDown => Advice::RetryLater,
            Self::Timeout | Self::BadAnswer => Advice::ReconcileFirst,
            Self::AuthExpired | Self::InsufficientFunds | Self::QualityLimited => Advice::AlertOperator,
            Self::ConsentMissing | Self::OptedOut => Advice::Suppress,
            Self::InvalidNumber => Advice::FlagContact,
            Self::UnreachableContact => Advice::TryAnotherChannel,
            Self::WindowClosed => Advice::SendTemplate,
            Self::Duplicate => Advice::TreatAsDone,
            Self::PermissionDenied
            | Self::InvalidTemplate
            | Self::ContentRejected
            | Self::NotFound
            | Self::BadRequest => Advice::GiveUp,
        }
    }

    /// Whether a write that failed like this may have had its effect all the same: there was no answer, or none that
    /// refuses.
    pub const fn leaves_doubt(self) -> bool {
        matches!(self, Self::Timeout | Self::ProviderDown | Self::BadAnswer)
    }

    /// What it means, as the end of a sentence that begins with the provider: for an operator, without the
    /// provider's words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::RateLimited => "limits our requests; they go on when it lets them",
            Self::QualityLimited => {
                "holds this sender back for its quality: look at it in the provider's console"
            }
            Self::Timeout => "did not answer in time",
            Self::ProviderDown => "is not available at the moment",
            Self::AuthExpired => "refuses our credentials: renew them and set them",
            Self::PermissionDenied => {
                "does not permit this to our account: grant it in the provider's console"
            }
            Self::InvalidTemplate => "has no such approved template, or other places in it than were filled",
            Self::WindowClosed => "takes free text only within a day of the person's last message",
            Self::UnreachableContact => "could not reach the contact",
            Self::InvalidNumber => "knows no such number or address",
            Self::ConsentMissing => "has no consent of this contact on record",
            Self::OptedOut => "says that the contact opted out",
            Self::ContentRejected => "refuses the content",
            Self::Duplicate => "already has this request",
            Self::InsufficientFunds => "says that the account has no credit left: top it up",
            Self::NotFound => "has no such thing, or does not show it to our credentials",
            Self::BadRequest => "did not understand our request",
            Self::BadAnswer => "answered something other than its API describes",
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
    /// Whether the request may have had its effect: true when it was sent and not clearly refused, as after a
    /// timeout, a connection that broke off, a 5xx, or a success that cannot be understood; false when it never left,
    /// or was refused. Of a read it says nothing.
    pub maybe_done: bool,
}

impl ProviderError {
    /// Without a provider's code; `maybe_done` is what [`FailureKind::leaves_doubt`] says.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: String::new(),
            message: message.into(),
            retry_after: None,
            maybe_done: kind.leaves_doubt(),
        }
    }

    /// A request that certainly never left this machine.
    pub fn never_sent(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { maybe_done: false, ..Self::new(kind, message) }
    }

    /// See [`FailureKind::retryable`].
    pub fn retryable(&self) -> bool {
        self.kind.retryable()
    }
}

fn shown_code(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_its_name_and_what_to_do() {
        use Advice::*;
        // kind, name, what to do, the same read may succeed later, a write may have had its effect
        let table = [
            (FailureKind::RateLimited, "rate_limited", RetryLater, true, false),
            (FailureKind::QualityLimited, "quality_limited", AlertOperator, false, false),
            (FailureKind::Timeout, "timeout", ReconcileFirst, true, true),
            (FailureKind::ProviderDown, "provider_down", RetryLater, true, true),
            (FailureKind::AuthExpired, "auth_expired", AlertOperator, false, false),
            (FailureKind::PermissionDenied, "permission_denied", GiveUp, false, false),
            (FailureKind::InvalidTemplate, "invalid_template", GiveUp, false, false),
            (FailureKind::WindowClosed, "window_closed", SendTemplate, false, false),
            (FailureKind::UnreachableContact, "unreachable_contact", TryAnotherChannel, false, false),
            (FailureKind::InvalidNumber, "invalid_number", FlagContact, false, false),
            (FailureKind::ConsentMissing, "consent_missing", Suppress, false, false),
            (FailureKind::OptedOut, "opted_out", Suppress, false, false),
            (FailureKind::ContentRejected, "content_rejected", GiveUp, false, false),
            (FailureKind::Duplicate, "duplicate", TreatAsDone, false, false),
            (FailureKind::InsufficientFunds, "insufficient_funds", AlertOperator, false, false),
            (FailureKind::NotFound, "not_found", GiveUp, false, false),
            (FailureKind::BadRequest, "bad_request", GiveUp, false, false),
            (FailureKind::BadAnswer, "bad_answer", ReconcileFirst, true, true),
        ];
        assert_eq!(table.map(|(kind, ..)| kind), FailureKind::ALL);
        for (kind, name, advice, retryable, leaves_doubt) in table {
            assert_eq!(kind.name(), name);
            assert_eq!(kind.advice(), advice, "{name}");
            assert_eq!(kind.retryable(), retryable, "{name}");
            assert_eq!(kind.leaves_doubt(), leaves_doubt, "{name}");
            assert_eq!(ProviderError::new(kind, "m").maybe_done, leaves_doubt, "{name}");
            assert!(!ProviderError::never_sent(kind, "m").maybe_done, "{name}");
        }
        let names: HashSet<_> = FailureKind::ALL.map(FailureKind::name).into();
        let meanings: HashSet<_> = FailureKind::ALL.map(FailureKind::meaning).into();
        assert_eq!((names.len(), meanings.len()), (FailureKind::ALL.len(), FailureKind::ALL.len()));
    }

    #[test]
    fn the_code_is_shown_where_there_is_one() {
        let error = ProviderError::new(FailureKind::Timeout, "no answer in time");
        assert_eq!(error.to_string(), "timeout: no answer in time");
        let error = ProviderError { code: "429".to_owned(), ..error };
        assert_eq!(error.to_string(), "timeout (429): no answer in time");
    }
}
