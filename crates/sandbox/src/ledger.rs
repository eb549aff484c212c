//! What the sandbox saw and sent: ids, times and statuses, no answers of people. Apart from the product's database,
//! so that one can be held against the other.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::failure::Failure;

/// Entries kept; the oldest fall out.
const ENTRIES_MAX: usize = 200_000;
/// Acknowledged leads kept; further ones are not counted.
const ACKNOWLEDGED_MAX: usize = 1_000_000;

/// Which side began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerKind {
    /// A lead was fetched.
    Fetch,
    /// A webhook was sent.
    Webhook,
}

/// One request, in or out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Which side began.
    pub kind: LedgerKind,
    /// The leads that it was about.
    pub leadgen_ids: Vec<String>,
    /// The answer; none when there was none.
    pub status: Option<u16>,
    /// The failure that was asked for, if it happened here.
    pub failure: Option<Failure>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    entries: VecDeque<Entry>,
    acknowledged: Vec<String>,
    known: HashSet<String>,
}

impl Ledger {
    pub fn add(&mut self, entry: Entry) {
        let success = entry.status.is_some_and(|status| (200..300).contains(&status));
        if entry.kind == LedgerKind::Webhook && success {
            for id in &entry.leadgen_ids {
                if self.acknowledged.len() < ACKNOWLEDGED_MAX && self.known.insert(id.clone()) {
                    self.acknowledged.push(id.clone());
                }
            }
        }
        self.entries.push_back(entry);
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
        }
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.entries.iter().rev().take(count).cloned().collect()
    }

    pub fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.clone()
    }
}
