//! Jobs of masked calls: the two that talk to a telephony provider.

mod exchange;
pub mod place_call;
pub mod reconcile_call;

pub use exchange::news;
pub use place_call::PlaceCall;
pub use reconcile_call::ReconcileCall;
