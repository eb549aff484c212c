//! Jobs that turn stored source events into leads.

pub mod fetch_meta_lead;
mod meta_lead;

pub use fetch_meta_lead::FetchMetaLead;
