//! Meta Lead Ads through the Graph API (docs: PROVIDERS 1.1).

use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};

use crate::failure::ProviderError;

/// A lead as the Graph API gives it.
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
