//! Failures on demand: what the Graph API is to answer instead of a lead.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Leads that failures may be set for at a time; more are ignored.
const LEADS_MAX: usize = 10_000;

/// How a fetch fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// HTTP 400 with code 4, and a header that asks to wait a minute.
    RateLimited,
    /// HTTP 500 with code 2.
    ServerError,
    /// No answer until the caller or the sandbox goes away.
    Hang,
    /// HTTP 200 with something that is no lead.
    Garbage,
    /// HTTP 400 with code 100, subcode 33.
    NotFound,
    /// HTTP 400 with code 190, subcode 463.
    AuthExpired,
}

/// The failures that are still to happen.
#[derive(Default)]
pub(crate) struct Failures {
    any: Option<(Failure, u32)>,
    by_lead: HashMap<String, (Failure, u32)>,
}

impl Failures {
    /// Sets what the next fetches of one lead, or of any, come to; replaces what was set before.
    pub fn fail_next(&mut self, leadgen_id: Option<&str>, failure: Failure, times: u32) {
        match leadgen_id {
            None => self.any = Some((failure, times)),
            Some(id) if self.by_lead.len() < LEADS_MAX || self.by_lead.contains_key(id) => {
                self.by_lead.insert(id.to_owned(), (failure, times));
            }
            Some(_) => tracing::warn!("the sandbox has too many failures set: this one is ignored"),
        }
    }

    /// What this fetch comes to; counts it.
    pub fn take(&mut self, leadgen_id: &str) -> Option<Failure> {
        if let Some((failure, times)) = self.by_lead.get_mut(leadgen_id).filter(|(_, times)| *times > 0) {
            *times -= 1;
            return Some(*failure);
        }
        self.by_lead.remove(leadgen_id);
        let (failure, times) = self.any.as_mut().filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(*failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leads_own_failure_goes_first_and_each_happens_as_often_as_set() {
        let mut failures = Failures::default();
        failures.fail_next(None, Failure::ServerError, 2);
        failures.fail_next(Some("17"), Failure::Garbage, 1);
        let taken: Vec<_> = ["17", "17", "18", "18"].iter().map(|id| failures.take(id)).collect();
        assert_eq!(
            taken,
            [Some(Failure::Garbage), Some(Failure::ServerError), Some(Failure::ServerError), None]
        );
    }
}
