//! Jobs of distribution.

pub mod assign_leads;
pub mod expire_cooling_off;

pub use assign_leads::AssignLeads;
pub use expire_cooling_off::ExpireCoolingOff;
