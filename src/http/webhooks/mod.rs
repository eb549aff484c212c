//! Webhooks of providers: verify, store, answer. One file per provider.

pub mod meta;
pub mod telephony;
