//! Jobs of distribution.

pub mod assign_leads;

pub use assign_leads::AssignLeads;
