//! The audit log: who did what to what, when. Append-only; written in the transaction of the act, and sealed soon after
//! (docs/AUDIT.md).

mod key;
mod proof;
mod prove;
mod seal;
mod store;
mod tiles;
mod tree;
mod verify;

pub use key::{NoKey, PublicKey, SigningKey};
pub use prove::{Growth, ProofError, Proven, head, list_checkpoints, prove_event, prove_growth, prove_page};
pub use seal::{BATCH_MAX, Checkpoint, Recorded, SealError, Sealed, seal};
use serde_json::Value;
pub(crate) use store::insert;
pub use store::search::{Found, Search, search};
pub use store::{count_pending, find_key};
pub use verify::{Finding, Report, verify};

/// What one audited act leaves, without personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `noun.verb` in the past tense.
    pub action: &'static str,
    /// What kind of thing it happened to.
    pub subject_kind: &'static str,
    /// Which one.
    pub subject: String,
    /// Ids, codes and numbers.
    pub body: Value,
}

impl Entry {
    pub(crate) fn new(
        action: &'static str,
        subject_kind: &'static str,
        subject: &dyn ToString,
        body: Value,
    ) -> Self {
        Self { action, subject_kind, subject: subject.to_string(), body }
    }
}
