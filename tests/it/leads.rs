//! Claims about leads.

mod arrival;
mod list;
mod office;
mod reviews;
mod status;

pub use office::Office;
