//! Claims about leads.

mod arrival;
mod list;
mod office;
mod status;

pub use office::Office;
