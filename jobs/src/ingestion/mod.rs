//! Jobs that turn stored source events and files into leads.

pub mod fetch_meta_lead;
pub mod import_leads;
mod meta_lead;
pub mod undo_import;

pub use fetch_meta_lead::FetchMetaLead;
pub use import_leads::ImportLeads;
pub use undo_import::UndoImport;
