//! Outbound ports: one trait and one client per provider, and the one failure taxonomy that all of them share.
//!
//! **Invariant:** nothing here knows the database or a lead; errors and logs carry no personal data.

pub mod codes;
pub mod failure;
pub mod http;
pub mod meta;
pub mod redact;
pub mod telephony;

pub use failure::{Advice, FailureKind, ProviderError};
