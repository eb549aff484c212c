//! Meta Lead Ads: leads are fetched through the Graph API, and announced by webhooks.
//!
//! Facts of this provider that shape the code: throttling comes as HTTP 400 or 403, so failures are classified by
//! `error.code`; `created_time` is not RFC 3339; ids are strings that old documents show as numbers; the check
//! boxes of a form answer `"1"` or `""`.

mod failures;
mod graph;
mod lead;
pub mod webhook;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};
pub use graph::{GraphApi, GraphSettings, GraphSettingsError};

use crate::failure::ProviderError;

/// A lead as the Graph API gives it. `Debug` shows neither answers nor the raw bytes.
#[derive(Clone, PartialEq)]
pub struct MetaLead {
    /// `leadgen_id`.
    pub id: String,
    /// When the person sent the form.
    pub created_at: DateTime<Utc>,
    /// The form.
    pub form_id: Option<String>,
    /// The ad, ad set and campaign with their names; absent for organic leads.
    pub ad: Option<MetaSource>,
    /// See `ad`.
    pub ad_set: Option<MetaSource>,
    /// See `ad`.
    pub campaign: Option<MetaSource>,
    /// Not from an ad.
    pub is_organic: bool,
    /// The answers in the form's order: field name and values.
    pub answers: Vec<(String, Vec<String>)>,
    /// Custom disclaimer check boxes: key and whether it was ticked.
    pub consents: Vec<(String, bool)>,
    /// The answer's bytes, to be sealed and kept.
    pub raw: Vec<u8>,
}

impl fmt::Debug for MetaLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaLead")
            .field("id", &self.id)
            .field("created_at", &self.created_at)
            .field("form_id", &self.form_id)
            .field("campaign", &self.campaign.as_ref().map(|campaign| &campaign.id))
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

/// An id with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaSource {
    /// The platform's id.
    pub id: String,
    /// Its name, when given.
    pub name: Option<String>,
}

/// The port: what the product needs of Meta.
pub trait MetaLeads: Send + Sync {
    /// Fetches one lead. A read: may be repeated.
    fn fetch_lead<'a>(
        &'a self,
        leadgen_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<MetaLead, ProviderError>> + Send + 'a>>;
}
